//go:build linux

package lvmvolume_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/kintoun/kintoun/volume/lvmvolume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// testChapter runs the lines of the package's first screen, on a host of that name.
func testChapter(t *testing.T) {
	require.NoError(t, unix.Sethostname([]byte("host1")))
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "state")
	volume, snapshot, connection := uuid.NewString(), uuid.NewString(), uuid.NewString()
	t.Cleanup(func() { lvm(t, "lvremove", group+"/"+lvmvolume.DefaultThinPool) })
	volumes, err := lvmvolume.New(ctx, group, dir, nil)
	require.NoError(t, err)
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	require.NoError(t, err)
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	require.NoError(t, err)
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
	require.NoError(t, err)
	require.Equal(t, driver.Target{Path: "/dev/" + group + "/volume-" + volume, Format: "raw", Bytes: 100 << 30}, target)
	require.NoError(t, volumes.Disconnect(ctx, volume, connection))
	capacity, err := volumes.Capacity(ctx)
	require.NoError(t, err)
	require.Equal(t, int64(200<<30), capacity.Provisioned)
	require.Less(t, capacity.Total, int64(8<<30))
	require.Equal(t, capacity.Total, capacity.Free, "nothing is written")
}

// fill writes ones to a part of a device.
func fill(t testing.TB, path string, offset, length int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xff}, int(length)), offset)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// requireContent fails unless the content is ones up to some byte and zeroes from there on.
func requireContent(t testing.TB, d *lvmvolume.Driver, id string, ones, size int64) {
	t.Helper()
	dev, err := d.Open(t.Context(), id, driver.ReadOnly)
	require.NoError(t, err)
	require.Equal(t, size, dev.Size())
	content := make([]byte, size)
	_, err = dev.ReadAt(content, 0)
	require.NoError(t, err)
	require.NoError(t, dev.Close())
	at := bytes.IndexByte(content, 0)
	if at < 0 {
		at = len(content)
	}
	require.Equal(t, int(ones), at, "ones")
	require.Empty(t, bytes.Trim(content[at:], "\x00"), "what comes behind the ones")
}

// testTails has a guest write to the rest of the last extent, which the volume has not and the device has: whatever becomes larger
// later is zeroes there.
func testTails(t *testing.T) {
	dir, o := pool(t, 128, local)
	d := driverOf(t, dir, o)
	ctx, v, n := t.Context(), uuid.NewString(), uuid.NewString()
	device := "/dev/" + group + "/volume-" + v
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: v, Bytes: 1536}))
	fill(t, device, 0, 1<<20)
	requireContent(t, d, v, 1536, 1536)
	require.NoError(t, d.ApplySnapshots(ctx, driver.Snapshot{ID: n, VolumeID: v}))
	for source, want := range map[driver.Source]int64{{VolumeID: v}: 4096, {SnapshotID: n}: 3<<20 + 512} {
		clone := uuid.NewString()
		require.NoError(t, d.Apply(ctx, driver.Volume{ID: clone, Bytes: want, Source: source}))
		requireContent(t, d, clone, 1536, want)
	}
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: v, Bytes: 2048}))
	requireContent(t, d, v, 1536, 2048)
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: v, Bytes: 2 << 20}))
	requireContent(t, d, v, 1536, 2<<20)
	fill(t, device, 0, 2<<20)
	require.NoError(t, d.Revert(ctx, v, n))
	requireContent(t, d, v, 1536, 1536)
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: v, Bytes: 2 << 20}))
	requireContent(t, d, v, 1536, 2<<20)

	// A call that was killed when the device had grown.
	lvm(t, "lvextend", "--size", "4m", group+"/volume-"+v)
	fill(t, device, 3<<20, 1<<20)
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: v, Bytes: 4 << 20}))
	requireContent(t, d, v, 1536, 4<<20)
}

// testMends leaves what calls leave that are killed between two commands, and what a start of the host leaves.
func testMends(t *testing.T) {
	dir, o := pool(t, 128, local)
	d := driverOf(t, dir, o)
	// Beside it is another driver's pool, in the middle of a revert.
	theirDir, theirs := pool(t, 64, local)
	other := driverOf(t, theirDir, theirs)
	ctx, beside := t.Context(), uuid.NewString()
	require.NoError(t, other.Apply(ctx, driver.Volume{ID: beside, Bytes: 1 << 20}))
	lvm(t, "lvcreate", "--type", "thin", "--setactivationskip", "n", "--name", "_revert-"+beside, group+"/volume-"+beside)

	suspended, inactive, reverted, reverting, growing := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	var want []driver.Observed
	for n, id := range []string{suspended, inactive, reverted, reverting, growing} {
		size := int64(n+1) << 20
		require.NoError(t, d.Apply(ctx, driver.Volume{ID: id, Bytes: size}))
		fill(t, "/dev/"+group+"/volume-"+id, 0, size)
		want = append(want, driver.Observed{Kind: driver.KindVolume, ID: id, Bytes: size, Used: size})
	}
	// Of snapshots taken at one moment the last was taken, and was not.
	taken, last, lost := uuid.NewString(), uuid.NewString(), uuid.NewString()
	for id, until := range map[string]string{taken: last, last: "", lost: uuid.NewString()} {
		args := []string{"lvcreate", "--type", "thin", "--setactivationskip", "n", "--name", "_snapshot-" + id, "--addtag", "kintoun.of=" + suspended}
		if until != "" {
			args = append(args, "--addtag", "kintoun.until=_snapshot-"+until)
		}
		lvm(t, append(args, group+"/volume-"+suspended)...)
		if id != lost {
			want = append(want, driver.Observed{Kind: driver.KindSnapshot, ID: id, Bytes: 1 << 20, Used: 1 << 20, VolumeID: suspended})
		}
	}
	making := uuid.NewString()
	lvm(t, "lvcreate", "--type", "thin", "--thinpool", o.ThinPool, "--virtualsize", "1m", "--addtag", "kintoun.making", "--name", "volume-"+making, group)
	dm(t, "suspend", suspended)
	lvm(t, "lvchange", "--activate", "n", group+"/volume-"+inactive)
	lvm(t, "lvrename", group, "volume-"+reverted, "_revert-"+reverted)
	lvm(t, "lvcreate", "--type", "thin", "--setactivationskip", "n", "--name", "_revert-"+reverting, group+"/volume-"+reverting)
	lvm(t, "lvchange", "--addtag", "kintoun.bytes=512", group+"/volume-"+growing)

	d = driverOf(t, dir, o)
	all, err := d.List(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, want, all)
	for _, v := range want {
		if v.Kind == driver.KindVolume {
			requireContent(t, d, v.ID, v.Bytes, v.Bytes)
		}
	}
	require.NoError(t, d.RemoveSnapshot(ctx, last), "which others waited for")
	require.NoFileExists(t, "/dev/"+group+"/_snapshot-"+last)
	require.FileExists(t, "/dev/"+group+"/_snapshot-"+taken)
	unmanaged, err := d.Unmanaged(ctx)
	require.NoError(t, err)
	require.Empty(t, unmanaged)
	require.NoError(t, d.Apply(ctx, driver.Volume{ID: making, Bytes: 1 << 20}))
	require.FileExists(t, "/dev/"+group+"/_revert-"+beside)
}

// testEndedCalls ends calls at all sorts of moments: the same driver has them wholly or not at all, and does them again.
func testEndedCalls(t *testing.T) {
	dir, o := pool(t, 128, local)
	d := driverOf(t, dir, o)
	source := uuid.NewString()
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: source, Bytes: 1 << 20}))
	fill(t, "/dev/"+group+"/volume-"+source, 0, 1<<20)
	for n := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*1300*time.Millisecond)
		want := driver.Volume{ID: uuid.NewString(), Bytes: 3 << 20, Source: driver.Source{VolumeID: source}}
		if err := d.Apply(ctx, want); err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			all, err := d.List(t.Context())
			require.NoError(t, err)
			require.Equal(t, []driver.Observed{{Kind: driver.KindVolume, ID: source, Bytes: 1 << 20, Used: 1 << 20}}, all)
		}
		cancel()
		require.NoError(t, d.Apply(t.Context(), want))
		requireContent(t, d, want.ID, 1<<20, 3<<20)
		require.NoError(t, d.Remove(t.Context(), want.ID))
	}
}

// dm runs a command of device-mapper's on a volume.
func dm(t testing.TB, command, id string) {
	t.Helper()
	name := strings.ReplaceAll(group, "-", "--") + "-volume--" + strings.ReplaceAll(id, "-", "--")
	program(t, "dmsetup", command, name, "--noudevsync", "--noudevrules")
}

// testServers has servers of block devices outlive the driver, run as nobody with one device alone, and be started again at the same
// address when they were killed: what was flushed is there.
func testServers(t *testing.T) {
	dir, o := pool(t, 128, remote)
	d := driverOf(t, dir, o)
	c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 1536}))
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	pid := pidOf(t, dir, c)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^Uid:\t65534\t65534\t65534\t65534$`, string(status))
	require.Regexp(t, `(?m)^CapEff:\t0000000000000000$`, string(status))

	dev := volumetest.Reach(t, target)
	require.Equal(t, int64(1536), dev.Size(), "not the extent's")
	content := bytes.Repeat([]byte{7}, 1536)
	_, err = dev.WriteAt(content, 0)
	require.NoError(t, err)
	require.NoError(t, dev.Sync())
	d = driverOf(t, dir, o)
	again, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, target, again)
	require.Equal(t, pid, pidOf(t, dir, c), "nobody disturbed it")

	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	_ = dev.Close() // its server is gone
	again, err = d.Connect(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, target, again)
	require.NotEqual(t, pid, pidOf(t, dir, c))
	dev = volumetest.Reach(t, again)
	found := make([]byte, len(content))
	_, err = dev.ReadAt(found, 0)
	require.NoError(t, err)
	require.Equal(t, content, found)
	require.NoError(t, dev.Close())
	pid = pidOf(t, dir, c)
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	volumetest.Gone(t, pid)
}

// pidOf is the process number of a connection's server.
func pidOf(t testing.TB, dir string, c driver.Connection) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "connections", c.VolumeID, c.ID, "pid"))
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(data))[0])
	require.NoError(t, err)
	return pid
}
