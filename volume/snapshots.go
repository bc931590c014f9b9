package volume

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

var snapshotKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "status": "status", "volume_id": "volume", "project_id": "project",
	"user_id": "owner", "group_snapshot_id": "grp", "volume_type_id": "type", "host": "host",
}, flags: map[string]string{"consumes_quota": "counted"},
	numbers: map[string]string{"volume_size": "size", "size": "size", "created_at": "created", "updated_at": "updated"}}

func snapshotLabels(p *Snapshot) (string, map[string]string) { return p.ID, p.Metadata }

// CreateSnapshot takes a snapshot: it is returned as it is being taken.
func (s *Service) CreateSnapshot(ctx context.Context, scope Scope, spec SnapshotSpec) (p *Snapshot, err error) {
	if err := checkMetadata(spec.Metadata); err != nil {
		return nil, err
	}
	if err := checkTexts(spec.Name, spec.Description); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		p, err = s.insertSnapshot(tx, scope, spec)
		return err
	})
	return p, err
}

// insertSnapshot records a snapshot to take.
func (s *Service) insertSnapshot(tx *record.Tx, scope Scope, spec SnapshotSpec) (*Snapshot, error) {
	v, err := s.visibleVolume(tx, scope, spec.VolumeID)
	if err != nil {
		return nil, err
	}
	if err := checkSnapshottable(v, spec.Force); err != nil {
		return nil, err
	}
	if err := s.checkThawed(tx, v.Host); err != nil {
		return nil, err
	}
	name := ""
	if t, err := s.types.Get(tx, v.TypeID); err == nil {
		name = t.Name
	}
	if err := s.reserve(tx, scope.ProjectID, name, map[string]int{"snapshots": 1, "gigabytes": v.SizeGiB}); err != nil {
		return nil, err
	}
	t := s.now()
	p := &Snapshot{
		ID: uuid.NewString(), VolumeID: v.ID, ProjectID: scope.ProjectID, UserID: scope.UserID, Name: spec.Name, Description: spec.Description,
		SizeGiB: v.SizeGiB, Status: Creating, Metadata: maps.Clone(spec.Metadata), TypeID: v.TypeID, EncryptionKeyID: v.EncryptionKeyID,
		Host: v.Host, Task: Task{Kind: TaskCreate, RequestID: scope.RequestID}, CreatedAt: t, UpdatedAt: t,
	}
	return p, s.snapshots.Insert(tx, p)
}

// checkSnapshottable refuses to take a snapshot of a volume in the wrong status.
func checkSnapshottable(v *Volume, force bool) error {
	valid := []Status{Available}
	if force {
		valid = []Status{Available, InUse}
	}
	switch {
	case v.Host == "":
		return invalidVolume("The snapshot cannot be created because volume has not been scheduled to any host.")
	case v.Status == Maintenance:
		return invalidVolume("The snapshot cannot be created when the volume is in maintenance mode.")
	case v.migrating():
		return invalidVolume("Snapshot cannot be created while volume is migrating.")
	case v.Status == Errored:
		return invalidVolume("The snapshot cannot be created when the volume is in error status.")
	case !slices.Contains(valid, v.Status):
		words := make([]string, len(valid))
		for i := range valid {
			words[i] = string(valid[i])
		}
		return invalidVolume("Volume %s status must be %s, but current status is: %s.", v.ID, strings.Join(words, ", "), v.Status)
	}
	return nil
}

// Snapshot returns the snapshot of that identifier.
func (s *Service) Snapshot(ctx context.Context, scope Scope, id string) (*Snapshot, error) {
	return s.visibleSnapshot(s.store.Read(ctx), scope, id)
}

func (s *Service) visibleSnapshot(tx *record.Tx, scope Scope, id string) (*Snapshot, error) {
	p, err := s.snapshots.Get(tx, id)
	if err == nil && !scope.sees(p.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Snapshot %s could not be found.", id)
	}
	return p, nil
}

// Snapshots lists snapshots.
func (s *Service) Snapshots(ctx context.Context, scope Scope, options ListOptions) ([]Snapshot, error) {
	return find(s.store.Read(ctx), s.snapshots, snapshotKeys, scope, options, snapshotLabels)
}

// CountSnapshots counts what [Service.Snapshots] lists without Limit, Offset and Marker.
func (s *Service) CountSnapshots(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	return count(s.store.Read(ctx), s.snapshots, snapshotKeys, scope, options, snapshotLabels)
}

// AwaitSnapshot returns the snapshot as soon as ready says so of it, or ctx's error. One that is gone is [ErrNotFound].
func (s *Service) AwaitSnapshot(ctx context.Context, scope Scope, id string, ready func(p *Snapshot) bool) (*Snapshot, error) {
	return await(ctx, s, snapshotsKind, id, func(ctx context.Context) (*Snapshot, error) { return s.Snapshot(ctx, scope, id) }, ready)
}

func (s *Service) changeSnapshot(ctx context.Context, scope Scope, id string, fn func(tx *record.Tx, p *Snapshot) error) (p *Snapshot, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if p, err = s.visibleSnapshot(tx, scope, id); err != nil {
			return err
		}
		if err := fn(tx, p); err != nil {
			return err
		}
		return s.saveSnapshot(tx, p)
	})
	return p, err
}

func (s *Service) saveSnapshot(tx *record.Tx, p *Snapshot) error {
	p.UpdatedAt = s.now()
	return s.snapshots.Update(tx, p)
}

func invalidSnapshot(format string, args ...any) error {
	return fault.Wrap(ErrInvalid, "Invalid snapshot: "+format, args...)
}

// UpdateSnapshot changes a snapshot's name, description or metadata.
func (s *Service) UpdateSnapshot(ctx context.Context, scope Scope, id string, update SnapshotUpdate) (*Snapshot, error) {
	if err := checkMetadata(update.Metadata); err != nil {
		return nil, err
	}
	return s.changeSnapshot(ctx, scope, id, func(_ *record.Tx, p *Snapshot) error {
		if update.Name != nil {
			p.Name = *update.Name
		}
		if update.Description != nil {
			p.Description = *update.Description
		}
		if update.Metadata != nil {
			p.Metadata = maps.Clone(update.Metadata)
		}
		return checkTexts(p.Name, p.Description)
	})
}

// DeleteSnapshot deletes a snapshot: it is gone when its agent has done so. Force deletes it whatever its status is (for
// admins).
func (s *Service) DeleteSnapshot(ctx context.Context, scope Scope, id string, force bool) error {
	if force {
		if err := mustAdmin(scope, "volume_extension:snapshot_admin_actions:force_delete"); err != nil {
			return err
		}
	}
	_, err := s.changeSnapshot(ctx, scope, id, func(tx *record.Tx, p *Snapshot) error {
		if err := s.checkThawed(tx, p.Host); err != nil {
			return err
		}
		if p.GroupSnapshotID != "" || !force && p.Status != Available && p.Status != Errored {
			must := ""
			if !force {
				must = " status must be available or error and"
			}
			return invalidSnapshot("Snapshot%s must not be part of a group.", must)
		}
		p.Status, p.Task = Deleting, Task{Kind: TaskDelete, RequestID: scope.RequestID}
		return nil
	})
	return err
}

// SetSnapshotMetadata adds to a snapshot's metadata, or replaces it, and returns all of it.
func (s *Service) SetSnapshotMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string, replace bool) (map[string]string, error) {
	if err := checkMetadata(metadata); err != nil {
		return nil, err
	}
	p, err := s.changeSnapshot(ctx, scope, id, func(_ *record.Tx, p *Snapshot) error {
		p.Metadata = merged(p.Metadata, metadata, replace)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.Metadata, nil
}

// DeleteSnapshotMetadata removes a key.
func (s *Service) DeleteSnapshotMetadata(ctx context.Context, scope Scope, id, key string) error {
	_, err := s.changeSnapshot(ctx, scope, id, func(_ *record.Tx, p *Snapshot) error {
		if _, ok := p.Metadata[key]; !ok {
			return fault.Wrap(ErrNotFound, "Snapshot %s has no metadata with key %s.", id, key)
		}
		delete(p.Metadata, key)
		return nil
	})
	return err
}

// ResetSnapshot sets a snapshot's status and does nothing else (for admins).
func (s *Service) ResetSnapshot(ctx context.Context, scope Scope, id string, status Status) error {
	if err := mustAdmin(scope, "volume_extension:snapshot_admin_actions:reset_status"); err != nil {
		return err
	}
	_, err := s.changeSnapshot(ctx, scope, id, func(_ *record.Tx, p *Snapshot) error { p.Status = status; return nil })
	return err
}

// UpdateSnapshotStatus is what a hypervisor says of a snapshot that it takes itself: its new status, and how far it is
// ("90%"; empty leaves that).
func (s *Service) UpdateSnapshotStatus(ctx context.Context, scope Scope, id string, status Status, progress string) error {
	_, err := s.changeSnapshot(ctx, scope, id, func(_ *record.Tx, p *Snapshot) error {
		next := map[Status][]Status{Creating: {Creating, Available, Errored}, Deleting: {Deleting, ErrorDeleting}}
		if !slices.Contains(next[p.Status], status) {
			return fault.Wrap(ErrInvalid, "Snapshot status %s not allowed for update_snapshot_status", p.Status)
		}
		if progress != "" {
			percent, err := strconv.Atoi(strings.TrimSuffix(progress, "%"))
			if err != nil || percent < 0 || percent > 100 {
				return fault.Wrap(ErrInvalid, "progress must be an integer percentage")
			}
			p.Progress = percent
		}
		p.Status = status
		return nil
	})
	return err
}
