package cinder_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/cinder"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	service, err := volume.New(ctx, db, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// tokens is a stand-in for what an embedder's program adapts: whose a token is.
	mux := http.NewServeMux()
	mux.Handle("/", cinder.Handler(service, tokens{}, &cinder.Options{AuthURL: "http://127.0.0.1:5000/v3"}))

	for _, token := range []string{"red", "forged"} {
		request, answer := httptest.NewRequest(http.MethodGet, "/v3/volumes", nil), httptest.NewRecorder()
		request.Header.Set("X-Auth-Token", token)
		mux.ServeHTTP(answer, request)
		fmt.Println(answer.Code, answer.Header().Get("WWW-Authenticate") != "")
	}
	// Output:
	// 200 false
	// 401 true
}
