package compute

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

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
		return none, s.unpromised(context.WithoutCancel(ctx), serverID, at, volumeFault(err))
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
		if err := s.requireHost(tx, v); err != nil {
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

// unpromised ends an attachment whose volume was refused, or whose promise was not heard of. What cannot be ended now, the
// server's agent ends later.
func (s *Service) unpromised(ctx context.Context, serverID string, at AttachedVolume, cause error) error {
	if err := s.dropPromise(ctx, serverID, at.VolumeID); err != nil {
		return errors.Join(cause, err)
	}
	return errors.Join(cause, s.giveUpVolume(ctx, serverID, at, cause))
}

// dropPromise ends what attachment there may be of a volume to a server.
func (s *Service) dropPromise(ctx context.Context, serverID, volumeID string) error {
	attachments, err := s.volumes.Attachments(ctx, serverID)
	if id := attachments[volumeID]; err == nil && id != "" {
		err = s.volumes.DropAttachment(ctx, id)
	}
	return err
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
		if err := s.requireHost(tx, v); err != nil {
			return err
		}
		if at.State == VolumeDetaching || at.State == VolumeReserving {
			return fault.Wrap(ErrInvalid, "Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.")
		}
		at.State, at.Since = VolumeDetaching, s.now()
		return s.begin(tx, scope, v, "detach_volume", "compute_detach_volume")
	})
	return err
}

// requireHost refuses what nobody would do: the server's host is down.
func (s *Service) requireHost(tx *record.Tx, v *Server) error {
	h, err := s.hosts.Get(tx, v.Host)
	if err != nil || !s.Up(h) {
		return fault.Wrap(ErrConflict, "Service is unavailable at this time.")
	}
	return nil
}

func notAttached(serverID, volumeID string) error {
	return fault.Wrap(ErrNotFound, "Instance %s is not attached to volume %s", serverID, volumeID)
}
