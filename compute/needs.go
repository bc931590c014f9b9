package compute

import (
	"context"
	"io"
	"net/netip"

	"github.com/kintoun/kintoun/compute/driver"
)

// Images is what the service needs to know of images.
type Images interface {
	// Image returns an image that the scope may use, or [ErrNotFound].
	Image(ctx context.Context, scope Scope, id string) (Image, error)
}

// Image is what a server boots from, as far as compute cares.
type Image struct {
	ID, Name string
	// Status is Glance's: only "active" images boot.
	Status string
	// Format is the disk format: "raw", "qcow2", or "ami" for a bare root file system.
	Format string
	// SizeBytes is the data's size; VirtualBytes the disk's as a guest sees it, zero if unknown.
	SizeBytes, VirtualBytes int64
	// MinDiskGiB and MinRAMMiB are what a flavor must have at least.
	MinDiskGiB, MinRAMMiB int
	// KernelID and RamdiskID are images to boot the server with directly; empty boots from the disk.
	KernelID, RamdiskID string
	// CommandLine is the kernel's command line (the property os_command_line).
	CommandLine string
	// DeviceMapping is the property block_device_mapping of an image that is no disk but says which snapshots a server's volumes
	// are made of: JSON, as [Service.CreateImage] writes it; empty of others.
	DeviceMapping string
	// Properties are all its custom ones. They are not kept with a server.
	Properties map[string]string `json:"-"`
}

// ImageMaker is implemented by [Images] in which images can be made: what [Service.CreateImage] and
// [Service.CreateBackup] need.
type ImageMaker interface {
	// CreateImage makes the owner's image spec.ID. One of no format is active and has no content; others wait for
	// [ImageMaker.UploadImage].
	CreateImage(ctx context.Context, scope Scope, spec ImageSpec) error
	// UploadImage gives an image its content, of that many bytes, and makes it active. If it fails the image waits as before.
	// One that is gone is [ErrNotFound].
	UploadImage(ctx context.Context, id string, r io.Reader, size int64) error
	// DeleteImage deletes an image, active or not; gone already is no error.
	DeleteImage(ctx context.Context, id string) error
	// FindImages names the project's images with all of these properties, latest first.
	FindImages(ctx context.Context, projectID string, properties map[string]string) (ids []string, err error)
}

// ImageSpec is an image to make. Its properties are Glance's custom ones.
type ImageSpec struct {
	// ID is the identifier that it gets.
	ID, Name string
	// Format is the disk format: "qcow2", or "ami" for a bare root file system; empty for no content.
	Format                string
	MinDiskGiB, MinRAMMiB int
	// Properties are what the caller asked for, Own what the service says of the image whoever asked for it.
	Properties, Own map[string]string
}

// ImageFiles is what an agent needs: an image's data on its own host.
type ImageFiles interface {
	// ImageFile returns the path of a file with the image's data, which stays until the image is deleted.
	ImageFile(ctx context.Context, imageID string) (string, error)
}

// Networks is what the service needs of networks. What the scope may not see is [ErrNotFound].
type Networks interface {
	// Networks lists those that the scope may attach servers to without naming them: the project's own and shared
	// ones, without external ones.
	Networks(ctx context.Context, scope Scope) ([]Network, error)
	Network(ctx context.Context, scope Scope, id string) (Network, error)
	// SecurityGroups finds the project's groups by name or identifier, in the order asked for. One that does not
	// exist is [ErrNotFound], a name that several have [ErrConflict].
	SecurityGroups(ctx context.Context, scope Scope, namesOrIDs []string) ([]SecurityGroup, error)
	Port(ctx context.Context, scope Scope, id string) (Port, error)
	// CreatePort makes a port that belongs to a server, and returns its identifier. No free address is [ErrExhausted], a taken one
	// [ErrConflict], one outside the network's subnets [ErrInvalid].
	CreatePort(ctx context.Context, spec PortSpec) (string, error)
	// BindPort gives an existing port to a server on a host; an empty binding takes it away.
	BindPort(ctx context.Context, portID string, binding Binding) error
	// SetPortSecurityGroups replaces a port's groups.
	SetPortSecurityGroups(ctx context.Context, portID string, groupIDs []string) error
	// DeletePort deletes a port that CreatePort made; one that is gone already is no error.
	DeletePort(ctx context.Context, portID string) error
	// ServerPorts returns the ports of the given servers, by server, each list in the order of creation.
	ServerPorts(ctx context.Context, serverIDs []string) (map[string][]Port, error)
}

// Plugger is what an agent needs of networks: a port's device on its own host.
type Plugger interface {
	// Plug makes the port's tap device exist, plugged into its network, and describes it. It may be called again.
	Plug(ctx context.Context, portID string) (driver.NIC, error)
	// Unplug takes the device away; one that is gone already is no error.
	Unplug(ctx context.Context, portID string) error
}

// Volumes is what the service and its agents need of volumes. What the scope may not see is [ErrNotFound].
type Volumes interface {
	Volume(ctx context.Context, scope Scope, id string) (Volume, error)
	// AwaitVolume returns the volume once it is no longer being made, whatever came of it.
	AwaitVolume(ctx context.Context, scope Scope, id string) (Volume, error)
	Snapshot(ctx context.Context, scope Scope, id string) (Snapshot, error)
	// CreateVolume makes the owner's volume spec.ID and returns as it is being made. One that exists already is [ErrConflict].
	CreateVolume(ctx context.Context, scope Scope, spec VolumeSpec) (Volume, error)
	// DeleteVolume deletes a volume that [Volumes.CreateVolume] made, even one that is being made, or that goes with its
	// server; gone already is no error. One that others need (attachments, snapshots) is [ErrConflict] or [ErrInvalid].
	DeleteVolume(ctx context.Context, id string) error
	// Attachments are those that a server has, promised or connected: their identifiers by volume.
	Attachments(ctx context.Context, serverID string) (map[string]string, error)
	// ReserveVolume promises the volume to a server and returns the attachment's identifier. One that is in use and cannot be
	// shared, or is not available, is [ErrConflict] or [ErrInvalid].
	ReserveVolume(ctx context.Context, scope Scope, volumeID, serverID string) (attachmentID string, err error)
	// DropAttachment takes the promise back, or ends what came of it; gone already is no error.
	DropAttachment(ctx context.Context, attachmentID string) error
}

// Snapshotter is implemented by [Volumes] of which snapshots can be made: what [Service.CreateImage] needs.
type Snapshotter interface {
	// CreateSnapshot makes a snapshot of a volume, in use or not, and returns its identifier as it is being made.
	CreateSnapshot(ctx context.Context, scope Scope, volumeID, name string) (string, error)
	// DeleteSnapshot deletes one that CreateSnapshot made; gone already is no error.
	DeleteSnapshot(ctx context.Context, id string) error
}

// Connector is what an agent needs of volumes: their contents on its own host.
type Connector interface {
	// Connect makes the attachment's volume reachable from the host, and describes it. It may be called again.
	Connect(ctx context.Context, attachmentID, host string) (driver.Volume, error)
	// Connected says that the server has the disk, under that name.
	Connected(ctx context.Context, attachmentID, device string) error
	// Disconnect ends the attachment once the server has let go of the disk; gone already is no error.
	Disconnect(ctx context.Context, attachmentID string) error
}

// Volume is a volume, as far as compute cares.
type Volume struct {
	ID, Name string
	// Status is Cinder's: a volume is attached when it is "available", or "in-use" and Shareable (multi-attach).
	Status    string
	SizeGiB   int
	Bootable  bool
	Shareable bool
	Zone      string
	// Image is what its content came from, for booting: kernel, memory, properties; its ID is empty for none.
	Image Image
	// Reason is why it is in error.
	Reason string
}

// Snapshot is a snapshot of a volume, as far as compute cares.
type Snapshot struct {
	ID, VolumeID string
	// Status is Cinder's: volumes are made of one that is "available".
	Status  string
	SizeGiB int
	// Image is what its volume's content came from, as [Volume].Image.
	Image Image
}

// VolumeSpec is a volume to make for a server.
type VolumeSpec struct {
	// ID is the identifier that it gets.
	ID, Name string
	// SizeGiB is its size; zero is its source's.
	SizeGiB int
	// At most one source: an image, a snapshot, or another volume; none is a blank disk.
	ImageID, SnapshotID, VolumeID string
	// Type is a type's name or identifier; empty is the default.
	Type, Zone string
}

// Network is a network that servers attach to.
type Network struct {
	ID, Name string
	// External networks are for routers' gateways; only admins attach servers to them.
	External bool
	// Subnets is how many subnets it has; a server cannot attach to one with none.
	Subnets int
}

// PortSpec is a port to create for a server.
type PortSpec struct {
	ProjectID, NetworkID string
	// Name is the server's host name, for the network's DNS.
	Name string
	// FixedIP is the address to have; invalid for any.
	FixedIP netip.Addr
	// SecurityGroups are identifiers; nil is the project's default group.
	SecurityGroups []string
	Binding        Binding
}

// Binding is which server a port belongs to, and on which host.
type Binding struct{ ServerID, Host, Zone string }

// Port is a server's place in a network.
type Port struct {
	ID, ProjectID, NetworkID, NetworkName string
	MAC                                   string
	// Status is Neutron's: ACTIVE, DOWN, BUILD or ERROR.
	Status   string
	FixedIPs []FixedIP
	// FloatingIPs lead to the port from outside.
	FloatingIPs    []netip.Addr
	SecurityGroups []SecurityGroup
	// ServerID is the server (Neutron's device) that it belongs to; empty for none.
	ServerID string
}

// FixedIP is an address of a port.
type FixedIP struct {
	Address  netip.Addr
	SubnetID string
}

// SecurityGroup is a security group's identity.
type SecurityGroup struct{ ID, Name string }
