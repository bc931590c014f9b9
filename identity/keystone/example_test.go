package keystone_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/internal/sqlitedb"
)

// Keystone beside a handler of one's own, which asks the same service who its callers are.
func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	users, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := users.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: "secret"}); err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/", keystone.Handler(users, nil))
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		caller, err := users.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
		if err != nil || !caller.HasRole(identity.RoleMember) {
			http.Error(w, "this is for members", http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintln(w, "hello", caller.UserName)
	})

	login := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(`{"auth": {
		"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": "secret"}}},
		"scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}`))
	token := httptest.NewRecorder()
	mux.ServeHTTP(token, login)
	for _, value := range []string{token.Header().Get("X-Subject-Token"), "forged"} {
		request, answer := httptest.NewRequest(http.MethodGet, "/hello", nil), httptest.NewRecorder()
		request.Header.Set("X-Auth-Token", value)
		mux.ServeHTTP(answer, request)
		fmt.Print(answer.Code, " ", answer.Body)
	}
	// Output:
	// 200 hello admin
	// 403 this is for members
}
