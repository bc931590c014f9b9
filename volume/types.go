package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Type is a kind of volume that users choose.
type Type struct {
	ID, Name, Description string
	Public                bool
	// Specs say which pools can have volumes of the type, and how they are made there.
	Specs map[string]string
	// Projects may use a type that is not public.
	Projects []string
	// QoSID is what limits its volumes; empty for nothing.
	QoSID string
	// Encryption is how its volumes are encrypted; nil is not.
	Encryption           *TypeEncryption
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// TypeEncryption is how volumes of a type are encrypted.
type TypeEncryption struct {
	ID       string
	Provider string
	// ControlLocation is "front-end" (where the volume is used) or "back-end".
	ControlLocation      string
	Cipher               string
	KeySize              int
	CreatedAt, UpdatedAt time.Time
}

var typeSpec = record.Spec[Type]{
	Key:      func(t *Type) string { return t.ID },
	Revision: func(t *Type) *int64 { return &t.Revision },
	Event:    func(*Type) record.Event { return record.Event{Type: "volume_type"} },
	Claims:   func(t *Type) []record.Claim { return []record.Claim{{Space: "type", Value: t.Name}} },
	Columns: []record.Column[Type]{
		{Name: "name", Value: func(t *Type) any { return t.Name }},
		{Name: "public", Value: func(t *Type) any { return t.Public }},
		{Name: "qos", Value: func(t *Type) any { return optional(t.QoSID) }},
		{Name: "created", Value: func(t *Type) any { return t.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(t *Type) any { return t.UpdatedAt.UnixMicro() }},
	},
}

// DefaultTypeName is the type of volumes whose makers name none; [New] makes it.
const DefaultTypeName = "__DEFAULT__"

// TypeCreate is a type to make.
type TypeCreate struct {
	Name, Description string
	Private           bool
	Specs             map[string]string
}

// TypeUpdate changes what is not nil.
type TypeUpdate struct {
	Name, Description *string
	Public            *bool
}

// TypeFilter narrows a list of types.
type TypeFilter struct {
	// Public is nil for both (admins only sees those that are private and not theirs).
	Public *bool
	Name   string
	// Specs must all be there with these values.
	Specs  map[string]string
	Sort   []Sort
	Marker string
	Offset int
	Limit  int
}

var typeKeys = keys{texts: map[string]string{"id": "id", "name": "name"}, flags: map[string]string{"is_public": "public"}, numbers: map[string]string{"created_at": "created", "updated_at": "updated"}}

// asks says that the type asks for the capability: Specs has it as "<is> True".
func (t *Type) asks(capability string) bool {
	return t != nil && strings.EqualFold(strings.TrimSpace(t.Specs[capability]), "<is> true")
}

func (t *Type) visible(scope Scope) bool {
	return t.Public || scope.Admin || slices.Contains(t.Projects, scope.ProjectID)
}

// CreateType makes a type.
func (s *Service) CreateType(ctx context.Context, scope Scope, create TypeCreate) (*Type, error) {
	if err := mustAdmin(scope, "volume_extension:type_create"); err != nil {
		return nil, err
	}
	now := s.now()
	t := &Type{
		ID: uuid.NewString(), Name: create.Name, Description: create.Description, Public: !create.Private,
		Specs: maps.Clone(create.Specs), CreatedAt: now, UpdatedAt: now,
	}
	if err := checkTypeName(t.Name); err != nil {
		return nil, err
	}
	return t, s.typeSaved(t.Name, s.store.Update(ctx, func(tx *record.Tx) error { return s.types.Insert(tx, t) }))
}

func checkTypeName(name string) error {
	if strings.TrimSpace(name) == "" {
		return fault.Wrap(ErrInvalid, "Volume type name can not be empty.")
	}
	if len(name) > maxText {
		return fault.Wrap(ErrInvalid, "Type name has %d characters, more than %d.", len(name), maxText)
	}
	return nil
}

func (s *Service) typeSaved(name string, err error) error {
	if errors.Is(err, record.ErrDuplicate) {
		return fault.Wrap(ErrConflict, "Volume Type %s already exists.", name)
	}
	return err
}

// Type returns a type.
func (s *Service) Type(ctx context.Context, scope Scope, nameOrID string) (*Type, error) {
	return s.visibleType(s.store.Read(ctx), scope, nameOrID)
}

func (s *Service) visibleType(tx *record.Tx, scope Scope, nameOrID string) (*Type, error) {
	t, err := s.types.Get(tx, nameOrID)
	if errors.Is(err, ErrNotFound) {
		t, err = s.typeByName(tx, nameOrID)
	}
	if err == nil && !t.visible(scope) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Volume type %s could not be found.", nameOrID)
	}
	return t, nil
}

func (s *Service) typeByName(tx *record.Tx, name string) (*Type, error) {
	found, err := s.types.List(tx, record.Query{Where: []record.Condition{record.Eq("name", name)}})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.Wrap(ErrNotFound, "Volume type with name %s could not be found.", name)
	}
	return &found[0], nil
}

// Types lists the types that the scope may use, the latest first.
func (s *Service) Types(ctx context.Context, scope Scope, filter TypeFilter) ([]Type, error) {
	tx := s.store.Read(ctx)
	order, err := typeKeys.order(filter.Sort)
	if err != nil {
		return nil, err
	}
	q := record.Query{Order: order, After: filter.Marker}
	if filter.Public != nil {
		q.Where = append(q.Where, record.Eq("public", *filter.Public))
	}
	if filter.Name != "" {
		q.Where = append(q.Where, record.Eq("name", filter.Name))
	}
	all, err := s.types.List(tx, q)
	if err != nil {
		return nil, marker(err, filter.Marker)
	}
	all = slices.DeleteFunc(all, func(t Type) bool { return !t.visible(scope) || !holds(t.Specs, filter.Specs) })
	all = all[min(filter.Offset, len(all)):]
	if filter.Limit > 0 {
		all = all[:min(filter.Limit, len(all))]
	}
	return all, nil
}

// changeType lets fn change a type.
func (s *Service) changeType(ctx context.Context, scope Scope, id, rule string, fn func(tx *record.Tx, t *Type) error) (t *Type, err error) {
	if err := mustAdmin(scope, rule); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		t, err = s.types.Modify(tx, id, func(t *Type) error {
			t.UpdatedAt = s.now()
			return fn(tx, t)
		})
		return err
	})
	if err != nil && errors.Is(err, ErrNotFound) && !strings.Contains(err.Error(), "extra specs") && !strings.Contains(err.Error(), "access") {
		err = fault.Wrap(ErrNotFound, "Volume type %s could not be found.", id)
	}
	return t, err
}

// UpdateType changes a type.
func (s *Service) UpdateType(ctx context.Context, scope Scope, id string, update TypeUpdate) (*Type, error) {
	if update.Name != nil {
		if err := checkTypeName(*update.Name); err != nil {
			return nil, err
		}
	}
	t, err := s.changeType(ctx, scope, id, "volume_extension:type_update", func(_ *record.Tx, t *Type) error {
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
	if err != nil && update.Name != nil {
		err = s.typeSaved(*update.Name, err)
	}
	return t, err
}

// DeleteType deletes a type that no volume has.
func (s *Service) DeleteType(ctx context.Context, scope Scope, id string) error {
	if err := mustAdmin(scope, "volume_extension:type_delete"); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		t, err := s.types.Get(tx, id)
		if err != nil {
			return err
		}
		if t.Name == s.options.DefaultType {
			return fault.Wrap(ErrInvalid, "The volume type %s is a default volume type and cannot be deleted.", id)
		}
		n, err := s.volumes.Count(tx, record.Eq("type", id))
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.Wrap(ErrInvalid, "Target volume type is still in use.")
		}
		if err := s.forgetDefaultsOf(tx, id); err != nil {
			return err
		}
		return s.types.Delete(tx, id)
	})
	return notFound(err, "Volume type %s could not be found.", id)
}

// SetTypeSpecs adds extra specs. Those of a type that volumes have can still change, as in Cinder, but not whether they
// may be shared.
func (s *Service) SetTypeSpecs(ctx context.Context, scope Scope, id string, specs map[string]string) (map[string]string, error) {
	t, err := s.changeType(ctx, scope, id, "volume_extension:types_extra_specs:create", func(_ *record.Tx, t *Type) error {
		if t.Specs == nil {
			t.Specs = map[string]string{}
		}
		for key := range specs {
			if strings.TrimSpace(key) == "" || len(key) > maxText {
				return fault.Wrap(ErrInvalid, "Key %q of extra specs is empty or too long.", key)
			}
		}
		maps.Copy(t.Specs, specs)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.Specs, nil
}

// DeleteTypeSpec removes an extra spec.
func (s *Service) DeleteTypeSpec(ctx context.Context, scope Scope, id, key string) error {
	_, err := s.changeType(ctx, scope, id, "volume_extension:types_extra_specs:delete", func(_ *record.Tx, t *Type) error {
		if _, ok := t.Specs[key]; !ok {
			return fault.Wrap(ErrNotFound, "Volume Type %s has no extra specs with key %s.", id, key)
		}
		delete(t.Specs, key)
		return nil
	})
	return err
}

// AddTypeAccess lets a project use a private type.
func (s *Service) AddTypeAccess(ctx context.Context, scope Scope, id, projectID string) error {
	_, err := s.changeType(ctx, scope, id, "volume_extension:volume_type_access:addProjectAccess", func(_ *record.Tx, t *Type) error {
		if t.Public {
			return fault.Wrap(ErrInvalid, "Invalid volume type: Type access modification is not applicable to public volume type.")
		}
		if slices.Contains(t.Projects, projectID) {
			return fault.Wrap(ErrConflict, "Volume type access for %s / %s combination already exists.", id, projectID)
		}
		t.Projects = append(t.Projects, projectID)
		return nil
	})
	return err
}

// RemoveTypeAccess takes that back.
func (s *Service) RemoveTypeAccess(ctx context.Context, scope Scope, id, projectID string) error {
	_, err := s.changeType(ctx, scope, id, "volume_extension:volume_type_access:removeProjectAccess", func(_ *record.Tx, t *Type) error {
		if t.Public {
			return fault.Wrap(ErrInvalid, "Invalid volume type: Type access modification is not applicable to public volume type.")
		}
		i := slices.Index(t.Projects, projectID)
		if i < 0 {
			return fault.Wrap(ErrNotFound, "Volume type access not found for %s / %s combination.", id, projectID)
		}
		t.Projects = slices.Delete(t.Projects, i, i+1)
		return nil
	})
	return err
}

// TypeAccess lists the projects that may use a private type.
func (s *Service) TypeAccess(ctx context.Context, scope Scope, id string) ([]string, error) {
	if err := mustAdmin(scope, "volume_extension:volume_type_access"); err != nil {
		return nil, err
	}
	t, err := s.visibleType(s.store.Read(ctx), scope, id)
	if err != nil {
		return nil, err
	}
	if t.Public {
		return nil, fault.Wrap(ErrNotFound, "Access list not available for public volume types.")
	}
	return t.Projects, nil
}

// DefaultType returns the type of volumes whose makers name none: that of the scope's project, or of all.
func (s *Service) DefaultType(ctx context.Context, scope Scope) (*Type, error) {
	return s.defaultType(s.store.Read(ctx), scope)
}

func (s *Service) defaultType(tx *record.Tx, scope Scope) (*Type, error) {
	of, err := s.defaults.Get(tx, scope.ProjectID)
	if err == nil {
		return s.types.Get(tx, of.TypeID)
	}
	if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	t, err := s.typeByName(tx, s.options.DefaultType)
	return t, notFound(err, "Default volume type can not be found.")
}

// ensureDefaultType makes the default type where there is none.
func (s *Service) ensureDefaultType(ctx context.Context) error {
	_, err := s.typeByName(s.store.Read(ctx), s.options.DefaultType)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err = s.CreateType(ctx, Scope{Admin: true}, TypeCreate{Name: s.options.DefaultType, Description: "Default Volume Type"})
	if errors.Is(err, ErrConflict) {
		return nil // another process was faster
	}
	return err
}
