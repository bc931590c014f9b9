// Package image keeps what servers boot from: images, their contents and who may see them, with the names and states of
// OpenStack's Image API v2.
//
//	images, err := image.New(ctx, db, memstore.New(nil), nil)
//	img, _ := images.Create(ctx, scope, image.Spec{Name: "disk", DiskFormat: "raw", ContainerFormat: "bare"}, nil)
//	img, _ = images.Upload(ctx, scope, img.ID, strings.NewReader("a disk"), -1)
//
// Contents stream: an upload is checked (see package image/format), measured and stored in one pass and in constant
// memory, and one that fails or is cut leaves the image as it was before. Sizes are in bytes, MinDisk in GiB, MinRAM in
// MiB. Equal contents are kept once in a store, whatever images have them.
//
// A content can also be staged and then imported, downloaded by a [Downloader], or copied between stores: see
// [Service.Import]. That happens in the background, while [Service.Run] runs. Beside images the Service keeps the
// catalogue of what their properties mean ([Namespace]). Who may do what with properties is their images' owners' to say,
// or, by role, an operator's: see [Protection].
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "image_" it makes and migrates,
// and a [driver.Store] for the contents, such as package filestore's or s3store's. Of the host it needs nothing itself.
//
// # What it does not do
//
// It asks nobody who the caller is: a [Scope] is believed. It converts no formats, fetches nothing from URLs unless it is
// given a [Downloader], and opens no image with any tool: the check reads headers only.
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
// and what the store kept of it is removed. An import that was cut has failed; one that had not begun is done.
package image

import (
	"maps"
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
	ErrInUse       = fault.ErrInUse
	// ErrQuota is a project that has all that it may have: an [ErrTooLarge].
	ErrQuota = fault.Wrap(fault.ErrTooLarge, "quota exceeded")
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
	// Roles are the names of the caller's roles, which [Options].Protections go by.
	Roles []string
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
	// Uploading images have staged content that waits to be imported, or are being staged.
	Uploading Status = "uploading"
	// Importing images are being imported: see [Service.Import].
	Importing Status = "importing"
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
	Upload *Upload
	// Staged is content that waits to be imported; nil where there is none.
	Staged *Data
	// Import is the import or copy under way, or what came of the last one; nil where there never was one.
	Import               *Import
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

// hashAlgorithm is what contents are hashed with.
const hashAlgorithm = "sha512"

// Data is an image's content.
type Data struct {
	// Ref is the content's reference in the store.
	Ref string
	// Size is the content's size, VirtualSize that of the disk which a server sees; zero where it is not known.
	Size, VirtualSize int64
	// Checksum is the content's MD5, HashValue its hash by HashAlgorithm ("sha512"); in hexadecimal digits.
	Checksum, HashAlgorithm, HashValue string
	// Store names where the content is, and is read from.
	Store string
	// Copies are the references of the same content in further stores, by store.
	Copies map[string]string
}

// Stores are the names of all stores that have the content, in order.
func (d *Data) Stores() []string { return slices.Sorted(maps.Keys(d.refs())) }

// refs are the content's references by store.
func (d *Data) refs() map[string]string {
	refs := map[string]string{d.Store: d.Ref}
	maps.Copy(refs, d.Copies)
	return refs
}

// Import is an import or a copy.
type Import struct {
	// TaskID is the task that does it.
	TaskID string
	// Stores are those that the content is still to be brought to, Failed those that it could not be brought to.
	Stores, Failed []string
	// Host does it; Refs are the references that the contents will have, by store. Empty when it has ended.
	Host string
	Refs map[string]string
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
