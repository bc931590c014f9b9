package volume

import (
	"context"
	"io"
)

// Images is what the service and its agents need of images. What the scope may not see is [ErrNotFound].
type Images interface {
	Image(ctx context.Context, scope Scope, id string) (Image, error)
	// OpenImage opens an active image as the disk that a guest would see.
	OpenImage(ctx context.Context, id string) (ImageData, error)
	// CreateImage makes a queued image, and UploadImage gives it its content; size is negative where it is not known.
	CreateImage(ctx context.Context, scope Scope, spec ImageSpec) (id string, err error)
	UploadImage(ctx context.Context, id string, r io.Reader, size int64) error
}

// Image is what a volume can be made from, as far as volumes care.
type Image struct {
	ID, Name string
	// Status is Glance's: only "active" images can be copied.
	Status                      string
	DiskFormat, ContainerFormat string
	Checksum, Visibility        string
	// Size is the data's in bytes; VirtualBytes the disk's as a guest sees it, zero if unknown.
	Size, VirtualBytes    int64
	MinDiskGiB, MinRAMMiB int
	// Properties are the custom ones: they become part of a volume's image metadata.
	Properties map[string]string
}

// ImageData is an open image as a raw disk, whatever the format that it is stored in.
type ImageData interface {
	io.ReaderAt
	io.Closer
	// Size is the disk's, in bytes.
	Size() int64
}

// SparseImage is implemented by images that know where they hold nothing but zeroes.
type SparseImage interface {
	// NextData returns the next extent at or after offset that may hold anything but zeroes; io.EOF if there is none.
	NextData(offset int64) (start, end int64, err error)
}

// ImageSpec is an image to make of a volume.
type ImageSpec struct {
	Name                        string
	DiskFormat, ContainerFormat string
	Visibility                  string
	Protected                   bool
	MinDiskGiB                  int
	Properties                  map[string]string
}

// BackupStore keeps the objects of backups, each in a container of its project.
type BackupStore interface {
	Put(ctx context.Context, projectID, container, object string, r io.Reader) error
	Open(ctx context.Context, projectID, container, object string) (io.ReadCloser, error)
	// Delete deletes an object; one that is gone already is no error.
	Delete(ctx context.Context, projectID, container, object string) error
}

// Servers hears that the volume of a running server has grown.
type Servers interface {
	VolumeExtended(ctx context.Context, serverID, volumeID string, sizeGiB int) error
}

// SecretSource keeps the keys of encrypted volumes.
type SecretSource interface {
	CreateSecret(ctx context.Context, projectID string, value []byte) (id string, err error)
	Secret(ctx context.Context, id string) ([]byte, error)
	// DeleteSecret deletes a secret; one that is gone already is no error.
	DeleteSecret(ctx context.Context, id string) error
}
