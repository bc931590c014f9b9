// Package driver is the contract between the compute domain and a host that runs servers: one interface, [Servers], and
// the plain values that it takes.
//
// Apply makes the host match what is wanted and is free when it already does; Remove is happy when the server is
// already gone; List says what exists and in which state, so that a restarted agent re-adopts what runs and finds
// leftovers:
//
//	servers := memcompute.New(host, nil)
//	err := servers.Apply(ctx, driver.Server{ID: "f2a4", Name: "vm1", VCPUs: 1, MemoryMiB: 128, Running: true, Boots: 1})
//	all, _ := servers.List(ctx)
//
// What only some technologies can do is an optional interface, found by type assertion: [Consoles], [Watcher], [Disks],
// [Imager]. Package qemu is a driver for real servers, package memcompute one in memory, and package drivertest the suite that both pass.
//
// The package needs nothing, of the host or of other modules, and does nothing: it imports the standard library's
// context and io.
//
// Errors are the driver's own, wrapped with what failed; agents show their text to users and try again. A console of a
// server that does not exist is fs.ErrNotExist or the driver's ErrNotFound.
//
// All methods are safe for concurrent use on different servers; calls for one server are made one after the other. A
// driver never relies on its own memory: after a kill, a new value over the same host finds everything by List.
package driver

import (
	"context"
	"io"
)

// Servers runs servers on one host.
type Servers interface {
	// Apply creates the server if it is new, and starts, stops or reboots it as want says.
	// It returns when the server's process runs (or has ended), not when its system is up.
	Apply(ctx context.Context, want Server) error
	// Remove ends the server and deletes its disk.
	Remove(ctx context.Context, id string) error
	// List says what exists, running or not, and what a killed Apply or Remove may have left.
	List(ctx context.Context) ([]Observed, error)
}

// Consoles is implemented by drivers that keep what a server prints on its serial console.
type Consoles interface {
	// ConsoleLog returns the last lines of the server's console; all of it (bounded by the driver) when lines is 0.
	ConsoleLog(ctx context.Context, id string, lines int) ([]byte, error)
}

// Watcher is implemented by drivers that notice at once when a server ends by itself.
type Watcher interface {
	// Watch calls changed with a server's identifier whenever its state may have changed, until ctx ends.
	Watch(ctx context.Context, changed func(id string)) error
}

// Disks is implemented by drivers whose servers can have volumes.
type Disks interface {
	// Disks says which volumes a running server has, in the order of their identifiers: what the host sees, not what was wished.
	Disks(ctx context.Context, id string) ([]ObservedVolume, error)
}

// ObservedVolume is a volume that a server has.
type ObservedVolume struct {
	ID string
	// Bytes is the size that the server sees.
	Bytes int64
}

// Imager is implemented by drivers that can copy a server's own disk, while the server goes on.
type Imager interface {
	// Capture copies the server's root disk, which Apply was given as root, as it is at one moment: what the guest had flushed
	// before the call is in the copy, and the copy names no other file. Format is "qcow2" or "raw". A server that runs goes
	// on undisturbed, whatever becomes of the copy; one that does not is not started until Capture has returned. It ends
	// with ctx. What the last capture of the server has left is removed first.
	Capture(ctx context.Context, id string, root Disk, format string) (*Capture, error)
	// Discard ends a capture that was cut short, by a kill too, and removes what is left of it. Nothing left, and no such
	// server, are no errors.
	Discard(ctx context.Context, id string) error
}

// Capture is a copy of a disk. Close gives up what the host keeps of it.
type Capture struct {
	io.ReadCloser
	// Bytes is how much there is to read.
	Bytes int64
}

// Server is what a host should run.
type Server struct {
	// ID is the server's UUID in lower case, which the guest sees as its machine's.
	ID string
	// Name is the host's name for it, DisplayName its owner's, which is not unique and may be empty.
	Name, DisplayName string
	// VCPUs is the number of virtual processors, MemoryMiB the memory.
	VCPUs     int
	MemoryMiB int
	// Root is the server's own disk; the zero value is none, for a server that boots from a volume.
	Root Disk
	// Volumes are its other disks, in the order in which the guest should find them. A running server is given those that
	// it has not got, and loses those that are not here any more; one that has become larger grows in the guest's eyes.
	Volumes []Volume
	// Kernel and Initrd are files to boot directly, with CommandLine; empty boots from the disk.
	Kernel, Initrd, CommandLine string
	NICs                        []NIC
	// Running is whether the server should run.
	Running bool
	// Boots counts the boots that were asked for. A host where the server runs since an earlier count reboots it.
	Boots int
	// Hard says that a stop or reboot need not wait for the guest.
	Hard bool
}

// Disk is a server's root disk: made once, as a copy-on-write layer over Base.
type Disk struct {
	// Base is an image file on this host; empty for a blank disk.
	Base string
	// Format is Base's format: "raw" or "qcow2".
	Format string
	// SizeGiB is the disk's size; zero is the size of Base.
	SizeGiB int
}

// Volume is a disk that exists without the server and outlives it.
type Volume struct {
	// ID is the volume's UUID; the disk's serial number in the guest begins with it.
	ID string
	// Boot says that the server boots from it, before its Root. At most one does.
	Boot bool
	// Path is a file or block device on this host; otherwise NBD or RBD is where the disk is.
	Path string
	NBD  *NBD
	RBD  *RBD
	// Format is "raw" or "qcow2". Passphrase opens a LUKS container in it, in which the disk is.
	Format     string
	Passphrase []byte
	// Bytes is the disk's size.
	Bytes    int64
	ReadOnly bool
	// Shared says that other servers may write to it at the same time.
	Shared bool
	// Limits bound what the server may do with it; zero is no limit.
	Limits DiskLimits
}

// DiskLimits are numbers of operations and bytes per second.
type DiskLimits struct{ IOPS, ReadIOPS, WriteIOPS, Bytes, ReadBytes, WriteBytes int64 }

// NBD is an export of a server of the Network Block Device protocol.
type NBD struct {
	// Socket is a Unix socket on this host; otherwise Address is the server's "host:port".
	Socket, Address string
	Export          string
	// CA, Certificate and Key (PEM) are what to authenticate with by TLS; empty is none.
	CA, Certificate, Key []byte
}

// RBD is an image in a Ceph cluster.
type RBD struct {
	// Monitors are the cluster's, each "host:port".
	Monitors               []string
	Pool, Namespace, Image string
	// User is the cephx user without "client.", Key its key in base64; both are empty where the cluster asks for none.
	User, Key string
}

// NIC is a network card on a device that exists already.
type NIC struct {
	PortID string
	MAC    string
	MTU    int
	// Device is the tap device's name.
	Device string
}

// State is a server's observed state.
type State string

// The states.
const (
	Running State = "running"
	Stopped State = "stopped"
	// Crashed is a server whose process ended by a fault.
	Crashed State = "crashed"
)

// Observed is a server as it is.
type Observed struct {
	ID    string
	State State
	// PID is the server's process, zero where it has none.
	PID int
	// Boots is the count that the running server was booted with.
	Boots int
	// Reason says why a server crashed.
	Reason string
}
