//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/compute/drivertest"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func TestTheGuestIsHeard(t *testing.T) {
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	image := drivertest.BootSectorImage(t)
	t.Setenv("TMPDIR", shortDir(t))
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-image", image, "-format", "raw", "-memory", "16", "-until", drivertest.Banner}, &out))
	require.Contains(t, out.String(), drivertest.Banner)
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// shortDir is short enough for the path of a socket, and one that QEMU's own user can reach.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "v")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestItSaysWhatIsWrong(t *testing.T) {
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	require.ErrorContains(t, run(t.Context(), []string{"-image", "/nowhere/disk.raw"}, io.Discard), "/nowhere/disk.raw")
}
