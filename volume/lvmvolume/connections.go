//go:build linux

package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// connectionsDir is the directory of connections in the driver's.
const connectionsDir = "connections"

func (d *Driver) connections() connections.Store {
	return connections.Store(filepath.Join(d.dir, connectionsDir))
}

// unconnected returns ErrBusy if the volume has connections.
func (d *Driver) unconnected(volumeID string) error {
	if err := d.connections().None(volumeID); err != nil {
		return fmt.Errorf("lvmvolume: %w", err)
	}
	return nil
}

// Connect makes the volume reachable from the connection's host: on the pool's own by its device, on others by a server of block
// devices that runs for this connection.
func (d *Driver) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return driver.Target{}, fmt.Errorf("lvmvolume: %w", err)
	}
	target, err := d.connect(ctx, want)
	if err != nil {
		return driver.Target{}, fmt.Errorf("lvmvolume: connection %s of volume %s: %w", want.ID, want.VolumeID, err)
	}
	return target, nil
}

func (d *Driver) connect(ctx context.Context, want driver.Connection) (target driver.Target, err error) {
	v, c, fresh, err := d.beginConnection(ctx, want)
	if err != nil {
		return target, err
	}
	target = driver.Target{Format: "raw", Bytes: v.bytes, ReadOnly: want.ReadOnly}
	if v.encrypted {
		target.Format = "luks"
	}
	if want.Host == d.o.Host {
		target.Path = d.path(v.name)
		return target, nil
	}
	if target.NBD, err = d.serve(ctx, c, v); err != nil && fresh {
		err = errors.Join(err, d.disconnect(context.WithoutCancel(ctx), want))
	}
	return target, err
}

// beginConnection keeps the connection while nobody removes or replaces its volume.
func (d *Driver) beginConnection(ctx context.Context, want driver.Connection) (v *logical, c connections.Connection, fresh bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err == nil {
		v, err = whole(all, volumePrefix+want.VolumeID)
	}
	if err == nil {
		c, fresh, err = d.connections().Begin(want)
	}
	return v, c, fresh, err
}

// serve has a server of the volume run for a connection from another host, and returns how it is reached.
func (d *Driver) serve(ctx context.Context, c connections.Connection, v *logical) (*driver.NBD, error) {
	if d.o.Listen == "" {
		return nil, fault.Wrap(ErrUnavailable, "host %s is not the pool's, %s, and Options.Listen names no address for others", c.Host, d.o.Host)
	}
	account, err := nbdserver.Account(d.o.User)
	if err != nil {
		return nil, err
	}
	store := d.connections()
	server := nbdserver.Server{
		Dir: store.Dir(c.Connection), ID: c.ID, Export: c.VolumeID, Bytes: v.outside + v.bytes, ReadOnly: c.ReadOnly,
		Listen: d.o.Listen, Address: c.Address, Account: account, AnswerTime: d.o.answerTime,
		Keep: func(address string) error {
			c.Address = address
			return store.Keep(c)
		},
		Started: func(p *process.Process) { d.ends.Started(c.ID, p) },
		Backend: func() (*os.File, string, error) {
			device, err := os.OpenFile(d.path(v.name), os.O_RDWR, 0)
			if err == nil && account != nil {
				if err = device.Chown(int(account.Uid), int(account.Gid)); err != nil {
					_ = device.Close()
				}
			}
			onOff := map[bool]string{true: "on", false: "off"}
			// The exact size, not the device's. Who may write is ours to say, not a lock's.
			return device, fmt.Sprintf("driver=raw,node-name=volume,size=%d,discard=unmap,read-only=%[2]s,file.driver=host_device,file.filename=/proc/self/fd/3,file.cache.direct=on,file.discard=unmap,file.locking=off,file.read-only=%[2]s",
				v.outside+v.bytes, onOff[c.ReadOnly]), err
		},
	}
	return server.Serve(ctx)
}

// Disconnect ends a connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	c := driver.Connection{ID: connectionID, VolumeID: volumeID, Host: "any"}
	if err := errors.Join(ctx.Err(), c.Check()); err != nil {
		return fmt.Errorf("lvmvolume: %w", err)
	}
	if err := d.disconnect(ctx, c); err != nil {
		return fmt.Errorf("lvmvolume: connection %s of volume %s: %w", connectionID, volumeID, err)
	}
	return nil
}

func (d *Driver) disconnect(ctx context.Context, c driver.Connection) error {
	store := d.connections()
	if _, err := os.Stat(store.Dir(c)); err != nil {
		return unlessMissing(err)
	}
	if err := nbdserver.Stop(ctx, store.Dir(c)); err != nil {
		return err
	}
	list, err := store.Of(c.VolumeID)
	if err == nil && d.o.User != "" && len(list) <= 1 {
		err = unlessMissing(os.Chown(d.path(volumePrefix+c.VolumeID), os.Geteuid(), os.Getegid()))
	}
	return errors.Join(err, store.End(c))
}

// Watch calls changed when the server of a connection from another host has ended.
func (d *Driver) Watch(ctx context.Context, changed func(connectionID string)) error {
	servers := func(context.Context) (map[string]*process.Process, error) { return d.connections().Servers() }
	return d.ends.Watch(ctx, servers, changed)
}
