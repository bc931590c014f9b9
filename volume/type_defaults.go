package volume

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// typeDefault is a project's own default type.
type typeDefault struct {
	ProjectID, TypeID string
	Revision          int64
}

var defaultSpec = record.Spec[typeDefault]{
	Key:      func(d *typeDefault) string { return d.ProjectID },
	Revision: func(d *typeDefault) *int64 { return &d.Revision },
	Quiet:    true,
	Columns:  []record.Column[typeDefault]{{Name: "type", Value: func(d *typeDefault) any { return d.TypeID }}},
}

// SetProjectDefaultType gives a project a default type of its own.
func (s *Service) SetProjectDefaultType(ctx context.Context, scope Scope, projectID, nameOrID string) (t *Type, err error) {
	if err := mustAdmin(scope, "volume_extension:default_set_or_update"); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if t, err = s.visibleType(tx, scope, nameOrID); err != nil {
			if errors.Is(err, ErrNotFound) {
				err = fault.Wrap(ErrInvalid, "%s", err.Error())
			}
			return err
		}
		_, err := s.defaults.Modify(tx, projectID, func(d *typeDefault) error { d.TypeID = t.ID; return nil })
		if errors.Is(err, ErrNotFound) {
			err = s.defaults.Insert(tx, &typeDefault{ProjectID: projectID, TypeID: t.ID})
		}
		return err
	})
	return t, err
}

// ProjectDefaultType returns a project's own default type.
func (s *Service) ProjectDefaultType(ctx context.Context, scope Scope, projectID string) (*Type, error) {
	if err := mustAdmin(scope, "volume_extension:default_get"); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	d, err := s.defaults.Get(tx, projectID)
	if err != nil {
		return nil, notFound(err, "Default type for project %s not found.", projectID)
	}
	return s.types.Get(tx, d.TypeID)
}

// ProjectDefaultTypes returns the default types of all projects that have one of their own, by project.
func (s *Service) ProjectDefaultTypes(ctx context.Context, scope Scope) (map[string]string, error) {
	if err := mustAdmin(scope, "volume_extension:default_get_all"); err != nil {
		return nil, err
	}
	all, err := s.defaults.List(s.store.Read(ctx), record.Query{})
	types := map[string]string{}
	for _, d := range all {
		types[d.ProjectID] = d.TypeID
	}
	return types, err
}

// DeleteProjectDefaultType makes the default type that of a project again.
func (s *Service) DeleteProjectDefaultType(ctx context.Context, scope Scope, projectID string) error {
	if err := mustAdmin(scope, "volume_extension:default_unset"); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.defaults.Delete(tx, projectID) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// forgetDefaultsOf forgets a type that is deleted.
func (s *Service) forgetDefaultsOf(tx *record.Tx, typeID string) error {
	all, err := s.defaults.List(tx, record.Query{Where: []record.Condition{record.Eq("type", typeID)}})
	for _, d := range all {
		err = errors.Join(err, s.defaults.Delete(tx, d.ProjectID))
	}
	return err
}
