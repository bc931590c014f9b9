package volume

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// GroupSnapshot is a moment of all volumes of a group.
type GroupSnapshot struct {
	ID, GroupID, ProjectID, UserID string
	Name, Description              string
	// Status is creating, available, deleting, error or error_deleting.
	Status      Status
	GroupTypeID string
	// Host is the pool.
	Host                 string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

var groupSnapshotSpec = record.Spec[GroupSnapshot]{
	Key:      func(g *GroupSnapshot) string { return g.ID },
	Revision: func(g *GroupSnapshot) *int64 { return &g.Revision },
	Event: func(g *GroupSnapshot) record.Event {
		return record.Event{Type: "group_snapshot", Project: g.ProjectID, Status: string(g.Status)}
	},
	Columns: []record.Column[GroupSnapshot]{
		{Name: "project", Value: func(g *GroupSnapshot) any { return g.ProjectID }},
		{Name: "grp", Value: func(g *GroupSnapshot) any { return g.GroupID }},
		{Name: "type", Value: func(g *GroupSnapshot) any { return g.GroupTypeID }},
		{Name: "name", Value: func(g *GroupSnapshot) any { return g.Name }},
		{Name: "status", Value: func(g *GroupSnapshot) any { return string(g.Status) }},
		{Name: "created", Value: func(g *GroupSnapshot) any { return g.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(g *GroupSnapshot) any { return g.UpdatedAt.UnixMicro() }},
	},
	Unindexed: []string{"updated"},
}

var groupSnapshotKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "status": "status", "group_id": "grp", "group_type": "type", "group_type_id": "type",
}, numbers: map[string]string{"created_at": "created", "updated_at": "updated"}}

// GroupSnapshotSpec is a group snapshot to take.
type GroupSnapshotSpec struct{ GroupID, Name, Description string }

// CreateGroupSnapshot takes a snapshot of all volumes of a group at one moment, in use or not.
func (s *Service) CreateGroupSnapshot(ctx context.Context, scope Scope, spec GroupSnapshotSpec) (*GroupSnapshot, error) {
	gs := &GroupSnapshot{
		ID: uuid.NewString(), GroupID: spec.GroupID, UserID: scope.UserID, Name: spec.Name, Description: spec.Description,
		Status: Creating, CreatedAt: s.now(),
	}
	gs.UpdatedAt = gs.CreatedAt
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		g, err := s.visibleGroup(tx, scope, spec.GroupID)
		if err != nil {
			return err
		}
		gs.ProjectID, gs.GroupTypeID, gs.Host = g.ProjectID, g.TypeID, g.Host
		snapshots, err := s.memberSnapshots(tx, g, gs)
		if err != nil {
			return err
		}
		for i := range snapshots {
			if err := s.snapshots.Insert(tx, &snapshots[i]); err != nil {
				return err
			}
		}
		return errors.Join(s.groupSnapshots.Insert(tx, gs), s.startJob(tx, job{ID: gs.ID, Action: jobCreateGroupSnapshot, Host: g.Host, ProjectID: gs.ProjectID, RequestID: scope.RequestID}))
	})
	if err != nil {
		return nil, err
	}
	return gs, nil
}

// memberSnapshots are the snapshots to take of a group's volumes, if they can be taken.
func (s *Service) memberSnapshots(tx *record.Tx, g *Group, gs *GroupSnapshot) ([]Snapshot, error) {
	members, err := s.members(tx, g.ID)
	if err != nil {
		return nil, err
	}
	if g.Status != Available || len(members) == 0 {
		return nil, fault.Wrap(ErrInvalid, "Invalid Group: Group %s is %s and has %d volumes: snapshots are taken of groups that are available and have some.", g.ID, g.Status, len(members))
	}
	wanted := newTally()
	var snapshots []Snapshot
	for i := range members {
		v := &members[i]
		if v.Status != Available && v.Status != InUse {
			return nil, fault.Wrap(ErrInvalid, "Invalid volume: Snapshot cannot be created because volume %s is in an invalid state: %s.", v.ID, v.Status)
		}
		wanted.add(v.TypeID, "snapshots", v.SizeGiB)
		snapshots = append(snapshots, Snapshot{
			ID: uuid.NewString(), VolumeID: v.ID, ProjectID: gs.ProjectID, UserID: gs.UserID, Name: gs.Name, Description: gs.Description,
			SizeGiB: v.SizeGiB, Status: Creating, Progress: 0, GroupSnapshotID: gs.ID, TypeID: v.TypeID, EncryptionKeyID: v.EncryptionKeyID,
			Host: v.Host, CreatedAt: gs.CreatedAt, UpdatedAt: gs.CreatedAt,
		})
	}
	return snapshots, s.reserveMany(tx, gs.ProjectID, wanted)
}

// createGroupSnapshot does the job of CreateGroupSnapshot.
func (a *Agent) createGroupSnapshot(ctx context.Context, j *job) error {
	s := a.service
	snapshots, err := s.groupsSnapshots(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	var wants []driver.Snapshot
	var ids []string
	for i := range snapshots {
		v, err := s.volumes.Get(s.store.Read(ctx), snapshots[i].VolumeID)
		if err != nil {
			return err
		}
		wants, ids = append(wants, driver.Snapshot{ID: snapshots[i].ID, VolumeID: v.key()}), append(ids, v.ID)
	}
	if err := a.takeSnapshots(ctx, ids, wants); err != nil {
		return err
	}
	return s.finish(ctx, j, func(tx *record.Tx) error {
		return errors.Join(s.markSnapshots(tx, j.ID, Available), s.markGroupSnapshot(tx, j.ID, Available))
	})
}

func (a *Agent) takeSnapshots(ctx context.Context, volumeIDs []string, wants []driver.Snapshot) error {
	defer a.turn(volumeIDs...)()
	return a.volumes.ApplySnapshots(ctx, wants...)
}

// groupsSnapshots are the snapshots that belong to a group snapshot.
func (s *Service) groupsSnapshots(tx *record.Tx, id string) ([]Snapshot, error) {
	return s.snapshots.List(tx, record.Query{
		Where: []record.Condition{record.Eq("grp", id)}, Order: []record.Order{{Column: "created"}},
	})
}

func (s *Service) markSnapshots(tx *record.Tx, id string, status Status) error {
	snapshots, err := s.groupsSnapshots(tx, id)
	if err != nil {
		return err
	}
	for i := range snapshots {
		p := &snapshots[i]
		p.Status, p.UpdatedAt = status, s.now()
		if status == Available {
			p.Progress = 100
		}
		if err := s.snapshots.Update(tx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) markGroupSnapshot(tx *record.Tx, id string, status Status) error {
	_, err := s.groupSnapshots.Modify(tx, id, func(gs *GroupSnapshot) error {
		gs.Status, gs.UpdatedAt = status, s.now()
		return nil
	})
	return err
}

func (s *Service) failGroupSnapshot(tx *record.Tx, j *job, _ error) error {
	status := Errored
	if j.Action == jobDeleteGroupSnapshot {
		status = ErrorDeleting
	}
	return errors.Join(s.markSnapshots(tx, j.ID, status), s.markGroupSnapshot(tx, j.ID, Errored))
}

// GroupSnapshot returns a group snapshot.
func (s *Service) GroupSnapshot(ctx context.Context, scope Scope, id string) (*GroupSnapshot, error) {
	return s.visibleGroupSnapshot(s.store.Read(ctx), scope, id)
}

func (s *Service) visibleGroupSnapshot(tx *record.Tx, scope Scope, id string) (*GroupSnapshot, error) {
	gs, err := s.groupSnapshots.Get(tx, id)
	if err == nil && !scope.sees(gs.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "GroupSnapshot %s could not be found.", id)
	}
	return gs, nil
}

// GroupSnapshots lists group snapshots.
func (s *Service) GroupSnapshots(ctx context.Context, scope Scope, options ListOptions) ([]GroupSnapshot, error) {
	return find(s.store.Read(ctx), s.groupSnapshots, groupSnapshotKeys, scope, options, nil)
}

// DeleteGroupSnapshot deletes a group snapshot with its snapshots.
func (s *Service) DeleteGroupSnapshot(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		gs, err := s.visibleGroupSnapshot(tx, scope, id)
		if err != nil {
			return err
		}
		using, err := s.groups.Count(tx, record.Eq("snapshot", id), record.Eq("status", string(Creating)))
		if err != nil {
			return err
		}
		if using > 0 || gs.Status != Available && gs.Status != Errored {
			return fault.Wrap(ErrInvalid, "Invalid GroupSnapshot: GroupSnapshot status must be available or error, and no Group can be currently using it as source for its creation.")
		}
		snapshots, err := s.groupsSnapshots(tx, id)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(snapshots, func(p Snapshot) bool { return p.Status == BackingUp }); i >= 0 {
			return fault.Wrap(ErrInvalid, "Invalid GroupSnapshot: snapshot %s is being backed up.", snapshots[i].ID)
		}
		if err := s.markSnapshots(tx, id, Deleting); err != nil {
			return err
		}
		if err := s.markGroupSnapshot(tx, id, Deleting); err != nil {
			return err
		}
		return s.startJob(tx, job{ID: id, Action: jobDeleteGroupSnapshot, Host: gs.Host, ProjectID: gs.ProjectID, RequestID: scope.RequestID})
	})
}

// deleteGroupSnapshot does the job of DeleteGroupSnapshot.
func (a *Agent) deleteGroupSnapshot(ctx context.Context, j *job) error {
	s := a.service
	snapshots, err := s.groupsSnapshots(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	for i := range snapshots {
		if err := a.dropSnapshot(ctx, &snapshots[i]); err != nil {
			return err
		}
	}
	return s.finish(ctx, j, func(tx *record.Tx) error { return s.groupSnapshots.Delete(tx, j.ID) })
}

func (a *Agent) dropSnapshot(ctx context.Context, p *Snapshot) error {
	defer a.turn(p.VolumeID)()
	if err := a.volumes.RemoveSnapshot(ctx, p.ID); err != nil {
		return err
	}
	return notFoundIsNil(a.service.store.Update(ctx, func(tx *record.Tx) error {
		return errors.Join(a.service.buried(tx, p.ID, p.Host), a.service.snapshots.Delete(tx, p.ID))
	}))
}

// ResetGroupSnapshot sets a group snapshot's status and does nothing else (for admins).
func (s *Service) ResetGroupSnapshot(ctx context.Context, scope Scope, id string, status Status) error {
	if err := mustAdmin(scope, "group:reset_group_snapshot_status"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.visibleGroupSnapshot(tx, scope, id); err != nil {
			return err
		}
		return s.markGroupSnapshot(tx, id, status)
	})
}
