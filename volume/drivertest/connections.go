package drivertest

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

// use connects a volume and opens it as the connected host does, or, where no host can reach it, before it is connected.
func (s *suite) use(volume string) (d driver.Device, connection string) {
	s.t.Helper()
	c := driver.Connection{ID: id(), VolumeID: volume, Host: Host}
	if s.pool.Reach == nil {
		d = s.open(volume, driver.ReadWrite)
	}
	target, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	if d == nil {
		d = s.pool.Reach(s.t, target)
	}
	return d, c.ID
}

func (s *suite) snapshotOnce() {
	v := s.volume(mib)
	s.write(v, 0, bytesOf(1, 512))
	n := s.snapshot(v)
	s.write(v, 0, bytesOf(2, 512))
	require.NoError(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: v}))
	s.holds(n, 0, bytesOf(1, 512))
	require.NoError(s.t, s.ApplySnapshots(s.ctx))

	// Of several, only those that are missing are taken.
	m := id()
	require.NoError(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: v}, driver.Snapshot{ID: m, VolumeID: v}))
	s.holds(n, 0, bytesOf(1, 512))
	s.holds(m, 0, bytesOf(2, 512))

	// One that is there needs no volume; and it stays of its own.
	other := s.volume(mib)
	require.ErrorIs(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: other}), fs.ErrInvalid)
	require.NoError(s.t, s.Remove(s.ctx, v))
	require.NoError(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: v}))
	s.only(other, n, m)
}

// several skips a part about snapshots of several volumes, if the driver refuses them.
func (s *suite) several() {
	s.t.Helper()
	a, b := driver.Snapshot{ID: id(), VolumeID: s.volume(mib)}, driver.Snapshot{ID: id(), VolumeID: s.volume(mib)}
	if err := s.ApplySnapshots(s.ctx, a, b); errors.Is(err, errors.ErrUnsupported) {
		s.only(a.VolumeID, b.VolumeID)
		s.t.Skip("the driver does not take snapshots of several volumes at one moment")
	} else {
		require.NoError(s.t, err)
	}
	for _, n := range []driver.Snapshot{a, b} {
		require.NoError(s.t, s.RemoveSnapshot(s.ctx, n.ID))
		require.NoError(s.t, s.Remove(s.ctx, n.VolumeID))
	}
}

func (s *suite) allOrNone() {
	s.several()
	a, b := s.volume(mib), s.volume(mib)
	n, m := id(), id()
	require.ErrorIs(s.t, s.ApplySnapshots(s.ctx,
		driver.Snapshot{ID: n, VolumeID: a}, driver.Snapshot{ID: id(), VolumeID: id()}, driver.Snapshot{ID: m, VolumeID: b}), fs.ErrNotExist)
	s.only(a, b)
	s.write(a, 0, bytesOf(1, mib))
	s.write(b, 0, bytesOf(2, mib))
	together := []driver.Snapshot{{ID: n, VolumeID: a}, {ID: m, VolumeID: b}}
	require.NoError(s.t, s.ApplySnapshots(s.ctx, together...))
	s.write(a, 0, bytesOf(3, mib))
	s.restarted()
	require.NoError(s.t, s.ApplySnapshots(s.ctx, together...), "they are there already")
	s.only(a, b, n, m)
	require.Equal(s.t, b, s.observed(m).VolumeID)

	// They are snapshots like any other.
	s.holds(n, 0, bytesOf(1, mib))
	if r, ok := s.Volumes.(driver.Reverter); ok {
		require.NoError(s.t, r.Revert(s.ctx, a, n))
		s.holds(a, 0, bytesOf(1, mib))
	}
	clone := s.from(driver.Source{SnapshotID: m}, 2*mib)
	require.NoError(s.t, s.Remove(s.ctx, b))
	require.NoError(s.t, s.RemoveSnapshot(s.ctx, m))
	s.only(a, n, clone)
	s.holds(clone, 0, bytesOf(2, mib))
	s.holds(clone, mib, zeros(mib))
}

// writer writes one number after the other to each of the devices in turn until it is stopped: at any moment, the numbers on
// them fall, by no more than one.
func (s *suite) writer(devices []driver.Device) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		for n := uint64(1); ctx.Err() == nil && failed == nil; n++ {
			for _, d := range devices {
				block := make([]byte, 4096)
				for i := 0; i < len(block); i += 8 {
					binary.BigEndian.PutUint64(block[i:], n)
				}
				if _, failed = d.WriteAt(block, 64<<10); failed != nil {
					return
				}
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		require.NoError(s.t, failed)
	}
}

// number is what the writer wrote last; a block is written whole or not at all.
func (s *suite) number(volume string) uint64 {
	s.t.Helper()
	block := s.read(volume, 64<<10, 4096)
	same(s.t, block[:4088], block[8:])
	return binary.BigEndian.Uint64(block)
}

func (s *suite) oneMoment() {
	s.several()
	var volumes, connections []string
	var devices []driver.Device
	for range 3 {
		v := s.volume(mib)
		d, c := s.use(v)
		volumes, connections, devices = append(volumes, v), append(connections, c), append(devices, d)
	}
	stop := s.writer(devices)
	last := uint64(0)
	for range 5 {
		var want []driver.Snapshot
		for _, v := range volumes {
			want = append(want, driver.Snapshot{ID: id(), VolumeID: v})
		}
		require.NoError(s.t, s.ApplySnapshots(s.ctx, want...))
		first := s.number(want[0].ID)
		require.GreaterOrEqual(s.t, first, last)
		before := first
		for _, n := range want {
			now := s.number(n.ID)
			require.LessOrEqual(s.t, now, before, "a later write is in the snapshot of one volume, an earlier one is not in that of another")
			require.GreaterOrEqual(s.t, now+1, first)
			before = now
		}
		last = first
	}
	stop()
	for i, d := range devices {
		require.NoError(s.t, d.Close())
		require.NoError(s.t, s.Disconnect(s.ctx, volumes[i], connections[i]))
	}
}

func (s *suite) cloneInUse() {
	v := s.volume(mib)
	d, connection := s.use(v)
	stop := s.writer([]driver.Device{d})
	last := uint64(0)
	for range 10 {
		c := s.from(driver.Source{VolumeID: v}, 2*mib)
		n := s.number(c)
		require.GreaterOrEqual(s.t, n, last)
		last = n
		require.NoError(s.t, s.Remove(s.ctx, c))
	}
	stop()
	require.NoError(s.t, d.Sync())
	require.NoError(s.t, d.Close())
	require.NoError(s.t, s.Disconnect(s.ctx, v, connection))
	require.GreaterOrEqual(s.t, s.number(v), last)
}

func (s *suite) connects() {
	v := s.volume(mib)
	s.write(v, 0, bytesOf(1, 512))
	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	target, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.Equal(s.t, mib, target.Bytes)
	require.Contains(s.t, []string{"raw", "qcow2"}, target.Format)
	require.False(s.t, target.ReadOnly)
	require.False(s.t, target.Path != "" && target.NBD != nil, "one of both")
	again, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.Equal(s.t, target, again)
	require.Equal(s.t, []string{c.ID}, s.observed(v).Connections)
	if s.pool.Reach != nil {
		d := s.pool.Reach(s.t, target)
		require.Equal(s.t, mib, d.Size())
		same(s.t, bytesOf(1, 512), readFrom(s.t, d, 0, 512))
		writeTo(s.t, d, 512, bytesOf(2, 512))
		require.NoError(s.t, d.Close())
	}
	for range 2 {
		require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	}
	require.Empty(s.t, s.observed(v).Connections)
	if s.pool.Reach != nil {
		s.holds(v, 512, bytesOf(2, 512))
	}
	// And once more, by another connection.
	c.ID = id()
	_, err = s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	require.NoError(s.t, s.Remove(s.ctx, v))
}

func (s *suite) excludes() {
	v := s.volume(mib)
	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	_, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	_, err = s.Open(s.ctx, v, driver.ReadWrite)
	require.ErrorIs(s.t, err, driver.ErrBusy)
	require.NoError(s.t, s.open(v, driver.ReadOnly).Close())
	require.ErrorIs(s.t, s.Remove(s.ctx, v), driver.ErrBusy)
	for _, other := range []driver.Connection{{}, {Shared: true}, {ReadOnly: true}} {
		other.ID, other.VolumeID, other.Host = id(), v, Host
		_, err = s.Connect(s.ctx, other)
		require.ErrorIs(s.t, err, driver.ErrBusy)
	}
	require.Equal(s.t, []string{c.ID}, s.observed(v).Connections)
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))

	capacity, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	for _, kind := range []driver.Connection{{Shared: true}, {ReadOnly: true}} {
		if kind.Shared && !capacity.Shared {
			continue
		}
		var both []string
		for range 2 {
			kind.ID, kind.VolumeID, kind.Host = id(), v, Host
			_, err = s.Connect(s.ctx, kind)
			require.NoError(s.t, err)
			both = append(both, kind.ID)
		}
		require.ElementsMatch(s.t, both, s.observed(v).Connections)
		require.NoError(s.t, s.Disconnect(s.ctx, v, both[0]))
		require.ErrorIs(s.t, s.Remove(s.ctx, v), driver.ErrBusy)
		require.NoError(s.t, s.Disconnect(s.ctx, v, both[1]))
	}
	require.NoError(s.t, s.Remove(s.ctx, v))
}

func (s *suite) growsConnected() {
	v := s.volume(mib)
	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	_, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 2 * mib}))
	require.Equal(s.t, 2*mib, s.observed(v).Bytes)
	target, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.Equal(s.t, 2*mib, target.Bytes)
	if s.pool.Reach != nil {
		d := s.pool.Reach(s.t, target)
		require.Equal(s.t, 2*mib, d.Size())
		writeTo(s.t, d, 2*mib-512, bytesOf(1, 512))
		require.NoError(s.t, d.Close())
		s.holds(v, 2*mib-512, bytesOf(1, 512))
	}
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	require.Equal(s.t, 2*mib, s.size(v))
}

func (s *suite) readOnlyConnection() {
	v := s.volume(mib)
	s.write(v, 0, bytesOf(1, 512))
	c := driver.Connection{ID: id(), VolumeID: v, Host: Host, ReadOnly: true}
	target, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.True(s.t, target.ReadOnly)
	if s.pool.Reach != nil {
		d := s.pool.Reach(s.t, target)
		same(s.t, bytesOf(1, 512), readFrom(s.t, d, 0, 512))
		_, err = d.WriteAt(bytesOf(2, 512), 0)
		require.Error(s.t, err)
		require.NoError(s.t, d.Close())
	}
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	s.holds(v, 0, bytesOf(1, 512))
}
