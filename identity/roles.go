package identity

import (
	"context"
	"errors"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// RoleFilter says which roles to list. An empty DomainID lists the global ones.
type RoleFilter struct {
	Page
	Name, DomainID string
}

// CreateRole creates a role with a name, and perhaps a description and a domain.
func (s *Service) CreateRole(ctx context.Context, spec Role) (*Role, error) {
	r := &Role{ID: newID(), Name: spec.Name, DomainID: spec.DomainID, Description: spec.Description}
	if err := checkName("role", r.Name, userNameLength); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if r.DomainID != "" {
			if _, err := s.domain(tx, r.DomainID); err != nil {
				return err
			}
		}
		return duplicate(s.roles.Insert(tx, r), "role", r.Name, r.DomainID)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Role returns the role with that identifier.
func (s *Service) Role(ctx context.Context, id string) (*Role, error) {
	return get(s.store.Read(ctx), s.roles, "role", id)
}

// Roles lists roles, by name.
func (s *Service) Roles(ctx context.Context, f RoleFilter) ([]Role, error) {
	w := where{record.Eq("domain_id", orNil(f.DomainID))}
	w.text("name", f.Name)
	return s.roles.List(s.store.Read(ctx), f.query(w, record.Order{Column: "name"}))
}

// UpdateRole lets change alter the role's name or description; it may be called more than once.
func (s *Service) UpdateRole(ctx context.Context, id string, change func(*Role) error) (updated *Role, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		r, err := get(tx, s.roles, "role", id)
		if err != nil {
			return err
		}
		before := *r
		if err := change(r); err != nil {
			return err
		}
		if r.DomainID != before.DomainID {
			return fault.Wrap(ErrInvalid, "A role's domain cannot be changed.")
		}
		if err := checkName("role", r.Name, userNameLength); err != nil {
			return err
		}
		r.ID, r.Revision = before.ID, before.Revision
		updated = r
		return duplicate(s.roles.Update(tx, r), "role", r.Name, r.DomainID)
	})
	return updated, err
}

// DeleteRole deletes the role and takes it from everybody.
func (s *Service) DeleteRole(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.roles, "role", id); err != nil {
			return err
		}
		return s.dropRole(tx, id)
	})
}

func (s *Service) dropRole(tx *record.Tx, id string) error {
	if err := deleteAll(tx, s.assignments, (*Assignment).key, record.Eq("role_id", id)); err != nil {
		return err
	}
	if err := deleteAll(tx, s.implications, implicationKey, record.Any(record.Eq("prior", id), record.Eq("implied", id))); err != nil {
		return err
	}
	return s.roles.Delete(tx, id)
}

func implicationKey(i *implication) string { return i.Prior + "/" + i.Implied }

// Imply says that who has the role prior has the role implied too. It may be so already.
func (s *Service) Imply(ctx context.Context, prior, implied string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		from, err := get(tx, s.roles, "role", prior)
		if err != nil {
			return err
		}
		to, err := get(tx, s.roles, "role", implied)
		if err != nil {
			return err
		}
		switch {
		case prior == implied:
			return fault.Wrap(ErrInvalid, "A role cannot imply itself.")
		case to.Name == RoleAdmin: // which is never given by the back door
			return fault.Wrap(ErrForbidden, "Invalid implied role: %s may not be implied.", to.Name)
		case from.DomainID == "" && to.DomainID != "":
			return fault.Wrap(ErrForbidden, "Invalid implied role: a global role cannot imply a domain's.")
		}
		if _, err := s.implications.Get(tx, prior+"/"+implied); !isNotFound(err) {
			return err
		}
		return s.implications.Insert(tx, &implication{Prior: prior, Implied: implied})
	})
}

// Unimply takes an implication back.
func (s *Service) Unimply(ctx context.Context, prior, implied string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if err := s.implies(tx, prior, implied); err != nil {
			return err
		}
		return s.implications.Delete(tx, prior+"/"+implied)
	})
}

// Implies is nil where the role prior implies the other, [ErrNotFound] where not.
func (s *Service) Implies(ctx context.Context, prior, implied string) error {
	return s.implies(s.store.Read(ctx), prior, implied)
}

func (s *Service) implies(tx *record.Tx, prior, implied string) error {
	_, err := s.implications.Get(tx, prior+"/"+implied)
	if isNotFound(err) {
		return fault.Wrap(ErrNotFound, "Role %s does not imply role %s.", prior, implied)
	}
	return err
}

// Implications are all implied roles by the role that implies them, or those of one role if prior is not empty.
func (s *Service) Implications(ctx context.Context, prior string) (map[string][]string, error) {
	var w where
	w.text("prior", prior)
	return s.implicationMap(s.store.Read(ctx), w)
}

func (s *Service) implicationMap(tx *record.Tx, w where) (map[string][]string, error) {
	list, err := s.implications.List(tx, record.Query{Where: w})
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, i := range list {
		all[i.Prior] = append(all[i.Prior], i.Implied)
	}
	return all, nil
}

// Assign gives a role. It may be given already.
func (s *Service) Assign(ctx context.Context, a Assignment) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if err := s.checkAssignment(tx, &a); err != nil {
			return err
		}
		if _, err := s.assignments.Get(tx, a.key()); !isNotFound(err) {
			return err
		}
		return s.assignments.Insert(tx, &a)
	})
}

func (s *Service) checkAssignment(tx *record.Tx, a *Assignment) error {
	role, err := get(tx, s.roles, "role", a.RoleID)
	if err != nil {
		return err
	}
	if a.GroupID != "" {
		_, err = get(tx, s.groups, "group", a.GroupID)
	} else {
		_, err = get(tx, s.users, "user", a.UserID)
	}
	if err != nil {
		return err
	}
	domain := a.DomainID
	switch {
	case a.ProjectID != "":
		p, err := get(tx, s.projects, "project", a.ProjectID)
		if err != nil {
			return err
		}
		domain = p.DomainID
		if p.IsDomain {
			domain = p.ID
		}
	case a.DomainID != "":
		if _, err := s.domain(tx, a.DomainID); err != nil {
			return err
		}
	}
	if role.DomainID != "" && role.DomainID != domain {
		return fault.Wrap(ErrForbidden, "Domain specific role %s cannot be assigned outside its domain.", role.Name)
	}
	return nil
}

// Unassign takes a role back. What was not given is [ErrNotFound].
func (s *Service) Unassign(ctx context.Context, a Assignment) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if err := s.checkAssignment(tx, &a); err != nil {
			return err
		}
		if err := s.assigned(tx, a); err != nil {
			return err
		}
		return s.assignments.Delete(tx, a.key())
	})
}

// Assigned is nil where exactly this role was given, [ErrNotFound] where not.
func (s *Service) Assigned(ctx context.Context, a Assignment) error {
	tx := s.store.Read(ctx)
	if err := s.checkAssignment(tx, &a); err != nil {
		return err
	}
	return s.assigned(tx, a)
}

func (s *Service) assigned(tx *record.Tx, a Assignment) error {
	_, err := s.assignments.Get(tx, a.key())
	if isNotFound(err) {
		return notFound("role assignment with role", a.RoleID)
	}
	return err
}

// AssignedRoles are the roles given exactly so: RoleID of a is not looked at, the rest is.
func (s *Service) AssignedRoles(ctx context.Context, a Assignment) ([]Role, error) {
	tx := s.store.Read(ctx)
	var err error
	if a.GroupID != "" {
		_, err = get(tx, s.groups, "group", a.GroupID)
	} else {
		_, err = get(tx, s.users, "user", a.UserID)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case a.ProjectID != "":
		_, err = get(tx, s.projects, "project", a.ProjectID)
	case a.DomainID != "":
		_, err = s.domain(tx, a.DomainID)
	}
	if err != nil {
		return nil, err
	}
	given, err := s.assignments.List(tx, record.Query{Where: []record.Condition{
		record.Eq("user_id", orNil(a.UserID)), record.Eq("group_id", orNil(a.GroupID)),
		record.Eq("project_id", orNil(a.ProjectID)), record.Eq("domain_id", orNil(a.DomainID)),
		record.Eq("system", a.System), record.Eq("inherited", a.Inherited),
	}})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(given))
	for i := range given {
		ids[i] = given[i].RoleID
	}
	return s.roles.List(tx, record.Query{Where: []record.Condition{record.In("id", ids...)}, Order: []record.Order{{Column: "name"}}})
}

func isNotFound(err error) bool { return errors.Is(err, fault.ErrNotFound) }

// closure adds to the roles all that they imply, directly or not.
func closure(roles []string, implied map[string][]string) []string {
	all := slices.Clone(roles)
	for i := 0; i < len(all); i++ {
		for _, next := range implied[all[i]] {
			if !slices.Contains(all, next) {
				all = append(all, next)
			}
		}
	}
	return all
}

// AllRoles lists all roles, the domains' too.
func (s *Service) AllRoles(ctx context.Context) ([]Role, error) {
	return s.roles.List(s.store.Read(ctx), record.Query{Order: []record.Order{{Column: "name"}}})
}
