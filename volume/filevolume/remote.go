//go:build linux

package filevolume

import (
	"context"
	"os"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// serve has a server of the volume run for a connection from another host, and returns how it is reached.
func (d *Driver) serve(ctx context.Context, c connections.Connection, x described) (*driver.NBD, error) {
	if d.o.Listen == "" {
		return nil, fault.Wrap(ErrUnavailable, "host %s is not the pool's, %s, and Options.Listen names no address for others", c.Host, d.o.Host)
	}
	account, err := nbdserver.Account(d.o.User)
	if err != nil {
		return nil, err
	}
	store := d.connections()
	server := nbdserver.Server{
		Dir: store.Dir(c.Connection), ID: c.ID, Export: c.VolumeID, Bytes: x.outside + x.bytes, ReadOnly: c.ReadOnly,
		Listen: d.o.Listen, Address: c.Address, Account: account,
		Keep: func(address string) error {
			c.Address = address
			return store.Keep(c)
		},
		Started: func(p *process.Process) { d.ends.Started(c.ID, p) },
		Backend: func() (*os.File, string, error) {
			volume, err := open(d.volumePath(c.VolumeID), os.O_RDWR)
			if err == nil && account != nil {
				if err = volume.Chown(int(account.Uid), int(account.Gid)); err != nil {
					_ = volume.Close()
				}
			}
			onOff := map[bool]string{true: "on", false: "off"}
			// Who may write is ours to say, not a lock's.
			return volume, "driver=file,node-name=volume,filename=/proc/self/fd/3,cache.direct=on,discard=unmap,locking=off,read-only=" + onOff[c.ReadOnly], err
		},
	}
	return server.Serve(ctx)
}

// stopServer ends a connection's server, if it has one, when what it was told to write is written. The last one's account gives
// the volume back.
func (d *Driver) stopServer(ctx context.Context, c driver.Connection) error {
	store := d.connections()
	if err := nbdserver.Stop(ctx, store.Dir(c)); err != nil {
		return err
	}
	list, err := store.Of(c.VolumeID)
	if err != nil || d.o.User == "" || len(list) > 1 {
		return err
	}
	return unlessMissing(os.Lchown(d.volumePath(c.VolumeID), os.Geteuid(), os.Getegid()))
}

// Watch calls changed when the server of a connection from another host has ended.
func (d *Driver) Watch(ctx context.Context, changed func(connectionID string)) error {
	servers := func(context.Context) (map[string]*process.Process, error) { return d.connections().Servers() }
	return d.ends.Watch(ctx, servers, changed)
}
