package drivertest

import (
	"context"
	"io/fs"
	"math/rand/v2"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

func (s *suite) zeroes() {
	v := s.volume(4 * mib)
	s.only(v)
	o := s.observed(v)
	require.Equal(s.t, driver.KindVolume, o.Kind)
	require.Equal(s.t, 4*mib, o.Bytes)
	require.Empty(s.t, o.VolumeID)
	require.Empty(s.t, o.Connections)
	require.Equal(s.t, 4*mib, s.size(v))
	s.holds(v, 0, zeros(4*mib))
}

// contents writes and reads at random places, and compares with a copy in memory.
func (s *suite) contents() {
	size := 2*mib + 512
	v, model := s.volume(size), zeros(size)
	d := s.open(v, driver.ReadWrite)
	for n := range uint64(200) {
		offset := rand.Int64N(size)
		length := min(1+rand.Int64N(100_000), size-offset)
		if n%2 == 0 {
			same(s.t, model[offset:offset+length], readFrom(s.t, d, offset, length))
			continue
		}
		content := bytesOf(n, length)
		k, err := d.WriteAt(content, offset)
		require.NoError(s.t, err)
		require.Equal(s.t, len(content), k)
		copy(model[offset:], content)
	}
	require.NoError(s.t, d.Sync())
	require.NoError(s.t, d.Close())
	s.holds(v, 0, model)
}

func (s *suite) grows() {
	v := s.volume(mib)
	s.write(v, mib-512, bytesOf(1, 512))
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 3 * mib}))
	require.Equal(s.t, 3*mib, s.size(v))
	require.Equal(s.t, 3*mib, s.observed(v).Bytes)
	s.holds(v, mib-512, bytesOf(1, 512))
	s.holds(v, mib, zeros(2*mib))
	s.write(v, 3*mib-512, bytesOf(2, 512))

	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 2 * mib}), fs.ErrInvalid)
	require.Equal(s.t, 3*mib, s.size(v))
	s.holds(v, 3*mib-512, bytesOf(2, 512))
}

func (s *suite) sectors() {
	for _, sectors := range []int64{1, 7, 9, 2049} {
		v := s.volume(512 * sectors)
		require.Equal(s.t, 512*sectors, s.size(v))
		s.write(v, 0, bytesOf(uint64(sectors), 512*sectors))
		s.holds(v, 0, bytesOf(uint64(sectors), 512*sectors))
		require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 512 * (sectors + 1)}))
		s.holds(v, 512*sectors, zeros(512))
	}
}

func (s *suite) again() {
	a, b := s.volume(mib), s.volume(mib)
	s.write(a, 0, bytesOf(1, 512))
	s.write(b, 0, bytesOf(2, 512))
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: a, Bytes: mib}))
	// The source of what exists is not looked at again, whether it is there or not.
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: a, Bytes: mib, Source: driver.Source{VolumeID: b}}))
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: a, Bytes: mib, Source: driver.Source{SnapshotID: id()}}))
	s.holds(a, 0, bytesOf(1, 512))
	s.only(a, b)
}

func (s *suite) fromVolume() {
	a := s.volume(2 * mib)
	s.write(a, mib+100, bytesOf(1, 5000))
	same0, larger := s.from(driver.Source{VolumeID: a}, 2*mib), s.from(driver.Source{VolumeID: a}, 5*mib+512)
	require.Equal(s.t, 5*mib+512, s.size(larger))
	for _, v := range []string{same0, larger} {
		s.holds(v, 0, zeros(mib+100))
		s.holds(v, mib+100, bytesOf(1, 5000))
	}
	s.holds(larger, 2*mib, zeros(3*mib+512))
	s.write(a, mib+100, bytesOf(2, 5000))
	s.write(larger, mib+100, bytesOf(3, 5000))
	s.holds(same0, mib+100, bytesOf(1, 5000))
	s.holds(larger, mib+100, bytesOf(3, 5000))
	s.holds(a, mib+100, bytesOf(2, 5000))
}

func (s *suite) fromSnapshot() {
	a := s.volume(2 * mib)
	s.write(a, 0, bytesOf(1, mib))
	n := s.snapshot(a)
	o := s.observed(n)
	require.Equal(s.t, driver.KindSnapshot, o.Kind)
	require.Equal(s.t, a, o.VolumeID)
	require.Equal(s.t, 2*mib, o.Bytes)
	s.write(a, 4096, bytesOf(2, 4096))
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: a, Bytes: 4 * mib}))
	require.Equal(s.t, 2*mib, s.size(n), "a snapshot does not grow with its volume")
	s.holds(n, 0, bytesOf(1, mib))

	b, c := s.from(driver.Source{SnapshotID: n}, 2*mib), s.from(driver.Source{SnapshotID: n}, 3*mib)
	s.holds(b, 0, bytesOf(1, mib))
	s.holds(c, 0, bytesOf(1, mib))
	s.holds(c, mib, zeros(2*mib))
	s.write(b, 0, bytesOf(3, 4096))
	s.holds(n, 0, bytesOf(1, mib))
	s.holds(c, 0, bytesOf(1, mib))
	s.holds(a, 4096, bytesOf(2, 4096))
	s.only(a, b, c, n)
}

func (s *suite) smaller() {
	a := s.volume(2 * mib)
	n := s.snapshot(a)
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{VolumeID: a}}), fs.ErrInvalid)
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{SnapshotID: n}}), fs.ErrInvalid)
	s.only(a, n)
}

func (s *suite) independent() {
	a := s.volume(mib)
	s.write(a, 0, bytesOf(1, mib))
	n := s.snapshot(a)
	b, c := s.from(driver.Source{SnapshotID: n}, mib), s.from(driver.Source{VolumeID: a}, mib)
	m := s.snapshot(b)
	require.NoError(s.t, s.Remove(s.ctx, a))
	s.holds(n, 0, bytesOf(1, mib))
	s.holds(c, 0, bytesOf(1, mib))
	require.NoError(s.t, s.RemoveSnapshot(s.ctx, n))
	s.holds(b, 0, bytesOf(1, mib))
	require.NoError(s.t, s.Remove(s.ctx, b))
	s.holds(m, 0, bytesOf(1, mib))
	d := s.from(driver.Source{SnapshotID: m}, mib)
	s.holds(d, 0, bytesOf(1, mib))
	s.only(c, d, m)
	s.restarted()
	s.only(c, d, m)
	s.holds(c, 0, bytesOf(1, mib))
	s.holds(d, 0, bytesOf(1, mib))
}

// descent takes snapshots of clones of snapshots, and removes what is in the middle.
func (s *suite) descent() {
	const generations = 12
	v := s.volume(mib)
	var volumes, snapshots []string
	for g := range int64(generations) {
		s.write(v, g*4096, bytesOf(uint64(g), 4096))
		n := s.snapshot(v)
		volumes, snapshots = append(volumes, v), append(snapshots, n)
		v = s.from(driver.Source{SnapshotID: n}, mib)
	}
	for g := range generations - 1 {
		if g%2 == 0 {
			require.NoError(s.t, s.Remove(s.ctx, volumes[g]))
		}
		if g%3 != 0 {
			require.NoError(s.t, s.RemoveSnapshot(s.ctx, snapshots[g]))
		}
	}
	for g := range int64(generations) {
		s.holds(v, g*4096, bytesOf(uint64(g), 4096))
	}
	s.holds(v, generations*4096, zeros(mib-generations*4096))
	s.holds(snapshots[0], 4096, zeros(4096))
	s.holds(snapshots[3], 3*4096, bytesOf(3, 4096))
}

func (s *suite) restart() {
	a := s.volume(mib)
	s.write(a, 0, bytesOf(1, 4096))
	n := s.snapshot(a)
	c := driver.Connection{ID: id(), VolumeID: a, Host: Host}
	_, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	before, err := s.List(s.ctx)
	require.NoError(s.t, err)

	s.restarted()
	after, err := s.List(s.ctx)
	require.NoError(s.t, err)
	require.ElementsMatch(s.t, before, after)
	require.Equal(s.t, []string{c.ID}, s.observed(a).Connections)
	s.holds(n, 0, bytesOf(1, 4096))
	require.ErrorIs(s.t, s.Remove(s.ctx, a), driver.ErrBusy)
	_, err = s.Connect(s.ctx, driver.Connection{ID: id(), VolumeID: a, Host: Host})
	require.ErrorIs(s.t, err, driver.ErrBusy)
	_, err = s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Disconnect(s.ctx, a, c.ID))
	require.NoError(s.t, s.Remove(s.ctx, a))
	require.NoError(s.t, s.RemoveSnapshot(s.ctx, n))
	s.restarted()
	s.only()
}

func (s *suite) removes() {
	a := s.volume(mib)
	n := s.snapshot(a)
	for range 2 {
		require.NoError(s.t, s.RemoveSnapshot(s.ctx, n))
		require.NoError(s.t, s.Remove(s.ctx, a))
	}
	s.only()
	// An identifier that was used can be again.
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: a, Bytes: mib}))
	s.holds(a, 0, zeros(mib))
}

func (s *suite) missing() {
	_, err := s.Open(s.ctx, id(), driver.ReadOnly)
	require.ErrorIs(s.t, err, fs.ErrNotExist)
	_, err = s.Open(s.ctx, id(), driver.ReadWrite)
	require.ErrorIs(s.t, err, fs.ErrNotExist)
	_, err = s.Connect(s.ctx, driver.Connection{ID: id(), VolumeID: id(), Host: Host})
	require.ErrorIs(s.t, err, fs.ErrNotExist)
	require.NoError(s.t, s.Disconnect(s.ctx, id(), id()))
	require.ErrorIs(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: id(), VolumeID: id()}), fs.ErrNotExist)
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{VolumeID: id()}}), fs.ErrNotExist)
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{SnapshotID: id()}}), fs.ErrNotExist)
	s.only()
}

func (s *suite) bad() {
	good := s.volume(mib)
	for _, name := range []string{"", ".", "..", "../etc", "a/b", "UPPER", "6f1d", "0B3F6D0C-0000-4000-8000-000000000000", good + "/", good[:35] + "\x00", good + "x", "x" + good} {
		require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: name, Bytes: mib}), fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.Remove(s.ctx, name), fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: name, VolumeID: good}), fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.ApplySnapshots(s.ctx, driver.Snapshot{ID: id(), VolumeID: name}), fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.RemoveSnapshot(s.ctx, name), fs.ErrInvalid, name)
		_, err := s.Open(s.ctx, name, driver.ReadOnly)
		require.ErrorIs(s.t, err, fs.ErrInvalid, name)
		_, err = s.Connect(s.ctx, driver.Connection{ID: name, VolumeID: good, Host: Host})
		require.ErrorIs(s.t, err, fs.ErrInvalid, name)
		_, err = s.Connect(s.ctx, driver.Connection{ID: id(), VolumeID: name, Host: Host})
		require.ErrorIs(s.t, err, fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.Disconnect(s.ctx, name, id()), fs.ErrInvalid, name)
		require.ErrorIs(s.t, s.Disconnect(s.ctx, good, name), fs.ErrInvalid, name)
		if name != "" {
			require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{VolumeID: name}}), fs.ErrInvalid, name)
			require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{SnapshotID: name}}), fs.ErrInvalid, name)
		}
	}
	for _, bytes := range []int64{0, -512, 513, 1, 1 << 62} {
		require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: bytes}), fs.ErrInvalid, "%d bytes", bytes)
	}
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: mib, Source: driver.Source{VolumeID: good, SnapshotID: id()}}), fs.ErrInvalid)
	s.only(good)
}

func (s *suite) ended() {
	v := s.volume(mib)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	require.ErrorIs(s.t, s.Apply(ctx, driver.Volume{ID: id(), Bytes: mib}), context.Canceled)
	require.ErrorIs(s.t, s.ApplySnapshots(ctx, driver.Snapshot{ID: id(), VolumeID: v}), context.Canceled)
	require.ErrorIs(s.t, s.Remove(ctx, v), context.Canceled)
	_, err := s.List(ctx)
	require.ErrorIs(s.t, err, context.Canceled)
	s.only(v)
}
