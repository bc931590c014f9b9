//go:build linux

package filevolume_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cleanup is a context for what is done when the test's own has ended.
func cleanup(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

// attached are the loop devices that have the file.
func attached(t *testing.T, backing string) (devices []string) {
	t.Helper()
	names, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(data)) == backing {
			devices = append(devices, name)
		}
	}
	return devices
}

func TestBackingFile(t *testing.T) {
	dir, o := pool(t, 300<<20)
	d := driverOf(t, dir, o)
	v := uuid.NewString()
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: v, Bytes: 10 << 30}))
	c, err := d.Capacity(t.Context())
	require.NoError(t, err)
	require.Less(t, c.Total, int64(300<<20))
	require.Equal(t, int64(10<<30), c.Provisioned)
	require.Len(t, attached(t, o.BackingFile), 1)

	// Once more, it is as before; and larger, while it is in use.
	d = driverOf(t, dir, o)
	require.Len(t, attached(t, o.BackingFile), 1)
	o.BackingBytes = 600 << 20
	dev, err := d.Open(t.Context(), v, driver.ReadWrite)
	require.NoError(t, err)
	d = driverOf(t, dir, o)
	grown, err := d.Capacity(t.Context())
	require.NoError(t, err)
	require.Greater(t, grown.Total, c.Total+250<<20)
	o.BackingBytes = 300 << 20
	d = driverOf(t, dir, o)
	same, err := d.Capacity(t.Context())
	require.NoError(t, err)
	require.Equal(t, grown.Total, same.Total, "it never shrinks")

	require.ErrorIs(t, d.Unmount(t.Context()), driver.ErrBusy)
	require.NoError(t, dev.Close())
	require.NoError(t, d.Unmount(t.Context()))
	require.NoError(t, d.Unmount(t.Context()))
	require.Empty(t, attached(t, o.BackingFile))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	all, err := driverOf(t, dir, o).List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func TestBackingFileRefusals(t *testing.T) {
	dir, o := pool(t, 299<<20)
	_, err := filevolume.New(t.Context(), dir, o)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NoFileExists(t, o.BackingFile)

	// Something else is mounted there.
	o.BackingBytes = 300 << 20
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	_, err = filevolume.New(t.Context(), dir, o)
	require.ErrorContains(t, err, "something else")
	require.NoError(t, unix.Unmount(dir, 0))
	// A file that is no file system is left alone.
	require.NoError(t, os.WriteFile(o.BackingFile, make([]byte, 1<<20), 0o600))
	_, err = filevolume.New(t.Context(), dir, o)
	require.Error(t, err)
	require.Empty(t, attached(t, o.BackingFile))
	require.NoError(t, os.Remove(o.BackingFile))
}

// TestFileSystemsThatCannotClone are told apart, with what to do.
func TestFileSystemsThatCannotClone(t *testing.T) {
	labtest.Require(t)
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	defer func() { require.NoError(t, unix.Unmount(dir, 0)) }()
	_, err := filevolume.New(t.Context(), filepath.Join(dir, "pool"), nil)
	require.ErrorIs(t, err, filevolume.ErrUnavailable)
	require.ErrorContains(t, err, "Options.BackingFile")
	err = filevolume.Probe(t.Context(), filepath.Join(dir, "pool"), nil)
	require.Equal(t, "a file system that clones files", probe.All(err)[0].What)
}

func TestProbe(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "mkfs.xfs", "xfsprogs")
	dir := t.TempDir()
	options := &filevolume.Options{BackingFile: filepath.Join(dir, "not", "yet", "backing"), BackingBytes: 4 << 30}
	labtest.Traceless(t, func(ctx context.Context) error {
		return filevolume.Probe(ctx, filepath.Join(dir, "pool"), options)
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, filevolume.Probe(ctx, dir, options), context.Canceled)
	t.Setenv("PATH", t.TempDir())
	missing := probe.All(filevolume.Probe(t.Context(), dir, options))
	require.Len(t, missing, 2)
	require.Equal(t, "apt-get install xfsprogs", missing[0].How)
}

func TestProbeWithoutPrivileges(t *testing.T) {
	labtest.Require(t)
	dir := filepath.Join(os.TempDir(), "filevolume-deprived")
	answer := labtest.Deprived(t, []uintptr{unix.CAP_SYS_ADMIN}, func() error {
		return filevolume.Probe(context.Background(), dir, &filevolume.Options{BackingFile: dir + ".xfs", BackingBytes: 4 << 30})
	})
	require.Contains(t, answer, "an XFS on a loop device: missing")
}

// TestDirectoryOnXFS needs no privileges but those of a directory.
func TestDirectoryOnXFS(t *testing.T) {
	top, o := pool(t, 300<<20)
	_ = driverOf(t, top, o)
	dir := filepath.Join(top, "below")
	require.NoError(t, filevolume.Probe(t.Context(), dir, nil))
	d := driverOf(t, dir, nil)
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: uuid.NewString(), Bytes: 1 << 20}))
	require.NoError(t, d.Unmount(t.Context()))
	host, err := os.Hostname()
	require.NoError(t, err)
	all, err := d.List(t.Context())
	require.NoError(t, err)
	target, err := d.Connect(t.Context(), driver.Connection{ID: uuid.NewString(), VolumeID: all[0].ID, Host: host})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "volume-"+all[0].ID), target.Path)
}

// TestUnfitFiles has files in the pool's directory that cannot be adopted, or that lead out of it.
func TestUnfitFiles(t *testing.T) {
	dir, o := pool(t, 300<<20)
	d := driverOf(t, dir, o)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "odd"), make([]byte, 513), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "layer"), append([]byte("QFI\xfb"), make([]byte, 508)...), 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	all, err := d.Unmanaged(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	for _, u := range all {
		require.False(t, u.Safe, u.Name)
		require.NotEmpty(t, u.Reason)
		require.ErrorIs(t, d.Adopt(t.Context(), u.Name, uuid.NewString()), fs.ErrInvalid)
	}
	require.Error(t, d.Adopt(t.Context(), "link", uuid.NewString()))
	for _, name := range []string{"../backing", "connections", ".hidden", "", "volume-" + uuid.NewString()} {
		require.ErrorIs(t, d.Adopt(t.Context(), name, uuid.NewString()), fs.ErrInvalid, name)
	}
	v := uuid.NewString()
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "volume-"+v)))
	_, err = d.Open(t.Context(), v, driver.ReadOnly)
	require.Error(t, err)
	_, err = d.Connect(t.Context(), driver.Connection{ID: uuid.NewString(), VolumeID: v, Host: drivertest.Host})
	require.Error(t, err, fmt.Sprint(v))
	require.NoError(t, d.Remove(t.Context(), v))
}

// TestMending has what killed calls leave at their worst moments.
func TestMending(t *testing.T) {
	dir, o := pool(t, 300<<20)
	d := driverOf(t, dir, o)
	v := uuid.NewString()
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: v, Bytes: 1 << 20}))
	var ids []string
	for range 3 {
		n := uuid.NewString()
		require.NoError(t, d.ApplySnapshots(t.Context(), driver.Snapshot{ID: n, VolumeID: v}))
		ids = append(ids, n)
	}
	into := func(group string, ids ...string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, group), 0o700))
		for _, n := range ids {
			require.NoError(t, os.Rename(filepath.Join(dir, "snapshot-"+n), filepath.Join(dir, group, "snapshot-"+n)))
		}
	}
	into(".made-"+ids[0], ids[0])
	into(".making-"+ids[1], ids[1])
	require.NoError(t, os.Link(filepath.Join(dir, "volume-"+v), filepath.Join(dir, ".reverting-"+v)))
	d = driverOf(t, dir, o)
	all, err := d.List(t.Context())
	require.NoError(t, err)
	var got []string
	for _, x := range all {
		got = append(got, x.ID)
	}
	require.ElementsMatch(t, []string{v, ids[0], ids[2]}, got, "the group that was made is there, the one that was not is gone")
	requireTidy(t, dir)
}
