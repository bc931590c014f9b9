package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kintoun/kintoun/image"
	imagedriver "github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume"
	qcow2image "github.com/lima-vm/go-qcow2reader/image"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
)

// volumeImages gives volumes the images that they are made from, and makes images of volumes.
type volumeImages struct{ images *image.Service }

var _ volume.Images = volumeImages{}

func imageScope(s volume.Scope) image.Scope {
	return image.Scope{ProjectID: s.ProjectID, Admin: s.Admin, Roles: s.Roles}
}

func (v volumeImages) Image(ctx context.Context, scope volume.Scope, id string) (volume.Image, error) {
	i, err := v.images.Get(ctx, imageScope(scope), id)
	if err != nil {
		return volume.Image{}, err
	}
	described := volume.Image{
		ID: i.ID, Name: i.Name, Status: string(i.Status), DiskFormat: i.DiskFormat, ContainerFormat: i.ContainerFormat, Visibility: string(i.Visibility),
		MinDiskGiB: int(i.MinDisk), MinRAMMiB: int(i.MinRAM), Properties: i.Properties,
	}
	if i.Data != nil {
		described.Size, described.VirtualBytes, described.Checksum = i.Data.Size, i.Data.VirtualSize, i.Data.Checksum
	}
	return described, nil
}

func (v volumeImages) OpenImage(ctx context.Context, id string) (volume.ImageData, error) {
	i, file, err := v.images.Open(ctx, image.Scope{Admin: true}, id)
	if err != nil {
		return nil, err
	}
	disk, err := openDisk(i, file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("image %s: %w", id, err), file.Close())
	}
	return disk, nil
}

func openDisk(i *image.Image, file imagedriver.File) (volume.ImageData, error) {
	switch i.DiskFormat {
	case "raw", "iso", "ami", "ari", "aki":
		return rawDisk{file, i.Data.Size}, nil
	case "qcow2":
		disk, err := qcow2.Open(file, func(io.ReaderAt, qcow2image.Type) (qcow2image.Image, error) {
			return nil, fault.Wrap(fault.ErrInvalid, "it refers to another file")
		})
		if err == nil {
			err = disk.Readable()
		}
		if err != nil {
			return nil, err
		}
		return qcow2Disk{disk, file}, nil
	}
	return nil, fault.Wrap(fault.ErrInvalid, "a volume is not made from the disk format %q: convert the image to raw or qcow2", i.DiskFormat)
}

// rawDisk is an image that is a disk as it lies there.
type rawDisk struct {
	imagedriver.File
	size int64
}

func (d rawDisk) Size() int64 { return d.size }

// qcow2Disk is the disk that a qcow2 image holds.
type qcow2Disk struct {
	*qcow2.Qcow2
	file imagedriver.File
}

func (d qcow2Disk) Close() error { return errors.Join(d.Qcow2.Close(), d.file.Close()) }

// NextData passes over what the image does not hold.
func (d qcow2Disk) NextData(offset int64) (start, end int64, err error) {
	for offset < d.Size() {
		extent, err := d.Extent(offset, d.Size()-offset)
		if err != nil {
			return 0, 0, err
		}
		if !extent.Zero && extent.Length > 0 {
			return extent.Start, extent.Start + extent.Length, nil
		}
		offset = extent.Start + max(extent.Length, 1)
	}
	return 0, 0, io.EOF
}

func (v volumeImages) CreateImage(ctx context.Context, scope volume.Scope, spec volume.ImageSpec) (string, error) {
	i, err := v.images.Create(ctx, imageScope(scope), image.Spec{
		Name: spec.Name, DiskFormat: spec.DiskFormat, ContainerFormat: spec.ContainerFormat, Visibility: image.Visibility(spec.Visibility),
		Protected: spec.Protected, MinDisk: int64(spec.MinDiskGiB), Properties: spec.Properties,
	}, nil)
	if err != nil {
		return "", err
	}
	return i.ID, nil
}

func (v volumeImages) UploadImage(ctx context.Context, id string, r io.Reader, size int64) error {
	_, err := v.images.Upload(ctx, image.Scope{Admin: true}, id, r, size)
	return err
}
