//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
)

// connectionsDir is the directory of connections in the pool's.
const connectionsDir = "connections"

func (d *Driver) connections() connections.Store { return connections.Store(d.path(connectionsDir)) }

// unconnected returns ErrBusy if the volume has connections.
func (d *Driver) unconnected(volumeID string) error {
	if err := d.connections().None(volumeID); err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	return nil
}

// Connect makes the volume reachable from the connection's host: on the pool's own by its file, on others by a server of block
// devices that runs for this connection.
func (d *Driver) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return driver.Target{}, fmt.Errorf("filevolume: %w", err)
	}
	target, err := d.connect(ctx, want)
	if err != nil {
		return driver.Target{}, fmt.Errorf("filevolume: connection %s of volume %s: %w", want.ID, want.VolumeID, roomed(err))
	}
	return target, nil
}

func (d *Driver) connect(ctx context.Context, want driver.Connection) (target driver.Target, err error) {
	x, err := describePath(d.volumePath(want.VolumeID))
	if err != nil {
		return target, err
	}
	c, fresh, err := d.connections().Begin(want)
	if err != nil {
		return target, err
	}
	target = driver.Target{Format: "raw", Bytes: x.bytes, ReadOnly: want.ReadOnly}
	if x.encrypted {
		target.Format = "luks"
	}
	if want.Host == d.o.Host {
		target.Path = d.volumePath(want.VolumeID)
		return target, nil
	}
	if target.NBD, err = d.serve(ctx, c, x); err != nil && fresh {
		err = errors.Join(err, d.disconnect(context.WithoutCancel(ctx), want))
	}
	return target, err
}

// Disconnect ends a connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	c := driver.Connection{ID: connectionID, VolumeID: volumeID, Host: "any"}
	if err := errors.Join(ctx.Err(), c.Check()); err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	if err := d.disconnect(ctx, c); err != nil {
		return fmt.Errorf("filevolume: connection %s of volume %s: %w", connectionID, volumeID, err)
	}
	return nil
}

func (d *Driver) disconnect(ctx context.Context, c driver.Connection) error {
	if there, err := exists(d.connections().Dir(c)); err != nil || !there {
		return err
	}
	if err := d.stopServer(ctx, c); err != nil {
		return err
	}
	return d.connections().End(c)
}
