package volume

import (
	"context"
	"time"
)

// Group is a set of volumes whose snapshots are taken at one moment.
type Group struct {
	ID, ProjectID, UserID string
	Name, Description     string
	Status                Status
	TypeID                string
	// VolumeTypes are the types that its volumes may have.
	VolumeTypes     []string
	Zone, Host      string
	SourceGroupID   string
	GroupSnapshotID string
	// VolumeIDs are its volumes.
	VolumeIDs            []string `json:"-"`
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// GroupSpec is a group to make.
type GroupSpec struct {
	Name, Description, TypeID, Zone string
	VolumeTypes                     []string
}

// GroupSource is a group to make of another, or of a snapshot of one.
type GroupSource struct{ Name, Description, GroupSnapshotID, SourceGroupID string }

// GroupUpdate changes what is not nil.
type GroupUpdate struct {
	Name, Description         *string
	AddVolumes, RemoveVolumes []string
}

// CreateGroup makes an empty group.
func (s *Service) CreateGroup(ctx context.Context, scope Scope, spec GroupSpec) (*Group, error) {
	return nil, unsupported("CreateGroup")
}

// CreateGroupFromSource makes a group with copies of another's volumes.
func (s *Service) CreateGroupFromSource(ctx context.Context, scope Scope, source GroupSource) (*Group, error) {
	return nil, unsupported("CreateGroupFromSource")
}

// Group returns a group.
func (s *Service) Group(ctx context.Context, scope Scope, id string) (*Group, error) {
	return nil, unsupported("Group")
}

// Groups lists groups.
func (s *Service) Groups(ctx context.Context, scope Scope, options ListOptions) ([]Group, error) {
	return nil, unsupported("Groups")
}

// UpdateGroup changes a group and what is in it.
func (s *Service) UpdateGroup(ctx context.Context, scope Scope, id string, update GroupUpdate) error {
	return unsupported("UpdateGroup")
}

// DeleteGroup deletes a group.
func (s *Service) DeleteGroup(ctx context.Context, scope Scope, id string, deleteVolumes bool) error {
	return unsupported("DeleteGroup")
}

// ResetGroup sets a group's status (for admins).
func (s *Service) ResetGroup(ctx context.Context, scope Scope, id string, status Status) error {
	return unsupported("ResetGroup")
}
