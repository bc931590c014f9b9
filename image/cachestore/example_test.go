package cachestore_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/kintoun/kintoun/image/cachestore"
	"github.com/kintoun/kintoun/image/memstore"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "copies")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	objects := memstore.New(nil)
	if _, err := objects.Put(ctx, "image-1", strings.NewReader("a disk")); err != nil {
		panic(err)
	}
	s, err := cachestore.New(dir, objects)
	if err != nil {
		panic(err)
	}
	name, err := s.Path(ctx, "image-1")
	if err != nil {
		panic(err)
	}
	content, err := os.ReadFile(name)
	fmt.Println(string(content), err)
	// Output: a disk <nil>
}
