//go:build linux

package filevolume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/volume/driver"
)

// Directories of the pool's. Each connection has one of its own, connections/VOLUME/CONNECTION, with connectionFile in it; it is
// a connection when it has.
const (
	connections    = "connections"
	connectionFile = "connection.json"
)

// connection is what connectionFile holds.
type connection struct {
	driver.Connection
	// Address is where a server of block devices listens for it; empty for the pool's own host.
	Address string `json:",omitempty"`
}

// connectionsOf reads them, in the order of identifiers.
func (d *Driver) connectionsOf(volumeID string) ([]connection, error) {
	entries, err := os.ReadDir(d.path(connections, volumeID))
	if err := unlessMissing(err); err != nil {
		return nil, err
	}
	var list []connection
	for _, e := range entries {
		data, err := os.ReadFile(d.path(connections, volumeID, e.Name(), connectionFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var c connection
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			return nil, fmt.Errorf("connection %s of volume %s: %w", e.Name(), volumeID, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// unconnected returns ErrBusy if the volume has connections.
func (d *Driver) unconnected(volumeID string) error {
	list, err := d.connectionsOf(volumeID)
	if err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	if len(list) > 0 {
		return fmt.Errorf("filevolume: volume %s has connection %s: %w", volumeID, list[0].ID, driver.ErrBusy)
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
	list, err := d.connectionsOf(want.VolumeID)
	if err != nil {
		return target, err
	}
	c, fresh := connection{}, true
	for _, other := range list {
		if other.ID == want.ID {
			c, fresh = other, false
		} else if !want.Beside(other.Connection) {
			return target, fmt.Errorf("it has connection %s: %w", other.ID, driver.ErrBusy)
		}
	}
	if c.Connection != want {
		c.Connection = want
		if err := d.keep(c); err != nil {
			return target, err
		}
	}
	target = driver.Target{Format: "raw", Bytes: x.bytes, ReadOnly: want.ReadOnly}
	if x.encrypted {
		target.Format = "luks"
	}
	if want.Host == d.o.Host {
		target.Path = d.volumePath(want.VolumeID)
		return target, nil
	}
	if target.NBD, err = d.serve(ctx, &c, x); err != nil && fresh {
		err = errors.Join(err, d.disconnect(context.WithoutCancel(ctx), c))
	}
	return target, err
}

func (d *Driver) connectionDir(c connection) string {
	return d.path(connections, c.VolumeID, c.ID)
}

// keep writes the connection's file.
func (d *Driver) keep(c connection) error {
	dir := d.connectionDir(c)
	data, err := json.Marshal(c)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = replace(filepath.Join(dir, connectionFile), data)
	}
	return errors.Join(err, syncDir(filepath.Dir(dir)), syncDir(d.path(connections)))
}

// replace makes data the file's content, wholly or not at all.
func replace(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(path+".new", path), syncDir(filepath.Dir(path)))
}

// Disconnect ends a connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	c := connection{Connection: driver.Connection{ID: connectionID, VolumeID: volumeID, Host: "any"}}
	if err := errors.Join(ctx.Err(), c.Check()); err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	if err := d.disconnect(ctx, c); err != nil {
		return fmt.Errorf("filevolume: connection %s of volume %s: %w", connectionID, volumeID, err)
	}
	return nil
}

func (d *Driver) disconnect(ctx context.Context, c connection) error {
	dir := d.connectionDir(c)
	if there, err := exists(dir); err != nil || !there {
		return err
	}
	if err := d.stopServer(ctx, c); err != nil {
		return err
	}
	// Without its file it is no connection any more, whatever is left of the directory.
	return errors.Join(unlessMissing(os.Remove(filepath.Join(dir, connectionFile))), os.RemoveAll(dir), syncDir(filepath.Dir(dir)))
}
