package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// collection is a resource that is kept for clients and has no meaning here.
type collection struct {
	// path is below /v3, one and many are the names of its JSON members.
	path, one, many string
	// required are the members that a new one must have.
	required []string
}

func collections() []collection {
	return []collection{
		{path: "/policies", one: "policy", many: "policies", required: []string{"blob", "type"}},
		{path: "/OS-EP-FILTER/endpoint_groups", one: "endpoint_group", many: "endpoint_groups", required: []string{"name", "filters"}},
		{path: "/OS-OAUTH1/consumers", one: "consumer", many: "consumers"},
	}
}

func (h *handler) documentRoutes() []wire.Route {
	var all []wire.Route
	for _, c := range collections() {
		all = append(all,
			admin(http.MethodGet, c.path, "list_"+c.many, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				return h.listDocuments(w, r, c)
			}),
			admin(http.MethodPost, c.path, "create_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				return h.createDocument(w, r, c)
			}),
			admin(http.MethodGet, c.path+"/{id}", "get_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				d, err := h.service.Document(r.Context(), c.one, r.PathValue("id"))
				if err != nil {
					return err
				}
				return wire.JSON(w, http.StatusOK, object{c.one: h.document(r, c, d, false)})
			}),
			admin(http.MethodPatch, c.path+"/{id}", "update_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				return h.updateDocument(w, r, c)
			}),
			admin(http.MethodDelete, c.path+"/{id}", "delete_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				if err := h.service.DeleteDocument(r.Context(), c.one, r.PathValue("id")); err != nil {
					return err
				}
				return noContent(w)
			}),
		)
	}
	return append(all, h.limitRoutes()...)
}

// document shows one; a secret only where it has just been made.
func (h *handler) document(r *http.Request, c collection, d *identity.Document, secret bool) object {
	shown := with(d.Attributes, object{"id": d.ID})
	shown["links"] = object{"self": h.base(r) + "/v3" + c.path + "/" + d.ID}
	if !secret {
		delete(shown, "secret")
	}
	return shown
}

func (h *handler) listDocuments(w http.ResponseWriter, r *http.Request, c collection) error {
	found, err := h.service.Documents(r.Context(), c.one, "")
	if err != nil {
		return err
	}
	return list(h, w, r, c.many, found, func(r *http.Request, d *identity.Document) object { return h.document(r, c, d, false) })
}

func (h *handler) createDocument(w http.ResponseWriter, r *http.Request, c collection) error {
	b, err := decode(r, c.one)
	if err != nil {
		return err
	}
	b.require(c.required...)
	d := identity.Document{Kind: c.one, Attributes: b.rest(nil)}
	if b.err != nil {
		return b.err
	}
	if c.one == "consumer" {
		d.Attributes = with(d.Attributes, object{"secret": identity.NewSecret()})
	}
	created, err := h.service.CreateDocument(r.Context(), d)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{c.one: h.document(r, c, created, true)})
}

func (h *handler) updateDocument(w http.ResponseWriter, r *http.Request, c collection) error {
	b, err := decode(r, c.one)
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	if _, there := b.fields["secret"]; there && c.one == "consumer" {
		return fault.Wrap(identity.ErrInvalid, "Cannot change consumer secret")
	}
	d, err := h.service.UpdateDocument(r.Context(), c.one, r.PathValue("id"), func(d *identity.Document) error {
		d.Attributes = b.rest(d.Attributes)
		return b.err
	})
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{c.one: h.document(r, c, d, false)})
}

// limits are created several at once.
func limits() []collection {
	return []collection{
		{path: "/registered_limits", one: "registered_limit", many: "registered_limits", required: []string{"service_id", "resource_name", "default_limit"}},
		{path: "/limits", one: "limit", many: "limits", required: []string{"service_id", "resource_name", "resource_limit"}},
	}
}

func (h *handler) limitRoutes() []wire.Route {
	all := []wire.Route{route(http.MethodGet, "/limits/model", func(w http.ResponseWriter, _ *http.Request, _ *identity.Caller) error {
		return wire.JSON(w, http.StatusOK, object{"model": object{"name": "flat", "description": "Limit enforcement and validation does not take project hierarchy into consideration."}})
	})}
	for _, c := range limits() {
		all = append(all,
			route(http.MethodGet, c.path, func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
				return h.listLimits(w, r, caller, c)
			}),
			admin(http.MethodPost, c.path, "create_"+c.many, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				return h.createLimits(w, r, c)
			}),
			route(http.MethodGet, c.path+"/{id}", func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
				d, err := h.service.Document(r.Context(), c.one, r.PathValue("id"))
				if err != nil {
					return err
				}
				if !visible(caller, d) {
					return fault.Wrap(identity.ErrNotFound, "Could not find %s: %s.", c.one, r.PathValue("id"))
				}
				return wire.JSON(w, http.StatusOK, object{c.one: h.document(r, c, d, false)})
			}),
			admin(http.MethodPatch, c.path+"/{id}", "update_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				return h.updateDocument(w, r, c)
			}),
			admin(http.MethodDelete, c.path+"/{id}", "delete_"+c.one, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
				if err := h.service.DeleteDocument(r.Context(), c.one, r.PathValue("id")); err != nil {
					return err
				}
				return noContent(w)
			}),
		)
	}
	return all
}

// visible says whether the caller may see a limit: all see registered ones, and everybody its project's own.
func visible(caller *identity.Caller, d *identity.Document) bool {
	project, _ := d.Attributes["project_id"].(string)
	return caller.IsAdmin() || d.Kind == "registered_limit" || project != "" && project == caller.ProjectID
}

func (h *handler) listLimits(w http.ResponseWriter, r *http.Request, caller *identity.Caller, c collection) error {
	found, err := h.service.Documents(r.Context(), c.one, "")
	if err != nil {
		return err
	}
	shown := []identity.Document{}
	for i := range found {
		if visible(caller, &found[i]) && matches(r, &found[i]) {
			shown = append(shown, found[i])
		}
	}
	return list(h, w, r, c.many, shown, func(r *http.Request, d *identity.Document) object { return h.document(r, c, d, false) })
}

func matches(r *http.Request, d *identity.Document) bool {
	for _, name := range []string{"service_id", "region_id", "resource_name", "project_id", "domain_id"} {
		if want := r.URL.Query().Get(name); want != "" && d.Attributes[name] != want {
			return false
		}
	}
	return true
}

func (h *handler) createLimits(w http.ResponseWriter, r *http.Request, c collection) error {
	var outer map[string][]map[string]any
	if err := wire.Decode(r, &outer); err != nil {
		return err
	}
	if len(outer[c.many]) == 0 {
		return fault.Wrap(identity.ErrInvalid, "'%s' is a required property", c.many)
	}
	for _, attributes := range outer[c.many] {
		for _, name := range c.required {
			if attributes[name] == nil {
				return fault.Wrap(identity.ErrInvalid, "'%s' is a required property", name)
			}
		}
	}
	created := []object{}
	for _, attributes := range outer[c.many] {
		delete(attributes, "id")
		d, err := h.service.CreateDocument(r.Context(), identity.Document{Kind: c.one, Attributes: attributes})
		if err != nil {
			return err
		}
		created = append(created, h.document(r, c, d, false))
	}
	return wire.JSON(w, http.StatusCreated, object{c.many: created})
}
