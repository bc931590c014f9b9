//go:build linux

package qcow2volume_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/internal/nbd"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// A lab has mounts of its own.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		os.Exit(beKilled(dir))
	}
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	}))
}

// cleanup is a context for what is done when a test has ended.
func cleanup(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

// options are of a pool whose own host is the suite's; others have all hosts be other ones.
func local() *qcow2volume.Options { return &qcow2volume.Options{Host: drivertest.Host} }

func remote() *qcow2volume.Options {
	return &qcow2volume.Options{Host: "another", Listen: "127.0.0.1", User: "nobody"}
}

func need(t testing.TB) {
	t.Helper()
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
}

func driverOf(t testing.TB, dir string, o *qcow2volume.Options) *qcow2volume.Driver {
	t.Helper()
	d, err := qcow2volume.New(cleanup(t), dir, o)
	require.NoError(t, err)
	return d
}

// pool is an empty one; what is connected when the test ends is disconnected, and then nothing runs any more, and all files are
// sound.
func pool(t testing.TB, dir string, o *qcow2volume.Options) string {
	t.Helper()
	t.Cleanup(func() {
		ctx := cleanup(t)
		d, err := qcow2volume.New(ctx, dir, o)
		require.NoError(t, err)
		all, err := d.List(ctx)
		require.NoError(t, err)
		for _, v := range all {
			for _, c := range v.Connections {
				require.NoError(t, d.Disconnect(ctx, v.ID, c))
			}
		}
		require.False(t, daemonRuns(t, dir), "a storage daemon is left")
		sound(t, dir, time.Time{})
	})
	return dir
}

func daemonRuns(t testing.TB, dir string) bool {
	t.Helper()
	p, err := process.Find(filepath.Join(dir, "daemon"))
	require.NoError(t, err)
	return p != nil
}

// sound has qemu-img check the layers that were changed since.
func sound(t testing.TB, dir string, since time.Time) {
	t.Helper()
	layers, err := os.ReadDir(filepath.Join(dir, "layers"))
	require.NoError(t, err)
	for _, l := range layers {
		info, err := l.Info()
		if errors.Is(err, fs.ErrNotExist) || filepath.Ext(l.Name()) != ".qcow2" || err == nil && info.ModTime().Before(since) {
			continue
		}
		require.NoError(t, err)
		out, err := exec.CommandContext(cleanup(t), "qemu-img", "check", "-f", "qcow2", filepath.Join(dir, "layers", l.Name())).CombinedOutput()
		require.NoError(t, err, "%s: %s", l.Name(), out)
	}
}

// checked is a driver whose files are checked after each operation, while nobody has them open.
type checked struct {
	*qcow2volume.Driver
	t     testing.TB
	dir   string
	mu    *sync.RWMutex
	since *time.Time
}

func (c checked) check(err error) error {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if !daemonRuns(c.t, c.dir) {
			now := time.Now()
			sound(c.t, c.dir, *c.since)
			*c.since = now.Add(-time.Second) // clocks of files are coarse
		}
	}
	return err
}

func (c checked) do(do func() error) error {
	c.mu.RLock()
	err := do()
	c.mu.RUnlock()
	return c.check(err)
}

func (c checked) Apply(ctx context.Context, want driver.Volume) error {
	return c.do(func() error { return c.Driver.Apply(ctx, want) })
}

func (c checked) Remove(ctx context.Context, id string) error {
	return c.do(func() error { return c.Driver.Remove(ctx, id) })
}

func (c checked) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	return c.do(func() error { return c.Driver.ApplySnapshots(ctx, want...) })
}

func (c checked) RemoveSnapshot(ctx context.Context, id string) error {
	return c.do(func() error { return c.Driver.RemoveSnapshot(ctx, id) })
}

func (c checked) Revert(ctx context.Context, volume, snapshot string) error {
	return c.do(func() error { return c.Driver.Revert(ctx, volume, snapshot) })
}

func (c checked) Disconnect(ctx context.Context, volume, connection string) error {
	return c.do(func() error { return c.Driver.Disconnect(ctx, volume, connection) })
}

func (c checked) Connect(ctx context.Context, want driver.Connection) (target driver.Target, err error) {
	err = c.do(func() error {
		target, err = c.Driver.Connect(ctx, want)
		return err
	})
	return target, err
}

func (c checked) Open(ctx context.Context, id string, access driver.Access) (device driver.Device, err error) {
	err = c.do(func() error {
		device, err = c.Driver.Open(ctx, id, access)
		return err
	})
	return device, err
}

func suitePool(t testing.TB, dir string, o *qcow2volume.Options) drivertest.Pool {
	pool(t, dir, o)
	var mu sync.RWMutex
	var since time.Time
	return drivertest.Pool{
		Open: func(t testing.TB) driver.Volumes {
			d := driverOf(t, dir, o)
			if _, benchmark := t.(*testing.B); benchmark {
				return d
			}
			return checked{d, t, dir, &mu, &since}
		},
		Reach: reach,
		Place: func(t testing.TB, bytes int64) string {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "theirs.img"), nil, 0o600))
			require.NoError(t, os.Truncate(filepath.Join(dir, "theirs.img"), bytes))
			return "theirs.img"
		},
	}
}

func factory(options func() *qcow2volume.Options) drivertest.Factory {
	return func(t testing.TB) drivertest.Pool {
		need(t)
		p := suitePool(t, filepath.Join(t.TempDir(), "pool"), options())
		p.Small = func(t testing.TB) drivertest.Pool {
			return suitePool(t, filepath.Join(newDisk(t, 64<<20).dir, "pool"), options())
		}
		return p
	}
}

// disk is a directory with an ext4 of its own, which cannot share blocks between files.
type disk struct{ image, dir string }

func newDisk(t testing.TB, bytes int64) disk {
	t.Helper()
	labtest.Require(t)
	labtest.RequireProgram(t, "mkfs.ext4", "e2fsprogs")
	top := t.TempDir()
	d := disk{filepath.Join(top, "image"), filepath.Join(top, "mounted")}
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, bytes))
	run(t, "mkfs.ext4", "-q", "-F", d.image)
	require.NoError(t, os.Mkdir(d.dir, 0o755))
	d.mount(t)
	t.Cleanup(func() { d.unmount(t) })
	return d
}

func (d disk) mount(t testing.TB) {
	t.Helper()
	run(t, "mount", "-o", "loop", d.image, d.dir)
}

func (d disk) unmount(t testing.TB) {
	t.Helper()
	// Programs that were killed with their parents may be ending yet.
	require.Eventually(t, func() bool { return !errors.Is(unix.Unmount(d.dir, 0), unix.EBUSY) }, 10*time.Second, 10*time.Millisecond)
	require.NoDirExists(t, filepath.Join(d.dir, "lost+found"))
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(cleanup(t), program, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", program, args, out)
}

func TestVolumes(t *testing.T) { drivertest.TestVolumes(t, factory(local)) }

func TestVolumesOfOtherHosts(t *testing.T) {
	labtest.Require(t)
	drivertest.TestVolumes(t, factory(remote))
}

func BenchmarkVolumes(b *testing.B) { drivertest.BenchmarkVolumes(b, factory(local)) }

func BenchmarkVolumesOfOtherHosts(b *testing.B) {
	labtest.Require(b)
	drivertest.BenchmarkVolumes(b, factory(remote))
}

// reach opens what a connected host has.
func reach(t testing.TB, target driver.Target) driver.Device {
	t.Helper()
	c, err := tryReach(t.Context(), target)
	require.NoError(t, err)
	return c
}

func tryReach(ctx context.Context, target driver.Target) (driver.Device, error) {
	return nbd.Open(ctx, target.NBD)
}

func layersOf(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "layers"))
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, strings.HasPrefix(e.Name(), "."), e.Name())
		names = append(names, e.Name())
	}
	return names
}
