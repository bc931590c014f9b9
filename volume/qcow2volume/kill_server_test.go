//go:build linux

package qcow2volume_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/qcow2volume"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a writer over NBD writes in turn: blocks full of one number, with a checksum at the end.
const (
	killedBlock  = 4096
	killedBlocks = 256
)

func numbered(n uint64) []byte {
	b := bytes.Repeat(binary.BigEndian.AppendUint64(nil, n), killedBlock/8)
	binary.BigEndian.PutUint32(b[killedBlock-4:], crc32.ChecksumIEEE(b[:killedBlock-4]))
	return b
}

// numberOf is the number that a block is full of; 0 for one that was never written. A torn one fails the test.
func numberOf(t *testing.T, round int, b []byte) uint64 {
	t.Helper()
	n := binary.BigEndian.Uint64(b)
	want := make([]byte, killedBlock)
	if n > 0 {
		want = numbered(n)
	}
	require.True(t, bytes.Equal(want, b), "round %d: the block of write %d is torn", round, n)
	return n
}

// daemonPID is the pool's storage daemon's process number.
func daemonPID(t *testing.T, dir string) int {
	t.Helper()
	p, err := process.Find(filepath.Join(dir, "daemon"))
	require.NoError(t, err)
	require.NotNil(t, p)
	return p.PID
}

// TestKillServer has a host write to a volume, of which snapshots are taken, while the pool's storage daemon is killed at random
// moments: what was flushed is there when the connection is mended, and in every snapshot that was begun later; nothing is torn.
func TestKillServer(t *testing.T) {
	need(t)
	dir, o := pool(t, filepath.Join(t.TempDir(), "pool"), local()), local()
	d := driverOf(t, dir, o)
	c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
	require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: killedBlocks * killedBlock}))
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	last, snapshots := uint64(0), 0
	for round := range *kills {
		pid := daemonPID(t, dir)
		dev := reach(t, target)
		var flushed atomic.Uint64
		var taken []taken
		var wg sync.WaitGroup
		ctx, killed := context.WithCancel(t.Context())
		wg.Go(func() { taken = takeSnapshots(ctx, d, c.VolumeID, &flushed) })
		time.AfterFunc(time.Duration(rand.IntN(200_000))*time.Microsecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		writeUntilKilled(dev, last, &flushed)
		killed()
		wg.Wait()
		_ = dev.Close() // its server is gone
		if round%2 == 1 {
			d = driverOf(t, dir, o) // the driver's process was killed too
		}
		again, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, target, again)
		require.NotEqual(t, pid, daemonPID(t, dir))
		whole := reach(t, target)
		last = requireFlushed(t, round, whole, flushed.Load())
		for _, s := range taken {
			content, err := d.Open(t.Context(), s.id, driver.ReadOnly)
			require.NoError(t, err)
			requireFlushed(t, round, content, s.flushed)
			require.NoError(t, d.RemoveSnapshot(t.Context(), s.id))
			snapshots++
		}
	}
	t.Logf("%d writes and %d snapshots were seen over %d kills", last, snapshots, *kills)
	require.Positive(t, last)
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	require.False(t, daemonRuns(t, dir))
	sound(t, dir, time.Time{})
	require.NoError(t, d.Remove(t.Context(), c.VolumeID))
	all, err := d.List(t.Context())
	require.NoError(t, err)
	for _, s := range all { // acknowledged by nobody, and whole
		require.Equal(t, driver.KindSnapshot, s.Kind)
		require.NoError(t, d.RemoveSnapshot(t.Context(), s.ID))
	}
	require.Empty(t, layersOf(t, dir))
}

// TestServerThatIsEnding has a daemon end while it is asked: its control socket may take a connection yet, and cut it off.
func TestServerThatIsEnding(t *testing.T) {
	need(t)
	for name, end := range map[string]func(t *testing.T, l net.Listener){
		"before it hears": func(t *testing.T, l net.Listener) { // the connection is reset
			file, err := l.(*net.UnixListener).File()
			require.NoError(t, err)
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}, 10_000)
			require.NoError(t, err)
			require.NoError(t, file.Close())
		},
		"before it answers": func(t *testing.T, l net.Listener) {
			conn, err := l.Accept()
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := pool(t, filepath.Join(t.TempDir(), "pool"), local())
			d := driverOf(t, dir, local())
			c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: drivertest.Host}
			require.NoError(t, d.Apply(t.Context(), driver.Volume{ID: c.VolumeID, Bytes: 1 << 20}))
			t.Chdir(filepath.Join(dir, "daemon")) // addresses of sockets are short
			l, err := net.Listen("unix", "monitor")
			require.NoError(t, err)
			l.(*net.UnixListener).SetUnlinkOnClose(false)
			var target driver.Target
			var failed error
			var wg sync.WaitGroup
			wg.Go(func() { target, failed = d.Connect(t.Context(), c) })
			end(t, l)
			require.NoError(t, l.Close())
			wg.Wait()
			require.NoError(t, failed)
			require.NoError(t, reach(t, target).Close())
			require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
		})
	}
}

// taken is a snapshot, and what had been flushed before it was begun.
type taken struct {
	id      string
	flushed uint64
}

func takeSnapshots(ctx context.Context, d *qcow2volume.Driver, volume string, flushed *atomic.Uint64) (all []taken) {
	for ctx.Err() == nil {
		s := taken{uuid.NewString(), flushed.Load()}
		if err := d.ApplySnapshots(ctx, driver.Snapshot{ID: s.id, VolumeID: volume}); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// writeUntilKilled writes and flushes in turn.
func writeUntilKilled(dev driver.Device, last uint64, flushed *atomic.Uint64) {
	flushed.Store(last)
	for n := last + 1; ; n++ {
		if _, err := dev.WriteAt(numbered(n), int64(n%killedBlocks)*killedBlock); err != nil {
			return
		}
		if err := dev.Sync(); err != nil {
			return
		}
		flushed.Store(n)
	}
}

// requireFlushed reads all blocks, closes the device, and returns the highest number in them.
func requireFlushed(t *testing.T, round int, dev driver.Device, flushed uint64) uint64 {
	t.Helper()
	content := make([]byte, killedBlocks*killedBlock)
	_, err := dev.ReadAt(content, 0)
	require.NoError(t, err)
	require.NoError(t, dev.Close())
	highest := flushed
	for i := range uint64(killedBlocks) {
		n := numberOf(t, round, content[i*killedBlock:][:killedBlock])
		// The newest number up to flushed that belongs into this block, if there is one.
		if age := (flushed + killedBlocks - i) % killedBlocks; flushed > age {
			require.GreaterOrEqual(t, n, flushed-age, "round %d: block %d lost a write that was flushed", round, i)
		}
		highest = max(highest, n)
	}
	return highest
}
