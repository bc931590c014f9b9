package objectstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	objects, err := objectstore.New(ctx, db, memobjects.New(nil), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	me := objectstore.Caller{Account: "demo"}
	song := objectstore.Path{Account: "demo", Container: "music", Object: "2026/song"}
	_, _, err = objects.CreateContainer(ctx, me, song, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = objects.Put(ctx, me, song, objectstore.PutSpec{Size: -1}, strings.NewReader("la la la"))
	if err != nil {
		fmt.Println(err)
		return
	}

	r, err := objects.Open(ctx, me, song, objectstore.OpenSpec{})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := r.Range(ctx, 3, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = io.Copy(os.Stdout, body)
	_ = body.Close()
	fmt.Println("\n"+r.ETag, r.Size)

	_, err = objects.Open(ctx, objectstore.Caller{}, song, objectstore.OpenSpec{})
	fmt.Println(errors.Is(err, objectstore.ErrUnauthorized), err)
	// Output:
	// la la
	// b5ad84228fb4020c56330d53bc9cee71 8
	// true demo/music/2026/song: unauthorized
}
