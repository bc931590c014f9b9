package nova

import (
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// device is an entry of block_device_mapping or block_device_mapping_v2.
type device struct {
	SourceType          string `json:"source_type"`
	DestinationType     string `json:"destination_type"`
	UUID                string
	ImageID             string    `json:"image_id"`
	VolumeID            string    `json:"volume_id"`
	SnapshotID          string    `json:"snapshot_id"`
	BootIndex           *text     `json:"boot_index"`
	VolumeSize          *wire.Int `json:"volume_size"`
	VolumeType          *string   `json:"volume_type"`
	DeleteOnTermination wire.Bool `json:"delete_on_termination"`
	DeviceName          *string   `json:"device_name"`
	GuestFormat         string    `json:"guest_format"`
	NoDevice            any       `json:"no_device"`
	Tag                 string
}

func deviceSchema(minor int) *wire.Schema {
	s := oldDeviceSchema()
	for name, property := range map[string]*wire.Schema{
		"image_id": typeUUID(), "source_type": words("volume", "image", "snapshot", "blank"), "destination_type": words("local", "volume"),
		"uuid":         {Types: []string{"string"}, MinLength: 1, MaxLength: 255, Pattern: imageName},
		"guest_format": typeString(), "device_type": typeString(), "disk_bus": typeString(),
		"boot_index": {Types: []string{"integer", "string", "null"}, Pattern: integerDigits},
	} {
		s.Properties[name] = property
	}
	if minor == 32 || minor >= 42 {
		s.Properties["tag"] = typeTag()
	}
	if minor >= 67 {
		s.Properties["volume_type"] = &wire.Schema{Types: []string{"string", "null"}, MaxLength: 255}
	}
	return s
}

func oldDeviceSchema() *wire.Schema {
	return record(map[string]*wire.Schema{
		"virtual_name": {Types: []string{"string"}, MaxLength: 255}, "volume_id": typeUUID(), "snapshot_id": typeUUID(),
		"volume_size":           {Types: []string{"integer", "string", "null"}, Pattern: digits},
		"device_name":           {Types: []string{"string", "null"}, MinLength: 1, MaxLength: 255, Pattern: devicePath},
		"delete_on_termination": typeBoolean(), "no_device": anything(), "connection_info": typeString(),
	})
}

// devices are the disks as the service wants them; nil where the image alone says it.
func (b *createServer) devices() ([]compute.BlockDevice, error) {
	in := &b.Server
	if len(in.OldDevices) > 0 && len(in.Devices) > 0 {
		return nil, fault.Wrap(compute.ErrInvalid, "Using different block_device_mapping syntaxes is not allowed in the same request.")
	}
	if len(in.OldDevices) > 0 {
		return oldDevices(in.OldDevices, in.ImageRef)
	}
	var list []compute.BlockDevice
	for i := range in.Devices {
		if in.Devices[i].NoDevice != nil && in.Devices[i].NoDevice != false {
			continue
		}
		d, err := in.Devices[i].disk(in.ImageRef)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

func invalidDevice(details string) error {
	return fault.Wrap(compute.ErrInvalid, "Block Device Mapping is Invalid: %s", details)
}

func (d *device) disk(image string) (compute.BlockDevice, error) {
	b := compute.BlockDevice{
		Source: compute.DeviceSource(d.SourceType), ID: d.UUID, Local: d.DestinationType == "local", Boot: -1, Tag: d.Tag,
		DeleteOnTermination: bool(d.DeleteOnTermination), Swap: d.GuestFormat == "swap",
	}
	if d.DestinationType == "" {
		b.Local = d.SourceType == "image" || d.SourceType == "blank"
	}
	if d.BootIndex != nil && *d.BootIndex != "null" {
		index, err := strconv.Atoi(string(*d.BootIndex))
		if err != nil {
			return b, invalidDevice("Boot index is invalid.")
		}
		b.Boot = index
	}
	if d.VolumeSize != nil {
		b.SizeGiB = int(*d.VolumeSize)
	}
	if d.VolumeType != nil {
		b.VolumeType = *d.VolumeType
	}
	if d.DeviceName != nil {
		b.Device = *d.DeviceName
	}
	switch {
	case d.SourceType == "blank" && d.UUID != "":
		return b, invalidDevice("Invalid device UUID.")
	case d.SourceType != "blank" && d.UUID == "":
		return b, invalidDevice("Missing device UUID.")
	case d.SourceType == "image" && b.Local && (image == "" || b.Boot != 0):
		return b, invalidDevice("Mapping image to local is not supported.")
	case b.Local && b.VolumeType != "":
		return b, invalidDevice("Specifying a volume_type with destination_type=local is not supported.")
	case d.SourceType == "volume" && b.VolumeType != "":
		return b, invalidDevice("Specifying volume type to existing volume is not supported.")
	case strings.Contains(b.Device, " "):
		return b, invalidDevice("Device name contains spaces.")
	}
	return b, nil
}

// oldDevices reads the mapping of API version 1: the disk named vda is the root, or else the image.
func oldDevices(devices []device, image string) ([]compute.BlockDevice, error) {
	var list []compute.BlockDevice
	root := false
	for i := range devices {
		d := &devices[i]
		if d.NoDevice != nil && d.NoDevice != false {
			continue
		}
		d.DestinationType, d.BootIndex = "volume", nil
		switch {
		case d.SnapshotID != "":
			d.SourceType, d.UUID = "snapshot", d.SnapshotID
		case d.VolumeID != "":
			d.SourceType, d.UUID = "volume", d.VolumeID
		default:
			return nil, invalidDevice("Unrecognized legacy format.")
		}
		b, err := d.disk(image)
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(b.Device, "/dev/") == "vda" {
			if image != "" {
				return nil, fault.Wrap(compute.ErrInvalid, "The volume cannot be assigned the same device name as the root device vda")
			}
			b.Boot, root = 0, true
		}
		list = append(list, b)
	}
	if !root && image != "" {
		list = append([]compute.BlockDevice{{Source: compute.FromImage, ID: image, Local: true, DeleteOnTermination: true}}, list...)
	}
	return list, nil
}
