// Command keystoneauth is an HTTP service of one's own behind Keystone's tokens: it greets who shows a token of
// `openstack token issue` with the role reader. It needs nothing of the host: users and keys live and end with the program.
//
//	keystoneauth &
//	export OS_AUTH_URL=http://127.0.0.1:5000/v3 OS_USERNAME=admin OS_PASSWORD=secret OS_PROJECT_NAME=admin OS_USER_DOMAIN_ID=default OS_PROJECT_DOMAIN_ID=default
//	curl -H "X-Auth-Token: $(openstack token issue -f value -c id)" http://127.0.0.1:5000/hello
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/identity/keystone"
	_ "modernc.org/sqlite" // any database/sql driver of SQLite or PostgreSQL
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:5000")
	if err == nil {
		err = run(ctx, listener)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "keystoneauth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listener net.Listener) error {
	db, err := sql.Open("sqlite", "file:/keystoneauth?vfs=memdb&_txlock=immediate")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	users, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 10})
	if err != nil {
		return err
	}
	catalogue := []identity.BootstrapService{{Type: "identity", Name: "keystone", Public: "http://" + listener.Addr().String() + "/v3"}}
	if err := users.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: "secret", Services: catalogue}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", keystone.Handler(users, nil))
	mux.Handle("/hello", protect(users, identity.RoleReader))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// protect greets those whose token is good and gives them the role.
func protect(users identity.Authenticator, role string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := users.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
		switch {
		case errors.Is(err, identity.ErrUnauthorized):
			http.Error(w, "a valid X-Auth-Token is needed", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "tokens cannot be checked for now", http.StatusServiceUnavailable)
		case !caller.HasRole(role):
			http.Error(w, "this needs the role "+role, http.StatusForbidden)
		default:
			_, _ = fmt.Fprintf(w, "hello %s of project %s\n", caller.UserName, caller.ProjectName)
		}
	})
}
