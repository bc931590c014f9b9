package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// VolumeState is how far a server is with one of its volumes.
type VolumeState string

// The states of a server's volumes. Its agent has something to do in all but the first and [VolumeAttached].
const (
	// VolumeReserving is a volume that is being asked for; it is the server's once it has been promised.
	VolumeReserving VolumeState = "reserving"
	VolumeAttaching VolumeState = "attaching"
	VolumeAttached  VolumeState = "attached"
	// VolumeExtending is an attached volume that has grown, which the server does not know yet.
	VolumeExtending VolumeState = "extending"
	VolumeDetaching VolumeState = "detaching"
)

// AttachedVolume is a volume of a server.
type AttachedVolume struct {
	// ID is the mapping's own identifier (Nova's bdm_uuid), AttachmentID the volume service's, empty until the volume is promised.
	ID, VolumeID, AttachmentID string
	State                      VolumeState
	// Device is the name that the server is told: "/dev/vdb". Tag is the user's.
	Device string
	Tag    string `json:",omitempty"`
	// Root is the volume that the server boots from.
	Root bool `json:",omitempty"`
	// Made volumes were made for the server.
	Made                bool `json:",omitempty"`
	DeleteOnTermination bool `json:",omitempty"`
	SizeGiB             int
	// Since is when it got into its state.
	Since time.Time
}

// due says that the server's agent has something to do.
func (a *AttachedVolume) due() bool {
	return a.State == VolumeAttaching || a.State == VolumeExtending || a.State == VolumeDetaching
}

// maxDisks is how many disks a server may have, whose names have one letter each.
const maxDisks = 26

// volume finds one of the server's volumes; nil if it has it not.
func (v *Server) volume(id string) *AttachedVolume {
	for i := range v.Volumes {
		if v.Volumes[i].VolumeID == id {
			return &v.Volumes[i]
		}
	}
	return nil
}

// VolumeBacked says that the server boots from a volume, and has no disk of its own.
func (v *Server) VolumeBacked() bool {
	return slices.ContainsFunc(v.Volumes, func(a AttachedVolume) bool { return a.Root })
}

// nextVolume is the first volume that the server's agent has something to do with.
func (v *Server) nextVolume() *AttachedVolume {
	if v.VMState != Active && v.VMState != Stopped {
		return nil
	}
	for i := range v.Volumes {
		if v.Volumes[i].due() {
			return &v.Volumes[i]
		}
	}
	return nil
}

// freeDevice is the first name that no disk of the server has; empty if all are taken.
func (v *Server) freeDevice() string {
	for i := range maxDisks {
		name := "/dev/vd" + string(rune('a'+i))
		taken := i == 0 && !v.VolumeBacked()
		for _, a := range v.Volumes {
			taken = taken || a.Device == name
		}
		if !taken {
			return name
		}
	}
	return ""
}

func (v *Server) dropVolume(id string) {
	v.Volumes = slices.DeleteFunc(v.Volumes, func(a AttachedVolume) bool { return a.ID == id })
}

// UpdateVolumeAttachment says whether a volume is deleted with its server.
func (s *Service) UpdateVolumeAttachment(ctx context.Context, scope Scope, serverID, volumeID string, deleteOnTermination bool) error {
	_, err := s.modify(ctx, scope, serverID, func(_ *record.Tx, v *Server) error {
		at := v.volume(volumeID)
		if at == nil {
			return fault.Wrap(ErrNotFound, "No volume Block Device Mapping with id %s.", volumeID)
		}
		at.DeleteOnTermination = deleteOnTermination
		return nil
	})
	return err
}

// SwapVolume would put another volume in the place of one, which is for a volume service alone that moves a volume, and for
// none here: it says what is wrong with the wish, or [ErrConflict].
func (s *Service) SwapVolume(ctx context.Context, scope Scope, serverID, oldID, newID string) error {
	old, err := s.findVolume(ctx, scope, oldID)
	if err != nil {
		return err
	}
	if _, err := s.findVolume(ctx, scope, newID); err != nil {
		return asInvalid(err)
	}
	if _, err := s.VolumeAttachment(ctx, scope, serverID, oldID); err != nil {
		return err
	}
	if old.Shareable {
		return fault.Wrap(ErrInvalid, "Swapping multi-attach volumes with more than one read/write attachment is not supported.")
	}
	return fault.Wrap(ErrConflict, "volume %s is not migrating; this API should only be called by Cinder", oldID)
}

// VolumeAttachments lists a server's volumes, those that are being attached or detached too.
func (s *Service) VolumeAttachments(ctx context.Context, scope Scope, serverID string) ([]AttachedVolume, error) {
	v, err := s.Server(ctx, scope, serverID)
	if err != nil {
		return nil, err
	}
	return v.AttachedVolumes(), nil
}

// VolumeAttachment finds one of a server's volumes.
func (s *Service) VolumeAttachment(ctx context.Context, scope Scope, serverID, volumeID string) (AttachedVolume, error) {
	all, err := s.VolumeAttachments(ctx, scope, serverID)
	if err != nil {
		return AttachedVolume{}, err
	}
	for _, at := range all {
		if at.VolumeID == volumeID {
			return at, nil
		}
	}
	return AttachedVolume{}, notAttached(serverID, volumeID)
}

// AttachedVolumes are the server's volumes without those that it may not get.
func (v *Server) AttachedVolumes() []AttachedVolume {
	return slices.DeleteFunc(slices.Clone(v.Volumes), func(a AttachedVolume) bool { return a.State == VolumeReserving })
}

// VolumeExtended tells a server that one of its volumes has grown; zero looks its size up. A server that does not run has
// nothing to learn, one that does not have the volume is [ErrNotFound]. As in Nova it is an action, "extend_volume".
func (s *Service) VolumeExtended(ctx context.Context, serverID, volumeID string, sizeGiB int) error {
	if sizeGiB == 0 {
		volume, err := s.findVolume(ctx, Scope{Admin: true}, volumeID)
		if err != nil {
			return err
		}
		sizeGiB = volume.SizeGiB
	}
	scope := Scope{Admin: true}
	_, err := s.modify(ctx, scope, serverID, func(tx *record.Tx, v *Server) error {
		at := v.volume(volumeID)
		if at == nil {
			return notAttached(serverID, volumeID)
		}
		known := at.SizeGiB == sizeGiB
		at.SizeGiB = sizeGiB
		if at.State != VolumeAttached || known && !v.Running {
			return nil
		}
		if err := s.begin(tx, scope, v, "extend_volume", "compute_extend_volume"); err != nil {
			return err
		}
		if !v.Running {
			return s.finish(tx, v, nil)
		}
		at.State, at.Since = VolumeExtending, s.now()
		return nil
	})
	return err
}

// dropVolumes ends the attachments of a server that goes, and deletes the volumes that go with it: after undo, all that were
// made for it. A volume that others need stays.
func (s *Service) dropVolumes(ctx context.Context, v *Server, undo bool) error {
	if s.volumes == nil || len(v.Volumes) == 0 {
		return nil
	}
	attachments, err := s.volumes.Attachments(ctx, v.ID)
	if err != nil {
		return err
	}
	var failures []error
	for _, attachment := range attachments {
		failures = append(failures, s.volumes.DropAttachment(ctx, attachment))
	}
	for _, at := range v.Volumes {
		doomed := at.DeleteOnTermination && at.State != VolumeReserving || at.Made && (undo || at.State == VolumeReserving || at.DeleteOnTermination)
		if !doomed {
			continue
		}
		err := s.volumes.DeleteVolume(ctx, at.VolumeID)
		if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) {
			failures = append(failures, fmt.Errorf("volume %s: %w", at.VolumeID, err))
		}
	}
	return errors.Join(failures...)
}
