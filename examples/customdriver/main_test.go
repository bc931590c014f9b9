package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/stretchr/testify/require"
)

var key = bytes.Repeat([]byte("k"), 32)

func newStore(t testing.TB) driver.Store {
	s, err := New(t.TempDir(), key)
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) { drivertest.TestStore(t, newStore) }

func BenchmarkPut(b *testing.B) { drivertest.BenchmarkPut(b, newStore) }

func TestTheDiskTellsNothing(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, "kept 6 bytes; readable on disk: false; read back: a disk\n", out.String())
}

func TestWhatAKilledPutLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, unfinished+"1234")
	require.NoError(t, os.WriteFile(left, []byte("half a disk"), 0o600))
	s, err := New(dir, key)
	require.NoError(t, err)
	require.NoFileExists(t, left)
	refs, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, refs)
}
