package volume

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// GroupType is a kind of group.
type GroupType struct {
	ID, Name, Description string
	// Public ones are seen by everybody, others by administrators.
	Public bool
	// Specs say what groups of the type can do: "consistent_group_snapshot_enabled" is "<is> True" of those whose
	// snapshots are taken at one moment. Here those of all are.
	Specs                map[string]string
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

var groupTypeSpec = record.Spec[GroupType]{
	Key:      func(t *GroupType) string { return t.ID },
	Revision: func(t *GroupType) *int64 { return &t.Revision },
	Claims:   func(t *GroupType) []record.Claim { return []record.Claim{{Space: "group_type", Value: t.Name}} },
	Event:    func(*GroupType) record.Event { return record.Event{Type: "group_type"} },
	Columns: []record.Column[GroupType]{
		{Name: "name", Value: func(t *GroupType) any { return t.Name }},
		{Name: "public", Value: func(t *GroupType) any { return t.Public }},
		{Name: "created", Value: func(t *GroupType) any { return t.CreatedAt.UnixMicro() }},
	},
}

var groupTypeKeys = keys{owned: false, texts: map[string]string{
	"id": "id", "name": "name",
}, numbers: map[string]string{"created_at": "created"}}

const groupTypePolicy = "group:group_types:"

// CreateGroupType makes a group type. A name that is taken is [ErrConflict].
func (s *Service) CreateGroupType(ctx context.Context, scope Scope, create TypeCreate) (*GroupType, error) {
	if err := mustAdmin(scope, groupTypePolicy+"create"); err != nil {
		return nil, err
	}
	if err := checkKeys(create.Specs); err != nil {
		return nil, err
	}
	t := &GroupType{
		ID: uuid.NewString(), Name: create.Name, Description: create.Description, Public: !create.Private,
		Specs: map[string]string{}, CreatedAt: s.now(),
	}
	maps.Copy(t.Specs, create.Specs)
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.groupTypes.Insert(tx, t) })
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Group Type %s already exists.", create.Name)
	}
	return t, err
}

// GroupType returns a group type.
func (s *Service) GroupType(ctx context.Context, scope Scope, nameOrID string) (*GroupType, error) {
	return s.findGroupType(s.store.Read(ctx), scope, nameOrID)
}

func (s *Service) findGroupType(tx *record.Tx, scope Scope, nameOrID string) (*GroupType, error) {
	found, err := s.groupTypes.List(tx, record.Query{
		Where: []record.Condition{record.Any(record.Eq("id", nameOrID), record.Eq("name", nameOrID))},
	})
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].Public || scope.Admin {
			return &found[i], nil
		}
	}
	if uuid.Validate(nameOrID) == nil {
		return nil, fault.Wrap(ErrNotFound, "Group type %s could not be found.", nameOrID)
	}
	return nil, fault.Wrap(ErrNotFound, "Group type with name %s could not be found.", nameOrID)
}

// GroupTypes lists group types.
func (s *Service) GroupTypes(ctx context.Context, scope Scope, filter TypeFilter) ([]GroupType, error) {
	order, err := groupTypeKeys.order(filter.Sort)
	if err != nil {
		return nil, err
	}
	q := record.Query{Order: order, After: filter.Marker}
	if !scope.Admin {
		q.Where = append(q.Where, record.Eq("public", true))
	}
	if filter.Public != nil {
		q.Where = append(q.Where, record.Eq("public", *filter.Public))
	}
	if filter.Name != "" {
		q.Where = append(q.Where, record.Eq("name", filter.Name))
	}
	all, err := s.groupTypes.List(s.store.Read(ctx), q)
	if err != nil {
		return nil, marker(err, filter.Marker)
	}
	having := all[:0]
	for _, t := range all {
		if holds(t.Specs, filter.Specs) {
			having = append(having, t)
		}
	}
	return page(having, func(t *GroupType) string { return t.ID }, "", filter.Offset, filter.Limit)
}

// DefaultGroupType returns the default group type, which no service has unless it is called so.
func (s *Service) DefaultGroupType(ctx context.Context, scope Scope) (*GroupType, error) {
	t, err := s.GroupType(ctx, scope, "default")
	return t, notFound(err, "Default group type can not be found.")
}

func (s *Service) changeGroupType(ctx context.Context, scope Scope, id string, change func(t *GroupType) error) (*GroupType, error) {
	var changed *GroupType
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		t, err := s.findGroupType(tx, scope, id)
		if err != nil {
			return err
		}
		if err := change(t); err != nil {
			return err
		}
		t.UpdatedAt = s.now()
		changed = t
		return s.groupTypes.Update(tx, t)
	})
	return changed, err
}

// UpdateGroupType changes a group type.
func (s *Service) UpdateGroupType(ctx context.Context, scope Scope, id string, update TypeUpdate) (*GroupType, error) {
	if err := mustAdmin(scope, groupTypePolicy+"update"); err != nil {
		return nil, err
	}
	switch {
	case update.Name != nil && *update.Name == "":
		return nil, fault.Wrap(ErrInvalid, "Group type name can not be empty.")
	case update.Name == nil && update.Description == nil && update.Public == nil:
		return nil, fault.Wrap(ErrInvalid, "Specify group type name, description or is_public.")
	}
	t, err := s.changeGroupType(ctx, scope, id, func(t *GroupType) error {
		if update.Name != nil {
			t.Name = *update.Name
		}
		if update.Description != nil {
			t.Description = *update.Description
		}
		if update.Public != nil {
			t.Public = *update.Public
		}
		return nil
	})
	if errors.Is(err, record.ErrDuplicate) {
		return nil, fault.Wrap(ErrConflict, "Group Type %s already exists.", *update.Name)
	}
	return t, err
}

// DeleteGroupType deletes a group type that no group has.
func (s *Service) DeleteGroupType(ctx context.Context, scope Scope, id string) error {
	if err := mustAdmin(scope, groupTypePolicy+"delete"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		t, err := s.findGroupType(tx, scope, id)
		if err != nil {
			return err
		}
		groups, err := s.groups.Count(tx, record.Eq("type", t.ID))
		if err != nil {
			return err
		}
		if groups > 0 {
			return fault.Wrap(ErrInvalid, "Target group type is still in use. Group Type %s deletion is not allowed with groups present with the type.", t.ID)
		}
		return s.groupTypes.Delete(tx, t.ID)
	})
}

// SetGroupTypeSpecs adds specs and returns them all.
func (s *Service) SetGroupTypeSpecs(ctx context.Context, scope Scope, id string, specs map[string]string) (map[string]string, error) {
	if err := mustAdmin(scope, "group:group_types_specs"); err != nil {
		return nil, err
	}
	if err := checkKeys(specs); err != nil {
		return nil, err
	}
	t, err := s.changeGroupType(ctx, scope, id, func(t *GroupType) error {
		maps.Copy(t.Specs, specs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.Specs, nil
}

// DeleteGroupTypeSpec removes a spec.
func (s *Service) DeleteGroupTypeSpec(ctx context.Context, scope Scope, id string, key string) error {
	if err := mustAdmin(scope, "group:group_types_specs"); err != nil {
		return err
	}
	_, err := s.changeGroupType(ctx, scope, id, func(t *GroupType) error {
		if _, there := t.Specs[key]; !there {
			return fault.Wrap(ErrNotFound, "Group Type %s has no specs with key %s.", id, key)
		}
		delete(t.Specs, key)
		return nil
	})
	return err
}
