package volume

import (
	"context"
	"errors"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// DeleteVolume deletes a volume: it is gone when its agent has done so. One that never came to a pool is gone at once.
func (s *Service) DeleteVolume(ctx context.Context, scope Scope, id string, options DeleteOptions) error {
	if options.Force {
		if err := mustAdmin(scope, "volume_extension:volume_admin_actions:force_delete"); err != nil {
			return err
		}
	}
	keyID := ""
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		if v.Host == "" {
			keyID = v.EncryptionKeyID
			return s.bury(tx, v)
		}
		if err := s.checkThawed(tx, v.Host); err != nil {
			return err
		}
		if err := s.checkDeletable(tx, scope, v, options); err != nil {
			return err
		}
		return s.deleteVolume(tx, v, scope.RequestID)
	})
	if err != nil {
		return err
	}
	return s.dropKey(ctx, keyID)
}

func deletable() []Status {
	return []Status{Available, Errored, ErrorRestoring, ErrorExtending, ErrorManaging}
}

// checkDeletable refuses to delete what something else needs, and marks the snapshots that are to go too.
func (s *Service) checkDeletable(tx *record.Tx, scope Scope, v *Volume, options DeleteOptions) error {
	must := ""
	if !options.Force {
		must = " status must be available or error or error_restoring or error_extending or error_managing and"
	}
	refused := invalidVolume("Volume%s must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer.", must)
	if v.AttachStatus == Attached || v.migrating() || v.GroupID != "" || !options.Force && !slices.Contains(deletable(), v.Status) {
		return refused
	}
	attachments, err := s.attachmentsOf(tx, v.ID)
	if err != nil {
		return err
	}
	if len(attachments) > 0 && !options.Force {
		return refused
	}
	snapshots, err := s.snapshotsOf(tx, v.ID)
	if err != nil {
		return err
	}
	if len(snapshots) > 0 && !options.Cascade {
		return refused
	}
	for i := range snapshots {
		p := &snapshots[i]
		if p.GroupSnapshotID != "" || !scope.sees(p.ProjectID) || !options.Force && !slices.Contains([]Status{Available, Errored, Deleting}, p.Status) {
			return refused
		}
		p.Status, p.Task = Deleting, Task{Kind: TaskDelete, RequestID: scope.RequestID}
		if err := s.saveSnapshot(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// deleteVolume has the volume's agent delete it, whatever its status is, after its snapshots.
func (s *Service) deleteVolume(tx *record.Tx, v *Volume, requestID string) error {
	if v.Host == "" {
		return s.bury(tx, v)
	}
	v.Status, v.Task = Deleting, Task{Kind: TaskDelete, RequestID: requestID}
	return s.saveVolume(tx, v)
}

func (s *Service) snapshotsOf(tx *record.Tx, volumeID string) ([]Snapshot, error) {
	return s.snapshots.List(tx, record.Query{Where: []record.Condition{record.Eq("volume", volumeID)}, Order: []record.Order{{Column: "created"}}})
}

// grave says that something was deleted for good: should a pool hold it still, or again, it may be taken away.
type grave struct {
	// ID is the name that the driver knew it by.
	ID, Host string
	At       int64
	Revision int64
}

var graveSpec = record.Spec[grave]{
	Key:      func(g *grave) string { return g.ID },
	Revision: func(g *grave) *int64 { return &g.Revision },
	Quiet:    true,
	Columns:  []record.Column[grave]{{Name: "at", Value: func(g *grave) any { return g.At }}},
}

// buried remembers what a pool held.
func (s *Service) buried(tx *record.Tx, id, host string) error {
	if host == "" {
		return nil
	}
	_, err := s.graves.Get(tx, id)
	if err == nil {
		return nil
	}
	if notFoundIsNil(err) != nil {
		return err
	}
	return s.graves.Insert(tx, &grave{ID: id, Host: host, At: s.now().UnixMicro()})
}

// bury forgets a volume that is gone, and its attachments.
func (s *Service) bury(tx *record.Tx, v *Volume) error {
	attachments, err := s.attachmentsOf(tx, v.ID)
	if err != nil {
		return err
	}
	for i := range attachments {
		if err := s.attachments.Delete(tx, attachments[i].ID); err != nil {
			return err
		}
	}
	if err := errors.Join(s.buried(tx, v.key(), v.Host), s.copied(tx, v)); err != nil {
		return err
	}
	return s.volumes.Delete(tx, v.ID)
}
