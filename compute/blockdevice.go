package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
)

// DeviceSource is what a disk of a new server begins as.
type DeviceSource string

// The sources of disks.
const (
	FromImage    DeviceSource = "image"
	FromVolume   DeviceSource = "volume"
	FromSnapshot DeviceSource = "snapshot"
	FromBlank    DeviceSource = "blank"
)

// BlockDevice is a disk to give to a new server: an entry of the API's block_device_mapping_v2.
type BlockDevice struct {
	// Source says what ID is; a blank disk has none.
	Source DeviceSource
	ID     string
	// Local is a disk of the server's own, which ends with it; otherwise the disk is a volume, which is made unless Source is one.
	Local bool
	// Boot is the place in the order of booting; negative for none. Exactly one disk has 0: the root.
	Boot int
	// SizeGiB is the size of a volume to make; zero is its source's.
	SizeGiB             int
	VolumeType, Tag     string
	DeleteOnTermination bool
	// Swap and Device are what the user says of the disk: the former of local blank ones. The name is not what it gets.
	Swap   bool
	Device string
}

var errBootSequence = fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.")

// planDevices checks the disks, and finds what the server boots from.
func (s *Service) planDevices(ctx context.Context, scope Scope, p *plan) error {
	if err := s.imageDevices(ctx, scope, p); err != nil {
		return err
	}
	if len(p.spec.Devices) == 0 {
		return s.planImage(ctx, scope, p, p.spec.ImageID)
	}
	var boot []int
	for _, d := range p.spec.Devices {
		if d.Boot >= 0 {
			boot = append(boot, d.Boot)
		}
	}
	slices.Sort(boot)
	for i, index := range boot {
		if i != index {
			return errBootSequence
		}
	}
	if len(boot) == 0 {
		return errBootSequence
	}
	seen := map[string]bool{}
	for i := range p.spec.Devices {
		d := &p.spec.Devices[i]
		if err := s.planDevice(ctx, scope, p, d); err != nil {
			return err
		}
		if d.Source == FromVolume && seen[d.ID] {
			return fault.Wrap(ErrInvalid, "Invalid volume: volume %s already attached", d.ID)
		}
		seen[d.ID] = true
	}
	return nil
}

func (s *Service) planDevice(ctx context.Context, scope Scope, p *plan, d *BlockDevice) error {
	switch {
	case d.Local && d.Source == FromImage && d.Boot == 0:
		return s.planImage(ctx, scope, p, d.ID)
	case d.Local:
		return planLocal(p, d)
	case s.volumes == nil:
		return fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: there is no volume service here; only an image on a local disk can be used.")
	case p.spec.ImageID != "" && strings.TrimPrefix(d.Device, "/dev/") == "vda" && d.Boot != 0:
		return fault.Wrap(ErrInvalid, "The volume cannot be assigned the same device name as the root device vda")
	case len(p.devices) == maxDisks-1:
		return fault.Wrap(ErrForbidden, "The maximum allowed number of disk devices (%d) to attach to a single instance has been exceeded.", maxDisks)
	}
	p.devices = append(p.devices, *d)
	d = &p.devices[len(p.devices)-1]
	var image Image
	var err error
	switch d.Source {
	case FromVolume:
		image, err = s.planVolume(ctx, scope, p, d)
	case FromSnapshot:
		image, err = s.planSnapshot(ctx, scope, d)
	case FromImage:
		image, err = s.planVolumeImage(ctx, scope, d)
	case FromBlank:
		if d.SizeGiB == 0 {
			err = fault.Wrap(ErrInvalid, "Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size")
		}
	default:
		err = fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: Invalid source_type field.")
	}
	if err != nil || d.Boot != 0 {
		return err
	}
	p.volumeImage = image
	if image.MinRAMMiB > p.flavor.MemoryMiB {
		return fault.Wrap(ErrInvalid, "Flavor's memory is too small for requested image.")
	}
	return nil
}

// planLocal refuses local disks beside the root, which servers have not got here.
func planLocal(p *plan, d *BlockDevice) error {
	switch {
	case d.Source != FromBlank:
		return fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: Mapping %s to local is not supported.", d.Source)
	case d.Swap && d.SizeGiB > p.flavor.SwapMiB:
		return fault.Wrap(ErrInvalid, "Swap drive requested is larger than instance type allows.")
	case !d.Swap && max(d.SizeGiB, p.flavor.EphemeralGiB) > p.flavor.EphemeralGiB:
		return fault.Wrap(ErrInvalid, "Ephemeral disks requested are larger than the instance type allows. If no size is given in one block device mapping, flavor ephemeral size will be used.")
	}
	return fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: a server has no local disks beside its root here; use a blank volume.")
}

func (s *Service) planVolume(ctx context.Context, scope Scope, p *plan, d *BlockDevice) (Image, error) {
	if p.spec.MaxCount > 1 {
		return Image{}, fault.Wrap(ErrInvalid, "Cannot attach one or more volumes to multiple instances")
	}
	volume, err := s.volumes.Volume(ctx, scope, d.ID)
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid):
		return Image{}, fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: failed to get volume %s.", d.ID)
	case err != nil:
		return Image{}, err
	case volume.Shareable && p.spec.NoSharedVolumes:
		return Image{}, errNoShared
	case volume.Status != "available" && (volume.Status != "in-use" || !volume.Shareable):
		return Image{}, fault.Wrap(ErrInvalid, "Invalid volume: volume '%s' status must be 'available'. Currently in '%s'", d.ID, volume.Status)
	case d.Boot == 0 && !volume.Bootable:
		return Image{}, fault.Wrap(ErrInvalid, "Block Device %s is not bootable.", d.ID)
	}
	d.SizeGiB = volume.SizeGiB
	return volume.Image, nil
}

func (s *Service) planSnapshot(ctx context.Context, scope Scope, d *BlockDevice) (Image, error) {
	snapshot, err := s.volumes.Snapshot(ctx, scope, d.ID)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		err = fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: failed to get snapshot %s.", d.ID)
	}
	if d.SizeGiB == 0 {
		d.SizeGiB = snapshot.SizeGiB
	}
	return snapshot.Image, err
}

func (s *Service) planVolumeImage(ctx context.Context, scope Scope, d *BlockDevice) (Image, error) {
	image, err := s.images.Image(ctx, scope, d.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return image, fault.Wrap(ErrInvalid, "Block Device Mapping is Invalid: failed to get image %s.", d.ID)
	case err != nil:
		return image, err
	case image.Status != "active":
		return image, fault.Wrap(ErrInvalid, "Image %s is not active.", image.ID)
	case d.SizeGiB == 0:
		return image, fault.Wrap(ErrInvalid, "Images with destination_type 'volume' need to have a non-zero size specified")
	case image.MinDiskGiB > d.SizeGiB:
		return image, fault.Wrap(ErrInvalid, "Volume is smaller than the minimum size specified in image metadata. Volume size is %d bytes, minimum size is %d bytes.", int64(d.SizeGiB)<<30, int64(image.MinDiskGiB)<<30)
	}
	return image, nil
}

// noteVolumes writes into a new server what volumes it is to have. Those that are made have their identifiers already: what a
// kill leaves can be found.
func (p *plan) noteVolumes(v *Server) {
	v.VolumeImage = p.volumeImage
	for _, d := range p.devices {
		at := AttachedVolume{
			ID: uuid.NewString(), VolumeID: d.ID, State: VolumeReserving, Tag: d.Tag, Root: d.Boot == 0, Made: d.Source != FromVolume,
			DeleteOnTermination: d.DeleteOnTermination, SizeGiB: d.SizeGiB, Since: v.CreatedAt,
		}
		if at.Made {
			at.VolumeID = uuid.NewString()
		}
		v.Volumes = append(v.Volumes, at)
	}
	for i := range v.Volumes {
		if v.Volumes[i].Root {
			v.Volumes[i].Device = "/dev/vda"
		}
	}
	for i := range v.Volumes {
		if v.Volumes[i].Device == "" {
			v.Volumes[i].Device = v.freeDevice()
		}
	}
}

// takeVolumes makes a new server's volumes, or has them promised. On failure dropVolumes finds those had so far.
func (s *Service) takeVolumes(ctx context.Context, scope Scope, v *Server, p *plan) error {
	for i := range v.Volumes {
		at, d := &v.Volumes[i], &p.devices[i]
		if at.Made {
			made, err := s.volumes.CreateVolume(ctx, scope, d.volume(v, at))
			if err != nil {
				return volumeFault(err)
			}
			at.SizeGiB = made.SizeGiB
		} else {
			var err error
			if at.AttachmentID, err = s.volumes.ReserveVolume(ctx, scope, at.VolumeID, v.ID); err != nil {
				return volumeFault(err)
			}
		}
		at.State = VolumeAttaching
	}
	return nil
}

// volume is the volume to make of the disk.
func (d *BlockDevice) volume(v *Server, at *AttachedVolume) VolumeSpec {
	spec := VolumeSpec{ID: at.VolumeID, SizeGiB: d.SizeGiB, Type: d.VolumeType}
	switch d.Source {
	case FromImage:
		spec.ImageID = d.ID
	case FromSnapshot:
		spec.SnapshotID = d.ID
	case FromBlank:
		spec.Name = fmt.Sprintf("%s-blank-vol", v.ID)
	}
	return spec
}

// footprint is what of the flavor the server takes of its host: one that boots from a volume has no root disk there.
func (v *Server) footprint() *Flavor {
	f := v.Flavor
	if v.VolumeBacked() {
		f.DiskGiB = 0
	}
	return &f
}
