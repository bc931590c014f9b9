package cinder

import (
	"net/http"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func uploadSchema(c *call) *schema {
	s := record(fields{
		"image_name": {Types: []string{"string"}, MinLength: 1, MaxLength: 255}, "force": typeBoolean(),
		"disk_format":      words("raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop"),
		"container_format": typeDescription(),
	}, "image_name")
	if c.at(1) {
		s.Properties["visibility"] = words("community", "public", "private", "shared")
		s.Properties["protected"] = typeBoolean()
	}
	return s
}

type uploadBody struct {
	Name       string `json:"image_name"`
	Force      wire.Bool
	DiskFormat string `json:"disk_format"`
	Container  text   `json:"container_format"`
	Visibility string
	Protected  wire.Bool
}

func (a *api) uploadVolume(c *call, in *uploadBody) error {
	spec := volume.UploadSpec{
		ImageName: in.Name, DiskFormat: in.DiskFormat, ContainerFormat: string(in.Container), Visibility: in.Visibility,
		Protected: bool(in.Protected), Force: bool(in.Force),
	}
	if spec.DiskFormat == "" {
		spec.DiskFormat = "raw"
	}
	if spec.ContainerFormat == "" {
		spec.ContainerFormat = "bare"
	}
	if spec.Visibility == "" && c.at(1) {
		spec.Visibility = "private"
	}
	if spec.Visibility == "public" && !c.admin() {
		return forbidden("volume_extension:volume_actions:upload_public")
	}
	upload, err := a.volumes.UploadToImage(c.Context(), c.scope(), c.id(), spec)
	if err != nil {
		return err
	}
	v := &upload.Volume
	o := object{
		"id": v.ID, "updated_at": moment(&v.UpdatedAt), "status": v.Status, "display_description": nilIfEmpty(v.Description), "size": v.SizeGiB,
		"volume_type": nil, "image_id": upload.ImageID, "container_format": spec.ContainerFormat, "disk_format": spec.DiskFormat, "image_name": spec.ImageName,
	}
	if v.TypeID != "" {
		o["volume_type"] = object{"id": v.TypeID, "name": v.TypeName}
	}
	if c.at(1) {
		o["visibility"], o["protected"] = spec.Visibility, spec.Protected
	}
	return c.json(http.StatusAccepted, object{"os-volume_upload_image": o})
}

func imageMetadataSchema() *schema {
	long := &schema{Types: []string{"string"}, Check: func(value any) string {
		if s, ok := value.(string); ok && len(s) > 65535 {
			return "it has more than 65535 bytes."
		}
		return ""
	}}
	return record(fields{"metadata": {Types: []string{"object"}, Keys: metaKey, Others: long}}, "metadata")
}

func (a *api) setImageMetadata(c *call, in *struct{ Metadata map[string]string }) error {
	all, err := a.volumes.SetVolumeImageMetadata(c.Context(), c.scope(), c.id(), in.Metadata)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"metadata": pairs(all)})
}

func imageKeySchema() *schema {
	return record(fields{"key": {Types: []string{"string"}, MinLength: 1, MaxLength: 255}}, "key")
}

func (a *api) unsetImageMetadata(c *call, in *struct{ Key string }) error {
	v, err := a.volumes.Volume(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	if _, ok := v.ImageMetadata[in.Key]; !ok {
		return fault.Wrap(volume.ErrNotFound, "Glance metadata for volume/snapshot %s cannot be found.", v.ID)
	}
	if err := a.volumes.DeleteVolumeImageMetadata(c.Context(), c.scope(), c.id(), in.Key); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

func (a *api) showImageMetadata(c *call) error {
	v, err := a.volumes.Volume(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"metadata": pairs(v.ImageMetadata)})
}
