package drivertest

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

func (s *suite) readOnly() {
	v := s.volume(mib)
	n := s.snapshot(v)
	for _, name := range []string{v, n} {
		d := s.open(name, driver.ReadOnly)
		_, err := d.WriteAt(bytesOf(1, 512), 0)
		require.Error(s.t, err)
		if sparse, ok := d.(driver.Sparse); ok {
			require.Error(s.t, sparse.Zero(0, 512))
		}
		require.NoError(s.t, d.Close())
		s.holds(name, 0, zeros(512))
	}
	_, err := s.Open(s.ctx, n, driver.ReadWrite)
	require.ErrorIs(s.t, err, fs.ErrInvalid, "nobody writes to a snapshot")
}

func (s *suite) beyond() {
	v := s.volume(mib)
	d := s.open(v, driver.ReadWrite)
	for _, offset := range []int64{mib - 511, mib, mib + 512, 1 << 50} {
		_, err := d.WriteAt(bytesOf(1, 512), offset)
		require.Error(s.t, err, "writing at %d", offset)
		n, err := d.ReadAt(make([]byte, 512), offset)
		require.Equal(s.t, int(max(0, mib-offset)), n)
		require.ErrorIs(s.t, err, io.EOF, "reading at %d", offset)
	}
	_, err := d.WriteAt(bytesOf(1, 512), -1)
	require.Error(s.t, err)
	_, err = d.ReadAt(make([]byte, 512), -1)
	require.Error(s.t, err)
	require.NoError(s.t, d.Close())
	require.Equal(s.t, mib, s.size(v))
	s.holds(v, mib-512, zeros(512))
}

func (s *suite) sparse() {
	size := 64 * mib
	v := s.volume(size)
	d := s.open(v, driver.ReadWrite)
	sparse, ok := d.(driver.Sparse)
	if !ok {
		require.NoError(s.t, d.Close())
		s.t.Skip("the driver does not know what was never written")
	}
	written := []int64{0, 20 * mib, size - 4096}
	for _, offset := range written {
		writeTo(s.t, d, offset, bytesOf(1, 4096))
	}
	found := s.data(sparse)
	require.Less(s.t, found.bytes, 16*mib, "what is told to be data")
	for _, offset := range written {
		require.True(s.t, found.has(offset, 4096), "at %d", offset)
	}
	_, _, err := sparse.NextData(size)
	require.ErrorIs(s.t, err, io.EOF)

	// Zeroes, in part of what was written, beside it, and over all of it.
	require.NoError(s.t, sparse.Zero(20*mib+100, 1000))
	want := bytesOf(1, 4096)
	clear(want[100:1100])
	same(s.t, want, readFrom(s.t, d, 20*mib, 4096))
	require.NoError(s.t, sparse.Zero(30*mib, 8*mib))
	same(s.t, zeros(4096), readFrom(s.t, d, 33*mib, 4096))
	require.NoError(s.t, sparse.Zero(0, size))
	same(s.t, zeros(4096), readFrom(s.t, d, 0, 4096))
	same(s.t, zeros(4096), readFrom(s.t, d, 20*mib, 4096))
	same(s.t, zeros(4096), readFrom(s.t, d, size-4096, 4096))
	require.NoError(s.t, sparse.Zero(size, 0))
	require.Error(s.t, sparse.Zero(size-512, 1024))
	require.Equal(s.t, size, d.Size())
	require.NoError(s.t, d.Sync())
	require.NoError(s.t, d.Close())
}

// extents are where there may be data.
type extents struct {
	list  [][2]int64
	bytes int64
}

func (e *extents) has(offset, length int64) bool {
	for _, x := range e.list {
		if x[0] <= offset && offset+length <= x[1] {
			return true
		}
	}
	return false
}

func (s *suite) data(sparse driver.Sparse) (all extents) {
	s.t.Helper()
	for at := int64(0); ; {
		start, end, err := sparse.NextData(at)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(s.t, err)
		require.GreaterOrEqual(s.t, start, at)
		require.Greater(s.t, end, start)
		if n := len(all.list); n > 0 && all.list[n-1][1] == start {
			all.list[n-1][1] = end
		} else {
			all.list = append(all.list, [2]int64{start, end})
		}
		all.bytes += end - start
		at = end
	}
}

func (s *suite) encrypted() {
	u, ok := s.Volumes.(driver.Unlocker)
	capacity, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	require.Equal(s.t, capacity.Encryption, ok, "who understands passphrases unlocks")
	if !ok {
		s.t.Skip("the driver does not encrypt")
	}
	v, secret := id(), []byte("correct horse battery staple")
	want := driver.Volume{ID: v, Bytes: 4 * mib, Passphrase: secret}
	require.NoError(s.t, s.Apply(s.ctx, want))
	require.Equal(s.t, 4*mib, s.observed(v).Bytes)
	s.writeInside(u, v, secret, mib, bytesOf(1, 65536))
	s.holdsInside(u, v, secret, 4*mib, mib, bytesOf(1, 65536))
	_, err = u.Unlock(s.ctx, v, driver.ReadOnly, []byte("wrong"))
	require.ErrorIs(s.t, err, fs.ErrPermission)
	outside := s.read(v, 0, s.size(v))
	require.Greater(s.t, len(outside), int(4*mib), "a container is larger than what is inside")
	require.NotContains(s.t, string(outside), string(bytesOf(1, 65536)[:32]))
	require.NotContains(s.t, string(outside), string(secret))

	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	target, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.Equal(s.t, "luks", target.Format)
	require.Equal(s.t, 4*mib, target.Bytes)
	_, err = u.Unlock(s.ctx, v, driver.ReadWrite, secret)
	require.ErrorIs(s.t, err, driver.ErrBusy)
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))

	n := s.snapshot(v)
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 5 * mib, Passphrase: secret}))
	s.writeInside(u, v, secret, 5*mib-4096, bytesOf(2, 4096))
	s.restarted()
	u = s.Volumes.(driver.Unlocker) //nolint:forcetypeassert // as before
	s.holdsInside(u, v, secret, 5*mib, 5*mib-4096, bytesOf(2, 4096))
	s.holdsInside(u, n, secret, 4*mib, mib, bytesOf(1, 65536))
	clone := s.from(driver.Source{SnapshotID: n}, 6*mib)
	s.holdsInside(u, clone, secret, 6*mib, mib, bytesOf(1, 65536))
	require.Equal(s.t, 6*mib, s.observed(clone).Bytes)
	require.ErrorIs(s.t, s.Apply(s.ctx, driver.Volume{ID: id(), Bytes: 2 * mib, Source: driver.Source{VolumeID: v}}), fs.ErrInvalid)

	plain := s.volume(mib)
	_, err = u.Unlock(s.ctx, plain, driver.ReadOnly, secret)
	require.ErrorIs(s.t, err, fs.ErrInvalid, "nothing is locked")
	_, err = u.Unlock(s.ctx, id(), driver.ReadOnly, secret)
	require.ErrorIs(s.t, err, fs.ErrNotExist)
	s.only(v, n, clone, plain)
}

func (s *suite) writeInside(u driver.Unlocker, volume string, secret []byte, offset int64, content []byte) {
	s.t.Helper()
	d, err := u.Unlock(s.ctx, volume, driver.ReadWrite, secret)
	require.NoError(s.t, err)
	writeTo(s.t, d, offset, content)
	require.NoError(s.t, d.Close())
}

func (s *suite) holdsInside(u driver.Unlocker, volume string, secret []byte, size, offset int64, content []byte) {
	s.t.Helper()
	d, err := u.Unlock(s.ctx, volume, driver.ReadOnly, secret)
	require.NoError(s.t, err)
	require.Equal(s.t, size, d.Size())
	same(s.t, content, readFrom(s.t, d, offset, int64(len(content))))
	require.NoError(s.t, d.Close())
}

func (s *suite) reverts() {
	r, ok := s.Volumes.(driver.Reverter)
	if !ok {
		s.t.Skip("the driver does not go back")
	}
	v := s.volume(2 * mib)
	s.write(v, 0, bytesOf(1, mib))
	n := s.snapshot(v)
	s.write(v, 0, bytesOf(2, 2*mib))
	require.NoError(s.t, s.Apply(s.ctx, driver.Volume{ID: v, Bytes: 3 * mib}))
	later := s.snapshot(v)
	for range 2 {
		require.NoError(s.t, r.Revert(s.ctx, v, n))
		require.Equal(s.t, 2*mib, s.size(v))
		s.holds(v, 0, bytesOf(1, mib))
		s.holds(v, mib, zeros(mib))
	}
	s.write(v, 0, bytesOf(3, 512))
	s.holds(n, 0, bytesOf(1, mib))
	s.holds(later, 0, bytesOf(2, 2*mib))
	require.NoError(s.t, r.Revert(s.ctx, v, later), "forward again")
	require.Equal(s.t, 3*mib, s.size(v))
	s.holds(v, 0, bytesOf(2, 2*mib))

	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	_, err := s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	require.ErrorIs(s.t, r.Revert(s.ctx, v, n), driver.ErrBusy)
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	require.ErrorIs(s.t, r.Revert(s.ctx, v, id()), fs.ErrNotExist)
	require.ErrorIs(s.t, r.Revert(s.ctx, id(), n), fs.ErrNotExist)
	require.ErrorIs(s.t, r.Revert(s.ctx, s.volume(mib), n), fs.ErrInvalid, "another volume's")
	require.ErrorIs(s.t, r.Revert(s.ctx, "x", n), fs.ErrInvalid)
}

func (s *suite) manages() {
	m, ok := s.Volumes.(driver.Manager)
	if !ok || s.pool.Place == nil {
		s.t.Skip("the driver's pool holds no volumes of others")
	}
	own := s.volume(mib)
	name := s.pool.Place(s.t, 2*mib)
	all, err := m.Unmanaged(s.ctx)
	require.NoError(s.t, err)
	require.Equal(s.t, []driver.Unmanaged{{Name: name, Bytes: 2 * mib, Safe: true}}, all)
	s.only(own)

	v := id()
	for range 2 {
		require.NoError(s.t, m.Adopt(s.ctx, name, v), "once more is nothing")
	}
	s.only(own, v)
	require.Equal(s.t, 2*mib, s.size(v))
	s.write(v, 0, bytesOf(1, 512))
	all, err = m.Unmanaged(s.ctx)
	require.NoError(s.t, err)
	require.Empty(s.t, all)

	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	_, err = s.Connect(s.ctx, c)
	require.NoError(s.t, err)
	_, err = m.Release(s.ctx, v)
	require.ErrorIs(s.t, err, driver.ErrBusy)
	require.NoError(s.t, s.Disconnect(s.ctx, v, c.ID))
	name, err = m.Release(s.ctx, v)
	require.NoError(s.t, err)
	s.only(own)
	again := id()
	require.NoError(s.t, m.Adopt(s.ctx, name, again))
	s.holds(again, 0, bytesOf(1, 512))

	require.ErrorIs(s.t, m.Adopt(s.ctx, "nothing of that name", id()), fs.ErrNotExist)
	require.ErrorIs(s.t, m.Adopt(s.ctx, name, "no UUID"), fs.ErrInvalid)
	_, err = m.Release(s.ctx, id())
	require.ErrorIs(s.t, err, fs.ErrNotExist)
}

func (s *suite) managesSnapshots() {
	m, ok := s.Volumes.(driver.SnapshotManager)
	if !ok {
		s.t.Skip("the driver's pool holds no snapshots of others")
	}
	v, other := s.volume(mib), s.volume(mib)
	s.write(v, 0, bytesOf(1, mib))
	n := s.snapshot(v)
	s.write(v, 0, bytesOf(2, mib))
	name, err := m.ReleaseSnapshot(s.ctx, n)
	require.NoError(s.t, err)
	s.only(v, other)
	all, err := m.UnmanagedSnapshots(s.ctx)
	require.NoError(s.t, err)
	require.Equal(s.t, []driver.UnmanagedSnapshot{{Unmanaged: driver.Unmanaged{Name: name, Bytes: mib, Safe: true}, VolumeID: v}}, all)
	if volumes, ok := s.Volumes.(driver.Manager); ok {
		unmanaged, err := volumes.Unmanaged(s.ctx)
		require.NoError(s.t, err)
		for _, u := range unmanaged {
			require.False(s.t, u.Safe, "%s is a snapshot", u.Name)
		}
		require.Error(s.t, volumes.Adopt(s.ctx, name, id()))
	}
	require.ErrorIs(s.t, m.AdoptSnapshot(s.ctx, name, driver.Snapshot{ID: id(), VolumeID: other}), fs.ErrInvalid)

	again := driver.Snapshot{ID: id(), VolumeID: v}
	for range 2 {
		require.NoError(s.t, m.AdoptSnapshot(s.ctx, name, again), "once more is nothing")
	}
	s.only(v, other, again.ID)
	s.holds(again.ID, 0, bytesOf(1, mib))
	all, err = m.UnmanagedSnapshots(s.ctx)
	require.NoError(s.t, err)
	require.Empty(s.t, all)

	// It stays without its volume.
	name, err = m.ReleaseSnapshot(s.ctx, again.ID)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Remove(s.ctx, v))
	s.Volumes = s.pool.Open(s.t)
	m = s.Volumes.(driver.SnapshotManager)
	require.NoError(s.t, m.AdoptSnapshot(s.ctx, name, again))
	s.holds(again.ID, 0, bytesOf(1, mib))

	require.ErrorIs(s.t, m.AdoptSnapshot(s.ctx, "nothing of that name", driver.Snapshot{ID: id(), VolumeID: other}), fs.ErrNotExist)
	require.ErrorIs(s.t, m.AdoptSnapshot(s.ctx, name, driver.Snapshot{ID: "no UUID", VolumeID: other}), fs.ErrInvalid)
	_, err = m.ReleaseSnapshot(s.ctx, id())
	require.ErrorIs(s.t, err, fs.ErrNotExist)
}

// full fills a pool by writing, and gives it room again.
func (s *suite) full() {
	if s.pool.Small == nil {
		s.t.Skip("the test has no small pool")
	}
	pool := s.pool.Small(s.t)
	s.Volumes, s.pool = pool.Open(s.t), pool
	kept, filler := s.volume(mib), s.volume(2<<30)
	s.write(kept, 0, bytesOf(1, mib))
	n := s.snapshot(kept)
	d := s.open(filler, driver.ReadWrite)
	var err error
	offset := int64(0)
	for ; offset < 2<<30 && err == nil; offset += 4 * mib {
		if _, err = d.WriteAt(bytesOf(uint64(offset), 4*mib), offset); err == nil {
			err = d.Sync()
		}
	}
	require.ErrorIs(s.t, err, driver.ErrFull)
	require.NoError(s.t, d.Close())
	capacity, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	require.Less(s.t, capacity.Free, 8*mib)
	// Whatever is asked for now is done wholly or not at all.
	v, m := id(), id()
	names := []string{kept, filler, n}
	if err := s.Apply(s.ctx, driver.Volume{ID: v, Bytes: mib, Source: driver.Source{SnapshotID: n}}); err == nil {
		s.holds(v, 0, bytesOf(1, mib))
		names = append(names, v)
	} else {
		require.ErrorIs(s.t, err, driver.ErrFull)
	}
	if err := s.ApplySnapshots(s.ctx, driver.Snapshot{ID: m, VolumeID: kept}); err == nil {
		s.holds(m, 0, bytesOf(1, mib))
		names = append(names, m)
	} else {
		require.ErrorIs(s.t, err, driver.ErrFull)
	}
	s.restarted()
	s.only(names...)
	s.holds(kept, 0, bytesOf(1, mib))
	s.holds(filler, 0, bytesOf(0, 4*mib))

	require.NoError(s.t, s.Remove(s.ctx, filler))
	s.write(kept, 0, bytesOf(2, mib))
	s.holds(n, 0, bytesOf(1, mib))
	s.holds(kept, 0, bytesOf(2, mib))
}

func (s *suite) capacity() {
	before, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, s.Kind())
	require.Positive(s.t, before.Total)
	require.LessOrEqual(s.t, before.Free, before.Total)
	require.Zero(s.t, before.Provisioned)
	v := s.volume(8 * mib)
	s.write(v, 0, bytesOf(1, 4*mib))
	s.snapshot(v)
	after, err := s.Capacity(s.ctx)
	require.NoError(s.t, err)
	require.Equal(s.t, before.Total, after.Total)
	require.Equal(s.t, 16*mib, after.Provisioned)
	require.Positive(s.t, s.observed(v).Bytes)
	require.GreaterOrEqual(s.t, s.observed(v).Used, int64(0))
}

// many works on many volumes from many goroutines, as an agent does.
func (s *suite) many() {
	var wg sync.WaitGroup
	failed := make([]error, 16)
	left := make([]string, len(failed))
	for i := range failed {
		wg.Go(func() { left[i], failed[i] = s.life(uint64(i)) })
	}
	for range 5 {
		_, err := s.List(s.ctx)
		require.NoError(s.t, err)
		_, err = s.Capacity(s.ctx)
		require.NoError(s.t, err)
	}
	wg.Wait()
	require.NoError(s.t, errors.Join(failed...))
	s.only(left...)
	for i, v := range left {
		s.holds(v, 0, bytesOf(uint64(i), 64<<10))
	}
}

// life is what one volume goes through; its clone is left.
func (s *suite) life(seed uint64) (string, error) {
	v, n, clone := id(), id(), id()
	c := driver.Connection{ID: id(), VolumeID: v, Host: Host}
	if err := s.Apply(s.ctx, driver.Volume{ID: v, Bytes: mib}); err != nil {
		return "", err
	}
	d, err := s.Open(s.ctx, v, driver.ReadWrite)
	if err != nil {
		return "", err
	}
	_, err = d.WriteAt(bytesOf(seed, 64<<10), 0)
	if err := errors.Join(err, d.Sync(), d.Close()); err != nil {
		return "", err
	}
	_, err = s.Connect(s.ctx, c)
	return clone, errors.Join(err,
		s.ApplySnapshots(s.ctx, driver.Snapshot{ID: n, VolumeID: v}),
		s.Apply(s.ctx, driver.Volume{ID: clone, Bytes: 2 * mib, Source: driver.Source{SnapshotID: n}}),
		s.Disconnect(s.ctx, v, c.ID),
		s.RemoveSnapshot(s.ctx, n),
		s.Remove(s.ctx, v))
}
