package cloud

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/image"
)

// computeImages gives compute the images that it needs, and their files on this host.
type computeImages struct{ image *image.Service }

var (
	_ compute.Images     = computeImages{}
	_ compute.ImageFiles = computeImages{}
)

func (c computeImages) Image(ctx context.Context, scope compute.Scope, id string) (compute.Image, error) {
	i, err := c.image.Get(ctx, image.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}, id)
	if err != nil {
		return compute.Image{}, err
	}
	described := compute.Image{
		ID: i.ID, Name: i.Name, Status: string(i.Status), Format: i.DiskFormat, MinDiskGiB: int(i.MinDisk), MinRAMMiB: int(i.MinRAM),
		KernelID: i.Properties["kernel_id"], RamdiskID: i.Properties["ramdisk_id"], CommandLine: i.Properties["os_command_line"],
	}
	if i.Data != nil {
		described.SizeBytes, described.VirtualBytes = i.Data.Size, i.Data.VirtualSize
	}
	return described, nil
}

func (c computeImages) ImageFile(ctx context.Context, imageID string) (string, error) {
	path, err := c.image.LocalPath(ctx, image.Scope{Admin: true}, imageID)
	if err != nil {
		return "", fmt.Errorf("image %s on this host: %w", imageID, err)
	}
	return path, nil
}
