package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) roleRoutes() []wire.Route {
	return []wire.Route{
		admin(http.MethodGet, "/roles", "list_roles", h.listRoles),
		admin(http.MethodPost, "/roles", "create_role", h.createRole),
		admin(http.MethodGet, "/roles/{role}", "get_role", h.showRole),
		admin(http.MethodPatch, "/roles/{role}", "update_role", h.updateRole),
		admin(http.MethodDelete, "/roles/{role}", "delete_role", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := h.service.DeleteRole(r.Context(), r.PathValue("role")); err != nil {
				return err
			}
			return noContent(w)
		}),
		admin(http.MethodGet, "/roles/{role}/implies", "list_implied_roles", h.listImplied),
		admin(http.MethodGet, "/roles/{role}/implies/{implied}", "get_implied_role", h.showImplied),
		admin(http.MethodHead, "/roles/{role}/implies/{implied}", "check_implied_role", h.checkImplied),
		admin(http.MethodPut, "/roles/{role}/implies/{implied}", "create_implied_role", h.imply),
		admin(http.MethodDelete, "/roles/{role}/implies/{implied}", "delete_implied_role", h.unimply),
		admin(http.MethodGet, "/role_inferences", "list_role_inference_rules", h.listInferences),
	}
}

func (h *handler) role(r *http.Request, role *identity.Role) object {
	return object{
		"id": role.ID, "name": role.Name, "domain_id": orNull(role.DomainID), "description": orNull(role.Description),
		"options": object{}, "links": h.self(r, "roles", role.ID),
	}
}

func (h *handler) listRoles(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f := identity.RoleFilter{Name: r.URL.Query().Get("name"), DomainID: r.URL.Query().Get("domain_id")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	roles, err := h.service.Roles(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "roles", roles, h.role)
}

func readRole(b *body, role *identity.Role) error {
	b.text("name", &role.Name)
	b.optional("description", &role.Description)
	b.optional("domain_id", &role.DomainID)
	return b.err
}

func (h *handler) createRole(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "role")
	if err != nil {
		return err
	}
	b.require("name")
	var spec identity.Role
	if err := readRole(b, &spec); err != nil {
		return err
	}
	role, err := h.service.CreateRole(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"role": h.role(r, role)})
}

func (h *handler) showRole(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	role, err := h.service.Role(r.Context(), r.PathValue("role"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"role": h.role(r, role)})
}

func (h *handler) updateRole(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "role")
	if err != nil {
		return err
	}
	b.same(r.PathValue("role"))
	role, err := h.service.UpdateRole(r.Context(), r.PathValue("role"), func(role *identity.Role) error { return readRole(b, role) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"role": h.role(r, role)})
}

// short is a role as inference rules show it.
func (h *handler) short(r *http.Request, role *identity.Role) object {
	return object{"id": role.ID, "name": role.Name, "links": h.self(r, "roles", role.ID)}
}

// inference renders that prior implies the others.
func (h *handler) inference(r *http.Request, prior string, implied []string) (object, error) {
	role, err := h.service.Role(r.Context(), prior)
	if err != nil {
		return nil, err
	}
	roles, err := h.service.RolesByID(r.Context(), implied)
	if err != nil {
		return nil, err
	}
	all := []object{}
	for i := range roles {
		all = append(all, h.short(r, &roles[i]))
	}
	return object{"prior_role": h.short(r, role), "implies": all}, nil
}

func (h *handler) listImplied(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	prior := r.PathValue("role")
	implied, err := h.service.Implications(r.Context(), prior)
	if err != nil {
		return err
	}
	rule, err := h.inference(r, prior, implied[prior])
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"role_inference": rule, "links": object{"self": h.base(r) + r.URL.Path}})
}

func (h *handler) listInferences(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	implied, err := h.service.Implications(r.Context(), "")
	if err != nil {
		return err
	}
	rules := []object{}
	for prior, roles := range implied {
		rule, err := h.inference(r, prior, roles)
		if err != nil {
			return err
		}
		rules = append(rules, rule)
	}
	return wire.JSON(w, http.StatusOK, object{"role_inferences": rules, "links": object{"self": h.base(r) + r.URL.Path}})
}

func (h *handler) writeImplied(w http.ResponseWriter, r *http.Request, status int) error {
	prior, err := h.service.Role(r.Context(), r.PathValue("role"))
	if err != nil {
		return err
	}
	implied, err := h.service.Role(r.Context(), r.PathValue("implied"))
	if err != nil {
		return err
	}
	return wire.JSON(w, status, object{
		"role_inference": object{"prior_role": h.short(r, prior), "implies": h.short(r, implied)},
		"links":          object{"self": h.base(r) + r.URL.Path},
	})
}

func (h *handler) showImplied(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.Implies(r.Context(), r.PathValue("role"), r.PathValue("implied")); err != nil {
		return err
	}
	return h.writeImplied(w, r, http.StatusOK)
}

func (h *handler) checkImplied(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.Implies(r.Context(), r.PathValue("role"), r.PathValue("implied")); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) imply(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.Imply(r.Context(), r.PathValue("role"), r.PathValue("implied")); err != nil {
		return err
	}
	return h.writeImplied(w, r, http.StatusCreated)
}

func (h *handler) unimply(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.Unimply(r.Context(), r.PathValue("role"), r.PathValue("implied")); err != nil {
		return err
	}
	return noContent(w)
}
