// Package drivertest is the conformance suite that every store of object contents (package objectstore/driver) passes.
//
//	func TestStore(t *testing.T) {
//		drivertest.TestStore(t, func(testing.TB) driver.Store { return memobjects.New(nil) })
//	}
//
// It needs testify, and of the host what the store needs; it keeps some 20 MiB, the benchmarks more. A process that is killed
// is not in it, nor a disk that is full: a store's own test must do that. Errors are test failures, with the name of the part;
// the store is used concurrently, the suite itself is not for concurrent use.
package drivertest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/stretchr/testify/require"
)

// Factory returns an empty store that lasts as long as the test.
type Factory func(t testing.TB) driver.Store

// TestStore runs the suite.
func TestStore(t *testing.T, factory Factory) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s driver.Store)
	}{
		{"Contents are kept as they were given", keeps},
		{"A content whose size nobody knows", unknown},
		{"Parts of a content", ranges},
		{"What is no part of a content is refused", outside},
		{"Local files are read from their place", files},
		{"Readers of one content are independent", readers},
		{"An open content outlives its removal", outlives},
		{"A failed put leaves nothing", fails},
		{"A reader that yields another number", wrong},
		{"An ended context ends a put", ends},
		{"A reference names one content for ever", once},
		{"One of many puts of a reference wins", race},
		{"Equal contents live and die apart", equals},
		{"Removing is happy when it is gone", removes},
		{"Many are removed at once", bulk},
		{"A listing can be left", lists},
		{"Bad references are refused", refuses},
		{"Many at once", many},
		{"A check finds all well", checks},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, factory(t)) })
	}
}

// bytesOf are n bytes that look random and are always the same.
func bytesOf(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// contentOf is what a store has to say of b.
func contentOf(b []byte) driver.Content {
	sum := md5.Sum(b)
	return driver.Content{Size: int64(len(b)), MD5: hex.EncodeToString(sum[:])}
}

func put(t testing.TB, s driver.Store, ref string, content []byte) driver.Content {
	t.Helper()
	c, err := s.Put(context.Background(), ref, bytes.NewReader(content), int64(len(content)))
	require.NoError(t, err)
	return c
}

func part(t testing.TB, s driver.Store, ref string, offset, length int64) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), ref, offset, length)
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return content
}

func get(t testing.TB, s driver.Store, ref string) []byte {
	t.Helper()
	return part(t, s, ref, 0, -1)
}

// same compares without printing megabytes.
func same(t testing.TB, want, got []byte, about ...any) {
	t.Helper()
	require.Len(t, got, len(want), about...)
	require.True(t, bytes.Equal(want, got), about...)
}

func list(t testing.TB, s driver.Store) []string {
	t.Helper()
	refs := []string{}
	for ref, err := range s.List(context.Background()) {
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	return refs
}

func missing(t testing.TB, s driver.Store, ref string) {
	t.Helper()
	_, err := s.Open(context.Background(), ref, 0, -1)
	require.ErrorIs(t, err, fs.ErrNotExist)
}
