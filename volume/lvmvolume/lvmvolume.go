//go:build linux

// Package lvmvolume is a driver of volumes that are thin logical volumes of LVM, in a thin pool of a volume group (lvmthin(7)).
//
//	volumes, err := lvmvolume.New(ctx, group, dir, nil)
//	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
//	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
//	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
//
// A volume is the logical volume volume-ID, a snapshot _snapshot-ID, as an operator expects who knows Cinder; tags that begin with
// "kintoun." say what LVM does not know: the exact size, whether it is encrypted, whose snapshot it is. Snapshots and clones share
// blocks and take as long for a terabyte as for a megabyte; those of several volumes are taken while their writers
// stand still, so that all are of one moment. What belongs to connections is kept in a directory.
//
// A server on the pool's own host ([Options.Host]) is given the block device. For one on another host a qemu-storage-daemon serves
// that connection alone, by the Network Block Device protocol over TLS, as in package filevolume. An encrypted volume is a LUKS
// container of version 1, which the server's QEMU opens.
//
// What it needs of the host, [Probe] says: root, device-mapper with the target thin-pool in the kernel, and the programs lvm, dmsetup
// and thin_check (Debian's lvm2, dmsetup, thin-provisioning-tools); for other hosts qemu-storage-daemon; and a volume group. The pool in
// it is made if it is not there, of 95 % of what is free, and has writes fail when it is full (--errorwhenfull); it can be made larger by hand (lvextend), also while it is used. Each call
// runs a few commands of some 0.1 seconds.
//
// Logical volumes are made of whole extents (4 MiB as a rule). A server on the pool's own host sees a size that is no multiple of
// them rounded up; those of Cinder, in GiB, are multiples. What it will not do: reserve room. A pool may promise more
// than it has; who writes when nothing is left gets an error (ENOSPC). And it does not know of writers in the kernel: what is mounted on
// the host itself writes on while snapshots of several volumes are taken. One process at a time works on a pool.
//
// What is made exists wholly or is marked as partial, and what a killed process has left, the next [New] ends or takes away; commands
// of LVM's that it had begun are waited for. Errors are those of the contract; [ErrUnavailable] where the host lacks something.
// Everything is safe for concurrent use as the contract says; one command runs at a time.
package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// ErrUnavailable is wrapped by errors of a host that lacks something.
var ErrUnavailable = fault.ErrUnavailable

// DefaultThinPool is the name of the thin pool.
const DefaultThinPool = "kintoun"

// Options changes what a pool is.
type Options struct {
	// ThinPool is the thin pool's name in the volume group; [DefaultThinPool] by default.
	ThinPool string
	// Host is the name of the pool's own host in connections; it uses volumes by their devices. Default: the host's name.
	Host string
	// Listen is the IP address at which other hosts reach this one; for each of their connections a server of the Network
	// Block Device protocol listens there, on a port of its own, and lets in by TLS who has that connection's certificate.
	// Empty: other hosts cannot connect.
	Listen string
	// User is the account that those servers run as; it then owns the devices that they serve. Empty is who this process is.
	User string

	// What tests on slow machines change: the rounds of PBKDF2 of new containers, and how long servers of block devices may take to
	// start; zero is what is usual.
	rounds     int
	answerTime time.Duration
}

// Driver keeps volumes in a thin pool of LVM's.
type Driver struct {
	group, dir string
	o          Options
	extent     int64
	udev       bool

	mu   sync.Mutex // held while a command may change the group
	ends process.Ends
}

var (
	_ driver.Volumes  = (*Driver)(nil)
	_ driver.Reverter = (*Driver)(nil)
	_ driver.Manager  = (*Driver)(nil)
	_ driver.Unlocker = (*Driver)(nil)
	_ driver.Watcher  = (*Driver)(nil)
)

// New makes a driver for the pool in the volume group, and keeps what belongs to connections in dir, which is made if it is not
// there. It makes the pool if there is none, and ends what a killed process has begun. o may be nil.
func New(ctx context.Context, group, dir string, o *Options) (*Driver, error) {
	d, err := prepare(group, dir, o)
	if err == nil {
		err = d.begin(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: volume group %q: %w", group, err)
	}
	return d, nil
}

// names are those that LVM has for groups and logical volumes (lvm(8)).
var names = regexp.MustCompile(`^[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]{0,100}$`)

func prepare(group, dir string, o *Options) (d *Driver, err error) {
	d = &Driver{group: group}
	if o != nil {
		d.o = *o
	}
	if d.o.ThinPool == "" {
		d.o.ThinPool = DefaultThinPool
	}
	for _, name := range []string{group, d.o.ThinPool} {
		if !names.MatchString(name) || name == "." || name == ".." {
			return nil, fmt.Errorf("%q is no name of a volume group or thin pool: %w", name, fs.ErrInvalid)
		}
	}
	if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	_, noUdev := os.Stat("/run/udev/control")
	d.udev = noUdev == nil
	if d.o.Host == "" {
		d.o.Host, err = os.Hostname()
	}
	return d, err
}

func (d *Driver) begin(ctx context.Context) error {
	if err := errors.Join(programs(), d.deviceMapper(ctx)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.dir, connectionsDir), 0o700); err != nil {
		return err
	}
	if err := d.awaitOthers(ctx); err != nil {
		return err
	}
	if err := d.measureGroup(ctx); err != nil {
		return err
	}
	all, err := d.report(ctx)
	if err == nil && all[d.o.ThinPool] == nil {
		_, err = d.lvm(ctx, "lvcreate", "--type", "thin-pool", "--extents", "95%FREE", "--name", d.o.ThinPool, d.group)
		if err == nil {
			all, err = d.report(ctx)
		}
	}
	if err != nil {
		return err
	}
	pool := all[d.o.ThinPool]
	if pool == nil || !pool.isPool {
		return fault.Wrap(ErrUnavailable, "%s/%s is no thin pool: name another (Options.ThinPool)", d.group, d.o.ThinPool)
	}
	if !pool.fails {
		// Otherwise writers wait for a minute, and may take the whole pool's commands with them.
		if _, err := d.lvm(ctx, "lvchange", "--errorwhenfull", "y", d.full(pool.name)); err != nil {
			return err
		}
	}
	return d.mend(ctx, all)
}

// Kind is "lvm".
func (d *Driver) Kind() string { return "lvm" }

// Capacity is the thin pool's.
func (d *Driver) Capacity(ctx context.Context) (driver.Capacity, error) {
	c := driver.Capacity{Thin: true, Shared: true, Encryption: true, Remote: d.o.Listen != ""}
	if err := ctx.Err(); err != nil {
		return c, err
	}
	all, err := d.settled(ctx)
	if err != nil {
		return c, fmt.Errorf("lvmvolume: %w", err)
	}
	pool := all[d.o.ThinPool]
	if pool == nil {
		return c, fmt.Errorf("lvmvolume: thin pool %s/%s: %w", d.group, d.o.ThinPool, fs.ErrNotExist)
	}
	c.Total, c.Free = pool.size, max(0, pool.size-int64(pool.data/100*float64(pool.size)))
	for _, v := range all {
		if kind, _ := named(v.name); kind != "" && v.pool == pool.name {
			c.Provisioned += v.bytes
		}
	}
	return c, nil
}
