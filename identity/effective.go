package identity

import (
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// Scope is what a token is good for: one project, one domain, the system, or (zero) nothing.
type Scope struct {
	ProjectID, DomainID string
	System              bool
}

// Unscoped says that the scope is none.
func (s Scope) Unscoped() bool { return s == Scope{} }

// RolesOn are the roles that the user has in the scope, by group membership, inheritance and implication too.
func (s *Service) RolesOn(ctx context.Context, userID string, scope Scope) ([]Role, error) {
	return s.rolesOn(s.store.Read(ctx), userID, scope)
}

func (s *Service) rolesOn(tx *record.Tx, userID string, scope Scope) ([]Role, error) {
	actor, err := s.actor(tx, userID)
	if err != nil {
		return nil, err
	}
	target, err := s.target(tx, scope)
	if err != nil {
		return nil, err
	}
	given, err := s.assignments.List(tx, record.Query{Where: []record.Condition{actor, target}})
	if err != nil || len(given) == 0 {
		return nil, err
	}
	ids := make([]string, 0, len(given))
	for i := range given {
		// What is inherited counts below its target only, what is not on its target only.
		if given[i].Inherited == (given[i].scope() == scope) {
			continue
		}
		ids = append(ids, given[i].RoleID)
	}
	return s.resolve(tx, ids)
}

func (a *Assignment) scope() Scope {
	return Scope{ProjectID: a.ProjectID, DomainID: a.DomainID, System: a.System}
}

// actor finds assignments to the user and to its groups.
func (s *Service) actor(tx *record.Tx, userID string) (record.Condition, error) {
	groups, err := s.groupsOf(tx, userID)
	return record.Any(record.Eq("user_id", userID), record.In("group_id", groups...)), err
}

// target finds assignments on the scope and on what it inherits from.
func (s *Service) target(tx *record.Tx, scope Scope) (record.Condition, error) {
	switch {
	case scope.System:
		return record.Eq("system", true), nil
	case scope.DomainID != "":
		return record.Eq("domain_id", scope.DomainID), nil
	}
	p, err := get(tx, s.projects, "project", scope.ProjectID)
	if err != nil {
		return record.Condition{}, err
	}
	above, err := s.ancestors(tx, p)
	if err != nil {
		return record.Condition{}, err
	}
	projects := []string{p.ID}
	for i := range above {
		projects = append(projects, above[i].ID)
	}
	return record.Any(record.In("project_id", projects...), record.Eq("domain_id", p.DomainID)), nil
}

// resolve adds implied roles and leaves out domain roles, which exist only to imply others.
func (s *Service) resolve(tx *record.Tx, ids []string) ([]Role, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	implied, err := s.implicationMap(tx, nil)
	if err != nil {
		return nil, err
	}
	roles, err := s.roles.List(tx, record.Query{
		Where: []record.Condition{record.In("id", closure(ids, implied)...), record.Eq("domain_id", nil)},
		Order: []record.Order{{Column: "name"}},
	})
	return roles, err
}

// ProjectsOf lists the enabled projects that the user has a role on.
func (s *Service) ProjectsOf(ctx context.Context, userID string, f ProjectFilter) ([]Project, error) {
	targets, err := s.targetsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	no := false
	f.IDs, f.IsDomain = targets.projects, &no
	return s.Projects(ctx, f)
}

// DomainsOf lists the domains that the user has a role on.
func (s *Service) DomainsOf(ctx context.Context, userID string, f ProjectFilter) ([]Project, error) {
	targets, err := s.targetsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	yes := true
	f.IDs, f.IsDomain = targets.domains, &yes
	return s.Projects(ctx, f)
}

// SystemOf says whether the user has a role on the system.
func (s *Service) SystemOf(ctx context.Context, userID string) (bool, error) {
	targets, err := s.targetsOf(ctx, userID)
	return targets.system, err
}

type targets struct {
	projects, domains []string
	system            bool
}

func (s *Service) targetsOf(ctx context.Context, userID string) (targets, error) {
	found := targets{projects: []string{}, domains: []string{}}
	given, err := s.effective(s.store.Read(ctx), AssignmentFilter{UserID: userID, Effective: true})
	for i := range given {
		a := &given[i]
		switch {
		case a.System:
			found.system = true
		case a.DomainID != "" && !slices.Contains(found.domains, a.DomainID):
			found.domains = append(found.domains, a.DomainID)
		case a.ProjectID != "" && !slices.Contains(found.projects, a.ProjectID):
			found.projects = append(found.projects, a.ProjectID)
		}
	}
	return found, err
}

// AssignmentFilter says which role assignments to list; empty fields do not filter.
type AssignmentFilter struct {
	RoleID, UserID, GroupID, ProjectID, DomainID string
	System                                       bool
	Inherited                                    *bool
	// Effective lists what users can really do: groups as their members, inherited roles where they hold, implied
	// roles beside those that imply them.
	Effective bool
	// Subtree includes the projects below ProjectID.
	Subtree bool
}

// EffectiveAssignment is an assignment with where it comes from.
type EffectiveAssignment struct {
	Assignment
	// Source is the assignment as it was given.
	Source Assignment
	// PriorRoleID is the role that implies this one; may be empty.
	PriorRoleID string
}

// Assignments lists role assignments.
func (s *Service) Assignments(ctx context.Context, f AssignmentFilter) ([]EffectiveAssignment, error) {
	tx := s.store.Read(ctx)
	if f.Effective {
		return s.effective(tx, f)
	}
	w, err := s.assignmentWhere(tx, f)
	if err != nil {
		return nil, err
	}
	w.text("role_id", f.RoleID)
	w.text("user_id", f.UserID)
	w.text("group_id", f.GroupID)
	w.flag("inherited", f.Inherited)
	given, err := s.assignments.List(tx, record.Query{Where: w})
	list := make([]EffectiveAssignment, len(given))
	for i, a := range given {
		list[i] = EffectiveAssignment{Assignment: a, Source: a}
	}
	return list, err
}

// assignmentWhere is the filter's target, as it stands in the table.
func (s *Service) assignmentWhere(tx *record.Tx, f AssignmentFilter) (w where, err error) {
	if f.System {
		w = append(w, record.Eq("system", true))
	}
	w.text("domain_id", f.DomainID)
	if f.ProjectID == "" {
		return w, nil
	}
	projects, err := s.filterProjects(tx, f)
	return append(w, record.In("project_id", projects...)), err
}

func (s *Service) filterProjects(tx *record.Tx, f AssignmentFilter) ([]string, error) {
	projects := []string{f.ProjectID}
	if !f.Subtree {
		return projects, nil
	}
	below, err := s.subtree(tx, f.ProjectID)
	for i := range below {
		projects = append(projects, below[i].ID)
	}
	return projects, err
}

// effective expands the assignments that can matter to the filter and keeps what meets it.
func (s *Service) effective(tx *record.Tx, f AssignmentFilter) ([]EffectiveAssignment, error) {
	var w where
	if f.UserID != "" {
		actor, err := s.actor(tx, f.UserID)
		if err != nil {
			return nil, err
		}
		w = append(w, actor)
	}
	given, err := s.assignments.List(tx, record.Query{Where: w})
	if err != nil {
		return nil, err
	}
	var wanted []string
	if f.ProjectID != "" {
		if wanted, err = s.filterProjects(tx, f); err != nil {
			return nil, err
		}
	}
	x := expander{service: s, tx: tx, members: map[string][]string{}, below: map[string][]string{}}
	if x.implied, err = s.implicationMap(tx, nil); err != nil {
		return nil, err
	}
	if x.domainRoles, err = s.domainRoles(tx); err != nil {
		return nil, err
	}
	list := []EffectiveAssignment{}
	seen := map[string]bool{}
	for _, a := range given {
		all, err := x.expand(a)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if f.admits(&e, wanted) && !seen[e.key()+e.Source.key()+e.PriorRoleID] {
				seen[e.key()+e.Source.key()+e.PriorRoleID] = true
				list = append(list, e)
			}
		}
	}
	return list, nil
}

func (f *AssignmentFilter) admits(e *EffectiveAssignment, projects []string) bool {
	return (f.UserID == "" || e.UserID == f.UserID) && (f.RoleID == "" || e.RoleID == f.RoleID) &&
		(f.DomainID == "" || e.DomainID == f.DomainID) && (!f.System || e.System) &&
		(f.ProjectID == "" || slices.Contains(projects, e.ProjectID)) &&
		(f.GroupID == "" || e.Source.GroupID == f.GroupID) &&
		(f.Inherited == nil || e.Source.Inherited == *f.Inherited)
}

func (s *Service) domainRoles(tx *record.Tx) (map[string]bool, error) {
	roles, err := s.roles.List(tx, record.Query{Where: []record.Condition{record.Ne("domain_id", nil)}})
	ids := map[string]bool{}
	for i := range roles {
		ids[roles[i].ID] = true
	}
	return ids, err
}

type expander struct {
	service        *Service
	tx             *record.Tx
	implied        map[string][]string
	domainRoles    map[string]bool
	members, below map[string][]string
}

// expand says what a means: who × where × which role.
func (x *expander) expand(a Assignment) ([]EffectiveAssignment, error) {
	users, err := x.users(a)
	if err != nil {
		return nil, err
	}
	places, err := x.places(a)
	if err != nil {
		return nil, err
	}
	var all []EffectiveAssignment
	for _, user := range users {
		for _, place := range places {
			for _, role := range closure([]string{a.RoleID}, x.implied) {
				if x.domainRoles[role] {
					continue
				}
				e := EffectiveAssignment{Source: a, Assignment: Assignment{
					RoleID: role, UserID: user, ProjectID: place.ProjectID, DomainID: place.DomainID, System: place.System,
				}}
				if role != a.RoleID {
					e.PriorRoleID = a.RoleID
				}
				all = append(all, e)
			}
		}
	}
	return all, nil
}

func (x *expander) users(a Assignment) ([]string, error) {
	if a.GroupID == "" {
		return []string{a.UserID}, nil
	}
	if users, found := x.members[a.GroupID]; found {
		return users, nil
	}
	members, err := x.service.members.List(x.tx, record.Query{Where: []record.Condition{record.Eq("group_id", a.GroupID)}})
	users := []string{}
	for i := range members {
		users = append(users, members[i].UserID)
	}
	x.members[a.GroupID] = users
	return users, err
}

func (x *expander) places(a Assignment) ([]Scope, error) {
	if !a.Inherited {
		return []Scope{a.scope()}, nil
	}
	top := a.ProjectID + a.DomainID
	if _, found := x.below[top]; !found {
		projects, err := x.service.subtree(x.tx, top)
		if err != nil {
			return nil, err
		}
		for i := range projects {
			x.below[top] = append(x.below[top], projects[i].ID)
		}
	}
	var places []Scope
	for _, id := range x.below[top] {
		places = append(places, Scope{ProjectID: id})
	}
	return places, nil
}
