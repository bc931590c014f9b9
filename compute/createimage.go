package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// mappedDevice is an entry of an image's block_device_mapping, in Nova's form (the property bdm_v2 says so).
type mappedDevice struct {
	Source              string `json:"source_type"`
	Destination         string `json:"destination_type"`
	SnapshotID          string `json:"snapshot_id,omitempty"`
	VolumeID            string `json:"volume_id,omitempty"`
	ImageID             string `json:"image_id,omitempty"`
	Boot                *int   `json:"boot_index"`
	SizeGiB             int    `json:"volume_size,omitempty"`
	VolumeType          string `json:"volume_type,omitempty"`
	DeleteOnTermination bool   `json:"delete_on_termination"`
	Device              string `json:"device_name,omitempty"`
	Tag                 string `json:"tag,omitempty"`
	DeviceType          string `json:"device_type"`
	Bus                 string `json:"disk_bus"`
}

// imageDevices adds the disks that the image itself names; a root among them is in place of the image's.
func (s *Service) imageDevices(ctx context.Context, scope Scope, p *plan) error {
	if p.spec.ImageID == "" || s.volumes == nil {
		return nil
	}
	image, err := s.findImage(ctx, scope, p.spec.ImageID)
	if err != nil || image.DeviceMapping == "" {
		return err
	}
	var mapped []mappedDevice
	if err := json.Unmarshal([]byte(image.DeviceMapping), &mapped); err != nil {
		return fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: that of image %s cannot be read.", image.ID)
	}
	devices := make([]BlockDevice, 0, len(mapped))
	root := false
	for _, m := range mapped {
		d := BlockDevice{
			Source: DeviceSource(m.Source), ID: m.SnapshotID + m.VolumeID + m.ImageID, Local: m.Destination == "local", Boot: -1,
			SizeGiB: m.SizeGiB, VolumeType: m.VolumeType, Tag: m.Tag, DeleteOnTermination: m.DeleteOnTermination,
		}
		if m.Boot != nil {
			d.Boot = *m.Boot
		}
		root = root || d.Boot == 0
		devices = append(devices, d)
	}
	for _, d := range p.spec.Devices {
		if !root || d.Boot != 0 || d.Source != FromImage {
			devices = append(devices, d)
		}
	}
	if image.MinRAMMiB > p.flavor.MemoryMiB {
		return fault.Wrap(ErrInvalid, "Flavor's memory is too small for requested image.")
	}
	p.spec.Devices = devices
	return nil
}

// CreateImage keeps a server that boots from a volume as an image: snapshots of its volumes, which the image names so that a
// server can be made of it. Those of servers with a disk of their own cannot be made ([ErrUnsupported]).
func (s *Service) CreateImage(ctx context.Context, scope Scope, serverID, name string, properties map[string]string) (imageID string, err error) {
	v, err := s.Server(ctx, scope, serverID)
	if err != nil {
		return "", err
	}
	if err := v.mayChange(scope); err != nil {
		return "", err
	}
	if err := v.require("createImage", []VMState{Active, Stopped}); err != nil {
		return "", err
	}
	maker, makes := s.images.(ImageMaker)
	volumes, keeps := s.volumes.(Snapshotter)
	if !makes || !keeps || !v.VolumeBacked() {
		return "", fault.Wrap(ErrUnsupported, "The image of a server with a disk of its own is not implemented here.")
	}
	spec := ImageSpec{Name: name, MinRAMMiB: v.VolumeImage.MinRAMMiB, MinDiskGiB: v.VolumeImage.MinDiskGiB, Properties: v.imageProperties(properties)}
	mapped, err := snapshotVolumes(ctx, scope, volumes, v, name)
	if err == nil {
		var text []byte
		text, err = json.Marshal(mapped)
		spec.Properties["block_device_mapping"] = string(text)
	}
	if err == nil {
		imageID, err = maker.CreateImage(ctx, scope, spec)
	}
	if err != nil {
		for _, m := range mapped {
			err = errors.Join(err, volumes.DeleteSnapshot(context.WithoutCancel(ctx), m.SnapshotID))
		}
		return "", err
	}
	_, err = s.modify(ctx, scope, serverID, func(tx *record.Tx, v *Server) error { return s.instant(tx, scope, v, "createImage") })
	return imageID, err
}

// imageProperties are what is said of a server's image beside its volumes.
func (v *Server) imageProperties(more map[string]string) map[string]string {
	properties := map[string]string{"bdm_v2": "True", "root_device_name": "/dev/vda", "instance_uuid": v.ID, "image_type": "snapshot"}
	for name, value := range map[string]string{
		"base_image_ref": v.VolumeImage.ID, "kernel_id": v.VolumeImage.KernelID, "ramdisk_id": v.VolumeImage.RamdiskID, "os_command_line": v.VolumeImage.CommandLine,
	} {
		if value != "" {
			properties[name] = value
		}
	}
	maps.Copy(properties, more)
	return properties
}

func snapshotVolumes(ctx context.Context, scope Scope, volumes Snapshotter, v *Server, name string) ([]mappedDevice, error) {
	attached := v.AttachedVolumes()
	slices.SortStableFunc(attached, func(a, b AttachedVolume) int { return strings.Compare(a.Device, b.Device) })
	var mapped []mappedDevice
	for _, at := range attached {
		id, err := volumes.CreateSnapshot(ctx, scope, at.VolumeID, fmt.Sprintf("snapshot for %s", name))
		if err != nil {
			return mapped, fmt.Errorf("volume %s: %w", at.VolumeID, err)
		}
		m := mappedDevice{
			Source: string(FromSnapshot), Destination: "volume", SnapshotID: id, SizeGiB: at.SizeGiB, DeleteOnTermination: at.DeleteOnTermination,
			Device: at.Device, Tag: at.Tag, DeviceType: "disk", Bus: "virtio",
		}
		if at.Root {
			m.Boot = new(int)
		}
		mapped = append(mapped, m)
	}
	return mapped, nil
}
