//go:build unix

package fileobjects_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
)

func Example() {
	ctx := context.Background()
	dir, _ := os.MkdirTemp("", "objects")
	defer func() { _ = os.RemoveAll(dir) }()
	// A program opens SQLite as it likes, with synchronous=FULL.
	db, _ := sqlitedb.Open(ctx, filepath.Join(dir, "index.db"))
	defer func() { _ = db.Close() }()

	s, err := fileobjects.New(ctx, dir, db, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
	fmt.Println(content.Size, content.MD5, err)
	r, err := s.Open(ctx, "0197-1", 2, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(r)
	fmt.Println(string(text), r.Close())
	err = s.Remove(ctx, "0197-1")
	fmt.Println(err)
	err = s.Close()
	fmt.Println(err)
	// Output:
	// 6 b1ac43c8730205276b1f75ec9cd2d50b <nil>
	// song <nil>
	// <nil>
	// <nil>
}
