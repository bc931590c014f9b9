package cachestore_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image/cachestore"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/stretchr/testify/require"
)

func newStore(t testing.TB) driver.Store {
	s, err := cachestore.New(t.TempDir(), memstore.New(nil))
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) { drivertest.TestStore(t, newStore) }

func TestCopiesAreListedAndDropped(t *testing.T) {
	s := newStore(t).(*cachestore.Store)
	_, err := s.Put(t.Context(), "a", strings.NewReader("a disk"))
	require.NoError(t, err)
	list, err := s.Cached(t.Context())
	require.NoError(t, err)
	require.Empty(t, list, "a content that nobody asked for has no copy")
	for range 2 {
		name, err := s.Path(t.Context(), "a")
		require.NoError(t, err)
		require.FileExists(t, name)
	}
	list, err = s.Cached(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "a", list[0].Ref)
	require.EqualValues(t, 6, list[0].Size)
	require.EqualValues(t, 2, list[0].Hits)
	require.NoError(t, s.Drop(t.Context(), "a"))
	require.NoError(t, s.Drop(t.Context(), "a"))
	list, err = s.Cached(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.Path(t.Context(), "a")
	require.NoError(t, err, "the content is still there")
}

func TestACopyThatWasCutIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	behind := memstore.New(nil)
	s, err := cachestore.New(dir, behind)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "a", strings.NewReader("a disk"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Path(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	// And one that a killed process left.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tmp", "a"), []byte("a d"), 0o600))
	s, err = cachestore.New(dir, behind)
	require.NoError(t, err)
	name, err := s.Path(t.Context(), "a")
	require.NoError(t, err)
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "a disk", string(content))
}
