//go:build linux

package qemu_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/drivertest"
	"github.com/kintoun/kintoun/compute/qemu"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(applyVariable); job != "" {
		os.Exit(applyAndEnd(job))
	}
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && lab.Inside() && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}))
}

// options are those of a driver with directories of its own, short enough for sockets.
func options(t testing.TB) *qemu.Options {
	t.Helper()
	labtest.RequireProgram(t, "qemu-system-x86_64", "qemu-system-x86")
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir, err := os.MkdirTemp("", "q")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &qemu.Options{Dir: dir, Accelerator: "tcg", Grace: 30 * time.Second}
}

// volumes are files; the guest that lets go of them is a Linux.
func volumes(t *testing.T) *drivertest.Volumes {
	dir := t.TempDir()
	return &drivertest.Volumes{
		Make: func(bytes int64) driver.Volume { return fileVolume(t, dir, bytes, nil) },
		Grow: func(v driver.Volume, bytes int64) driver.Volume {
			require.NoError(t, os.Truncate(v.Path, bytes))
			v.Bytes = bytes
			return v
		},
		Boot: func() driver.Volume { return fileVolume(t, dir, 1<<20, drivertest.BootSector()) },
		Server: func(id string) driver.Server {
			labtest.Require(t)
			want := guest(t)
			want.ID = id
			return want
		},
		Banner: "login:",
	}
}

// fileVolume is a raw volume that begins with content.
func fileVolume(t testing.TB, dir string, bytes int64, content []byte) driver.Volume {
	t.Helper()
	v := driver.Volume{ID: uuid.NewString(), Format: "raw", Bytes: bytes}
	v.Path = filepath.Join(dir, v.ID)
	require.NoError(t, os.WriteFile(v.Path, content, 0o600))
	require.NoError(t, os.Truncate(v.Path, bytes))
	return v
}

func TestConformance(t *testing.T) {
	drivertest.TestServers(t, func(t *testing.T) drivertest.Harness {
		o, image := options(t), drivertest.BootSectorImage(t)
		return drivertest.Harness{
			Open: func() driver.Servers {
				d, err := qemu.New(t.Context(), o)
				require.NoError(t, err)
				return d
			},
			Server: func(id string) driver.Server {
				return driver.Server{ID: id, Name: "small", VCPUs: 1, MemoryMiB: 16, Root: driver.Disk{Base: image, Format: "raw"}}
			},
			Banner: drivertest.Banner,
			Crash: func(running driver.Observed) {
				require.NoError(t, syscall.Kill(running.PID, syscall.SIGKILL))
			},
			PowerOff: func(running driver.Observed) {
				conn, err := net.Dial("unix", filepath.Join(o.Dir, "run", running.ID, "serial"))
				require.NoError(t, err)
				_, err = conn.Write([]byte{drivertest.QuitByte})
				require.NoError(t, err)
				// Until QEMU hangs up.
				require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
				_, err = io.Copy(io.Discard, conn)
				require.NoError(t, err)
				require.NoError(t, conn.Close())
			},
			Volumes: volumes(t),
			Base: func(content []byte) string {
				path := filepath.Join(t.TempDir(), "copy")
				require.NoError(t, os.WriteFile(path, content, 0o600))
				return path
			},
			Leftovers: func(id string) []string {
				var left []string
				for _, pattern := range []string{filepath.Join(o.Dir, "instances", "*"), filepath.Join(o.Dir, "run", "*"), "/sys/fs/cgroup/kintoun/" + id} {
					found, err := filepath.Glob(pattern)
					require.NoError(t, err)
					left = append(left, found...)
				}
				return left
			},
		}
	})
}
