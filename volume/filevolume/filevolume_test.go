//go:build linux

package filevolume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// A lab has mounts of its own.
func TestMain(m *testing.M) {
	if volumetest.IsGuest() {
		os.Exit(volumetest.BeGuest())
	}
	if dir := os.Getenv(killVariable); dir != "" {
		os.Exit(beKilled(dir))
	}
	if volumes := os.Getenv(snapshotVariable); volumes != "" {
		os.Exit(takeSnapshots(strings.Fields(volumes)))
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

// pool is a pool in a backing file, which is unmounted when the test ends.
func pool(t testing.TB, bytes int64) (dir string, o *filevolume.Options) {
	t.Helper()
	labtest.Require(t)
	labtest.RequireProgram(t, "mkfs.xfs", "xfsprogs")
	top := t.TempDir()
	dir, o = filepath.Join(top, "pool"), &filevolume.Options{BackingFile: filepath.Join(top, "backing"), BackingBytes: bytes, Host: drivertest.Host}
	t.Cleanup(func() {
		if d, err := filevolume.New(cleanup(t), dir, o); err == nil {
			require.NoError(t, d.Unmount(cleanup(t)))
		}
	})
	return dir, o
}

func driverOf(t testing.TB, dir string, o *filevolume.Options) *filevolume.Driver {
	t.Helper()
	d, err := filevolume.New(cleanup(t), dir, o)
	require.NoError(t, err)
	return d
}

func suitePool(t testing.TB, bytes int64, change func(*filevolume.Options)) drivertest.Pool {
	dir, o := pool(t, bytes)
	change(o)
	return drivertest.Pool{
		Open:  func(t testing.TB) driver.Volumes { return driverOf(t, dir, o) },
		Reach: volumetest.Reach,
		Place: func(t testing.TB, bytes int64) string {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "theirs.img"), nil, 0o600))
			require.NoError(t, os.Truncate(filepath.Join(dir, "theirs.img"), bytes))
			return "theirs.img"
		},
	}
}

func factory(change func(*filevolume.Options)) drivertest.Factory {
	return func(t testing.TB) drivertest.Pool {
		p := suitePool(t, 4<<30, change)
		p.Small = func(t testing.TB) drivertest.Pool { return suitePool(t, 300<<20, change) }
		return p
	}
}

func local(*filevolume.Options) {}

// remote has all hosts be other ones.
func remote(o *filevolume.Options) { o.Host, o.Listen, o.User = "another", "127.0.0.1", "nobody" }

func TestVolumes(t *testing.T) { drivertest.TestVolumes(t, factory(local)) }

func TestVolumesOfOtherHosts(t *testing.T) {
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	drivertest.TestVolumes(t, factory(remote))
}

func BenchmarkVolumes(b *testing.B) { drivertest.BenchmarkVolumes(b, factory(local)) }

func BenchmarkVolumesOfOtherHosts(b *testing.B) { drivertest.BenchmarkVolumes(b, factory(remote)) }
