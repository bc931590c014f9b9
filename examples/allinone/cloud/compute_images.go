package cloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/image"
)

// computeImages gives compute the images that it needs, and their files on this host.
type computeImages struct{ image *image.Service }

var (
	_ compute.Images     = computeImages{}
	_ compute.ImageFiles = computeImages{}
	_ compute.ImageMaker = computeImages{}
)

func (c computeImages) Image(ctx context.Context, scope compute.Scope, id string) (compute.Image, error) {
	i, err := c.image.Get(ctx, image.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}, id)
	if err != nil {
		return compute.Image{}, err
	}
	described := compute.Image{
		ID: i.ID, Name: i.Name, Status: string(i.Status), Format: i.DiskFormat, MinDiskGiB: int(i.MinDisk), MinRAMMiB: int(i.MinRAM),
		KernelID: i.Properties["kernel_id"], RamdiskID: i.Properties["ramdisk_id"], CommandLine: i.Properties["os_command_line"],
		DeviceMapping: i.Properties["block_device_mapping"],
	}
	if i.Data != nil {
		described.SizeBytes, described.VirtualBytes = i.Data.Size, i.Data.VirtualSize
	}
	return described, nil
}

// CreateImage makes an image that says what servers are made of and holds nothing itself.
func (c computeImages) CreateImage(ctx context.Context, scope compute.Scope, spec compute.ImageSpec) (string, error) {
	owner := image.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}
	i, err := c.image.Create(ctx, owner, image.Spec{
		Name: spec.Name, DiskFormat: "raw", ContainerFormat: "bare", MinDisk: int64(spec.MinDiskGiB), MinRAM: int64(spec.MinRAMMiB), Properties: spec.Properties,
	}, nil)
	if err != nil {
		return "", err
	}
	if _, err := c.image.Upload(ctx, owner, i.ID, strings.NewReader(""), 0); err != nil {
		return "", errors.Join(err, c.image.Delete(ctx, owner, i.ID))
	}
	return i.ID, nil
}

func (c computeImages) ImageFile(ctx context.Context, imageID string) (string, error) {
	path, err := c.image.LocalPath(ctx, image.Scope{Admin: true}, imageID)
	if err != nil {
		return "", fmt.Errorf("image %s on this host: %w", imageID, err)
	}
	return path, nil
}
