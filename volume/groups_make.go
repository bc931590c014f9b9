package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// CreateGroupFromSource makes a group with copies of another's volumes, all as they were at one moment: creating until the
// last one is there.
func (s *Service) CreateGroupFromSource(ctx context.Context, scope Scope, source GroupSource) (*Group, error) {
	g := &Group{
		ID: uuid.NewString(), ProjectID: scope.ProjectID, UserID: scope.UserID, Name: source.Name, Description: source.Description,
		Status: Creating, SourceGroupID: source.SourceGroupID, GroupSnapshotID: source.GroupSnapshotID, CreatedAt: s.now(),
	}
	g.UpdatedAt = g.CreatedAt
	if (source.SourceGroupID == "") == (source.GroupSnapshotID == "") {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Either 'group_snapshot_id' or 'source_group_id' must be provided to create group from source.")
	}
	keys := map[string]string{}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		from, copies, err := s.groupCopies(tx, scope, source)
		if err != nil {
			return err
		}
		g.TypeID, g.VolumeTypes, g.Zone, g.Host = from.TypeID, from.VolumeTypes, from.Zone, from.Host
		wanted := newTally()
		for i := range copies {
			v := &copies[i]
			if v.EncryptionKeyID != "" {
				if v.EncryptionKeyID, err = s.cloneKeyOnce(ctx, keys, scope.ProjectID, v.EncryptionKeyID); err != nil {
					return err
				}
			}
			v.ID, v.GroupID, v.ProjectID, v.UserID = uuid.NewString(), g.ID, g.ProjectID, g.UserID
			v.Status, v.AttachStatus, v.CreatedAt, v.UpdatedAt = Creating, Detached, g.CreatedAt, g.CreatedAt
			wanted.add(v.TypeID, "volumes", v.SizeGiB)
		}
		wanted.all["groups"] = 1
		if err := s.reserveMany(tx, g.ProjectID, wanted); err != nil {
			return err
		}
		for i := range copies {
			if err := s.volumes.Insert(tx, &copies[i]); err != nil {
				return err
			}
		}
		return errors.Join(s.groups.Insert(tx, g), s.startJob(tx, job{ID: g.ID, Action: jobCreateGroup, Host: g.Host, ProjectID: g.ProjectID, RequestID: scope.RequestID}))
	})
	if err != nil {
		for _, key := range keys {
			err = errors.Join(err, s.dropKey(ctx, key))
		}
		return nil, err
	}
	return g, nil
}

// cloneKeyOnce clones a key once in a transaction that may be tried several times.
func (s *Service) cloneKeyOnce(ctx context.Context, made map[string]string, projectID, keyID string) (string, error) {
	if made[keyID] == "" {
		key, err := s.cloneKey(ctx, projectID, keyID)
		if err != nil {
			return "", err
		}
		made[keyID] = key
	}
	return made[keyID], nil
}

// groupCopies are the volumes to make from a source, and the group that has, or had, the originals.
func (s *Service) groupCopies(tx *record.Tx, scope Scope, source GroupSource) (*Group, []Volume, error) {
	if source.SourceGroupID != "" {
		g, err := s.visibleGroup(tx, scope, source.SourceGroupID)
		if err != nil {
			return nil, nil, err
		}
		members, err := s.members(tx, g.ID)
		if err != nil {
			return nil, nil, err
		}
		if len(members) == 0 {
			return nil, nil, fault.Wrap(ErrInvalid, "Invalid Group: Source Group is empty. No group will be created.")
		}
		for i := range members {
			v := &members[i]
			if v.Status != Available && v.Status != InUse {
				return nil, nil, fault.Wrap(ErrInvalid, "Invalid volume: Volume %s of the source group is %s.", v.ID, v.Status)
			}
			copied := copyOf(v)
			copied.SourceVolumeID = v.ID
			members[i] = copied
		}
		return g, members, nil
	}
	gs, err := s.visibleGroupSnapshot(tx, scope, source.GroupSnapshotID)
	if err != nil {
		return nil, nil, err
	}
	if gs.Status != Available {
		return nil, nil, fault.Wrap(ErrInvalid, "Invalid GroupSnapshot: Group snapshot %s is %s.", gs.ID, gs.Status)
	}
	g, err := s.visibleGroup(tx, scope, gs.GroupID)
	if err != nil {
		return nil, nil, err
	}
	snapshots, err := s.groupsSnapshots(tx, gs.ID)
	if err != nil {
		return nil, nil, err
	}
	if len(snapshots) == 0 {
		return nil, nil, fault.Wrap(ErrInvalid, "Invalid Group: Group snapshot is empty. No group will be created.")
	}
	var copies []Volume
	for i := range snapshots {
		p := &snapshots[i]
		v, err := s.volumes.Get(tx, p.VolumeID)
		if err != nil {
			return nil, nil, err
		}
		copied := copyOf(v)
		copied.SnapshotID, copied.SizeGiB, copied.EncryptionKeyID = p.ID, p.SizeGiB, p.EncryptionKeyID
		if p.EncryptionKeyID == "" {
			copied.EncryptionKeyID = v.EncryptionKeyID
		}
		copies = append(copies, copied)
	}
	return g, copies, nil
}

// copyOf is what a copy of a volume takes over.
func copyOf(v *Volume) Volume {
	return Volume{
		SizeGiB: v.SizeGiB, Zone: v.Zone, TypeID: v.TypeID, Bootable: v.Bootable, Multiattach: v.Multiattach, Encrypted: v.Encrypted,
		EncryptionKeyID: v.EncryptionKeyID, ImageMetadata: v.ImageMetadata, Host: v.Host,
	}
}

// createGroup does the job of CreateGroupFromSource.
func (a *Agent) createGroup(ctx context.Context, j *job) error {
	s := a.service
	g, err := s.groups.Get(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	members, err := s.members(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	wants, temporary, err := a.groupWants(ctx, members)
	if err != nil {
		return err
	}
	ids := make([]string, 0, 2*len(members))
	for i := range members {
		ids = append(ids, members[i].ID)
		if members[i].SourceVolumeID != "" {
			ids = append(ids, members[i].SourceVolumeID)
		}
	}
	if err := a.makeCopies(ctx, ids, wants, temporary); err != nil {
		return fmt.Errorf("group %s: %w", g.ID, err)
	}
	return s.finish(ctx, j, func(tx *record.Tx) error {
		for i := range members {
			if _, err := s.volumes.Modify(tx, members[i].ID, func(v *Volume) error {
				at := s.now()
				v.Status, v.LaunchedAt, v.UpdatedAt = Available, &at, at
				return nil
			}); err != nil {
				return err
			}
		}
		return s.markGroup(tx, j.ID, Available)
	})
}

// groupWants are the volumes to make, and the snapshots to make them from: copies of volumes begin with a moment of all.
func (a *Agent) groupWants(ctx context.Context, members []Volume) (wants []driver.Volume, temporary []driver.Snapshot, err error) {
	s := a.service
	for i := range members {
		v := &members[i]
		passphrase, err := s.passphrase(ctx, v.EncryptionKeyID)
		if err != nil {
			return nil, nil, err
		}
		from := v.SnapshotID
		if v.SourceVolumeID != "" {
			source, err := s.volumes.Get(s.store.Read(ctx), v.SourceVolumeID)
			if err != nil {
				return nil, nil, err
			}
			from = copiedFrom(v.ID)
			temporary = append(temporary, driver.Snapshot{ID: from, VolumeID: source.key()})
		}
		if from == "" {
			return nil, nil, fmt.Errorf("volume %s has no source: %w", v.ID, ErrInvalid)
		}
		wants = append(wants, driver.Volume{
			ID: v.key(), Bytes: int64(v.SizeGiB) * gib, Source: driver.Source{SnapshotID: from}, Passphrase: passphrase,
		})
	}
	return wants, temporary, nil
}

// copiedFrom is the name of the snapshot that a volume of a group is copied from.
func copiedFrom(volumeID string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte("copy of a group "+volumeID)).String()
}

func (a *Agent) makeCopies(ctx context.Context, ids []string, wants []driver.Volume, temporary []driver.Snapshot) error {
	defer a.turn(ids...)()
	if len(temporary) > 0 {
		if err := a.volumes.ApplySnapshots(ctx, temporary...); err != nil {
			return err
		}
	}
	for _, want := range wants {
		if err := a.volumes.Apply(ctx, want); err != nil {
			return err
		}
	}
	for _, p := range temporary {
		if err := a.volumes.RemoveSnapshot(ctx, p.ID); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) markGroup(tx *record.Tx, id string, status Status) error {
	_, err := s.groups.Modify(tx, id, func(g *Group) error {
		g.Status, g.UpdatedAt = status, s.now()
		return nil
	})
	return err
}

// failGroup ends the making or deletion of a group that has failed: its volumes that were in the midst of it are in error
// too, and can be deleted with it.
func (s *Service) failGroup(tx *record.Tx, j *job, _ error) error {
	members, err := s.members(tx, j.ID)
	if err != nil {
		return err
	}
	for i := range members {
		v := &members[i]
		switch v.Status {
		case Creating:
			v.Status = Errored
		case Deleting:
			v.Status = ErrorDeleting
		default:
			continue
		}
		v.UpdatedAt = s.now()
		if err := s.volumes.Update(tx, v); err != nil {
			return err
		}
	}
	return s.markGroup(tx, j.ID, Errored)
}

// DeleteGroup deletes a group, and its volumes if so asked: else it must have none.
func (s *Service) DeleteGroup(ctx context.Context, scope Scope, id string, deleteVolumes bool) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		g, err := s.visibleGroup(tx, scope, id)
		if err != nil {
			return err
		}
		if err := s.groupDeletable(tx, g, deleteVolumes); err != nil {
			return err
		}
		members, err := s.members(tx, id)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			if _, err := s.jobs.Get(tx, id); errors.Is(err, ErrNotFound) {
				return s.groups.Delete(tx, id)
			}
		}
		for i := range members {
			v := &members[i]
			v.Status, v.UpdatedAt = Deleting, s.now()
			if err := s.volumes.Update(tx, v); err != nil {
				return err
			}
		}
		if err := s.markGroup(tx, id, Deleting); err != nil {
			return err
		}
		return s.startJob(tx, job{ID: id, Action: jobDeleteGroup, Host: g.Host, ProjectID: g.ProjectID, RequestID: scope.RequestID})
	})
}

// groupDeletable says why a group cannot be deleted now.
func (s *Service) groupDeletable(tx *record.Tx, g *Group, deleteVolumes bool) error {
	if !deleteVolumes && g.Status != Available && g.Status != Errored {
		return fault.Wrap(ErrInvalid, "Invalid Group: Group status must be available or error, but current status is: %s", g.Status)
	}
	if n, err := s.groupSnapshots.Count(tx, record.Eq("grp", g.ID)); err != nil || n > 0 {
		return errors.Join(err, fault.Wrap(ErrInvalid, "Invalid Group: Group has existing snapshots."))
	}
	if n, err := s.groups.Count(tx, record.Eq("source", g.ID), record.Eq("status", string(Creating))); err != nil || n > 0 {
		return errors.Join(err, fault.Wrap(ErrInvalid, "Invalid Group: Cannot delete group %s. Group status must be available or error and must not have dependent group snapshots, and it cannot be the source for an ongoing group or group snapshot creation.", g.ID))
	}
	members, err := s.members(tx, g.ID)
	if err != nil {
		return err
	}
	if len(members) > 0 && !deleteVolumes {
		return fault.Wrap(ErrInvalid, "Invalid Group: Group %s still contains volumes. The delete-volumes flag is required to delete it.", g.ID)
	}
	for i := range members {
		attached, err := s.attachments.Count(tx, record.Eq("volume", members[i].ID))
		if err != nil {
			return err
		}
		if attached > 0 || members[i].AttachStatus == Attached {
			return fault.Wrap(ErrInvalid, "Invalid Group: Volume in group %s is attached. Need to detach first.", g.ID)
		}
		snapshots, err := s.snapshots.Count(tx, record.Eq("volume", members[i].ID))
		if err != nil {
			return err
		}
		if snapshots > 0 {
			return fault.Wrap(ErrInvalid, "Invalid Group: Volume in group still has dependent snapshots.")
		}
		if busy, err := s.jobs.Count(tx, record.Eq("volume", members[i].ID)); err != nil || busy > 0 {
			return errors.Join(err, fault.Wrap(ErrInvalid, "Invalid Group: Volume %s in group %s is %s.", members[i].ID, g.ID, members[i].Status))
		}
	}
	return nil
}

// deleteGroup does the job of DeleteGroup.
func (a *Agent) deleteGroup(ctx context.Context, j *job) error {
	s := a.service
	members, err := s.members(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	for i := range members {
		v := &members[i]
		if err := a.removeMember(ctx, v); err != nil {
			return fmt.Errorf("volume %s: %w", v.ID, err)
		}
	}
	return s.finish(ctx, j, func(tx *record.Tx) error { return s.groups.Delete(tx, j.ID) })
}

// removeMember deletes a volume, and what the making of its group may have left of it.
func (a *Agent) removeMember(ctx context.Context, v *Volume) error {
	defer a.turn(v.ID)()
	if err := a.volumes.RemoveSnapshot(ctx, copiedFrom(v.ID)); err != nil {
		return err
	}
	if err := a.volumes.Remove(ctx, v.key()); err != nil {
		return err
	}
	if err := notFoundIsNil(a.service.store.Update(ctx, func(tx *record.Tx) error { return a.service.bury(tx, v) })); err != nil {
		return err
	}
	return a.service.dropKey(ctx, v.EncryptionKeyID)
}
