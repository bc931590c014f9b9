//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// unconnected returns ErrBusy if the volume has connections.
func (d *Driver) unconnected(volumeID string) error {
	if err := d.connections().None(volumeID); err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	return nil
}

// Connect has the pool's storage daemon serve the volume: to its own host by a Unix socket, to others by way of a server that runs
// for this connection.
func (d *Driver) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return driver.Target{}, fmt.Errorf("qcow2volume: %w", err)
	}
	target, err := d.connect(ctx, want)
	if err != nil {
		return driver.Target{}, fmt.Errorf("qcow2volume: connection %s of volume %s: %w", want.ID, want.VolumeID, roomed(err))
	}
	return target, nil
}

func (d *Driver) connect(ctx context.Context, want driver.Connection) (target driver.Target, err error) {
	if want.Host != d.o.Host && d.o.Listen == "" {
		return target, fault.Wrap(ErrUnavailable, "host %s is not the pool's, %s, and Options.Listen names no address for others", want.Host, d.o.Host)
	}
	c, err := d.begun(ctx, want)
	if err == nil && want.Host != d.o.Host {
		c.target.NBD, err = d.serveOthers(ctx, c.Connection, c.bytes)
	}
	if err != nil && c.fresh {
		err = errors.Join(err, d.disconnect(context.WithoutCancel(ctx), want))
	}
	return c.target, err
}

// begun is a connection that the daemon serves, by an export of so many bytes.
type begun struct {
	connections.Connection
	fresh  bool
	bytes  int64
	target driver.Target
}

func (d *Driver) begun(ctx context.Context, want driver.Connection) (c begun, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.record(driver.KindVolume, want.VolumeID)
	if err != nil {
		return c, err
	}
	before, err := d.connections().Of(want.VolumeID)
	if err != nil {
		return c, err
	}
	if c.Connection, c.fresh, err = d.connections().Begin(want); err != nil {
		return c, err
	}
	m, err := d.daemon(ctx)
	if err != nil {
		return c, err
	}
	defer m.close()
	for _, b := range before {
		if b.ID == want.ID && b.ReadOnly != want.ReadOnly {
			_, err = d.removeExport(ctx, m, connectionExport(want))
		}
	}
	if err == nil {
		err = d.serveVolume(ctx, m, r)
	}
	if err != nil {
		return c, errors.Join(err, d.rest(ctx, m, nodeOf(r.Layer)))
	}
	x, err := d.layer(r.Layer)
	c.bytes = x.bytes
	c.target = driver.Target{Format: "raw", Bytes: x.bytes - r.Outside, ReadOnly: want.ReadOnly}
	c.target.NBD = &driver.NBD{Socket: d.path(socketsDir, exportSocket), Export: connectionExport(want)}
	if r.Outside > 0 {
		c.target.Format = "luks"
	}
	return c, err
}

// serveVolume has the daemon serve all connections of a volume that it does not serve.
func (d *Driver) serveVolume(ctx context.Context, m *monitor, r record) error {
	list, err := d.connections().Of(r.id)
	if err != nil || len(list) == 0 {
		return err
	}
	if err := d.advance(ctx, m, r); err != nil {
		return err
	}
	exports, err := m.exports()
	if err != nil {
		return err
	}
	served := map[string]bool{}
	for _, e := range exports {
		served[e.ID] = true
	}
	opened := false
	for _, c := range list {
		if id := connectionExport(c.Connection); !served[id] {
			if !opened {
				if err := d.open(m, r.Layer, true); err != nil {
					return err
				}
				opened = true
			}
			if err := m.add(id, r.Layer, !c.ReadOnly); err != nil {
				return err
			}
		}
	}
	return nil
}

// serveAll has the daemon serve all connections.
func (d *Driver) serveAll(ctx context.Context, m *monitor) error {
	volumes, err := d.connections().Volumes()
	for _, id := range volumes {
		r, recordErr := d.record(driver.KindVolume, id)
		if recordErr == nil {
			recordErr = d.serveVolume(ctx, m, r)
		}
		err = errors.Join(err, recordErr, ctx.Err())
	}
	return err
}

// reconnectSeconds is how long a server for another host waits for the daemon to come back.
const reconnectSeconds = 24 * 60 * 60

// serveOthers has a server run for a connection from another host, a client of the daemon's.
func (d *Driver) serveOthers(ctx context.Context, c connections.Connection, bytes int64) (*driver.NBD, error) {
	store := d.connections()
	readOnly := "off"
	if c.ReadOnly {
		readOnly = "on"
	}
	server := nbdserver.Server{
		Dir: store.Dir(c.Connection), ID: c.ID, Export: c.VolumeID, Bytes: bytes, ReadOnly: c.ReadOnly,
		Listen: d.o.Listen, Address: c.Address, Account: d.account,
		Started: func(p *process.Process) { d.ends.Started(c.ID, p) },
		Keep: func(address string) error {
			c.Address = address
			return store.Keep(c)
		},
		Backend: func() (*os.File, string, error) {
			sockets, err := os.Open(d.path(socketsDir))
			return sockets, "driver=nbd,node-name=volume,server.type=unix,server.path=/proc/self/fd/3/" + exportSocket +
				",export=" + connectionExport(c.Connection) + ",discard=unmap,read-only=" + readOnly +
				",reconnect-delay=" + strconv.Itoa(reconnectSeconds) + ",open-timeout=10", err
		},
	}
	return server.Serve(ctx)
}

// Disconnect ends a connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	c := driver.Connection{ID: connectionID, VolumeID: volumeID, Host: "any"}
	if err := errors.Join(ctx.Err(), c.Check()); err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	if err := d.disconnect(ctx, c); err != nil {
		return fmt.Errorf("qcow2volume: connection %s of volume %s: %w", connectionID, volumeID, err)
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
	d.mu.Lock()
	defer d.mu.Unlock()
	m, err := d.running(ctx)
	if err != nil {
		return err
	}
	if m == nil {
		return store.End(c)
	}
	defer m.close()
	node, err := d.removeExport(ctx, m, connectionExport(c))
	if err != nil {
		return err
	}
	return errors.Join(store.End(c), d.rest(ctx, m, node))
}

// removeExport ends an export, if there is one, and says at which node it was.
func (d *Driver) removeExport(ctx context.Context, m *monitor, id string) (node string, err error) {
	exports, err := m.exports()
	for _, e := range exports {
		if e.ID == id {
			node, err = e.Node, m.remove(ctx, id)
		}
	}
	return node, err
}
