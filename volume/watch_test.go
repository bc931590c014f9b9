package volume_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/memvolume"
	"github.com/stretchr/testify/require"
)

// watched is a pool whose connections break when the test says so.
type watched struct {
	driver.Volumes
	broken   chan string // connections that broke; an empty one breaks the watch
	connects chan string
}

func (w *watched) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	target, err := w.Volumes.Connect(ctx, want)
	w.connects <- want.ID
	return target, err
}

func (w *watched) Watch(ctx context.Context, changed func(connectionID string)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case id := <-w.broken:
			if id == "" {
				return errors.New("a bad day")
			}
			changed(id)
		}
	}
}

// TestABrokenConnectionIsMendedAtOnce has a driver say that a connection needs mending, long before everything is looked at again.
func TestABrokenConnectionIsMendedAtOnce(t *testing.T) {
	c := newCloud(t, nil)
	pool := &watched{memvolume.New(memvolume.NewPool(100*gib), nil), make(chan string), make(chan string, 8)}
	c.run(t, backend, pool, &volume.AgentOptions{Resync: time.Hour, Heartbeat: time.Hour})
	v := c.create(t, red, volume.VolumeSpec{})
	at, err := c.CreateAttachment(t.Context(), red, volume.AttachmentSpec{VolumeID: v.ID, ServerID: "vm", Connector: &volume.Connector{Host: "host1"}})
	require.NoError(t, err)
	for range 2 {
		require.Equal(t, at.ID, <-pool.connects)
		pool.broken <- at.ID
	}
	require.Equal(t, at.ID, <-pool.connects)
	pool.broken <- "" // everything is looked at again then
	require.Equal(t, at.ID, <-pool.connects)
	require.NoError(t, c.DeleteAttachment(t.Context(), red, at.ID))
	pool.broken <- at.ID // it is gone, and stays so
	require.NoError(t, c.Settle(t.Context()))
	require.Empty(t, pool.connects)
}
