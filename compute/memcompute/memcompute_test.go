package memcompute_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/drivertest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func server(id string) driver.Server {
	return driver.Server{ID: id, Name: "vm1", VCPUs: 1, MemoryMiB: 64, Root: driver.Disk{Base: "image", Format: "raw"}}
}

func volume(bytes int64) driver.Volume {
	return driver.Volume{ID: uuid.NewString(), Path: "volume", Format: "raw", Bytes: bytes}
}

func TestConformance(t *testing.T) {
	drivertest.TestServers(t, func(t *testing.T) drivertest.Harness {
		host := memcompute.NewHost()
		return drivertest.Harness{
			Open:     func() driver.Servers { return memcompute.New(host, &memcompute.Options{Delay: time.Millisecond}) },
			Server:   server,
			Banner:   "login:",
			Crash:    func(running driver.Observed) { require.NoError(t, host.Crash(running.ID, "killed")) },
			PowerOff: func(running driver.Observed) { require.NoError(t, host.PowerOff(running.ID)) },
			Volumes: &drivertest.Volumes{
				Make: volume,
				Grow: func(v driver.Volume, bytes int64) driver.Volume { v.Bytes = bytes; return v },
				Boot: func() driver.Volume { return volume(1 << 20) },
			},
		}
	})
}

func TestFaultsAreInjected(t *testing.T) {
	host := memcompute.NewHost()
	broken := errors.New("the disk is full")
	d := memcompute.New(host, &memcompute.Options{Faults: inject.New(1, inject.Fault{Step: "server apply", Err: broken})})
	require.ErrorIs(t, d.Apply(t.Context(), server(uuid.NewString())), broken)
	all, err := d.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestDelaysFollowTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memcompute.New(memcompute.NewHost(), &memcompute.Options{Delay: time.Hour})
		want := server(uuid.NewString())
		want.Running = true
		start := time.Now()
		require.NoError(t, d.Apply(t.Context(), want))
		require.Equal(t, time.Hour, time.Since(start))
		// What matches is free.
		require.NoError(t, d.Apply(t.Context(), want))
		require.Equal(t, time.Hour, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		want.Boots++
		require.ErrorIs(t, d.Apply(ctx, want), context.DeadlineExceeded)
	})
}

func TestTheHostTellsWhatWasWished(t *testing.T) {
	host := memcompute.NewHost()
	d := memcompute.New(host, nil)
	want := server(uuid.NewString())
	_, ok := host.Want(want.ID)
	require.False(t, ok)
	require.NoError(t, d.Apply(t.Context(), want))
	got, ok := host.Want(want.ID)
	require.True(t, ok)
	require.Equal(t, want, got)
	require.NoError(t, host.Print(want.ID, "panic\n"))
	log, err := d.ConsoleLog(t.Context(), want.ID, 1)
	require.NoError(t, err)
	require.Equal(t, "panic\n", string(log))
	require.ErrorIs(t, host.Print("other", ""), memcompute.ErrNotFound)
	require.ErrorIs(t, host.Crash(want.ID, ""), memcompute.ErrNotFound)
}
