package drivertest

import (
	"testing"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// written is how much of the large volume is, in pieces that lie apart.
const (
	written = int64(256) << 20
	piece   = int64(1) << 20
)

// pieces are how many of 4 KiB lie apart in a volume that is in pieces.
const pieces = 1 << 14

// BenchmarkVolumes measures making volumes of 1 GiB and of 100 GiB, snapshots and clones of one of 100 GiB of which 256 MiB are
// written, snapshots of one of 100 GiB in 16,384 pieces, connecting, and writing and reading by 1 MiB.
func BenchmarkVolumes(b *testing.B, factory Factory) {
	for _, c := range []struct {
		name string
		gib  int64
	}{{"1GiB", 1}, {"100GiB", 100}} {
		b.Run("Create/"+c.name, func(b *testing.B) { creates(b, factory(b).Open(b), c.gib<<30) })
	}
	for _, c := range []struct {
		name string
		run  func(*testing.B, driver.Volumes, string)
	}{{"Snapshot/100GiB", snapshots}, {"Snapshot/100GiB/InPieces", inPieces}, {"Clone/100GiB", clones}, {"Connect", connections}, {"Write", writes}, {"Read", reads}} {
		b.Run(c.name, func(b *testing.B) {
			volumes := factory(b).Open(b)
			volume := large(b, volumes)
			c.run(b, volumes, volume)
			require.NoError(b, volumes.Remove(b.Context(), volume)) // the next one needs the room
		})
	}
}

// large makes a volume of 100 GiB with something on it.
func large(b *testing.B, volumes driver.Volumes) string {
	v := id()
	require.NoError(b, volumes.Apply(b.Context(), driver.Volume{ID: v, Bytes: 100 << 30}))
	d, err := volumes.Open(b.Context(), v, driver.ReadWrite)
	require.NoError(b, err)
	content := bytesOf(1, piece)
	for offset := int64(0); offset < written; offset += piece {
		_, err := d.WriteAt(content, offset*16)
		require.NoError(b, err)
	}
	require.NoError(b, d.Sync())
	require.NoError(b, d.Close())
	return v
}

func creates(b *testing.B, volumes driver.Volumes, bytes int64) {
	for b.Loop() {
		v := id()
		require.NoError(b, volumes.Apply(b.Context(), driver.Volume{ID: v, Bytes: bytes}))
		b.StopTimer()
		require.NoError(b, volumes.Remove(b.Context(), v))
		b.StartTimer()
	}
}

func snapshots(b *testing.B, volumes driver.Volumes, volume string) {
	for b.Loop() {
		n := id()
		require.NoError(b, volumes.ApplySnapshots(b.Context(), driver.Snapshot{ID: n, VolumeID: volume}))
		b.StopTimer()
		require.NoError(b, volumes.RemoveSnapshot(b.Context(), n))
		b.StartTimer()
	}
}

func inPieces(b *testing.B, volumes driver.Volumes, volume string) {
	d, err := volumes.Open(b.Context(), volume, driver.ReadWrite)
	require.NoError(b, err)
	content := bytesOf(1, 4096)
	for n := range int64(pieces) {
		_, err := d.WriteAt(content, 50<<30+n*65536)
		require.NoError(b, err)
	}
	require.NoError(b, d.Sync())
	require.NoError(b, d.Close())
	snapshots(b, volumes, volume)
}

func clones(b *testing.B, volumes driver.Volumes, volume string) {
	n := id()
	require.NoError(b, volumes.ApplySnapshots(b.Context(), driver.Snapshot{ID: n, VolumeID: volume}))
	for b.Loop() {
		v := id()
		require.NoError(b, volumes.Apply(b.Context(), driver.Volume{ID: v, Bytes: 100 << 30, Source: driver.Source{SnapshotID: n}}))
		b.StopTimer()
		require.NoError(b, volumes.Remove(b.Context(), v))
		b.StartTimer()
	}
	require.NoError(b, volumes.RemoveSnapshot(b.Context(), n))
}

func connections(b *testing.B, volumes driver.Volumes, volume string) {
	for b.Loop() {
		c := driver.Connection{ID: id(), VolumeID: volume, Host: Host}
		_, err := volumes.Connect(b.Context(), c)
		require.NoError(b, err)
		require.NoError(b, volumes.Disconnect(b.Context(), volume, c.ID))
	}
}

func writes(b *testing.B, volumes driver.Volumes, volume string) {
	through(b, volumes, volume, driver.ReadWrite, func(d driver.Device, content []byte, offset int64) error {
		_, err := d.WriteAt(content, offset)
		return err
	})
}

func reads(b *testing.B, volumes driver.Volumes, volume string) {
	through(b, volumes, volume, driver.ReadOnly, func(d driver.Device, content []byte, offset int64) error {
		_, err := d.ReadAt(content, offset)
		return err
	})
}

// through goes through what is written, by pieces, again and again; what is written is durable at the end.
func through(b *testing.B, volumes driver.Volumes, volume string, access driver.Access, do func(driver.Device, []byte, int64) error) {
	d, err := volumes.Open(b.Context(), volume, access)
	require.NoError(b, err)
	content := bytesOf(2, piece)
	b.SetBytes(piece)
	offset := int64(0)
	for b.Loop() {
		require.NoError(b, do(d, content, offset*16))
		offset = (offset + piece) % written
	}
	if access == driver.ReadWrite {
		require.NoError(b, d.Sync())
	}
	require.NoError(b, d.Close())
}
