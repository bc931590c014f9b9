//go:build linux

package filevolume_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/filevolume"
	"github.com/kintoun/kintoun/volume/internal/nbd"
	"github.com/kintoun/kintoun/volume/internal/volumetest"
	"github.com/stretchr/testify/require"
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

// TestKillServer has another host write to a volume over NBD, while the storage daemon that serves it is killed at random moments:
// what was flushed is there when the connection is mended, nothing is torn, and one server at a time has the volume.
func TestKillServer(t *testing.T) {
	dir, o, d, c, target := connected(t)
	last := uint64(0)
	for round := range *kills {
		pid := pidOf(t, dir, c)
		dev := volumetest.Reach(t, target)
		time.AfterFunc(time.Duration(rand.IntN(100_000))*time.Microsecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		flushed := writeUntilKilled(dev, last)
		_ = dev.Close() // its server is gone
		if round%2 == 1 {
			d = driverOf(t, dir, o) // the driver's process was killed too
		}
		again, err := d.Connect(t.Context(), c)
		require.NoError(t, err)
		require.Equal(t, target, again)
		require.NotEqual(t, pid, pidOf(t, dir, c))
		last = requireFlushed(t, round, target, flushed)
	}
	t.Logf("%d writes were seen over %d kills", last, *kills)
	require.Positive(t, last)
	requireOneServer(t, d, c)
}

// writeUntilKilled writes and flushes in turn, and returns the last number that was flushed.
func writeUntilKilled(dev driver.Device, last uint64) (flushed uint64) {
	for n := last + 1; ; n++ {
		if _, err := dev.WriteAt(numbered(n), int64(n%killedBlocks)*killedBlock); err != nil {
			return n - 1
		}
		if err := dev.Sync(); err != nil {
			return n - 1
		}
	}
}

// requireFlushed reads all blocks and returns the highest number in them.
func requireFlushed(t *testing.T, round int, target driver.Target, flushed uint64) uint64 {
	t.Helper()
	dev := volumetest.Reach(t, target)
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

// requireOneServer ends the connection, after which nobody serves the volume.
func requireOneServer(t *testing.T, d *filevolume.Driver, c driver.Connection) {
	t.Helper()
	observed, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, observed, 1)
	require.Equal(t, []string{c.ID}, observed[0].Connections)
	target, err := d.Connect(t.Context(), c)
	require.NoError(t, err)
	require.NoError(t, d.Disconnect(t.Context(), c.VolumeID, c.ID))
	_, err = nbd.Dial(t.Context(), "tcp", target.NBD.Address, nil)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
