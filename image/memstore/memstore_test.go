package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	drivertest.TestStore(t, func(testing.TB) driver.Store { return memstore.New(nil) })
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	faults := inject.New(1, inject.Fault{Step: "image *", Err: boom})
	s := memstore.New(&memstore.Options{Faults: faults})
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"))
	require.ErrorIs(t, err, boom)
	_, err = s.Open(t.Context(), "a")
	require.ErrorIs(t, err, boom)
	require.ErrorIs(t, s.Remove(t.Context(), "a"), boom)
	_, err = s.List(t.Context())
	require.ErrorIs(t, err, boom)
	faults.Clear()
	_, err = s.Put(t.Context(), "a", strings.NewReader("xxx"))
	require.NoError(t, err)
}

func Example() {
	ctx := context.Background()
	s := memstore.New(nil)
	content, _ := s.Put(ctx, "image-1", strings.NewReader("a disk"))
	f, _ := s.Open(ctx, "image-1")
	defer func() { _ = f.Close() }()
	text, _ := io.ReadAll(f)
	fmt.Println(content.Size, content.MD5, string(text))
	// Output: 6 9f3dcc17b3660ff7eb3be3e5f62f58c7 a disk
}
