//go:build linux

package rbdvolume

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCommandsThatHang has an rbd that never ends until it was called so many times.
func TestCommandsThatHang(t *testing.T) {
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho >> " + calls + "\n[ $(wc -l < " + calls + ") -gt 2 ] || exec sleep 60\necho '[]'\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rbd"), []byte(script), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	d := &Driver{pool: "pool"}
	_, err := d.rbdWithin(t.Context(), 50*time.Millisecond, "snap", "create", "pool/a@b")
	require.ErrorContains(t, err, "rbd snap create pool/a@b: it hung, and was killed after 50ms")
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	out, err := d.repeated(t.Context(), time.Second, "ls", "pool")
	require.NoError(t, err)
	require.Equal(t, "[]\n", string(out))
	told, err := os.ReadFile(calls)
	require.NoError(t, err)
	require.Len(t, told, 3, "tried again")
}
