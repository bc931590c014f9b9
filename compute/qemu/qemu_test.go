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
