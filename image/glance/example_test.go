package glance_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	images, err := image.New(ctx, db, memstore.New(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", glance.Handler(images, tokens{}, &glance.Options{AuthURL: "http://127.0.0.1:5000/v3"}))

	body := `{"name": "disk", "disk_format": "raw", "container_format": "bare"}`
	request, answer := httptest.NewRequest(http.MethodPost, "/v2/images", strings.NewReader(body)), httptest.NewRecorder()
	request.Header.Set("X-Auth-Token", "alice")
	request.Header.Set("Content-Type", "application/json")
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"status":"queued"`))
	// Output: 201 true
}
