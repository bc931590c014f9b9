package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) appCredRoutes() []wire.Route {
	return []wire.Route{
		user(http.MethodGet, "/users/{user}/application_credentials", "list_application_credentials", h.listAppCreds),
		route(http.MethodPost, "/users/{user}/application_credentials", h.inPerson("create_application_credential", h.createAppCred)),
		user(http.MethodGet, "/users/{user}/application_credentials/{id}", "get_application_credential", h.showAppCred),
		user(http.MethodDelete, "/users/{user}/application_credentials/{id}", "delete_application_credential",
			h.inPerson("delete_application_credential", h.deleteAppCred)),
		user(http.MethodGet, "/users/{user}/access_rules", "list_access_rules", h.listAccessRules),
		user(http.MethodGet, "/users/{user}/access_rules/{id}", "get_access_rule", h.showAccessRule),
		user(http.MethodDelete, "/users/{user}/access_rules/{id}", "delete_access_rule", h.deleteAccessRule),
	}
}

// appCred renders one with its roles and access rules.
func (h *handler) appCred(r *http.Request, c *identity.ApplicationCredential) (object, error) {
	shown := object{
		"id": c.ID, "name": c.Name, "description": orNull(c.Description), "project_id": c.ProjectID, "user_id": c.UserID,
		"expires_at": stamp(c.ExpiresAt, noZone), "unrestricted": c.Unrestricted, "system": nil,
		"links": h.self(r, "users", c.UserID, "application_credentials", c.ID),
	}
	roles, err := h.service.RolesByID(r.Context(), c.RoleIDs)
	if err != nil {
		return nil, err
	}
	all := []object{}
	for _, role := range roles {
		all = append(all, object{"id": role.ID, "name": role.Name, "domain_id": orNull(role.DomainID)})
	}
	shown["roles"] = all
	if len(c.AccessRuleIDs) > 0 {
		rules := []object{}
		for _, id := range c.AccessRuleIDs {
			rule, err := h.service.AccessRule(r.Context(), c.UserID, id)
			if err != nil {
				return nil, err
			}
			rules = append(rules, object{"id": rule.ID, "service": rule.Service, "method": rule.Method, "path": rule.Path})
		}
		shown["access_rules"] = rules
	}
	return shown, nil
}

func (h *handler) listAppCreds(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f := identity.AppCredFilter{UserID: r.PathValue("user"), Name: r.URL.Query().Get("name")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	found, err := h.service.ApplicationCredentials(r.Context(), f)
	if err != nil {
		return err
	}
	rendered := make([]object, len(found))
	for i := range found {
		if rendered[i], err = h.appCred(r, &found[i]); err != nil {
			return err
		}
	}
	return list(h, w, r, "application_credentials", rendered, func(_ *http.Request, o *object) object { return *o })
}

type accessRule struct {
	ID      string `json:"id"`
	Service string `json:"service"`
	Method  string `json:"method"`
	Path    string `json:"path"`
}

func (h *handler) createAppCred(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := caller.RequireSelf(r.PathValue("user"), "identity:create_application_credential"); err != nil {
		return err
	}
	if caller.ProjectID == "" {
		return fault.Wrap(identity.ErrInvalid, "Cannot create an application credential without a project-scoped token.")
	}
	spec, secret, rules, err := h.readAppCred(r, caller)
	if err != nil {
		return err
	}
	c, secret, err := h.service.CreateApplicationCredential(r.Context(), spec, secret, rules)
	if err != nil {
		return err
	}
	shown, err := h.appCred(r, c)
	if err != nil {
		return err
	}
	shown["secret"] = secret
	return wire.JSON(w, http.StatusCreated, object{"application_credential": shown})
}

func (h *handler) readAppCred(r *http.Request, caller *identity.Caller) (spec identity.ApplicationCredential, secret string, rules []identity.AccessRule, err error) {
	b, err := decode(r, "application_credential")
	if err != nil {
		return spec, "", nil, err
	}
	b.require("name")
	var refs []roleRef
	var given []accessRule
	spec = identity.ApplicationCredential{UserID: caller.UserID, ProjectID: caller.ProjectID}
	b.text("name", &spec.Name)
	b.optional("description", &spec.Description)
	b.value("secret", &secret, "string")
	b.boolean("unrestricted", &spec.Unrestricted)
	b.time("expires_at", &spec.ExpiresAt)
	b.value("roles", &refs, "array")
	b.value("access_rules", &given, "array")
	if b.err != nil {
		return spec, "", nil, b.err
	}
	for _, rule := range given {
		if rule.ID == "" && (rule.Service == "" || rule.Method == "" || rule.Path == "") {
			return spec, "", nil, fault.Wrap(identity.ErrInvalid, "Invalid input for field 'access_rules': a rule has a service, a method and a path")
		}
		rules = append(rules, identity.AccessRule{ID: rule.ID, Service: rule.Service, Method: rule.Method, Path: rule.Path})
	}
	if spec.RoleIDs, err = h.roleIDs(r, refs); err != nil || len(refs) > 0 {
		return spec, secret, rules, err
	}
	for _, role := range caller.Roles {
		spec.RoleIDs = append(spec.RoleIDs, role.ID)
	}
	return spec, secret, rules, nil
}

func (h *handler) showAppCred(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	c, err := h.service.ApplicationCredential(r.Context(), r.PathValue("user"), r.PathValue("id"))
	if err != nil {
		return err
	}
	shown, err := h.appCred(r, c)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"application_credential": shown})
}

func (h *handler) deleteAppCred(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.DeleteApplicationCredential(r.Context(), r.PathValue("user"), r.PathValue("id")); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) accessRule(r *http.Request, a *identity.AccessRule) object {
	return object{
		"id": a.ID, "service": a.Service, "method": a.Method, "path": a.Path,
		"links": h.self(r, "users", a.UserID, "access_rules", a.ID),
	}
}

func (h *handler) listAccessRules(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	rules, err := h.service.AccessRules(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	return list(h, w, r, "access_rules", rules, h.accessRule)
}

func (h *handler) showAccessRule(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	rule, err := h.service.AccessRule(r.Context(), r.PathValue("user"), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"access_rule": h.accessRule(r, rule)})
}

func (h *handler) deleteAccessRule(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if err := h.service.DeleteAccessRule(r.Context(), r.PathValue("user"), r.PathValue("id")); err != nil {
		return err
	}
	return noContent(w)
}
