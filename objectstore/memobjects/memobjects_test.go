package memobjects_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	drivertest.TestStore(t, func(testing.TB) driver.Store { return memobjects.New(nil) })
}

func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(testing.TB) driver.Store { return memobjects.New(nil) })
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	faults := inject.New(1, inject.Fault{Step: "object *", Err: boom})
	s := memobjects.New(&memobjects.Options{Faults: faults})
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1)
	require.ErrorIs(t, err, boom)
	_, err = s.Open(t.Context(), "a", 0, -1)
	require.ErrorIs(t, err, boom)
	require.ErrorIs(t, s.Remove(t.Context(), "a"), boom)
	for _, err := range s.List(t.Context()) {
		require.ErrorIs(t, err, boom)
	}
	require.Len(t, faults.Strikes(), 4)
	faults.Clear()
	_, err = s.Put(t.Context(), "a", strings.NewReader("xxx"), 3)
	require.NoError(t, err)
}

func Example() {
	ctx := context.Background()
	s := memobjects.New(nil)
	content, _ := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
	r, _ := s.Open(ctx, "0197-1", 2, 4)
	defer func() { _ = r.Close() }()
	text, _ := io.ReadAll(r)
	fmt.Println(content.Size, content.MD5, string(text))
	// Output: 6 b1ac43c8730205276b1f75ec9cd2d50b song
}
