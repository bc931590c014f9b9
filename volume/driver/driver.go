// Package driver is the contract between the volume domain and what keeps the bytes of volumes: one interface,
// [Volumes], and the plain values that it takes.
//
// A driver keeps one pool of volumes and their snapshots. Apply makes the pool match what is wanted and is free when it
// already does; Remove is happy when the thing is already gone; List says what exists, so that a restarted agent finds
// leftovers:
//
//	volumes := memvolume.New(pool, nil)
//	err := volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 1 << 30})
//	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
//	err = volumes.Apply(ctx, driver.Volume{ID: clone, Bytes: 2 << 30, Source: driver.Source{SnapshotID: snapshot}})
//	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: clone, Host: "host1"})
//
// A volume's content is what its writers wrote and flushed, whoever is killed meanwhile; a snapshot is the content at one
// moment of the call, as if the power had failed then. What only some technologies can do is an optional interface,
// found by type assertion: [Reverter], [Manager], [SnapshotManager], [Unlocker], [Watcher].
//
// Packages filevolume and qcow2volume keep files, package lvmvolume logical volumes, package rbdvolume images of Ceph, package memvolume memory; package drivertest is
// the suite that all pass.
//
// The package needs nothing but the standard library, and does nothing but what drivers share: [CheckID] and the checks of
// wishes. Errors wrap fs.ErrNotExist for what is not there,
// fs.ErrInvalid for a wish that can never be fulfilled, [ErrFull] and [ErrBusy]; others are the driver's own. All methods
// are safe for concurrent use on different volumes; calls for one volume and its snapshots are made one after the other.
// A driver never relies on its own memory: after a kill, a new value over the same pool finds everything.
package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrFull is wrapped by errors of a pool that has no room left, ErrBusy by those of a thing that others still need: a
// snapshot with volumes that depend on it, a volume that is connected.
var (
	ErrFull = errors.New("no room left in the pool")
	ErrBusy = errors.New("in use")
)

// Volumes keeps one pool of volumes and snapshots.
type Volumes interface {
	// Kind names the technology for operators: "file".
	Kind() string
	// Capacity says how much the pool holds and what the technology can do.
	Capacity(ctx context.Context) (Capacity, error)
	// Apply creates the volume, wholly or not at all, from its source or full of zeroes, or makes an existing one larger,
	// also while it is connected. An existing volume never shrinks (fs.ErrInvalid); its source is not looked at again. A
	// source that is not there is fs.ErrNotExist. A source volume may be connected: it is copied as it is at one moment.
	Apply(ctx context.Context, want Volume) error
	// Remove deletes a volume. One that is connected is ErrBusy; what was made from it stays whole.
	Remove(ctx context.Context, id string) error
	// ApplySnapshots takes those snapshots that do not exist yet, all at one moment, all or none. Their volumes may be
	// connected and written to. A volume that is not there is fs.ErrNotExist, unless its snapshot is; an identifier that
	// another volume's snapshot has is fs.ErrInvalid. A technology that cannot take those of several volumes at one moment
	// refuses them (errors.ErrUnsupported).
	ApplySnapshots(ctx context.Context, want ...Snapshot) error
	// RemoveSnapshot deletes a snapshot. What was made from it stays whole.
	RemoveSnapshot(ctx context.Context, id string) error
	// List says what exists, and what a killed call may have left.
	List(ctx context.Context) ([]Observed, error)
	// Open opens the content of a volume, or of a snapshot (read only), on the pool's own host; the volume where both have
	// the identifier, which they may. Writing to a volume
	// that is connected is ErrBusy; reading one shows some moment of each block.
	Open(ctx context.Context, id string, access Access) (Device, error)
	// Connect makes the volume reachable from the connection's host and says how. It may be called again, and then
	// mends what has ended since (a server of block devices, for one). Connections of one volume exclude each other
	// (ErrBusy) unless all are Shared or all ReadOnly. A volume that has grown shows its new size when Connect is called
	// again.
	Connect(ctx context.Context, want Connection) (Target, error)
	// Disconnect ends a connection; one that is gone already is no error. What the host had flushed is durable.
	Disconnect(ctx context.Context, volumeID, connectionID string) error
}

// Reverter is implemented by drivers that give a volume its snapshot's content back without copying it.
type Reverter interface {
	// Revert makes the volume's content and size that of its snapshot, wholly or not at all. A connected volume is ErrBusy.
	Revert(ctx context.Context, volumeID, snapshotID string) error
}

// Manager is implemented by drivers whose pool may hold volumes that somebody else has made.
type Manager interface {
	// Unmanaged lists what the pool holds and the driver does not call its own.
	Unmanaged(ctx context.Context) ([]Unmanaged, error)
	// Adopt makes one of them a volume of the driver's; Release gives one up under the name that it returns.
	Adopt(ctx context.Context, name, id string) error
	Release(ctx context.Context, id string) (name string, err error)
}

// SnapshotManager is implemented by drivers whose pool may hold snapshots of its volumes that are nobody's.
type SnapshotManager interface {
	// UnmanagedSnapshots lists what the pool holds of that kind. [Manager].Unmanaged does not list them as safe.
	UnmanagedSnapshots(ctx context.Context) ([]UnmanagedSnapshot, error)
	// AdoptSnapshot makes one of them the snapshot; one of another volume is fs.ErrInvalid. ReleaseSnapshot gives one up under
	// the name that it returns; it stays whole without its volume.
	AdoptSnapshot(ctx context.Context, name string, want Snapshot) error
	ReleaseSnapshot(ctx context.Context, id string) (name string, err error)
}

// Watcher is implemented by drivers that notice at once when something ends by which a volume is reached.
type Watcher interface {
	// Watch calls changed with the identifier of each connection that [Volumes.Connect] has to mend, until ctx ends; at the
	// start with those that were broken already. There may be nothing to mend. Calls come from several goroutines.
	Watch(ctx context.Context, changed func(connectionID string)) error
}

// Volume is a volume to keep.
type Volume struct {
	// ID is a UUID in lower case.
	ID string
	// Bytes is the size, a multiple of 512.
	Bytes  int64
	Source Source
	// Passphrase makes an encrypted volume: Bytes are inside a LUKS container. [Volumes.Open] and [Volumes.Connect] show the
	// container, [Unlocker] what is inside, which is undefined where nothing was ever written. Empty is no encryption. A driver
	// does not keep it. What is made from an encrypted volume or its snapshot is so by itself, and opens with the same
	// passphrase: Passphrase is not looked at.
	Passphrase []byte
}

// Source is what a new volume begins as; the zero value is zeroes. At most one field is set. A source smaller than the
// volume is followed by zeroes; a larger one is fs.ErrInvalid.
type Source struct{ VolumeID, SnapshotID string }

// Snapshot is a moment of a volume to keep.
type Snapshot struct{ ID, VolumeID string }

// CheckID returns an fs.ErrInvalid for what is not a UUID in lower case, as the identifiers of volumes, snapshots and
// connections are: they become names of files and devices.
func CheckID(id string) error {
	good := len(id) == 36
	for i := 0; good && i < len(id); i++ {
		switch c := id[i]; i {
		case 8, 13, 18, 23:
			good = c == '-'
		default:
			good = c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		}
	}
	if !good {
		return fmt.Errorf("%q is not a UUID in lower case: %w", id, fs.ErrInvalid)
	}
	return nil
}

// MaxBytes is the largest volume, 8 PiB: file systems and block protocols count in signed 64 bits, and no backend of Cinder's
// comes near.
const MaxBytes = 8 << 50

// Check returns an fs.ErrInvalid for what no driver makes.
func (v Volume) Check() error {
	if err := CheckID(v.ID); err != nil {
		return fmt.Errorf("volume %w", err)
	}
	if v.Bytes <= 0 || v.Bytes%512 != 0 || v.Bytes > MaxBytes {
		return fmt.Errorf("volume %s: %d bytes are not a positive multiple of 512, up to 8 PiB: %w", v.ID, v.Bytes, fs.ErrInvalid)
	}
	if v.Source.VolumeID != "" && v.Source.SnapshotID != "" {
		return fmt.Errorf("volume %s: two sources: %w", v.ID, fs.ErrInvalid)
	}
	if source := v.Source.VolumeID + v.Source.SnapshotID; source != "" {
		if err := CheckID(source); err != nil {
			return fmt.Errorf("volume %s: source %w", v.ID, err)
		}
	}
	return nil
}

// Check returns an fs.ErrInvalid for what no driver makes.
func (s Snapshot) Check() error {
	if err := CheckID(s.ID); err != nil {
		return fmt.Errorf("snapshot %w", err)
	}
	if err := CheckID(s.VolumeID); err != nil {
		return fmt.Errorf("snapshot %s: volume %w", s.ID, err)
	}
	return nil
}

// Check returns an fs.ErrInvalid for what no driver makes.
func (c Connection) Check() error {
	if err := CheckID(c.ID); err != nil {
		return fmt.Errorf("connection %w", err)
	}
	if err := CheckID(c.VolumeID); err != nil {
		return fmt.Errorf("connection %s: volume %w", c.ID, err)
	}
	if c.Host == "" {
		return fmt.Errorf("connection %s: no host: %w", c.ID, fs.ErrInvalid)
	}
	return nil
}

// Beside says whether a volume may have both connections: all Shared, or all ReadOnly.
func (c Connection) Beside(other Connection) bool {
	return c.Shared && other.Shared || c.ReadOnly && other.ReadOnly
}

// Kind says what an observed thing is.
type Kind string

// The kinds.
const (
	KindVolume   Kind = "volume"
	KindSnapshot Kind = "snapshot"
)

// Observed is a volume or snapshot as it is.
type Observed struct {
	Kind Kind
	ID   string
	// VolumeID is the volume of a snapshot.
	VolumeID string
	// Bytes is the size, Used what it takes of the pool by itself, as far as the technology knows.
	Bytes, Used int64
	// Partial is what a killed call has left: Remove or RemoveSnapshot has something to do, and Apply begins anew.
	Partial bool
	// Connections are the identifiers of a volume's connections.
	Connections []string
}

// Capacity is what a pool holds.
type Capacity struct {
	// Total and Free are in bytes; Provisioned is the sum of the sizes of all volumes and snapshots.
	Total, Free, Provisioned int64
	// Thin pools take room only as volumes are written to.
	Thin bool
	// Shared volumes may have several writers at once (multi-attach), Encryption says that passphrases are understood,
	// Remote that other hosts can connect.
	Shared, Encryption, Remote bool
}

// Access is how a content is opened.
type Access int

// The ways to open a content.
const (
	ReadOnly Access = iota
	ReadWrite
)

// Device is an open content. Reads and writes are whole or fail; beyond the end is io.EOF, or an error for writes.
type Device interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Size is in bytes.
	Size() int64
	// Sync makes durable what was written.
	Sync() error
}

// Sparse is implemented by devices that know where nothing was ever written.
type Sparse interface {
	// NextData returns the next extent at or after offset that may hold anything but zeroes; io.EOF if there is none.
	NextData(offset int64) (start, end int64, err error)
	// Zero makes length bytes from offset on zeroes, and gives their room back where it can.
	Zero(offset, length int64) error
}

// Unlocker is implemented by drivers that encrypt.
type Unlocker interface {
	// Unlock is [Volumes.Open] of what is inside an encrypted volume or snapshot. A wrong passphrase is fs.ErrPermission.
	Unlock(ctx context.Context, id string, access Access, passphrase []byte) (Device, error)
}

// Connection is a host's wish to use a volume.
type Connection struct {
	// ID is the attachment's UUID in lower case.
	ID, VolumeID string
	// Host is the connecting host's name.
	Host     string
	ReadOnly bool
	// Shared says that other connections may write too.
	Shared bool
}

// Target is how a host reaches a volume: one of Path, NBD and RBD. A pool in memory gives neither: only servers that are in
// memory too can use it.
type Target struct {
	// Path is a file or block device on the connecting host.
	Path string
	NBD  *NBD
	RBD  *RBD
	// Format is "raw", or "qcow2" of a file that nobody else may open meanwhile; "luks" of one whose content is a LUKS
	// container around a raw one.
	Format string
	// Bytes is the size of what a guest sees.
	Bytes int64
	// ReadOnly is as the connection asked.
	ReadOnly bool
}

// NBD is an export of a server of the Network Block Device protocol
// (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md).
type NBD struct {
	// Socket is the server's Unix socket on the connecting host; otherwise Address is its "host:port".
	Socket, Address string
	Export          string
	// TLS is what the client authenticates with; nil is none.
	TLS *TLS
}

// TLS holds the client's credentials, PEM.
type TLS struct{ CA, Certificate, Key []byte }

// Unmanaged is a volume that the pool holds and that is nobody's yet.
type Unmanaged struct {
	Name  string
	Bytes int64
	// Safe is whether it can be adopted; otherwise Reason says why not.
	Safe   bool
	Reason string
}

// UnmanagedSnapshot is a snapshot that the pool holds and that is nobody's yet.
type UnmanagedSnapshot struct {
	Unmanaged
	// VolumeID is what the driver calls the volume that it is of, which may be gone.
	VolumeID string
}
