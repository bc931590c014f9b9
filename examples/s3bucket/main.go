// Command s3bucket is S3 in a process of one's own: buckets that are files in a directory, for one access key, which it takes
// from the environment as S3's tools do. It needs a directory that it may write to; what is there outlives the program.
//
//	export AWS_ACCESS_KEY_ID=me AWS_SECRET_ACCESS_KEY=secret AWS_DEFAULT_REGION=us-east-1
//	s3bucket objects &
//	aws --endpoint-url http://127.0.0.1:9000 s3 mb s3://first
//	aws --endpoint-url http://127.0.0.1:9000 s3 cp song.ogg s3://first/
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
	"path/filepath"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	_ "modernc.org/sqlite" // any database/sql driver of SQLite; of PostgreSQL too for what is not the index of files
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	access, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	if len(os.Args) != 2 || access == "" || secret == "" {
		fmt.Fprintln(os.Stderr, "usage: AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… s3bucket DIRECTORY")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:9000")
	if err == nil {
		err = run(ctx, listener, os.Args[1], s3.StaticKeys{access: {Secret: secret, Caller: objectstore.Caller{Account: "me"}}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "s3bucket:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listener net.Listener, dir string, keys s3.Keys) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	index, err := open(dir, "index")
	if err != nil {
		return err
	}
	defer func() { _ = index.Close() }()
	store, err := fileobjects.New(ctx, filepath.Join(dir, "contents"), index, nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	names, err := open(dir, "names")
	if err != nil {
		return err
	}
	defer func() { _ = names.Close() }()
	objects, err := objectstore.New(ctx, names, store, nil)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() { defer close(swept); _ = objects.Run(ctx) }() // what expired, and what was deleted
	defer func() { stop(); <-swept }()
	server := &http.Server{Handler: s3.Handler(objects, keys, nil), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func open(dir, name string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+filepath.Join(dir, name+".db")+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
}
