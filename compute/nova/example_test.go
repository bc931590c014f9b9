package nova_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/nova"
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
	// Stand-ins for what an embedder's program adapts: its images, networks and, below, tokens.
	service, err := compute.New(ctx, db, computetest.NewImages(), computetest.NewNetworks(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", nova.Handler(service, tokens{}, &nova.Options{AuthURL: "http://127.0.0.1:5000/v3"}))

	for _, token := range []string{"red", "forged"} {
		request, answer := httptest.NewRequest(http.MethodGet, "/v2.1/servers", nil), httptest.NewRecorder()
		request.Header.Set("X-Auth-Token", token)
		mux.ServeHTTP(answer, request)
		fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate") != "")
	}
	// Output:
	// 200 false
	// 401 true
}
