package volume

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

var attachmentKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "volume_id": "volume", "instance_id": "server", "instance_uuid": "server", "server_id": "server", "status": "status",
	"attach_status": "status", "attached_host": "attached", "project_id": "project",
}, numbers: map[string]string{"created_at": "created", "updated_at": "updated", "attach_time": "created"}}

// Attachments lists attachments.
func (s *Service) Attachments(ctx context.Context, scope Scope, options ListOptions) ([]Attachment, error) {
	return find(s.store.Read(ctx), s.attachments, attachmentKeys, scope, options, nil)
}

// Attachment returns the attachment of that identifier.
func (s *Service) Attachment(ctx context.Context, scope Scope, id string) (*Attachment, error) {
	return s.visibleAttachment(s.store.Read(ctx), scope, id)
}

func (s *Service) visibleAttachment(tx *record.Tx, scope Scope, id string) (*Attachment, error) {
	a, err := s.attachments.Get(tx, id)
	if err == nil && !scope.sees(a.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Volume attachment could not be found with filter: attachment_id = %s.", id)
	}
	return a, nil
}

// attachmentsOf are a volume's attachments, the oldest first.
func (s *Service) attachmentsOf(tx *record.Tx, volumeID string) ([]Attachment, error) {
	return s.attachments.List(tx, record.Query{Where: []record.Condition{record.Eq("volume", volumeID)}, Order: []record.Order{{Column: "created"}}})
}

// newAttachment is the record of an attachment of the volume.
func (s *Service) newAttachment(scope Scope, v *Volume) *Attachment {
	t := s.now()
	return &Attachment{
		ID: uuid.NewString(), VolumeID: v.ID, ProjectID: v.ProjectID, UserID: scope.UserID, Status: AttachmentReserved, Mode: "rw",
		Host: v.Host, Shared: v.Multiattach, CreatedAt: t, UpdatedAt: t,
	}
}

// insertAttachment records an attachment. The database refuses a second one of a volume that cannot be shared.
func (s *Service) insertAttachment(tx *record.Tx, v *Volume, a *Attachment) error {
	err := s.attachments.Insert(tx, a)
	if errors.Is(err, record.ErrDuplicate) {
		return invalidVolume("Volume %s status must be available or downloading to reserve, but the current status is %s.", v.ID, v.Status)
	}
	return err
}

func (s *Service) saveAttachment(tx *record.Tx, a *Attachment) error {
	a.UpdatedAt = s.now()
	return s.attachments.Update(tx, a)
}

// settleVolume makes a volume's status what follows from its attachments, and records it.
func (s *Service) settleVolume(tx *record.Tx, v *Volume) error {
	if err := s.settle(tx, v); err != nil {
		return err
	}
	return s.saveVolume(tx, v)
}

// settle makes a volume's status what follows from its attachments.
func (s *Service) settle(tx *record.Tx, v *Volume) error {
	all, err := s.attachmentsOf(tx, v.ID)
	if err != nil {
		return err
	}
	has := map[AttachmentStatus]bool{}
	for i := range all {
		has[all[i].Status] = true
	}
	v.AttachStatus = Detached
	if has[AttachmentAttached] {
		v.AttachStatus = Attached
	}
	switch {
	case has[AttachmentAttached]:
		v.Status = InUse
	case has[AttachmentAttaching], has[AttachmentErrored]:
		v.Status = Attaching
	case has[AttachmentDetaching]:
		v.Status = Detaching
	case has[AttachmentReserved]:
		v.Status = Reserved
	default:
		v.Status = Available
		v.AdminMetadata = merged(v.AdminMetadata, nil, false)
		delete(v.AdminMetadata, attachedModeKey)
	}
	return nil
}

// CreateAttachment reserves the volume, and connects it where a connector is given: then it returns when the pool's agent
// has made the connection.
func (s *Service) CreateAttachment(ctx context.Context, scope Scope, spec AttachmentSpec) (a *Attachment, err error) {
	if err := checkMode(spec.Mode, spec.VolumeID); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		a, err = s.reserveFor(tx, scope, spec)
		return err
	})
	if err != nil || spec.Connector == nil {
		return a, err
	}
	connected, err := s.UpdateAttachment(ctx, scope, a.ID, *spec.Connector)
	if err != nil {
		return nil, errors.Join(err, s.DeleteAttachment(context.WithoutCancel(ctx), Scope{Admin: true}, a.ID))
	}
	return connected, nil
}

func checkMode(mode, volumeID string) error {
	if !slices.Contains([]string{"", "rw", "ro"}, mode) {
		return fault.Wrap(ErrInvalid, "Invalid attaching mode '%s' for volume %s.", mode, volumeID)
	}
	return nil
}

// reserveFor makes an attachment, if the volume may have one more.
func (s *Service) reserveFor(tx *record.Tx, scope Scope, spec AttachmentSpec) (*Attachment, error) {
	v, err := s.visibleVolume(tx, scope, spec.VolumeID)
	if err != nil {
		return nil, err
	}
	if slices.Contains([]Status{Errored, ErrorDeleting, ErrorExtending, ErrorRestoring, ErrorManaging}, v.Status) {
		return nil, invalidVolume("Volume attachments can not be created if the volume is in an error state. The Volume %s currently has a status of: %s", v.ID, v.Status)
	}
	a := s.newAttachment(scope, v)
	a.ServerID, a.Connector = spec.ServerID, nil
	if spec.Mode != "" {
		a.Mode = spec.Mode
	}
	if v.ReadOnly {
		a.Mode = "ro"
	}
	others, err := s.attachmentsOf(tx, v.ID)
	if err != nil {
		return nil, err
	}
	if !v.attachable(len(others)) {
		again := spec.ServerID != "" && (v.Status == InUse || v.Status == Reserved) &&
			slices.ContainsFunc(others, func(o Attachment) bool { return o.ServerID == spec.ServerID })
		if !again {
			expected := "available or downloading"
			if v.Multiattach {
				expected = "available or in-use or downloading"
			}
			return nil, invalidVolume("Volume %s status must be %s to reserve, but the current status is %s.", v.ID, expected, v.Status)
		}
		a.Shared = true // the same server, on its way to another host
	}
	if err := s.insertAttachment(tx, v, a); err != nil {
		return nil, err
	}
	if v.Status == Downloading {
		return a, nil
	}
	return a, s.settleVolume(tx, v)
}

// attachable says whether one more attachment is possible.
func (v *Volume) attachable(others int) bool {
	if v.Multiattach {
		return slices.Contains([]Status{Available, InUse, Downloading, Reserved, Attaching, Detaching}, v.Status)
	}
	return others == 0 && (v.Status == Available || v.Status == Downloading)
}

// follows says that the volume's status is what follows from its attachments: nothing else is being done with it.
func (v *Volume) follows() bool {
	return v.Task.Kind == "" && slices.Contains([]Status{Available, Reserved, Attaching, Detaching, InUse, Downloading}, v.Status)
}

// UpdateAttachment connects: it returns when the pool's agent has made the connection, with the target.
func (s *Service) UpdateAttachment(ctx context.Context, scope Scope, id string, connector Connector) (*Attachment, error) {
	if err := checkMode(connector.Mode, id); err != nil {
		return nil, err
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		a, err := s.visibleAttachment(tx, scope, id)
		if err != nil {
			return err
		}
		v, err := s.volumes.Get(tx, a.VolumeID)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains([]Status{Errored, ErrorDeleting}, v.Status):
			return invalidVolume("Volume attachments can not be updated if the volume is in an error state. The Volume %s currently has a status of: %s", v.ID, v.Status)
		case v.Status == Maintenance:
			return invalidVolume("The volume connection cannot be initialized in maintenance mode.")
		case v.Task.Kind == TaskCreate:
			return invalidVolume("Volume %s is still being made.", v.ID)
		}
		if err := s.connect(tx, v, a, connector); err != nil {
			return err
		}
		if a.Status == AttachmentAttached {
			return s.saveAttachment(tx, a) // it is made anew, or mended: the volume is as it was
		}
		a.Status = AttachmentAttaching
		if err := s.saveAttachment(tx, a); err != nil || !v.follows() {
			return err
		}
		return s.settleVolume(tx, v)
	})
	if err != nil {
		return nil, err
	}
	return s.connected(ctx, scope, id)
}

// connect has the pool's agent make the connection.
func (s *Service) connect(tx *record.Tx, v *Volume, a *Attachment, connector Connector) error {
	if connector.Host == "" {
		return fault.Wrap(ErrInvalid, "Invalid input received: Connector doesn't have required information: host")
	}
	up, err := s.poolUp(tx, v.Host)
	if err != nil {
		return err
	}
	if !up {
		return fault.Wrap(ErrUnavailable, "Volume service %s is down: volume %s cannot be connected.", backendOf(v.Host), v.ID)
	}
	if connector.Mode != "" {
		a.Mode = connector.Mode
	}
	if a.AttachedHost != connector.Host {
		a.Target = nil
	}
	if v.ReadOnly && a.Mode != "ro" {
		return fault.Wrap(ErrInvalid, "Invalid attaching mode '%s' for volume %s.", a.Mode, v.ID)
	}
	if connector.Mountpoint != "" {
		a.Device = connector.Mountpoint
	}
	a.AttachedHost, a.Connector, a.Task, a.Reason = connector.Host, &connector, TaskConnect, ""
	return nil
}

// connected waits until the agent has made the connection, or could not.
func (s *Service) connected(ctx context.Context, scope Scope, id string) (*Attachment, error) {
	a, err := s.awaitAttachment(ctx, scope, id, func(a *Attachment) bool { return a.Task == "" })
	if err != nil {
		return nil, err
	}
	if a.Reason != "" || a.Target == nil {
		return nil, fault.Wrap(ErrUnavailable, "Volume %s cannot be connected to host %s: %s", a.VolumeID, a.AttachedHost, a.Reason)
	}
	return a, nil
}

func (s *Service) awaitAttachment(ctx context.Context, scope Scope, id string, ready func(a *Attachment) bool) (*Attachment, error) {
	waiting, cancel := context.WithTimeout(ctx, s.options.ConnectWithin)
	defer cancel()
	a, err := await(waiting, s, attachmentsKind, id, func(ctx context.Context) (*Attachment, error) { return s.Attachment(ctx, scope, id) }, ready)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, fault.Wrap(ErrUnavailable, "The volume service did not answer within %s about attachment %s.", s.options.ConnectWithin, id)
	}
	return a, err
}

// CompleteAttachment says that the server has the disk.
func (s *Service) CompleteAttachment(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		a, err := s.visibleAttachment(tx, scope, id)
		if err != nil {
			return err
		}
		if a.Status != AttachmentAttaching && a.Status != AttachmentAttached || a.Target == nil {
			return invalidVolume("Volume attachment %s must be connected to be completed, but its status is %s.", id, a.Status)
		}
		v, err := s.volumes.Get(tx, a.VolumeID)
		if err != nil {
			return err
		}
		return s.attached(tx, v, a)
	})
}

// attached records that an attachment is in use.
func (s *Service) attached(tx *record.Tx, v *Volume, a *Attachment) error {
	t := s.now()
	if a.AttachedAt == nil {
		a.AttachedAt = &t
	}
	a.Status = AttachmentAttached
	if err := s.saveAttachment(tx, a); err != nil {
		return err
	}
	if v.AttachStatus = Attached; v.follows() {
		v.Status = InUse
	}
	v.AdminMetadata = merged(v.AdminMetadata, map[string]string{attachedModeKey: a.Mode, readOnlyKey: pythonBool(v.ReadOnly)}, false)
	return s.saveVolume(tx, v)
}

// SetAttachmentDevice says under which name the server has the disk.
func (s *Service) SetAttachmentDevice(ctx context.Context, scope Scope, id, device string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		a, err := s.visibleAttachment(tx, scope, id)
		if err != nil {
			return err
		}
		a.Device = device
		return s.saveAttachment(tx, a)
	})
}

// DeleteAttachment disconnects and forgets: it returns when the pool's agent has ended the connection. Where the agent is
// down that is [ErrUnavailable], and happens when it is back.
func (s *Service) DeleteAttachment(ctx context.Context, scope Scope, id string) error {
	gone := false
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		a, err := s.visibleAttachment(tx, scope, id)
		if err != nil {
			return err
		}
		v, err := s.volumes.Get(tx, a.VolumeID)
		if err != nil {
			return err
		}
		gone, err = s.detach(tx, v, a)
		return err
	})
	if err != nil || gone {
		return err
	}
	return s.disconnected(ctx, id)
}

// disconnected waits until the agent has ended an attachment.
func (s *Service) disconnected(ctx context.Context, id string) error {
	_, err := s.awaitAttachment(ctx, Scope{Admin: true}, id, func(a *Attachment) bool { return a.Task != TaskDisconnect })
	return notFoundIsNil(err)
}

// detach ends an attachment: at once where there is no connection, else by the pool's agent.
func (s *Service) detach(tx *record.Tx, v *Volume, a *Attachment) (gone bool, err error) {
	if a.Connector == nil {
		if err := s.attachments.Delete(tx, a.ID); err != nil {
			return false, err
		}
		return true, s.afterDetach(tx, v)
	}
	a.Status, a.Task = AttachmentDetaching, TaskDisconnect
	if err := s.saveAttachment(tx, a); err != nil || v.Status == Deleting {
		return false, err
	}
	if others, err := s.attachmentsOf(tx, v.ID); err == nil && len(others) == 1 {
		v.Status = Detaching
	}
	return false, s.saveVolume(tx, v)
}

// ofJobs are the statuses of volumes that a job has, which settles them when it ends.
func ofJobs() []Status {
	return []Status{BackingUp, RestoringBackup, Uploading, Retyping, Managing, Unmanaging, AwaitingTransf}
}

// afterDetach settles a volume that has lost an attachment, if that decides its status.
func (s *Service) afterDetach(tx *record.Tx, v *Volume) error {
	if v.Task.Kind != "" || slices.Contains(ofJobs(), v.Status) {
		return nil
	}
	return s.settleVolume(tx, v)
}
