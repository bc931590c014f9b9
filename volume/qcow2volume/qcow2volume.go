//go:build linux

// Package qcow2volume is a driver of volumes that are qcow2 files in a directory, on any file system: for hosts whose own shares no
// blocks between files (ext4), where package filevolume needs one in a file.
//
//	volumes, err := qcow2volume.New(ctx, dir, &qcow2volume.Options{Host: "host1"})
//	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
//	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
//	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
//
// # Layers
//
// A content is a layer, the file layers/UUID.qcow2, and those that it stands on, named in the files' headers by names in the same
// directory. A volume is the record volume-ID.json, which names the layer that it writes to; a snapshot is snapshot-ID.json, which
// names one that nobody writes to any more. A snapshot freezes the volume's layer, and the volume goes on in a new, empty one above
// it; a clone is a new layer above the same. Both write some 256 KiB, and take milliseconds whatever the size. There is nothing
// else: a copy of the directory (cp -a --sparse=always, while nothing is connected) is a copy of the pool.
//
// What was removed and others stand on stays, shown by nobody, until nothing stands on it: a removal copies nothing, and gives no
// room back that others still read. Each layer that is looked through costs a read that finds nothing in it some microseconds,
// and memory for its tables. When a removal leaves more than 8 hidden layers in one line, the smallest that only one stands on
// is copied into that one before the removal returns; everything else goes on meanwhile. A line of 100 layers grows no more
// ([driver.ErrBusy]): 99 snapshots of one volume that are kept at once make one. A removal reads the headers of all the pool's
// layers, some 20 µs each.
//
// # The storage daemon
//
// While a volume is connected, or a content is open here, one qemu-storage-daemon has all of the pool's layers open that are in use,
// and nobody else opens one; it ends with the last use. One for all, because that makes snapshots of several volumes in use one
// moment's, by one transaction, and because layers that several stand on are open once. Its price is that volumes in use share one
// process and its thread, and wait together when it is killed: [Driver.Watch] says so, and a call to the driver starts it again, with
// all that is connected, where QEMU's clients find it by themselves. A volume that grows in use breaks off its clients' connections, which has them see
// the size.
//
// Servers on the pool's own host ([Options.Host]) are given the daemon's Unix socket. It holds the exports of all that is connected,
// and NBD knows no owners: who may enter its directory reaches all of them. For each connection of another host one more daemon
// runs, a client of the first, which lets in by TLS who has that connection's certificate, on a port of [Options.Listen]: nobody
// reaches another volume there. Who wants that for the pool's own host, too, gives it another name in Options.Host. All of them run
// as [Options.User], in namespaces of their own, outlive this process and are found again.
//
// An encrypted volume is a LUKS container of version 1 inside the layers, which the server's QEMU opens; a passphrase is never
// written.
//
// What it needs of the host, [Probe] tries: Linux, and qemu-storage-daemon (tested with 7.2). Any file system will do; on one without
// O_DIRECT the host's cache is used, and flushed when the guest flushes. To adopt and release volumes it needs hard links.
//
// What it will not do: reserve room. A pool may promise more than it has; a guest that writes when nothing is left gets an error
// (ENOSPC), which QEMU can be told to wait after. One process at a time works on a pool. A volume has at most 2 PiB. One that is open
// here does not grow (ErrBusy).
//
// Everything is written under another name, made durable, then named at once. A process that is killed leaves layers that nothing
// refers to, which the next [New] removes; a daemon that is killed loses nothing that was flushed, and clusters that it leaves in a layer
// and that nothing refers to are given back when the next one starts, if the host has qemu-img. Errors are those of the contract; [ErrUnavailable] where
// the host lacks something. Everything is safe for concurrent use as the contract says.
package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
	"golang.org/x/sys/unix"
)

// ErrUnavailable is wrapped by errors of a host that lacks something.
var ErrUnavailable = fault.ErrUnavailable

// Directories of the pool's; records of volumes and snapshots lie beside them.
const (
	layersDir      = "layers"
	connectionsDir = "connections"
	// newPrefix begins the names of layers that are being written.
	newPrefix = ".new-"
)

// maxDepth is how many layers stand on each other at most; maxHidden how many of them no volume and no snapshot shows, before a
// removal merges some.
const (
	maxDepth  = 100
	maxHidden = 8
)

// Options changes what a pool is.
type Options struct {
	// Host is the name of the pool's own host in connections; it reaches volumes by a Unix socket. Default: the host's name.
	Host string
	// Listen is the IP address at which other hosts reach this one; for each of their connections a server of the Network
	// Block Device protocol listens there, on a port of its own, and lets in by TLS who has that connection's certificate.
	// Empty: other hosts cannot connect.
	Listen string
	// User is the account that the storage daemon and those servers run as; it then owns the layers. Empty is who this process
	// is.
	User string
}

// Driver keeps volumes in a directory.
type Driver struct {
	dir     string
	o       Options
	account *syscall.Credential // of o.User
	direct  bool                // the file system can be read and written past the host's cache

	// mu is held while records, layers and what the daemon has open change. Contents are read and written without it.
	mu sync.Mutex

	ends process.Ends
}

var (
	_ driver.Volumes  = (*Driver)(nil)
	_ driver.Reverter = (*Driver)(nil)
	_ driver.Manager  = (*Driver)(nil)
	_ driver.Unlocker = (*Driver)(nil)
	_ driver.Watcher  = (*Driver)(nil)
)

// New makes a driver for the pool in dir, which is made if it is not there. It ends what a killed process has begun, and has
// volumes that are connected served again. o may be nil.
func New(ctx context.Context, dir string, o *Options) (*Driver, error) {
	d := &Driver{}
	if o != nil {
		d.o = *o
	}
	if err := d.begin(ctx, dir); err != nil {
		return nil, fmt.Errorf("qcow2volume: pool %s: %w", dir, err)
	}
	return d, nil
}

func (d *Driver) begin(ctx context.Context, dir string) (err error) {
	if d.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if d.o.Host == "" {
		if d.o.Host, err = os.Hostname(); err != nil {
			return err
		}
	}
	if d.account, err = nbdserver.Account(d.o.User); err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{layersDir, connectionsDir, daemonDir, socketsDir} {
		if err := os.MkdirAll(d.path(name), 0o700); err != nil {
			return err
		}
	}
	// Servers that may know nothing but the socket enter its directory by a descriptor.
	if err := os.Chmod(d.path(socketsDir), 0o711); err != nil {
		return err
	}
	if d.direct, err = d.tryDirect(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.mend(ctx), d.reserve())
}

// tryDirect says whether the file system can be written to past the host's cache. A full one says nothing.
func (d *Driver) tryDirect() (bool, error) {
	path := d.layerPath(newPrefix + "direct")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_DIRECT, 0o600)
	direct := err == nil
	if direct {
		err = f.Close()
	} else if errors.Is(err, unix.EINVAL) || errors.Is(roomed(err), driver.ErrFull) {
		err = nil
	}
	return direct, errors.Join(err, unlessMissing(os.Remove(path)))
}

// mend ends what killed processes began, or takes it away, and makes durable what they did: who finds it will build on it.
func (d *Driver) mend(ctx context.Context) error {
	if err := d.mendFiles(); err != nil {
		return err
	}
	m, err := d.running(ctx)
	if err != nil {
		return err
	}
	if m == nil {
		volumes, err := d.connections().All()
		if err != nil {
			return err
		}
		if len(volumes) == 0 {
			return d.settle(ctx)
		}
		if m, err = d.startDaemon(ctx); err != nil {
			return err
		}
	}
	defer m.close()
	if err := d.cancelJobs(ctx, m); err != nil {
		return err
	}
	exports, err := m.exports()
	if err != nil {
		return err
	}
	for _, e := range exports {
		if strings.HasPrefix(e.ID, devicePrefix) {
			err = errors.Join(err, m.remove(ctx, e.ID))
		}
	}
	// A connection that cannot be served says so when it is asked for again.
	_ = d.serveAll(ctx, m)
	return errors.Join(err, d.sweep(m), d.rest(ctx, m))
}

func (d *Driver) mendFiles() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch path := d.path(e.Name()); {
		case strings.HasPrefix(e.Name(), doneGroup):
			err = errors.Join(err, d.place(path))
		case strings.HasPrefix(e.Name(), makingGroup), strings.HasSuffix(e.Name(), ".json.new"):
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if entries, readErr := os.ReadDir(d.path(layersDir)); readErr != nil {
		err = errors.Join(err, readErr)
	} else {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), newPrefix) {
				err = errors.Join(err, unlessMissing(os.Remove(d.layerPath(e.Name()))))
			}
		}
	}
	if err != nil {
		return err
	}
	g, err := d.graph()
	if err != nil {
		return err
	}
	var names []string
	for name := range g.layers {
		names = append(names, name)
	}
	return errors.Join(d.collect(g, names...), d.mendNames(), connections.SyncDir(d.dir), connections.SyncDir(d.path(layersDir)))
}

func (d *Driver) connections() connections.Store { return connections.Store(d.path(connectionsDir)) }

// Kind is "qcow2".
func (d *Driver) Kind() string { return "qcow2" }

// Capacity is the file system's.
func (d *Driver) Capacity(ctx context.Context) (driver.Capacity, error) {
	all, err := d.List(ctx)
	if err != nil {
		return driver.Capacity{}, err
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(d.dir, &stat); err != nil {
		return driver.Capacity{}, fmt.Errorf("qcow2volume: %w", &os.PathError{Op: "statfs", Path: d.dir, Err: err})
	}
	c := driver.Capacity{Total: int64(stat.Blocks) * stat.Bsize, Free: int64(stat.Bavail) * stat.Bsize, Thin: true, Shared: true, Encryption: true, Remote: d.o.Listen != ""}
	for _, o := range all {
		c.Provisioned += o.Bytes
	}
	return c, nil
}

// List says what exists. What killed calls left, a new driver has ended or taken away: nothing is partial.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	records, err := d.records()
	if err != nil {
		return nil, fmt.Errorf("qcow2volume: %w", err)
	}
	var all []driver.Observed
	for _, r := range records {
		o, err := d.observe(r)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("qcow2volume: %s %s: %w", r.kind, r.id, err)
		}
		all = append(all, o)
	}
	return all, nil
}

func (d *Driver) observe(r record) (driver.Observed, error) {
	x, err := d.layer(r.Layer)
	for errors.Is(err, fs.ErrNotExist) {
		// It may have gone on in another.
		now, recordErr := d.record(r.kind, r.id)
		if recordErr != nil {
			return driver.Observed{}, recordErr
		}
		if now == r {
			return driver.Observed{}, errors.Join(errLost, errors.New(err.Error()))
		}
		r = now
		x, err = d.layer(r.Layer)
	}
	o := driver.Observed{Kind: r.kind, ID: r.id, VolumeID: r.VolumeID, Bytes: x.bytes - r.Outside, Used: x.used}
	if err != nil || r.kind != driver.KindVolume {
		return o, err
	}
	list, err := d.connections().Of(r.id)
	for _, c := range list {
		o.Connections = append(o.Connections, c.ID)
	}
	return o, err
}

// errLost is the error of a record without its file.
var errLost = errors.New("its layer is missing")
