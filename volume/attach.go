package volume

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// ReserveVolume promises the volume to whoever attaches it next. Of several that ask at once, one gets it.
func (s *Service) ReserveVolume(ctx context.Context, scope Scope, id string) error {
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status != Available && (!v.Multiattach || v.Status != InUse) {
			expected := "available"
			if v.Multiattach {
				expected = "available or in-use"
			}
			return invalidVolume("Volume status must be %s to reserve, but the status is %s.", expected, v.Status)
		}
		v.Status = Attaching
		return nil
	})
	return err
}

// UnreserveVolume takes the promise back; where there is none, nothing happens.
func (s *Service) UnreserveVolume(ctx context.Context, scope Scope, id string) error {
	return s.changeIf(ctx, scope, id, func(tx *record.Tx, v *Volume) error {
		if v.Status != Attaching {
			return errNothing
		}
		return s.inUseOrNot(tx, v)
	})
}

// inUseOrNot makes a volume's status what its attachments say, those that are whole.
func (s *Service) inUseOrNot(tx *record.Tx, v *Volume) error {
	n, err := s.attachments.Count(tx, record.Eq("volume", v.ID), record.Eq("status", string(AttachmentAttached)))
	if v.Status = Available; n > 0 {
		v.Status = InUse
	}
	return err
}

// changeIf is changeVolume where there may be nothing to change.
func (s *Service) changeIf(ctx context.Context, scope Scope, id string, fn func(tx *record.Tx, v *Volume) error) error {
	_, err := s.changeVolume(ctx, scope, id, fn)
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// AttachVolume says that a volume is attached, as the old way to attach has it: it makes no connection.
func (s *Service) AttachVolume(ctx context.Context, scope Scope, id string, options AttachOptions) error {
	mode := "rw"
	if options.ReadOnly {
		mode = "ro"
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		all, err := s.attachmentsOf(tx, id)
		if err != nil {
			return err
		}
		a, isNew := s.attachmentFor(scope, v, all, options)
		if err := checkAttachable(v, a, isNew, mode); err != nil {
			return err
		}
		a.ServerID, a.Device, a.Mode = options.ServerID, options.Device, mode
		if options.ServerID == "" {
			a.AttachedHost = options.Host
		}
		if isNew {
			if err := s.insertAttachment(tx, v, a); err != nil {
				return err
			}
		}
		return s.attached(tx, v, a)
	})
}

// attachmentFor is the attachment that was prepared by a connection, or that the server has already; or a new one.
func (s *Service) attachmentFor(scope Scope, v *Volume, all []Attachment, options AttachOptions) (a *Attachment, isNew bool) {
	for i := range all {
		a := &all[i]
		same := a.ServerID == options.ServerID && (options.ServerID != "" || a.AttachedHost == options.Host)
		prepared := a.Status == AttachmentAttaching && a.ServerID == "" && (options.Host == "" || a.AttachedHost == options.Host)
		if same || prepared {
			return a, false
		}
	}
	return s.newAttachment(scope, v), true
}

func checkAttachable(v *Volume, a *Attachment, isNew bool, mode string) error {
	switch {
	case v.Status == Maintenance:
		return invalidVolume("The volume cannot be attached in maintenance mode.")
	case v.ReadOnly && mode != "ro":
		return fault.Wrap(ErrInvalid, "Invalid attaching mode '%s' for volume %s.", mode, v.ID)
	case isNew && v.Status == InUse && !v.Multiattach:
		return invalidVolume("volume is already attached")
	case isNew && v.Status != Available && v.Status != Attaching && v.Status != InUse:
		return invalidVolume("Volume status must be available or attaching to attach, but the status is %s.", v.Status)
	case a.Status == AttachmentDetaching:
		return invalidVolume("the volume is being detached")
	}
	return nil
}

// DetachVolume says that the volume is detached; without an attachment's identifier, its only one is meant. A connection
// that is still there is ended.
func (s *Service) DetachVolume(ctx context.Context, scope Scope, id, attachmentID string) error {
	return s.endAttachments(ctx, scope, id, func(v *Volume, all []Attachment) ([]Attachment, error) {
		if v.Status == Maintenance {
			return nil, invalidVolume("The volume cannot be detached in maintenance mode.")
		}
		if attachmentID == "" && len(all) > 1 {
			return nil, invalidVolume("Detach volume failed: More than one attachment, but no attachment_id provided.")
		}
		return only(all, attachmentID)
	})
}

// only picks the attachment of that identifier; all without one.
func only(all []Attachment, id string) ([]Attachment, error) {
	if id == "" {
		return all, nil
	}
	for _, a := range all {
		if a.ID == id {
			return []Attachment{a}, nil
		}
	}
	return nil, fault.Wrap(ErrNotFound, "Volume attachment could not be found with filter: attachment_id = %s.", id)
}

// ForceDetach ends an attachment, or all, whatever their status is (for admins).
func (s *Service) ForceDetach(ctx context.Context, scope Scope, id, attachmentID string, _ *Connector) error {
	if err := mustAdmin(scope, "volume_extension:volume_admin_actions:force_detach"); err != nil {
		return err
	}
	return s.endAttachments(ctx, scope, id, func(_ *Volume, all []Attachment) ([]Attachment, error) { return only(all, attachmentID) })
}

// endAttachments ends those attachments of a volume that pick picks, and waits until they have ended.
func (s *Service) endAttachments(ctx context.Context, scope Scope, id string, pick func(v *Volume, all []Attachment) ([]Attachment, error)) error {
	var waiting []string
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		waiting = nil
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		all, err := s.attachmentsOf(tx, id)
		if err != nil {
			return err
		}
		chosen, err := pick(v, all)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return s.afterDetach(tx, v)
		}
		for i := range chosen {
			gone, err := s.detach(tx, v, &chosen[i])
			if err != nil {
				return err
			}
			if !gone {
				waiting = append(waiting, chosen[i].ID)
			}
		}
		return nil
	})
	for _, a := range waiting {
		err = errors.Join(err, s.disconnected(ctx, a))
	}
	return err
}

// BeginDetaching says that the volume is about to be detached.
func (s *Service) BeginDetaching(ctx context.Context, scope Scope, id string) error {
	return s.changeIf(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.migrating() {
			return errNothing
		}
		if v.Status != InUse || v.AttachStatus != Attached {
			return invalidVolume("Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach.")
		}
		v.Status = Detaching
		return nil
	})
}

// RollDetaching says that it stays attached after all.
func (s *Service) RollDetaching(ctx context.Context, scope Scope, id string) error {
	return s.changeIf(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status != Detaching {
			return errNothing
		}
		v.Status = InUse
		return nil
	})
}

// InitializeConnection makes the volume reachable from the connector's host, as the old way to attach has it, and returns
// when the pool's agent has done so.
func (s *Service) InitializeConnection(ctx context.Context, scope Scope, id string, connector Connector) (*Attachment, error) {
	attachmentID := ""
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		if v.Status == Maintenance {
			return invalidVolume("The volume connection cannot be initialized in maintenance mode.")
		}
		if v.Task.Kind == TaskCreate || v.Task.Kind == TaskDelete {
			return invalidVolume("Volume %s cannot be connected while its status is %s.", id, v.Status)
		}
		all, err := s.attachmentsOf(tx, id)
		if err != nil {
			return err
		}
		a := connectionOf(all, connector.Host)
		if a == nil {
			a = s.newAttachment(scope, v)
			a.Status = AttachmentAttaching
			if v.ReadOnly {
				a.Mode = "ro"
			}
			if err := s.insertAttachment(tx, v, a); err != nil {
				return err
			}
		}
		attachmentID = a.ID
		if err := s.connect(tx, v, a, connector); err != nil {
			return err
		}
		return s.saveAttachment(tx, a)
	})
	if err != nil {
		return nil, err
	}
	return s.connected(ctx, Scope{Admin: true}, attachmentID)
}

// connectionOf is the attachment that a host's connection belongs to: its own, or one that has no connection yet.
func connectionOf(all []Attachment, host string) *Attachment {
	for i := range all {
		if all[i].AttachedHost == host && all[i].Task != TaskDisconnect {
			return &all[i]
		}
	}
	for i := range all {
		if all[i].Connector == nil {
			return &all[i]
		}
	}
	return nil
}

// TerminateConnection ends what [Service.InitializeConnection] made, and returns when the pool's agent has done so. An
// attachment stays one until [Service.DetachVolume].
func (s *Service) TerminateConnection(ctx context.Context, scope Scope, id string, connector Connector) error {
	ended := ""
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		ended = ""
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		all, err := s.attachmentsOf(tx, id)
		if err != nil {
			return err
		}
		for i := range all {
			a := &all[i]
			if a.Connector == nil || a.AttachedHost != connector.Host {
				continue
			}
			ended = a.ID
			a.Keep = a.Status == AttachmentAttached
			a.Task = TaskDisconnect
			if err := s.saveAttachment(tx, a); err != nil {
				return err
			}
		}
		if v.Status != Attaching {
			return nil
		}
		if err := s.inUseOrNot(tx, v); err != nil {
			return err
		}
		return s.saveVolume(tx, v)
	})
	if err != nil || ended == "" {
		return err
	}
	return s.disconnected(ctx, ended)
}
