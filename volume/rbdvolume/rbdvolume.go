//go:build linux

// Package rbdvolume is a driver of volumes that are RBD images in a pool of a Ceph cluster (https://docs.ceph.com/en/latest/rbd/).
//
//	volumes, err := rbdvolume.New(ctx, pool, &rbdvolume.Options{Config: config})
//	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
//	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
//	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
//
// A volume is the image volume-ID, its snapshots are volume-ID@snapshot-ID, as an operator expects who knows Cinder; clones share
// blocks with what they were made from. An image whose volume was removed is kept as kept-ID.IMAGE for as long as snapshots of it
// or clones need its blocks. What images do not tell, connections for one, is in the object kintoun.index of the same pool.
// Revert makes the volume a new clone, which takes as long for a terabyte as for a megabyte. Hosts reach a volume by themselves:
// a target has the monitors, the image's name, a user and that user's key. [Driver.Open] goes through qemu-storage-daemon.
//
// Snapshots of several volumes at one moment are taken as Ceph's of a group of images, while librbd holds the locks of them all. Those
// cannot be cloned before Ceph 19, so that each volume is cloned an instant before, and the clone gets what was written in between:
// about a second for each, whatever the size. Snapshots that somebody else has made of a volume's image can be adopted
// ([driver.SnapshotManager]); their names are what follows the "@".
//
// What it needs of the host, [Probe] tries: the commands rbd, rados, ceph and ceph-conf (16 or newer), librbd for Python, which comes
// with them (python3-rbd), QEMU's tools with their part for RBD, a configuration file and a keyring for a user who may use the pool
// ("profile rbd" for both monitors and OSDs), and a pool that "rbd pool init" has prepared. Each call runs a few commands of 0.1 to 0.2 seconds each: thousands of volumes are well,
// thousands of calls a minute are not.
//
// What it will not do: mirroring, and snapshots at one moment of volumes that an operator has put into groups of images or has taken
// the feature exclusive-lock from. A pool that is full makes writers wait; nobody gets [driver.ErrFull] from a
// write. One process at a time works on a pool.
//
// What is made gets its name when it is whole; what a killed process has left, the next [New] ends or takes away. Errors are those of
// the contract; [ErrUnavailable] where the host lacks something; others wrap the syscall.Errno that a command ended with.
// Everything is safe for concurrent use as the contract says.
package rbdvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume/driver"
)

// ErrUnavailable is wrapped by errors of a host that lacks something.
var ErrUnavailable = fault.ErrUnavailable

// Options changes which cluster is meant, and who asks.
type Options struct {
	// Config is the cluster's configuration file; /etc/ceph/ceph.conf by default.
	Config string
	// Namespace is one of the pool's (rbd namespace create): other images in the pool are no concern of the driver. Empty is the
	// unnamed one.
	Namespace string
	// User is the cephx user, without "client."; "admin" by default. The configuration says where its keyring is.
	User string
	// ConnectUser is the user whose name and key hosts get that connect; User by default. It needs a keyring here too.
	ConnectUser string
	// Monitors are what those hosts reach the cluster by, "host:port" each; the configuration's "mon host" by default.
	Monitors []string
}

// Driver keeps volumes in a pool of Ceph's.
type Driver struct {
	pool string
	o    Options
}

var (
	_ driver.Volumes         = (*Driver)(nil)
	_ driver.Reverter        = (*Driver)(nil)
	_ driver.Manager         = (*Driver)(nil)
	_ driver.SnapshotManager = (*Driver)(nil)
	_ driver.Unlocker        = (*Driver)(nil)
)

// New makes a driver for the pool, and ends what a killed process has begun. o may be nil.
func New(ctx context.Context, pool string, o *Options) (*Driver, error) {
	d, err := prepare(pool, o)
	if err == nil {
		err = d.mend(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %q: %w", pool, err)
	}
	return d, nil
}

func prepare(pool string, o *Options) (*Driver, error) {
	d := &Driver{pool: pool}
	if o != nil {
		d.o = *o
	}
	if d.o.Config == "" {
		d.o.Config = "/etc/ceph/ceph.conf"
	}
	if d.o.User == "" {
		d.o.User = "admin"
	}
	if d.o.ConnectUser == "" {
		d.o.ConnectUser = d.o.User
	}
	// What has a meaning in the names that commands take.
	for _, name := range []string{pool, d.o.Namespace} {
		if strings.ContainsAny(name, "/@: \t\n") || strings.HasPrefix(name, "-") {
			return nil, fmt.Errorf("%q is no name of a pool or namespace: %w", name, fs.ErrInvalid)
		}
	}
	if pool == "" {
		return nil, fmt.Errorf("no pool: %w", fs.ErrInvalid)
	}
	return d, nil
}

// Kind is "rbd".
func (d *Driver) Kind() string { return "rbd" }

// Capacity is what the cluster says of the pool: what can still be written to it with its copies, and what is. A quota of the
// pool bounds both. The cluster's manager counts, every few seconds.
func (d *Driver) Capacity(ctx context.Context) (driver.Capacity, error) {
	c := driver.Capacity{Thin: true, Shared: true, Encryption: true, Remote: true}
	all, err := d.List(ctx)
	if err != nil {
		return c, err
	}
	for _, o := range all {
		c.Provisioned += o.Bytes
	}
	var df struct {
		Stats struct {
			Total int64 `json:"total_bytes"`
		} `json:"stats"`
		Pools []struct {
			Name  string `json:"name"`
			Stats struct {
				Stored    int64 `json:"stored"`
				Available int64 `json:"max_avail"`
				Quota     int64 `json:"quota_bytes"`
			} `json:"stats"`
		} `json:"pools"`
	}
	out, err := d.ceph(ctx, "df", "detail", "--format", "json")
	if err := decode(out, err, &df); err != nil {
		return c, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	for _, p := range df.Pools {
		if p.Name != d.pool || df.Stats.Total == 0 {
			continue
		}
		c.Total, c.Free = p.Stats.Available+p.Stats.Stored, p.Stats.Available
		if quota := p.Stats.Quota; quota > 0 {
			c.Total, c.Free = min(c.Total, quota), max(0, min(c.Free, quota-p.Stats.Stored))
		}
		return c, nil
	}
	return c, fmt.Errorf("rbdvolume: pool %s: the cluster's manager has not counted it: %w", d.pool, errNotCounted)
}

var errNotCounted = errors.New("no active ceph-mgr, or it has just begun")
