//go:build linux

// Package filevolume is a driver of volumes that are files: a directory on a file system that can share blocks between files
// (XFS, btrfs), or on one of its own in a backing file.
//
//	options := &filevolume.Options{BackingFile: dir + ".xfs", BackingBytes: 4 << 30}
//	volumes, err := filevolume.New(ctx, dir, options)
//	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
//	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
//	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
//
// A volume is the raw sparse file volume-ID, a snapshot the file snapshot-ID, as an operator expects who knows Cinder; what belongs
// to connections is in directories below. There is nothing else: a copy of the directory with its extended attributes (cp -a
// --reflink, rsync -aXS) is a copy of the pool. Snapshots and clones take milliseconds whatever the size; but a file in very many
// pieces takes some 0.1 ms for each (16,384 pieces 1.5 s on a busy machine), while who writes to it waits. Snapshots of several volumes stop the processes of
// this host that write to them for that time (SIGSTOP), so that all are of one moment.
//
// A server on the pool's own host ([Options.Host]) is given the file. For one on another host a qemu-storage-daemon serves that
// connection alone, by the Network Block Device protocol over TLS, on a port of [Options.Listen]: it runs as [Options.User] in a
// network namespace of its own, lets in who has the connection's certificate, outlives this process, is found again, and started
// again at the same address by the next Connect. An encrypted volume is a LUKS container of version 1, which the server's QEMU
// opens; a passphrase is never written.
//
// What it needs of the host, [Probe] tries: Linux, a file system that clones; for a backing file root and xfsprogs; for other hosts
// qemu-storage-daemon. [New] fails where a file system cannot clone (ext4), and says what to do: a [Options.BackingFile] lies
// anywhere.
//
// What it will not do: reserve room. A pool may promise more than it has; a guest that writes when nothing is left gets an error
// (ENOSPC), which QEMU can be told to wait after. One process at a time works on a pool. Processes in other PID namespaces that
// write to a volume are not seen, nor stopped.
//
// Everything is made under no name, made durable, then named at once: a process that is killed leaves nothing half made. Errors
// are those of the contract; [ErrUnavailable] where the host lacks something. Everything is safe for concurrent use as the
// contract says.
package filevolume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
	"golang.org/x/sys/unix"
)

// ErrUnavailable is wrapped by errors of a host that lacks something.
var ErrUnavailable = fault.ErrUnavailable

var errBusy = driver.ErrBusy

// Options changes what a pool is.
type Options struct {
	// BackingFile is a file with the pool's own XFS in it, mounted on the directory by way of a loop device: for hosts whose own
	// file system cannot clone, and to bound what volumes take (VOLUME_BACKING_FILE of DevStack). It is made if it is not
	// there. Empty is none.
	BackingFile string
	// BackingBytes is its size, 300 MiB at least; it is sparse. A larger size than before makes it grow; it never shrinks.
	BackingBytes int64
	// Host is the name of the pool's own host in connections; it uses volumes by their files. Default: the host's name.
	Host string
	// Listen is the IP address at which other hosts reach this one; for each of their connections a server of the Network
	// Block Device protocol listens there, on a port of its own, and lets in by TLS who has that connection's certificate.
	// Empty: other hosts cannot connect.
	Listen string
	// User is the account that those servers run as; it then owns the volumes that they serve. Empty is who this process
	// is.
	User string
}

// Driver keeps volumes in a directory.
type Driver struct {
	dir string
	o   Options

	groups sync.Mutex // held while directories of groups of snapshots are made
	ends   process.Ends
}

var (
	_ driver.Volumes  = (*Driver)(nil)
	_ driver.Reverter = (*Driver)(nil)
	_ driver.Manager  = (*Driver)(nil)
	_ driver.Unlocker = (*Driver)(nil)
	_ driver.Watcher  = (*Driver)(nil)

	_ driver.SnapshotManager = (*Driver)(nil)
)

// New makes a driver for the pool in dir, which is made if it is not there. It mounts the backing file and ends what a killed
// process has begun. o may be nil.
func New(ctx context.Context, dir string, o *Options) (*Driver, error) {
	d, err := prepare(dir, o)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	if err := d.begin(ctx); err != nil {
		return nil, fmt.Errorf("filevolume: pool %s: %w", d.dir, err)
	}
	return d, nil
}

func prepare(dir string, o *Options) (d *Driver, err error) {
	d = &Driver{}
	if o != nil {
		d.o = *o
	}
	if d.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if d.o.BackingFile != "" {
		if d.o.BackingFile, err = filepath.Abs(d.o.BackingFile); err != nil {
			return nil, err
		}
	}
	if d.o.Host == "" {
		d.o.Host, err = os.Hostname()
	}
	return d, err
}

func (d *Driver) begin(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if d.o.BackingFile != "" {
		if err := d.mountBacking(ctx); err != nil {
			return err
		}
	}
	if err := d.tryClone(); err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(d.path(connectionsDir), 0o700), d.mend())
}

// Kind is "file".
func (d *Driver) Kind() string { return "file" }

// Capacity is the file system's.
func (d *Driver) Capacity(ctx context.Context) (driver.Capacity, error) {
	all, err := d.List(ctx)
	if err != nil {
		return driver.Capacity{}, err
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(d.dir, &stat); err != nil {
		return driver.Capacity{}, fmt.Errorf("filevolume: %w", &os.PathError{Op: "statfs", Path: d.dir, Err: err})
	}
	c := driver.Capacity{Total: int64(stat.Blocks) * stat.Bsize, Free: int64(stat.Bavail) * stat.Bsize, Thin: true, Shared: true, Encryption: true, Remote: d.o.Listen != ""}
	for _, o := range all {
		c.Provisioned += o.Bytes
	}
	return c, nil
}
