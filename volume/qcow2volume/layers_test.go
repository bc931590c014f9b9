//go:build linux

package qcow2volume_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
)

const mib = 1 << 20

func newPool(t *testing.T) (dir string, d *qcow2volume.Driver) {
	t.Helper()
	need(t)
	dir = pool(t, filepath.Join(t.TempDir(), "pool"), local())
	return dir, driverOf(t, dir, local())
}

func newVolume(t *testing.T, d *qcow2volume.Driver, bytes int64, source driver.Source) string {
	t.Helper()
	id := uuid.NewString()
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: id, Bytes: bytes, Source: source}))
	return id
}

func number(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func requireNumbers(t *testing.T, dev driver.Device, numbers int) {
	t.Helper()
	for n := range numbers {
		b := make([]byte, 8)
		_, err := dev.ReadAt(b, int64(n)*65536)
		require.NoError(t, err)
		require.Equal(t, number(n), b)
	}
	require.NoError(t, dev.Close())
}

// TestHiddenLayersAreMerged takes and removes snapshots of a volume, in use and not: what nobody sees does not pile up.
func TestHiddenLayersAreMerged(t *testing.T) {
	for _, used := range []bool{false, true} {
		t.Run(fmt.Sprintf("in use %v", used), func(t *testing.T) {
			dir, d := newPool(t)
			v := newVolume(t, d, 16*mib, driver.Source{})
			kept := uuid.NewString()
			var dev driver.Device
			c := driver.Connection{ID: uuid.NewString(), VolumeID: v, Host: drivertest.Host}
			if used {
				target, err := d.Connect(t.Context(), c)
				require.NoError(t, err)
				dev = reach(t, target)
			}
			for n := range 30 {
				to := dev
				if !used {
					var err error
					to, err = d.Open(t.Context(), v, driver.ReadWrite)
					require.NoError(t, err)
				}
				_, err := to.WriteAt(number(n), int64(n)*65536)
				require.NoError(t, err)
				if !used {
					require.NoError(t, to.Close())
				}
				s := uuid.NewString()
				if n == 3 {
					s = kept
				}
				require.NoError(t, d.ApplySnapshots(t.Context(), driver.Snapshot{ID: s, VolumeID: v}))
				if s != kept {
					require.NoError(t, d.RemoveSnapshot(t.Context(), s))
				}
				require.LessOrEqual(t, len(layersOf(t, dir)), 8+3)
			}
			require.Greater(t, len(layersOf(t, dir)), 8)
			if used {
				require.NoError(t, dev.Close())
				require.NoError(t, d.Disconnect(t.Context(), v, c.ID))
			}
			sound(t, dir, time.Time{})
			dev, err := d.Open(t.Context(), kept, driver.ReadOnly)
			require.NoError(t, err)
			requireNumbers(t, dev, 4)
			dev, err = d.Open(t.Context(), v, driver.ReadOnly)
			require.NoError(t, err)
			requireNumbers(t, dev, 30)
			require.NoError(t, d.Remove(t.Context(), v))
			require.NoError(t, d.RemoveSnapshot(t.Context(), kept))
			require.Empty(t, layersOf(t, dir))
		})
	}
}

// TestManyClonesOfOne has volumes from one that nobody uses stand on the same layer.
func TestManyClonesOfOne(t *testing.T) {
	dir, d := newPool(t)
	v := newVolume(t, d, mib, driver.Source{})
	for range 20 {
		newVolume(t, d, mib, driver.Source{VolumeID: v})
	}
	require.Len(t, layersOf(t, dir), 22)
}

// TestTheHighestLine refuses one layer more, and leaves nothing of it.
func TestTheHighestLine(t *testing.T) {
	dir, d := newPool(t)
	v := newVolume(t, d, 16*mib, driver.Source{})
	c := driver.Connection{ID: uuid.NewString(), VolumeID: v, Host: drivertest.Host}
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	dev := reach(t, target)
	taken := 0
	for err == nil {
		_, err = dev.WriteAt(number(taken), int64(taken)*65536)
		require.NoError(t, err)
		if err = d.ApplySnapshots(t.Context(), driver.Snapshot{ID: uuid.NewString(), VolumeID: v}); err == nil {
			taken++
		}
	}
	require.ErrorIs(t, err, driver.ErrBusy)
	require.Equal(t, 99, taken)
	require.Len(t, layersOf(t, dir), 100)
	require.NoError(t, dev.Close())
	require.NoError(t, d.Disconnect(t.Context(), v, c.ID))
	dev, err = d.Open(t.Context(), v, driver.ReadOnly)
	require.NoError(t, err)
	requireNumbers(t, dev, 100)
}

// TestAdoptAndRelease has a file of QEMU's become a volume, and one that stands on others become a whole file.
func TestAdoptAndRelease(t *testing.T) {
	dir, d := newPool(t)
	run(t, "qemu-img", "create", "-f", "qcow2", filepath.Join(dir, "theirs"), "3M")
	run(t, "qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", filepath.Join(dir, "theirs"))
	run(t, "qemu-img", "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", filepath.Join(dir, "sly"), "1M")
	all, err := d.Unmanaged(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, driver.Unmanaged{Name: "theirs", Bytes: 3 * mib, Safe: true}, all[1])
	require.False(t, all[0].Safe)
	require.Contains(t, all[0].Reason, "stands on another file")
	require.ErrorIs(t, d.Adopt(t.Context(), "sly", uuid.NewString()), fs.ErrInvalid)
	v, s := uuid.NewString(), uuid.NewString()
	require.NoError(t, d.Adopt(t.Context(), "theirs", v))
	require.NoFileExists(t, filepath.Join(dir, "theirs"))
	require.NoError(t, d.ApplySnapshots(t.Context(), driver.Snapshot{ID: s, VolumeID: v}))
	name, err := d.Release(t.Context(), v)
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), "qemu-img", "info", filepath.Join(dir, name)).CombinedOutput()
	require.NoError(t, err)
	require.NotContains(t, string(out), "backing")
	run(t, "qemu-io", "-f", "qcow2", "-r", "-c", "read -P 7 1M 64k", "-c", "read -P 0 2M 64k", filepath.Join(dir, name))
	run(t, "qemu-img", "check", filepath.Join(dir, name))
	dev, err := d.Open(t.Context(), s, driver.ReadOnly)
	require.NoError(t, err)
	b := make([]byte, 1)
	_, err = dev.ReadAt(b, mib)
	require.NoError(t, errors.Join(err, dev.Close()))
	require.Equal(t, byte(7), b[0])
	require.NoError(t, d.RemoveSnapshot(t.Context(), s))
	require.Empty(t, layersOf(t, dir))

	// An encrypted one stays so.
	secret := []byte("secret")
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: v, Bytes: mib, Passphrase: secret}))
	name, err = d.Release(t.Context(), v)
	require.NoError(t, err)
	require.NoError(t, d.Adopt(t.Context(), name, v))
	inside, err := d.Unlock(t.Context(), v, driver.ReadOnly, secret)
	require.NoError(t, err)
	require.Equal(t, int64(mib), inside.Size())
	require.NoError(t, inside.Close())
}

// TestAKilledAdoptionIsMended finds a file with two names.
func TestAKilledAdoptionIsMended(t *testing.T) {
	dir, d := newPool(t)
	v := newVolume(t, d, mib, driver.Source{})
	require.NoError(t, os.Link(filepath.Join(dir, "layers", layersOf(t, dir)[0]), filepath.Join(dir, "theirs")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), make([]byte, 512), 0o600))
	require.NoError(t, os.Link(filepath.Join(dir, "other"), filepath.Join(dir, "layers", uuid.NewString()+".raw")))
	d = driverOf(t, dir, local())
	require.NoFileExists(t, filepath.Join(dir, "theirs"), "the volume has it")
	require.FileExists(t, filepath.Join(dir, "other"), "no volume has it")
	require.Len(t, layersOf(t, dir), 1)
	require.NoError(t, d.Remove(t.Context(), v))
}

// TestTheDaemonOutlives has it go on without the driver, be found by the next one, and end with the last connection.
func TestTheDaemonOutlives(t *testing.T) {
	dir, d := newPool(t)
	a, b := newVolume(t, d, mib, driver.Source{}), newVolume(t, d, mib, driver.Source{})
	ca, cb := driver.Connection{ID: uuid.NewString(), VolumeID: a, Host: drivertest.Host}, driver.Connection{ID: uuid.NewString(), VolumeID: b, Host: drivertest.Host}
	target, err := d.Connect(t.Context(), ca)
	require.NoError(t, err)
	_, err = d.Connect(t.Context(), cb)
	require.NoError(t, err)
	pid := daemonPID(t, dir)
	dev := reach(t, target)
	_ = driverOf(t, dir, local())
	_, err = dev.WriteAt([]byte("kintoun"), 0)
	require.NoError(t, errors.Join(err, dev.Sync()), "nobody disturbed it")
	require.NoError(t, dev.Close())
	require.Equal(t, pid, daemonPID(t, dir))

	// A new driver has everything served again, before anybody asks.
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, func() bool { return !daemonRuns(t, dir) }, 10*time.Second, 10*time.Millisecond)
	d = driverOf(t, dir, local())
	require.NotEqual(t, pid, daemonPID(t, dir))
	dev = reach(t, target)
	content := make([]byte, 7)
	_, err = dev.ReadAt(content, 0)
	require.NoError(t, errors.Join(err, dev.Close()))
	require.Equal(t, "kintoun", string(content))

	require.NoError(t, d.Stop(t.Context()))
	require.False(t, daemonRuns(t, dir))
	d = driverOf(t, dir, local())
	require.NoError(t, d.Disconnect(t.Context(), a, ca.ID))
	require.True(t, daemonRuns(t, dir))
	require.NoError(t, d.Disconnect(t.Context(), b, cb.ID))
	require.False(t, daemonRuns(t, dir))
}

// TestTheDaemonsEndIsHeardOf has a connection mended as soon as what serves it is killed.
func TestTheDaemonsEndIsHeardOf(t *testing.T) {
	labtest.Require(t)
	for _, o := range []*qcow2volume.Options{local(), remote()} {
		need(t)
		dir := pool(t, filepath.Join(t.TempDir(), "pool"), o)
		d := driverOf(t, dir, o)
		ctx, cancel := context.WithCancel(t.Context())
		heard, done := make(chan string, 8), make(chan error, 1)
		go func() { done <- d.Watch(ctx, func(id string) { heard <- id }) }()
		c := driver.Connection{ID: uuid.NewString(), VolumeID: newVolume(t, d, mib, driver.Source{}), Host: drivertest.Host}
		target, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(daemonPID(t, dir), syscall.SIGKILL))
		require.Equal(t, c.ID, <-heard)
		again, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, target, again)
		dev := reach(t, again)
		require.NoError(t, errors.Join(dev.Sync(), dev.Close()))
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	}
}

// TestTheDaemonIsUnprivileged has it run as the account that it was told, in a network without anything.
func TestTheDaemonIsUnprivileged(t *testing.T) {
	labtest.Require(t)
	need(t)
	dir := pool(t, filepath.Join(t.TempDir(), "pool"), remote())
	d := driverOf(t, dir, remote())
	v := newVolume(t, d, mib, driver.Source{})
	_, err := d.Connect(t.Context(), driver.Connection{ID: uuid.NewString(), VolumeID: v, Host: "host2"})
	require.NoError(t, err)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", daemonPID(t, dir)))
	require.NoError(t, err)
	require.Regexp(t, `(?m)^Uid:\t65534\t65534\t65534\t65534$`, string(status))
	require.Regexp(t, `(?m)^CapEff:\t0000000000000000$`, string(status))
	devices, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", daemonPID(t, dir)))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(devices), ":"), "a network with a loopback device alone")
}

func TestNoAddressForOthers(t *testing.T) {
	_, d := newPool(t)
	v := newVolume(t, d, mib, driver.Source{})
	_, err := d.Connect(t.Context(), driver.Connection{ID: uuid.NewString(), VolumeID: v, Host: "elsewhere"})
	require.ErrorIs(t, err, qcow2volume.ErrUnavailable)
	require.NoError(t, d.Remove(t.Context(), v), "nothing is left of it")
}

func TestProbe(t *testing.T) {
	need(t)
	dir := t.TempDir()
	require.NoError(t, qcow2volume.Probe(t.Context(), filepath.Join(dir, "not", "there"), nil))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	t.Setenv("PATH", dir)
	missing := probe.All(qcow2volume.Probe(t.Context(), dir, nil))
	require.Len(t, missing, 1)
	require.Equal(t, "qemu-storage-daemon", missing[0].What)
}
