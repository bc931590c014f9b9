//go:build unix

package filestore_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, filestore.Probe(t.Context(), filepath.Join(dir, "not", "yet"), nil))
	require.NoError(t, filestore.Probe(t.Context(), filepath.Join(dir, "images"), &filestore.Options{Group: os.Getgid()}))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	// Nobody can write to /proc, root neither.
	err = filestore.Probe(t.Context(), "/proc/images", nil)
	require.ErrorIs(t, err, probe.ErrUnavailable)
	require.ErrorContains(t, err, "a writable /proc: missing, needed for the contents of images: choose another directory")
}
