package keystone

import (
	"context"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// assignmentRoutes are the same few operations on every pair of a target and an actor, with and without
// inheritance.
func (h *handler) assignmentRoutes() []wire.Route {
	all := []wire.Route{admin(http.MethodGet, "/role_assignments", "list_role_assignments", h.listAssignments)}
	for _, actor := range []string{"users/{user}", "groups/{group}"} {
		for _, target := range []string{"projects/{project}", "domains/{domain}", "system"} {
			all = append(all, h.grants("/"+target+"/"+actor+"/roles", "")...)
			if target != "system" {
				all = append(all, h.grants("/OS-INHERIT/"+target+"/"+actor+"/roles", "/inherited_to_projects")...)
			}
		}
	}
	return all
}

func (h *handler) grants(path, suffix string) []wire.Route {
	one := path + "/{role}" + suffix
	do := func(change func(ctx context.Context, a identity.Assignment) error) serve {
		return func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := change(r.Context(), assignment(r)); err != nil {
				return err
			}
			return noContent(w)
		}
	}
	return []wire.Route{
		admin(http.MethodGet, path+suffix, "list_grants", h.listGrants),
		admin(http.MethodGet, one, "check_grant", do(h.service.Assigned)),
		admin(http.MethodPut, one, "create_grant", do(h.service.Assign)),
		admin(http.MethodDelete, one, "revoke_grant", do(h.service.Unassign)),
	}
}

func assignment(r *http.Request) identity.Assignment {
	return identity.Assignment{
		RoleID: r.PathValue("role"), UserID: r.PathValue("user"), GroupID: r.PathValue("group"),
		ProjectID: r.PathValue("project"), DomainID: r.PathValue("domain"),
		System:    strings.HasPrefix(r.URL.Path, "/v3/system/"),
		Inherited: strings.HasPrefix(r.URL.Path, "/v3/OS-INHERIT/"),
	}
}

func (h *handler) listGrants(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	roles, err := h.service.AssignedRoles(r.Context(), assignment(r))
	if err != nil {
		return err
	}
	return list(h, w, r, "roles", roles, h.role)
}

func (h *handler) listAssignments(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	query := r.URL.Query()
	f := identity.AssignmentFilter{
		RoleID: query.Get("role.id"), UserID: query.Get("user.id"), GroupID: query.Get("group.id"),
		ProjectID: query.Get("scope.project.id"), DomainID: query.Get("scope.domain.id"), System: query.Has("scope.system"),
		Effective: isSet(r, "effective"), Subtree: isSet(r, "include_subtree"),
	}
	if query.Has("scope.OS-INHERIT:inherited_to") {
		yes := true
		f.Inherited = &yes
	}
	if f.Subtree && f.ProjectID == "" {
		return fault.Wrap(identity.ErrInvalid, "scope.project.id must be specified if include_subtree is also specified")
	}
	if f.Effective && f.GroupID != "" {
		return fault.Wrap(identity.ErrInvalid, "Combining effective and group filter will always result in an empty list.")
	}
	assignments, err := h.service.Assignments(r.Context(), f)
	if err != nil {
		return err
	}
	var names *names
	if isSet(r, "include_names") {
		if names, err = h.names(r.Context()); err != nil {
			return err
		}
	}
	return list(h, w, r, "role_assignments", assignments, func(r *http.Request, a *identity.EffectiveAssignment) object {
		return h.assignment(r, a, names)
	})
}

func (h *handler) assignment(r *http.Request, a *identity.EffectiveAssignment, n *names) object {
	links := object{"assignment": h.base(r) + "/v3/" + grantPath(&a.Source)}
	if a.Source.GroupID != "" && a.UserID != "" {
		links["membership"] = h.base(r) + "/v3/groups/" + a.Source.GroupID + "/users/" + a.UserID
	}
	if a.PriorRoleID != "" {
		links["prior_role"] = h.base(r) + "/v3/prior_role/" + a.PriorRoleID + "/implies/" + a.RoleID
	}
	scope := object{}
	switch {
	case a.System:
		scope["system"] = object{"all": true}
	case a.ProjectID != "":
		scope["project"] = n.project(a.ProjectID)
	default:
		scope["domain"] = n.domain(a.DomainID)
	}
	if a.Source.Inherited {
		scope["OS-INHERIT:inherited_to"] = "projects"
	}
	shown := object{"role": n.role(a.RoleID), "scope": scope, "links": links}
	if a.UserID != "" {
		shown["user"] = n.user(a.UserID)
	} else {
		shown["group"] = n.group(a.GroupID)
	}
	return shown
}

func grantPath(a *identity.Assignment) string {
	path := "system"
	if a.ProjectID != "" {
		path = "projects/" + a.ProjectID
	} else if a.DomainID != "" {
		path = "domains/" + a.DomainID
	}
	if a.GroupID != "" {
		path += "/groups/" + a.GroupID
	} else {
		path += "/users/" + a.UserID
	}
	path += "/roles/" + a.RoleID
	if a.Inherited {
		path = "OS-INHERIT/" + path + "/inherited_to_projects"
	}
	return path
}

// names are what include_names adds to identifiers; nil adds nothing.
type names struct {
	roles    map[string]identity.Role
	users    map[string]identity.User
	groups   map[string]identity.Group
	projects map[string]identity.Project
}

func (h *handler) names(ctx context.Context) (*names, error) {
	n := &names{
		roles: map[string]identity.Role{}, users: map[string]identity.User{}, groups: map[string]identity.Group{},
		projects: map[string]identity.Project{},
	}
	projects, err := h.service.Projects(ctx, identity.ProjectFilter{})
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		n.projects[p.ID] = p
	}
	users, err := h.service.Users(ctx, identity.UserFilter{})
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		n.users[u.ID] = u
	}
	groups, err := h.service.Groups(ctx, identity.GroupFilter{})
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		n.groups[g.ID] = g
	}
	roles, err := h.service.AllRoles(ctx)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		n.roles[role.ID] = role
	}
	return n, nil
}

func (n *names) domain(id string) object {
	if n == nil {
		return object{"id": id}
	}
	return object{"id": id, "name": n.projects[id].Name}
}

func (n *names) in(id, name, domain string) object {
	return object{"id": id, "name": name, "domain": n.domain(domain)}
}

func (n *names) project(id string) object {
	if n == nil {
		return object{"id": id}
	}
	return n.in(id, n.projects[id].Name, n.projects[id].DomainID)
}

func (n *names) user(id string) object {
	if n == nil {
		return object{"id": id}
	}
	return n.in(id, n.users[id].Name, n.users[id].DomainID)
}

func (n *names) group(id string) object {
	if n == nil {
		return object{"id": id}
	}
	return n.in(id, n.groups[id].Name, n.groups[id].DomainID)
}

func (n *names) role(id string) object {
	if n == nil {
		return object{"id": id}
	}
	role := object{"id": id, "name": n.roles[id].Name}
	if domain := n.roles[id].DomainID; domain != "" {
		role["domain"] = n.domain(domain)
	}
	return role
}
