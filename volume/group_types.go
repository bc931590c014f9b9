package volume

import (
	"context"
	"time"
)

// GroupType is a kind of group.
type GroupType struct {
	ID, Name, Description string
	Public                bool
	Specs                 map[string]string
	CreatedAt, UpdatedAt  time.Time
	Revision              int64
}

// CreateGroupType makes a group type.
func (s *Service) CreateGroupType(ctx context.Context, scope Scope, create TypeCreate) (*GroupType, error) {
	return nil, unsupported("CreateGroupType")
}

// GroupType returns a group type.
func (s *Service) GroupType(ctx context.Context, scope Scope, nameOrID string) (*GroupType, error) {
	return nil, unsupported("GroupType")
}

// GroupTypes lists group types.
func (s *Service) GroupTypes(ctx context.Context, scope Scope, filter TypeFilter) ([]GroupType, error) {
	return nil, unsupported("GroupTypes")
}

// DefaultGroupType returns the default group type.
func (s *Service) DefaultGroupType(ctx context.Context, scope Scope) (*GroupType, error) {
	return nil, unsupported("DefaultGroupType")
}

// UpdateGroupType changes a group type.
func (s *Service) UpdateGroupType(ctx context.Context, scope Scope, id string, update TypeUpdate) (*GroupType, error) {
	return nil, unsupported("UpdateGroupType")
}

// DeleteGroupType deletes a group type.
func (s *Service) DeleteGroupType(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteGroupType")
}

// SetGroupTypeSpecs adds specs.
func (s *Service) SetGroupTypeSpecs(ctx context.Context, scope Scope, id string, specs map[string]string) (map[string]string, error) {
	return nil, unsupported("SetGroupTypeSpecs")
}

// DeleteGroupTypeSpec removes a spec.
func (s *Service) DeleteGroupTypeSpec(ctx context.Context, scope Scope, id string, key string) error {
	return unsupported("DeleteGroupTypeSpec")
}
