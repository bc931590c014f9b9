package compute

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
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

// VolumeAttach is a volume to attach.
type VolumeAttach struct {
	VolumeID, Tag string
	// DeleteOnTermination deletes the volume with the server.
	DeleteOnTermination bool
	// NoShared refuses volumes that several servers may have.
	NoShared bool
}

// AttachVolume gives a volume to a server, running or stopped, and returns as it is being attached.
func (s *Service) AttachVolume(ctx context.Context, scope Scope, serverID string, spec VolumeAttach) (AttachedVolume, error) {
	var none AttachedVolume
	if _, err := s.Server(ctx, scope, serverID); err != nil {
		return none, err
	}
	volume, err := s.findVolume(ctx, scope, spec.VolumeID)
	if err != nil {
		return none, err
	}
	if volume.Shareable && spec.NoShared {
		return none, errNoShared
	}
	if err := s.awaitDetached(ctx, scope, serverID, spec.VolumeID); err != nil {
		return none, err
	}
	at, err := s.noteVolume(ctx, scope, serverID, spec, volume)
	if err != nil {
		return none, err
	}
	attachment, err := s.volumes.ReserveVolume(ctx, scope, spec.VolumeID, serverID)
	if err != nil {
		err = volumeFault(err)
		return none, errors.Join(err, s.giveUpVolume(context.WithoutCancel(ctx), serverID, at, err))
	}
	return s.promised(context.WithoutCancel(ctx), serverID, at, attachment)
}

var errNoShared = fault.Wrap(ErrInvalid, "Multiattach volumes are only supported starting with compute API version 2.60.")

func (s *Service) findVolume(ctx context.Context, scope Scope, id string) (Volume, error) {
	if s.volumes == nil {
		return Volume{}, fault.Wrap(ErrUnsupported, "There is no volume service here.")
	}
	volume, err := s.volumes.Volume(ctx, scope, id)
	return volume, notFound(err, "Volume %s could not be found.", id)
}

// volumeFault says in Nova's words that a volume cannot be had.
func volumeFault(err error) error {
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrInvalid) {
		return fault.Wrap(ErrInvalid, "Invalid volume: %s", err.Error())
	}
	return err
}

// detachWait bounds the wait for the end of a detachment that the volume service knows to have ended already.
const detachWait = 5 * time.Second

// awaitDetached lets the detachment of the same volume end first: a client that has seen the volume become available need not
// know that the server's record is the last to change.
func (s *Service) awaitDetached(ctx context.Context, scope Scope, serverID, volumeID string) error {
	wait, cancel := context.WithTimeout(ctx, detachWait)
	defer cancel()
	_, err := s.Await(wait, scope, serverID, func(v *Server) bool {
		at := v.volume(volumeID)
		return at == nil || at.State != VolumeDetaching
	})
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// noteVolume writes down that the volume is wanted, before anything is promised: what a kill leaves can be found.
func (s *Service) noteVolume(ctx context.Context, scope Scope, serverID string, spec VolumeAttach, volume Volume) (at AttachedVolume, err error) {
	_, err = s.modify(ctx, scope, serverID, func(tx *record.Tx, v *Server) error {
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if err := v.require("attach_volume", []VMState{Active, Stopped}); err != nil {
			return err
		}
		if v.volume(spec.VolumeID) != nil {
			return fault.Wrap(ErrInvalid, "Invalid volume: volume %s is already attached to instances: %s", spec.VolumeID, serverID)
		}
		at = AttachedVolume{
			ID: uuid.NewString(), VolumeID: spec.VolumeID, State: VolumeReserving, Device: v.freeDevice(), Tag: spec.Tag,
			DeleteOnTermination: spec.DeleteOnTermination, SizeGiB: volume.SizeGiB, Since: s.now(),
		}
		if at.Device == "" {
			return fault.Wrap(ErrForbidden, "The maximum allowed number of disk devices (%d) to attach to a single instance has been exceeded.", maxDisks)
		}
		v.Volumes = append(v.Volumes, at)
		return s.begin(tx, scope, v, "attach_volume", "compute_attach_volume")
	})
	return at, err
}

// promised hands a volume over to the server's agent.
func (s *Service) promised(ctx context.Context, serverID string, at AttachedVolume, attachment string) (AttachedVolume, error) {
	err := s.changeVolume(ctx, serverID, at, s.servers.Update, func(_ *record.Tx, _ *Server, now *AttachedVolume) error {
		now.State, now.AttachmentID, now.Since = VolumeAttaching, attachment, s.now()
		at = *now
		return nil
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		// The server was deleted meanwhile.
		return at, errors.Join(fault.Wrap(ErrNotFound, "Instance %s could not be found.", serverID), s.volumes.DropAttachment(ctx, attachment))
	}
	return at, err
}

// changeVolume changes a server's volume if it is still as it was seen; else errNothing.
func (s *Service) changeVolume(ctx context.Context, serverID string, was AttachedVolume, save func(*record.Tx, *Server) error, fn func(tx *record.Tx, v *Server, at *AttachedVolume) error) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.servers.Get(tx, serverID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(v.Volumes, func(a AttachedVolume) bool { return a.ID == was.ID })
		if i < 0 || v.Volumes[i].State != was.State || v.Volumes[i].SizeGiB != was.SizeGiB || v.VMState == Deleted || v.TaskState == Deleting {
			return errNothing
		}
		if err := fn(tx, v, &v.Volumes[i]); err != nil {
			return err
		}
		v.UpdatedAt = s.now()
		return save(tx, v)
	})
}

// giveUpVolume takes a volume from a server's record that it has not got.
func (s *Service) giveUpVolume(ctx context.Context, serverID string, at AttachedVolume, cause error) error {
	err := s.changeVolume(ctx, serverID, at, s.servers.Report, func(tx *record.Tx, v *Server, now *AttachedVolume) error {
		v.dropVolume(now.ID)
		return s.finish(tx, v, cause)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// DetachVolume takes a volume from a server, and returns as it is being detached.
func (s *Service) DetachVolume(ctx context.Context, scope Scope, serverID, volumeID string) error {
	if _, err := s.Server(ctx, scope, serverID); err != nil {
		return err
	}
	if _, err := s.findVolume(ctx, scope, volumeID); err != nil {
		return err
	}
	_, err := s.modify(ctx, scope, serverID, func(tx *record.Tx, v *Server) error {
		at := v.volume(volumeID)
		switch {
		case at == nil:
			return notAttached(serverID, volumeID)
		case at.Root:
			return fault.Wrap(ErrInvalid, "Cannot detach a root device volume")
		}
		if err := v.mayChange(scope); err != nil {
			return err
		}
		if err := v.require("detach_volume", []VMState{Active, Stopped}); err != nil {
			return err
		}
		if h, err := s.hosts.Get(tx, v.Host); err != nil || !s.Up(h) {
			return fault.Wrap(ErrConflict, "Service is unavailable at this time.")
		}
		if at.State == VolumeDetaching || at.State == VolumeReserving {
			return fault.Wrap(ErrInvalid, "Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.")
		}
		at.State, at.Since = VolumeDetaching, s.now()
		return s.begin(tx, scope, v, "detach_volume", "compute_detach_volume")
	})
	return err
}

func notAttached(serverID, volumeID string) error {
	return fault.Wrap(ErrNotFound, "Instance %s is not attached to volume %s", serverID, volumeID)
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
// nothing to learn, one that does not have the volume is [ErrNotFound].
func (s *Service) VolumeExtended(ctx context.Context, serverID, volumeID string, sizeGiB int) error {
	if sizeGiB == 0 {
		volume, err := s.findVolume(ctx, Scope{Admin: true}, volumeID)
		if err != nil {
			return err
		}
		sizeGiB = volume.SizeGiB
	}
	_, err := s.modify(ctx, Scope{Admin: true}, serverID, func(_ *record.Tx, v *Server) error {
		at := v.volume(volumeID)
		if at == nil {
			return notAttached(serverID, volumeID)
		}
		at.SizeGiB = sizeGiB
		if at.State == VolumeAttached && v.Running {
			at.State, at.Since = VolumeExtending, s.now()
		}
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
