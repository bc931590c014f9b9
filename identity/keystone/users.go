package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) userRoutes() []wire.Route {
	return []wire.Route{
		admin(http.MethodGet, "/users", "list_users", h.listUsers),
		admin(http.MethodPost, "/users", "create_user", h.createUser),
		user(http.MethodGet, "/users/{user}", "get_user", h.showUser),
		admin(http.MethodPatch, "/users/{user}", "update_user", h.updateUser),
		admin(http.MethodDelete, "/users/{user}", "delete_user", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := h.service.DeleteUser(r.Context(), r.PathValue("user")); err != nil {
				return err
			}
			return noContent(w)
		}),
		// The original password is the proof here; a token that has just ended must not be in the way.
		{Method: http.MethodPost, Path: "/v3/users/{user}/password", Public: true, Serve: h.changePassword},
		user(http.MethodGet, "/users/{user}/projects", "list_user_projects", h.userProjects),
		user(http.MethodGet, "/users/{user}/groups", "list_groups_for_user", h.userGroups),
	}
}

// user is a route for the user in the path and for administrators.
func user(method, path, action string, fn serve) wire.Route {
	return route(method, path, func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
		if err := caller.RequireUser(r.PathValue("user"), "identity:"+action); err != nil {
			return err
		}
		return fn(w, r, caller)
	})
}

func (h *handler) user(r *http.Request, u *identity.User) object {
	shown := with(u.Extra, object{
		"id": u.ID, "name": u.Name, "domain_id": u.DomainID, "enabled": !u.Disabled, "password_expires_at": nil,
		"options": orEmpty(u.Options), "links": h.self(r, "users", u.ID),
	})
	if u.Description != "" {
		shown["description"] = u.Description
	}
	if u.DefaultProjectID != "" {
		shown["default_project_id"] = u.DefaultProjectID
	}
	return shown
}

func (h *handler) listUsers(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	query := r.URL.Query()
	f := identity.UserFilter{Name: query.Get("name"), DomainID: query.Get("domain_id")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	if f.Enabled, err = flag(r, "enabled"); err != nil {
		return err
	}
	users, err := h.service.Users(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "users", users, h.user)
}

func readUser(b *body, u *identity.UserSpec) error {
	b.text("name", &u.Name)
	b.optional("description", &u.Description)
	b.enabled(&u.Disabled)
	b.optional("domain_id", &u.DomainID)
	b.optional("default_project_id", &u.DefaultProjectID)
	b.value("password", &u.Password, "string")
	b.value("options", &u.Options, "object")
	u.Extra = b.rest(u.Extra)
	return b.err
}

func (h *handler) createUser(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "user")
	if err != nil {
		return err
	}
	b.require("name")
	var spec identity.UserSpec
	if err := readUser(b, &spec); err != nil {
		return err
	}
	if spec.DomainID == "" {
		spec.DomainID = ownDomain(caller)
	}
	u, err := h.service.CreateUser(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"user": h.user(r, u)})
}

func (h *handler) showUser(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	u, err := h.service.User(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"user": h.user(r, u)})
}

func (h *handler) updateUser(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "user")
	if err != nil {
		return err
	}
	b.same(r.PathValue("user"))
	u, err := h.service.UpdateUser(r.Context(), r.PathValue("user"), func(u *identity.UserSpec) error { return readUser(b, u) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"user": h.user(r, u)})
}

func (h *handler) changePassword(w http.ResponseWriter, r *http.Request) error {
	b, err := decode(r, "user")
	if err != nil {
		return err
	}
	b.require("original_password", "password")
	var original, password string
	b.text("original_password", &original)
	b.text("password", &password)
	if b.err != nil {
		return b.err
	}
	if err := h.service.ChangePassword(r.Context(), r.PathValue("user"), original, password); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) userProjects(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f, err := projectFilter(r)
	if err != nil {
		return err
	}
	if _, err := h.service.User(r.Context(), r.PathValue("user")); err != nil {
		return err
	}
	projects, err := h.service.ProjectsOf(r.Context(), r.PathValue("user"), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "projects", projects, h.project)
}

func (h *handler) userGroups(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	groups, err := h.service.Groups(r.Context(), identity.GroupFilter{UserID: r.PathValue("user"), Name: r.URL.Query().Get("name")})
	if err != nil {
		return err
	}
	return list(h, w, r, "groups", groups, h.group)
}

func (h *handler) groupRoutes() []wire.Route {
	member := func(change func(r *http.Request, group, user string) error) serve {
		return func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := change(r, r.PathValue("group"), r.PathValue("user")); err != nil {
				return err
			}
			return noContent(w)
		}
	}
	return []wire.Route{
		admin(http.MethodGet, "/groups", "list_groups", h.listGroups),
		admin(http.MethodPost, "/groups", "create_group", h.createGroup),
		admin(http.MethodGet, "/groups/{group}", "get_group", h.showGroup),
		admin(http.MethodPatch, "/groups/{group}", "update_group", h.updateGroup),
		admin(http.MethodDelete, "/groups/{group}", "delete_group", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := h.service.DeleteGroup(r.Context(), r.PathValue("group")); err != nil {
				return err
			}
			return noContent(w)
		}),
		admin(http.MethodGet, "/groups/{group}/users", "list_users_in_group", h.listMembers),
		user(http.MethodGet, "/groups/{group}/users/{user}", "check_user_in_group", member(func(r *http.Request, g, u string) error {
			return h.service.Member(r.Context(), g, u)
		})),
		admin(http.MethodPut, "/groups/{group}/users/{user}", "add_user_to_group", member(func(r *http.Request, g, u string) error {
			return h.service.AddMember(r.Context(), g, u)
		})),
		admin(http.MethodDelete, "/groups/{group}/users/{user}", "remove_user_from_group", member(func(r *http.Request, g, u string) error {
			return h.service.RemoveMember(r.Context(), g, u)
		})),
	}
}

func (h *handler) group(r *http.Request, g *identity.Group) object {
	return with(g.Extra, object{
		"id": g.ID, "name": g.Name, "description": g.Description, "domain_id": g.DomainID, "links": h.self(r, "groups", g.ID),
	})
}

func (h *handler) listGroups(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f := identity.GroupFilter{Name: r.URL.Query().Get("name"), DomainID: r.URL.Query().Get("domain_id")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	groups, err := h.service.Groups(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "groups", groups, h.group)
}

func readGroup(b *body, g *identity.GroupSpec) error {
	b.text("name", &g.Name)
	b.optional("description", &g.Description)
	b.optional("domain_id", &g.DomainID)
	g.Extra = b.rest(g.Extra)
	return b.err
}

func (h *handler) createGroup(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "group")
	if err != nil {
		return err
	}
	b.require("name")
	var spec identity.GroupSpec
	if err := readGroup(b, &spec); err != nil {
		return err
	}
	if spec.DomainID == "" {
		spec.DomainID = ownDomain(caller)
	}
	g, err := h.service.CreateGroup(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"group": h.group(r, g)})
}

func (h *handler) showGroup(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	g, err := h.service.Group(r.Context(), r.PathValue("group"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"group": h.group(r, g)})
}

func (h *handler) updateGroup(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "group")
	if err != nil {
		return err
	}
	b.same(r.PathValue("group"))
	g, err := h.service.UpdateGroup(r.Context(), r.PathValue("group"), func(g *identity.GroupSpec) error { return readGroup(b, g) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"group": h.group(r, g)})
}

func (h *handler) listMembers(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f := identity.UserFilter{GroupID: r.PathValue("group"), Name: r.URL.Query().Get("name")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	users, err := h.service.Users(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "users", users, h.user)
}
