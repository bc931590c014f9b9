// Command hello is an HTTP service behind Keystone's tokens.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/identity/keystone"
	_ "modernc.org/sqlite"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:5000")
	if err == nil {
		var h http.Handler
		if h, err = handler(context.Background(), "http://"+l.Addr().String(), "secret"); err == nil {
			err = http.Serve(l, h)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func handler(ctx context.Context, url, password string) (http.Handler, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	users, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 4})
	if err != nil {
		return nil, err
	}
	if err := users.Bootstrap(ctx, identity.BootstrapSpec{
		AdminPassword: password,
		Services:      []identity.BootstrapService{{Type: "identity", Name: "keystone", Public: url + "/v3"}},
	}); err != nil {
		return nil, err
	}
	if _, err := users.CreateUser(ctx, identity.UserSpec{Name: "nobody", DomainID: identity.DefaultDomainID, Password: "nothing"}); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", keystone.Handler(users, nil))
	mux.Handle("GET /hello", protect(users, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s", identity.CallerFrom(r.Context()).UserName)
	})))
	return mux, nil
}

func protect(who identity.Authenticator, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := who.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
		switch {
		case errors.Is(err, identity.ErrUnauthorized):
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case err != nil:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case !caller.HasRole(identity.RoleReader):
			http.Error(w, "the role reader is needed", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r.WithContext(identity.WithCaller(r.Context(), caller)))
		}
	})
}
