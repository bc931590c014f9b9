package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
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

// CreateImage keeps a server as an image, and returns the image's identifier. Of a server with a disk of its own that is the
// disk as it is at one moment soon: the image is queued and then saving while the server is in the tasks [ImageSnapshotPending] to
// [ImageUploading], and goes on. Of one that boots from a volume it is snapshots of its volumes, which the image names so that a
// server can be made of it. Properties are added to those that the server's own image has. If the image cannot be made, or the server
// or the image is deleted meanwhile, nothing is left of it, and the server's action says why.
func (s *Service) CreateImage(ctx context.Context, scope Scope, serverID, name string, properties map[string]string) (imageID string, err error) {
	v, err := s.Server(ctx, scope, serverID)
	if err != nil {
		return "", err
	}
	if !v.VolumeBacked() {
		return s.copyDisk(ctx, scope, v, ImageSpec{Name: name, Properties: properties}, imageJob{Action: actionCreateImage})
	}
	if err := v.mayChange(scope); err != nil {
		return "", err
	}
	if err := v.require(actionCreateImage, []VMState{Active, Stopped}); err != nil {
		return "", err
	}
	return s.snapshotDisks(ctx, scope, v, name, properties)
}

// BackupSpec is a backup to make of a server.
type BackupSpec struct {
	Name string
	// Type is the owner's word for the kind of backup: "daily".
	Type string
	// Rotation is how many backups of the type the server has then at most; older ones are deleted.
	Rotation   int
	Properties map[string]string
}

// CreateBackup is [Service.CreateImage] for a server with a disk of its own, after which all but the latest backups of the type
// are deleted. With a rotation of zero none is left.
func (s *Service) CreateBackup(ctx context.Context, scope Scope, serverID string, spec BackupSpec) (imageID string, err error) {
	v, err := s.Server(ctx, scope, serverID)
	if err != nil {
		return "", err
	}
	switch {
	case v.VolumeBacked():
		return "", fault.Wrap(ErrInvalid, "Backup is not supported for volume-backed instances.")
	case spec.Rotation < 0:
		return "", fault.Wrap(ErrInvalid, "Rotation is at least 0")
	}
	image := ImageSpec{Name: spec.Name, Properties: spec.Properties}
	return s.copyDisk(ctx, scope, v, image, imageJob{Action: actionCreateBackup, BackupType: spec.Type, Rotation: spec.Rotation})
}

// snapshotDisks makes the image of a server that boots from a volume.
func (s *Service) snapshotDisks(ctx context.Context, scope Scope, v *Server, name string, more map[string]string) (imageID string, err error) {
	maker, makes := s.images.(ImageMaker)
	volumes, keeps := s.volumes.(Snapshotter)
	if !makes || !keeps {
		return "", fault.Wrap(ErrUnsupported, "The image of a server that boots from a volume is not implemented here.")
	}
	own := v.imageProperties(&v.VolumeImage)
	own["bdm_v2"], own["root_device_name"] = "True", "/dev/vda"
	spec := ImageSpec{
		ID: uuid.NewString(), Name: name, MinRAMMiB: v.VolumeImage.MinRAMMiB, MinDiskGiB: v.VolumeImage.MinDiskGiB, Properties: more, Own: own,
	}
	mapped, err := snapshotVolumes(ctx, scope, volumes, v, name)
	if err == nil {
		var text []byte
		text, err = json.Marshal(mapped)
		spec.Own["block_device_mapping"] = string(text)
	}
	if err == nil {
		err = maker.CreateImage(ctx, scope, spec)
	}
	if err != nil {
		for _, m := range mapped {
			err = errors.Join(err, volumes.DeleteSnapshot(context.WithoutCancel(ctx), m.SnapshotID))
		}
		return "", err
	}
	_, err = s.modify(ctx, scope, v.ID, func(tx *record.Tx, v *Server) error { return s.instant(tx, scope, v, actionCreateImage) })
	return spec.ID, err
}

// imageProperties are what is said of a server's image, which came from the given one, in Nova's words.
func (v *Server) imageProperties(base *Image) map[string]string {
	properties := map[string]string{"instance_uuid": v.ID, "user_id": v.UserID, "owner_id": v.ProjectID, "image_type": "snapshot"}
	for name, value := range map[string]string{
		"base_image_ref": base.ID, "kernel_id": base.KernelID, "ramdisk_id": base.RamdiskID, "os_command_line": base.CommandLine,
	} {
		if value != "" {
			properties[name] = value
		}
	}
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
