package volume

import (
	"context"
	"time"
)

// GroupSnapshot is a moment of all volumes of a group.
type GroupSnapshot struct {
	ID, GroupID, ProjectID, UserID string
	Name, Description              string
	Status                         Status
	GroupTypeID                    string
	CreatedAt, UpdatedAt           time.Time
	Revision                       int64
}

// GroupSnapshotSpec is a group snapshot to take.
type GroupSnapshotSpec struct{ GroupID, Name, Description string }

// CreateGroupSnapshot takes a snapshot of all volumes of a group at one moment.
func (s *Service) CreateGroupSnapshot(ctx context.Context, scope Scope, spec GroupSnapshotSpec) (*GroupSnapshot, error) {
	return nil, unsupported("CreateGroupSnapshot")
}

// GroupSnapshot returns a group snapshot.
func (s *Service) GroupSnapshot(ctx context.Context, scope Scope, id string) (*GroupSnapshot, error) {
	return nil, unsupported("GroupSnapshot")
}

// GroupSnapshots lists group snapshots.
func (s *Service) GroupSnapshots(ctx context.Context, scope Scope, options ListOptions) ([]GroupSnapshot, error) {
	return nil, unsupported("GroupSnapshots")
}

// DeleteGroupSnapshot deletes a group snapshot.
func (s *Service) DeleteGroupSnapshot(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteGroupSnapshot")
}

// ResetGroupSnapshot sets a group snapshot's status (for admins).
func (s *Service) ResetGroupSnapshot(ctx context.Context, scope Scope, id string, status Status) error {
	return unsupported("ResetGroupSnapshot")
}
