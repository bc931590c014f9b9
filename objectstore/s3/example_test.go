package s3_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// An S3 bucket in a process, and an S3 client of somebody else's.
func Example() {
	if err := bucket(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: la la la
}

func bucket(ctx context.Context) error {
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	objects, err := objectstore.New(ctx, db, memobjects.New(nil), nil)
	if err != nil {
		return err
	}
	keys := s3.StaticKeys{"AKIAEXAMPLE": {Secret: "secret", Caller: objectstore.Caller{Account: "demo"}}}
	server := &http.Server{Handler: s3.Handler(objects, keys, nil), ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()

	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client, err := minio.New(listener.Addr().String(), &minio.Options{Creds: credentials.NewStaticV4("AKIAEXAMPLE", "secret", ""), Transport: transport})
	if err != nil {
		return err
	}
	if err := client.MakeBucket(ctx, "songs", minio.MakeBucketOptions{}); err != nil {
		return err
	}
	if _, err := client.PutObject(ctx, "songs", "one", strings.NewReader("la la la"), 8, minio.PutObjectOptions{}); err != nil {
		return err
	}
	song, err := client.GetObject(ctx, "songs", "one", minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = song.Close() }()
	text, err := io.ReadAll(song)
	fmt.Println(string(text))
	return err
}
