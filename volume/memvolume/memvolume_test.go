package memvolume_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/drivertest"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func poolOf(bytes int64) drivertest.Pool {
	pool := memvolume.NewPool(bytes)
	return drivertest.Pool{
		Open: func(testing.TB) driver.Volumes { return memvolume.New(pool, nil) },
		Place: func(_ testing.TB, bytes int64) string {
			pool.Place("theirs", bytes)
			return "theirs"
		},
	}
}

func factory(testing.TB) drivertest.Pool {
	p := poolOf(4 << 30)
	p.Small = func(testing.TB) drivertest.Pool { return poolOf(32 << 20) }
	return p
}

func TestVolumes(t *testing.T) { drivertest.TestVolumes(t, factory) }

func BenchmarkVolumes(b *testing.B) { drivertest.BenchmarkVolumes(b, factory) }

func TestFaultsStrike(t *testing.T) {
	broken := errors.New("no medium")
	faults := inject.New(1, inject.Fault{Step: "snapshot *", Host: "host2", Err: broken})
	volumes := memvolume.New(memvolume.NewPool(1<<30), &memvolume.Options{Faults: faults, Host: "host2"})
	v := uuid.NewString()
	require.NoError(t, volumes.Apply(t.Context(), driver.Volume{ID: v, Bytes: 512}))
	require.ErrorIs(t, volumes.ApplySnapshots(t.Context(), driver.Snapshot{ID: uuid.NewString(), VolumeID: v}), broken)
	all, err := volumes.List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		volumes := memvolume.New(memvolume.NewPool(1<<30), &memvolume.Options{Delay: time.Minute})
		v, began := driver.Volume{ID: uuid.NewString(), Bytes: 512}, time.Now()
		require.NoError(t, volumes.Apply(t.Context(), v))
		require.Equal(t, time.Minute, time.Since(began))
		require.NoError(t, volumes.Apply(t.Context(), v))
		require.Equal(t, time.Minute, time.Since(began), "nothing was to be done")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		v.Bytes *= 2
		require.ErrorIs(t, volumes.Apply(ctx, v), context.DeadlineExceeded)
	})
}

func TestPoolsGiveRoomBack(t *testing.T) {
	volumes := memvolume.New(memvolume.NewPool(1<<20), nil)
	v, n, clone := uuid.NewString(), uuid.NewString(), uuid.NewString()
	free := func() int64 {
		c, err := volumes.Capacity(t.Context())
		require.NoError(t, err)
		return c.Free
	}
	require.NoError(t, volumes.Apply(t.Context(), driver.Volume{ID: v, Bytes: 1 << 40}))
	d, err := volumes.Open(t.Context(), v, driver.ReadWrite)
	require.NoError(t, err)
	_, err = d.WriteAt(make([]byte, 256<<10), 1<<39)
	require.NoError(t, err)
	require.Equal(t, int64(768<<10), free())
	require.NoError(t, volumes.ApplySnapshots(t.Context(), driver.Snapshot{ID: n, VolumeID: v}))
	require.NoError(t, volumes.Apply(t.Context(), driver.Volume{ID: clone, Bytes: 1 << 40, Source: driver.Source{SnapshotID: n}}))
	require.Equal(t, int64(768<<10), free(), "snapshots and clones share")
	_, err = d.WriteAt([]byte{1}, 1<<39)
	require.NoError(t, err)
	require.Equal(t, int64(704<<10), free())
	require.NoError(t, volumes.Remove(t.Context(), v))
	_, err = d.WriteAt([]byte{1}, 0)
	require.Error(t, err, "the volume is gone")
	require.NoError(t, volumes.RemoveSnapshot(t.Context(), n))
	require.Equal(t, int64(768<<10), free())
	require.NoError(t, volumes.Remove(t.Context(), clone))
	require.Equal(t, int64(1<<20), free())
}

func Example() {
	ctx := context.Background()
	volume, snapshot, clone, connection := uuid.NewString(), uuid.NewString(), uuid.NewString(), uuid.NewString()
	pool := memvolume.NewPool(10 << 30)
	volumes := memvolume.New(pool, nil)
	err := volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 1 << 30})
	must(err)
	device, err := volumes.Open(ctx, volume, driver.ReadWrite)
	must(err)
	_, err = device.WriteAt([]byte("hello"), 512)
	must(err)
	must(device.Close())

	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	must(err)
	err = volumes.Apply(ctx, driver.Volume{ID: clone, Bytes: 2 << 30, Source: driver.Source{SnapshotID: snapshot}})
	must(err)
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: clone, Host: "host1"})
	must(err)
	fmt.Println(target.Format, target.Bytes>>30, "GiB")

	device, err = volumes.Open(ctx, clone, driver.ReadOnly)
	must(err)
	content := make([]byte, 5)
	_, err = device.ReadAt(content, 512)
	must(err)
	fmt.Println(string(content))
	// Output:
	// raw 2 GiB
	// hello
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
