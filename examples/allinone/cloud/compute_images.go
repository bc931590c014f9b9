package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	i, err := c.image.Get(ctx, computeScope(scope), id)
	if err != nil {
		return compute.Image{}, err
	}
	described := compute.Image{
		ID: i.ID, Name: i.Name, Status: string(i.Status), Format: i.DiskFormat, MinDiskGiB: int(i.MinDisk), MinRAMMiB: int(i.MinRAM),
		KernelID: i.Properties["kernel_id"], RamdiskID: i.Properties["ramdisk_id"], CommandLine: i.Properties["os_command_line"],
		DeviceMapping: i.Properties["block_device_mapping"], Properties: i.Properties,
	}
	if i.Data != nil {
		described.SizeBytes, described.VirtualBytes = i.Data.Size, i.Data.VirtualSize
	}
	return described, nil
}

// CreateImage makes an image of a server. One without a format says what servers are made of and holds nothing itself.
func (c computeImages) CreateImage(ctx context.Context, scope compute.Scope, spec compute.ImageSpec) error {
	owner := computeScope(scope)
	made := image.Spec{
		Name: spec.Name, DiskFormat: spec.Format, ContainerFormat: "bare", Visibility: image.Private,
		MinDisk: int64(spec.MinDiskGiB), MinRAM: int64(spec.MinRAMMiB), Properties: spec.Properties,
	}
	switch spec.Format {
	case "":
		made.DiskFormat = "raw"
	case "ami":
		made.ContainerFormat = "ami"
	}
	if _, err := c.image.Create(ctx, owner, made, &image.CreateOptions{ID: spec.ID}); err != nil {
		return err
	}
	// The caller need not have the right to what the cloud says.
	_, err := c.image.Update(ctx, image.Scope{Admin: true}, spec.ID, func(i *image.Image) error {
		asked := i.Properties
		i.Properties = maps.Clone(spec.Own)
		maps.Copy(i.Properties, asked)
		return nil
	})
	if err == nil && spec.Format == "" {
		err = c.UploadImage(ctx, spec.ID, strings.NewReader(""), 0)
	}
	if err != nil {
		return errors.Join(err, c.DeleteImage(context.WithoutCancel(ctx), spec.ID))
	}
	return nil
}

func (c computeImages) UploadImage(ctx context.Context, id string, r io.Reader, size int64) error {
	_, err := c.image.Upload(ctx, image.Scope{Admin: true}, id, r, size)
	return err
}

func (c computeImages) DeleteImage(ctx context.Context, id string) error {
	err := c.image.Delete(ctx, image.Scope{Admin: true}, id)
	if errors.Is(err, image.ErrNotFound) {
		return nil
	}
	return err
}

func (c computeImages) FindImages(ctx context.Context, projectID string, properties map[string]string) (ids []string, err error) {
	found, err := c.image.List(ctx, image.Scope{Admin: true}, image.Filter{
		Texts: map[image.Field][]string{image.ByOwner: {projectID}}, Properties: properties,
	})
	for i := range found {
		ids = append(ids, found[i].ID)
	}
	return ids, err
}

func (c computeImages) ImageFile(ctx context.Context, imageID string) (string, error) {
	path, err := c.image.LocalPath(ctx, image.Scope{Admin: true}, imageID)
	if err != nil {
		return "", fmt.Errorf("image %s on this host: %w", imageID, err)
	}
	return path, nil
}
