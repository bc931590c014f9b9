// Command keystoneauth is an HTTP service of one's own behind Keystone's tokens: what `openstack token issue` gives is
// what it asks for, and who has the role admin may do more than others.
//
//	keystoneauth -listen 127.0.0.1:5000
//	export OS_AUTH_URL=http://127.0.0.1:5000/v3 OS_USERNAME=admin OS_PASSWORD=secret OS_PROJECT_NAME=admin \
//	    OS_USER_DOMAIN_ID=default OS_PROJECT_DOMAIN_ID=default
//	curl -H "X-Auth-Token: $(openstack token issue -f value -c id)" http://127.0.0.1:5000/hello
//
// It needs nothing of the host; users and tokens' keys live in memory, and end with the program.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
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
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keystoneauth:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("keystoneauth", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:5000", "`address:port` of Keystone and of the service")
	if err := flags.Parse(args); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:/keystoneauth?vfs=memdb&_txlock=immediate")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	users, err := identity.New(ctx, db, fernet.New(nil), nil)
	if err != nil {
		return err
	}
	catalogue := []identity.BootstrapService{{Type: "identity", Name: "keystone", Public: "http://" + *listen + "/v3"}}
	if err := users.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: "secret", Services: catalogue}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v3/", keystone.Handler(users, nil))
	mux.Handle("/hello", protect(users, identity.RoleReader))
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s/v3 knows the user admin, and http://%[1]s/hello is for whom it knows\n", *listen)
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
