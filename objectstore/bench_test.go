package objectstore_test

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

var many = flag.Int("objectstore.many", 100_000, "how many objects the container has whose lists are measured")

func BenchmarkPut1KiB(b *testing.B) {
	content := strings.Repeat("x", 1024)
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprint(clients, "clients"), func(b *testing.B) {
			h := onDisk(b)
			h.container("c", nil)
			var n atomic.Int64
			next := make(chan string)
			done := make(chan error)
			for range clients {
				go func() {
					for name := range next {
						if _, err := h.Put(b.Context(), owner, in("c", name), objectstore.PutSpec{Size: 1024}, strings.NewReader(content)); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for b.Loop() {
				next <- fmt.Sprintf("%08d", n.Add(1))
			}
			close(next)
			for range clients {
				require.NoError(b, <-done)
			}
		})
	}
}

func BenchmarkListPage(b *testing.B) {
	h := onDisk(b)
	h.container("c", nil)
	h.Fill(b, "acc", "c", *many)
	for name, l := range map[string]objectstore.Listing{
		"first": {Limit: 1000}, "last": {Limit: 1000, Marker: fmt.Sprintf("%04d/%08d", (*many-1500)/1000, *many-1500)},
		"folders": {Limit: 100, Delimiter: "/"}, "reverse": {Limit: 1000, Reverse: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				list, err := h.Objects(b.Context(), owner, in("c", ""), l)
				require.NoError(b, err)
				require.Len(b, list.Entries, l.Limit)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	h := onDisk(b)
	h.container("c", nil)
	h.put(in("c", "o"), "x")
	for b.Loop() {
		_, err := h.Open(b.Context(), owner, in("c", "o"), objectstore.OpenSpec{})
		require.NoError(b, err)
	}
}
