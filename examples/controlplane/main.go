// Command controlplane is a control plane of one's own: its REST API and database, and of this module networks and load
// balancers only. A shop gets an address, and each of its servers a place in the network and a share of the requests.
//
//	curl -X POST http://127.0.0.1:8080/shops/books && curl -X POST http://127.0.0.1:8080/shops/books/servers
//	curl http://127.0.0.1:8080/shops/books
//
// It needs nothing: the host is simulated in memory. wiring.go says what to put there for a real one.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/kintoun/kintoun/network"
	_ "modernc.org/sqlite" // any database/sql driver of SQLite or PostgreSQL
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:8080")
	if err == nil {
		err = run(ctx, listener)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listener net.Listener) error {
	db, err := sql.Open("sqlite", "file:/controlplane?vfs=memdb&_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	shops, wait, err := start(ctx, db)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /shops/{name}", answer(shops.create))
	mux.Handle("POST /shops/{name}/servers", answer(shops.addServer))
	mux.Handle("GET /shops/{name}", answer(shops.show))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return wait()
}

// answer writes what a handler returns, or its error with the status of its kind.
func answer(handler func(ctx context.Context, shop string) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := handler(r.Context(), r.PathValue("name"))
		status := http.StatusOK
		if err != nil {
			body, status = map[string]string{"error": err.Error()}, http.StatusInternalServerError
		}
		for kind, its := range map[error]int{network.ErrInvalid: http.StatusBadRequest, network.ErrNotFound: http.StatusNotFound, network.ErrConflict: http.StatusConflict} {
			if errors.Is(err, kind) {
				status = its
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	})
}
