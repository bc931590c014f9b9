// Package image keeps what servers boot from: images, their contents and who may see them, with the names and states of
// OpenStack's Image API v2.
//
//	images, err := image.New(ctx, db, memstore.New(nil), nil)
//	img, _ := images.Create(ctx, scope, image.Spec{Name: "disk", DiskFormat: "raw", ContainerFormat: "bare"}, nil)
//	img, _ = images.Upload(ctx, scope, img.ID, strings.NewReader("a disk"), -1)
//
// Contents stream: an upload is checked (see package image/format), measured and stored in one pass and in constant
// memory, and one that fails or is cut leaves the image as it was before. Sizes are in bytes, MinDisk in GiB, MinRAM in
// MiB.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "image_" it makes and migrates,
// and a [driver.Store] for the contents, such as package filestore. Of the host it needs nothing itself.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. It converts no formats, fetches nothing from URLs, and opens
// no image with any tool: the check reads headers only.
//
// # Errors
//
// Errors wrap this package's kinds with what and which: a content that is refused is [ErrFormat], an image without one
// [ErrNoData], more than a limit [ErrTooLarge]. Errors of an upload's reader and of the store come through, found with
// errors.Is.
//
// # Concurrency
//
// All methods are safe for concurrent use; several Services may share one database and store. Two uploads to one image:
// one wins, the other is [ErrConflict].
//
// # When the process ends
//
// An upload that was cut by a kill is undone by the next [New] with the same [Options.Host]: the image is queued again,
// and what the store kept of it is removed.
package image

import (
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error that this package returns.
var (
	ErrNotFound    = fault.ErrNotFound
	ErrConflict    = fault.ErrConflict
	ErrInvalid     = fault.ErrInvalid
	ErrForbidden   = fault.ErrForbidden
	ErrTooLarge    = fault.ErrTooLarge
	ErrUnsupported = fault.ErrUnsupported
	// ErrFormat is a content that is not of the image's disk format, or unsafe: an [ErrInvalid].
	ErrFormat = fault.Wrap(fault.ErrInvalid, "the data was refused")
	// ErrNoData is a request for the content of an image that has none yet: an [ErrConflict].
	ErrNoData = fault.Wrap(fault.ErrConflict, "the image has no data")
)

// Scope is in whose name a request is made.
type Scope struct {
	ProjectID string
	// Admin may see and change everything.
	Admin bool
}

// Status is an image's state.
type Status string

// The states.
const (
	// Queued images have no content yet.
	Queued Status = "queued"
	// Saving images are being uploaded.
	Saving Status = "saving"
	// Active images can be used.
	Active Status = "active"
	// Deactivated images can be used by administrators only.
	Deactivated Status = "deactivated"
)

// Visibility says who may see an image.
type Visibility string

// The visibilities.
const (
	// Public images are seen and listed by everybody. Only an administrator publishes.
	Public Visibility = "public"
	// Private images are their project's own.
	Private Visibility = "private"
	// Shared images are seen by their project and its members.
	Shared Visibility = "shared"
	// Community images are seen by everybody, and listed only when asked for.
	Community Visibility = "community"
)

// Image is an image.
type Image struct {
	ID        string
	ProjectID string
	Spec
	Status Status
	// Data is the content; nil where there is none.
	Data *Data
	// Upload is the upload under way; nil where there is none.
	Upload               *Upload
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// Spec is what an image's owner says of it.
type Spec struct {
	Name       string
	Visibility Visibility
	// DiskFormat and ContainerFormat must be set before an upload ("qcow2" and "bare", say) and stay then.
	DiskFormat, ContainerFormat string
	// MinDisk is the smallest root disk in GiB that the image boots on, MinRAM the least memory in MiB.
	MinDisk, MinRAM int64
	// Protected images cannot be deleted.
	Protected bool
	// Hidden images are not listed unless asked for.
	Hidden bool
	Tags   []string
	// Properties are the owner's own. Some have a meaning to others: kernel_id and ramdisk_id name the images of a
	// kernel and a ramdisk to boot with, hw_… and os_… describe what a server needs.
	Properties map[string]string
}

// Data is an image's content.
type Data struct {
	// Ref is the content's reference in the store.
	Ref string
	// Size is the content's size, VirtualSize that of the disk which a server sees; zero where it is not known.
	Size, VirtualSize int64
	// Checksum is the content's MD5, HashValue its hash by HashAlgorithm ("sha512"); in hexadecimal digits.
	Checksum, HashAlgorithm, HashValue string
	// Store names where the content is.
	Store string
}

// Upload is an upload under way.
type Upload struct {
	// Ref is the reference that the content will have.
	Ref string
	// Host is the service that takes the upload: see [Options].
	Host string
}

// MemberStatus is what a member thinks of an image that was shared with it.
type MemberStatus string

// The member states.
const (
	Pending  MemberStatus = "pending"
	Accepted MemberStatus = "accepted"
	Rejected MemberStatus = "rejected"
)

// Member is a project that an image is shared with.
type Member struct {
	ImageID, ProjectID   string
	Status               MemberStatus
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// DiskFormats and ContainerFormats are those that an image may have.
var (
	diskFormats      = []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
	containerFormats = []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
)

// DiskFormats are the disk formats that an image may have.
func DiskFormats() []string { return slices.Clone(diskFormats) }

// ContainerFormats are the container formats that an image may have.
func ContainerFormats() []string { return slices.Clone(containerFormats) }
