package swift_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/swift"
)

// Object storage for whom an authenticator knows, and for everybody what is public.
func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	store, err := objectstore.New(ctx, db, memobjects.New(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := swift.Handler(store, tokens{}, &swift.Options{AuthURL: "http://127.0.0.1:5000/v3"})

	ask := func(method, path, token, body string) {
		request, answer := httptest.NewRequest(method, "/v1/AUTH_alice/"+path, strings.NewReader(body)), httptest.NewRecorder()
		request.Header.Set("X-Auth-Token", token)
		request.Header.Set("Content-Length", fmt.Sprint(len(body)))
		request.Header.Set("X-Container-Read", ".r:*")
		handler.ServeHTTP(answer, request)
		fmt.Printf("%s %s: %d %q\n", method, path, answer.Code, strings.Split(answer.Body.String(), "<p>")[0])
	}
	ask(http.MethodPut, "songs", "alice", "")
	ask(http.MethodPut, "songs/old", "alice", "la la")
	ask(http.MethodGet, "songs/old", "", "")
	ask(http.MethodDelete, "songs/old", "", "")
	// Output:
	// PUT songs: 201 ""
	// PUT songs/old: 201 ""
	// GET songs/old: 200 "la la"
	// DELETE songs/old: 401 "<html><h1>Unauthorized</h1>"
}
