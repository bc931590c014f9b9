package keystone

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) projectRoutes() []wire.Route {
	return []wire.Route{
		admin(http.MethodGet, "/projects", "list_projects", h.listProjects),
		admin(http.MethodPost, "/projects", "create_project", h.createProject),
		route(http.MethodGet, "/projects/{id}", h.showProject),
		admin(http.MethodPatch, "/projects/{id}", "update_project", h.updateProject),
		admin(http.MethodDelete, "/projects/{id}", "delete_project", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := h.service.DeleteProject(r.Context(), r.PathValue("id")); err != nil {
				return err
			}
			return noContent(w)
		}),
		route(http.MethodGet, "/projects/{id}/tags", h.listTags),
		admin(http.MethodPut, "/projects/{id}/tags", "update_project_tags", h.replaceTags),
		admin(http.MethodDelete, "/projects/{id}/tags", "delete_project_tags", h.deleteTags),
		route(http.MethodGet, "/projects/{id}/tags/{tag}", h.checkTag),
		admin(http.MethodPut, "/projects/{id}/tags/{tag}", "create_project_tag", h.addTag),
		admin(http.MethodDelete, "/projects/{id}/tags/{tag}", "delete_project_tag", h.deleteTag),
	}
}

func (h *handler) project(r *http.Request, p *identity.Project) object {
	tags := p.Tags
	if tags == nil {
		tags = []string{}
	}
	return with(p.Extra, object{
		"id": p.ID, "name": p.Name, "description": p.Description, "enabled": !p.Disabled, "domain_id": orNull(p.DomainID),
		"parent_id": orNull(p.ParentID), "is_domain": p.IsDomain, "tags": tags, "options": orEmpty(p.Options),
		"links": h.self(r, "projects", p.ID),
	})
}

func tags(r *http.Request, name string) []string {
	text := r.URL.Query().Get(name)
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func projectFilter(r *http.Request) (f identity.ProjectFilter, err error) {
	query := r.URL.Query()
	f = identity.ProjectFilter{
		Name: query.Get("name"), DomainID: query.Get("domain_id"), ParentID: query.Get("parent_id"),
		Tags: tags(r, "tags"), TagsAny: tags(r, "tags-any"), NotTags: tags(r, "not-tags"), NotTagsAny: tags(r, "not-tags-any"),
	}
	if f.Page, err = page(r); err != nil {
		return f, err
	}
	if f.Enabled, err = flag(r, "enabled"); err != nil {
		return f, err
	}
	if f.IsDomain, err = flag(r, "is_domain"); err != nil {
		return f, err
	}
	return f, nil
}

func (h *handler) listProjects(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f, err := projectFilter(r)
	if err != nil {
		return err
	}
	if f.IsDomain == nil {
		no := false
		f.IsDomain = &no
	}
	projects, err := h.service.Projects(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "projects", projects, h.project)
}

func readProject(b *body, p *identity.ProjectSpec) error {
	b.text("name", &p.Name)
	b.optional("description", &p.Description)
	b.enabled(&p.Disabled)
	b.value("tags", &p.Tags, "array")
	b.value("options", &p.Options, "object")
	b.optional("domain_id", &p.DomainID)
	b.optional("parent_id", &p.ParentID)
	b.boolean("is_domain", &p.IsDomain)
	p.Extra = b.rest(p.Extra)
	return b.err
}

func (h *handler) createProject(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	b, err := decode(r, "project")
	if err != nil {
		return err
	}
	b.require("name")
	var spec identity.ProjectSpec
	if err := readProject(b, &spec); err != nil {
		return err
	}
	if spec.DomainID == "" && spec.ParentID == "" && !spec.IsDomain {
		spec.DomainID = ownDomain(caller)
	}
	p, err := h.service.CreateProject(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"project": h.project(r, p)})
}

// ownDomain is where something is created that names no domain: that of the token's scope.
func ownDomain(caller *identity.Caller) string {
	for _, id := range []string{caller.DomainID, caller.ProjectDomainID} {
		if id != "" {
			return id
		}
	}
	return identity.DefaultDomainID
}

// mayProject lets administrators see every project, and others those that they have a role on.
func (h *handler) mayProject(r *http.Request, caller *identity.Caller, action string) error {
	id := r.PathValue("id")
	if caller.ProjectID == id {
		return nil
	}
	if caller.IsAdmin() {
		return nil
	}
	mine, err := h.service.ProjectsOf(r.Context(), caller.UserID, identity.ProjectFilter{})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(mine, func(p identity.Project) bool { return p.ID == id }) {
		return nil
	}
	return caller.RequireAdmin("identity:" + action)
}

func (h *handler) showProject(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := h.mayProject(r, caller, "get_project"); err != nil {
		return err
	}
	p, err := h.service.Project(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	shown := h.project(r, p)
	if err := h.family(r, p, shown); err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"project": shown})
}

// family adds what parents_as_ids, parents_as_list, subtree_as_ids and subtree_as_list ask for.
func (h *handler) family(r *http.Request, p *identity.Project, shown object) error {
	query := r.URL.Query()
	if query.Has("parents_as_ids") || query.Has("parents_as_list") {
		above, err := h.service.Ancestors(r.Context(), p.ID)
		if err != nil {
			return err
		}
		var ids any
		for i := len(above) - 1; i >= 0; i-- {
			ids = object{above[i].ID: ids}
		}
		if query.Has("parents_as_ids") {
			shown["parents"] = ids
		} else {
			shown["parents"] = h.wrapped(r, above)
		}
	}
	if query.Has("subtree_as_ids") || query.Has("subtree_as_list") {
		below, err := h.service.Subtree(r.Context(), p.ID)
		if err != nil {
			return err
		}
		if query.Has("subtree_as_ids") {
			shown["subtree"] = tree(p.ID, below)
		} else {
			shown["subtree"] = h.wrapped(r, below)
		}
	}
	return nil
}

func (h *handler) wrapped(r *http.Request, projects []identity.Project) []object {
	all := []object{}
	for i := range projects {
		all = append(all, object{"project": h.project(r, &projects[i])})
	}
	return all
}

func tree(id string, below []identity.Project) any {
	var branches object
	for i := range below {
		if below[i].ParentID == id {
			if branches == nil {
				branches = object{}
			}
			branches[below[i].ID] = tree(below[i].ID, below)
		}
	}
	if branches == nil {
		return nil
	}
	return branches
}

func (h *handler) updateProject(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "project")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	p, err := h.service.UpdateProject(r.Context(), r.PathValue("id"), func(p *identity.ProjectSpec) error { return readProject(b, p) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"project": h.project(r, p)})
}

func (h *handler) listTags(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := h.mayProject(r, caller, "list_project_tags"); err != nil {
		return err
	}
	p, err := h.service.Project(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return h.writeTags(w, r, p)
}

func (h *handler) writeTags(w http.ResponseWriter, r *http.Request, p *identity.Project) error {
	return wire.JSON(w, http.StatusOK, object{
		"tags": append([]string{}, p.Tags...), "links": object{"self": h.base(r) + r.URL.Path, "previous": nil, "next": nil},
	})
}

func (h *handler) replaceTags(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	var body struct {
		Tags *[]string `json:"tags"`
	}
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if body.Tags == nil {
		return fault.Wrap(identity.ErrInvalid, "'tags' is a required property")
	}
	p, err := h.changeTags(r, func([]string) []string { return *body.Tags })
	if err != nil {
		return err
	}
	return h.writeTags(w, r, p)
}

func (h *handler) changeTags(r *http.Request, change func([]string) []string) (*identity.Project, error) {
	return h.service.UpdateProject(r.Context(), r.PathValue("id"), func(p *identity.ProjectSpec) error {
		p.Tags = change(p.Tags)
		return nil
	})
}

func (h *handler) deleteTags(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	if _, err := h.changeTags(r, func([]string) []string { return nil }); err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) checkTag(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	if err := h.mayProject(r, caller, "get_project_tag"); err != nil {
		return err
	}
	p, err := h.service.Project(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	if !slices.Contains(p.Tags, r.PathValue("tag")) {
		return noTag(r)
	}
	return noContent(w)
}

func noTag(r *http.Request) error {
	return fault.Wrap(identity.ErrNotFound, "Could not find project tag: %s.", r.PathValue("tag"))
}

func (h *handler) addTag(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	tag := r.PathValue("tag")
	if err := identity.CheckTag(tag); err != nil {
		return err
	}
	p, err := h.changeTags(r, func(tags []string) []string {
		if slices.Contains(tags, tag) {
			return tags
		}
		return append(tags, tag)
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.base(r)+"/v3/projects/"+p.ID+"/tags/"+tag)
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (h *handler) deleteTag(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	_, err := h.service.UpdateProject(r.Context(), r.PathValue("id"), func(p *identity.ProjectSpec) error {
		i := slices.Index(p.Tags, r.PathValue("tag"))
		if i < 0 {
			return noTag(r)
		}
		p.Tags = slices.Delete(p.Tags, i, i+1)
		return nil
	})
	if err != nil {
		return err
	}
	return noContent(w)
}

func (h *handler) domainRoutes() []wire.Route {
	return []wire.Route{
		admin(http.MethodGet, "/domains", "list_domains", h.listDomains),
		admin(http.MethodPost, "/domains", "create_domain", h.createDomain),
		route(http.MethodGet, "/domains/{id}", h.showDomain),
		admin(http.MethodPatch, "/domains/{id}", "update_domain", h.updateDomain),
		admin(http.MethodDelete, "/domains/{id}", "delete_domain", func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := h.service.DeleteDomain(r.Context(), r.PathValue("id")); err != nil {
				return err
			}
			return noContent(w)
		}),
	}
}

func (h *handler) domain(r *http.Request, d *identity.Project) object {
	tags := d.Tags
	if tags == nil {
		tags = []string{}
	}
	return with(d.Extra, object{
		"id": d.ID, "name": d.Name, "description": d.Description, "enabled": !d.Disabled, "tags": tags,
		"options": orEmpty(d.Options), "links": h.self(r, "domains", d.ID),
	})
}

func (h *handler) listDomains(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f, err := projectFilter(r)
	if err != nil {
		return err
	}
	yes := true
	f.IsDomain, f.DomainID, f.ParentID = &yes, "", ""
	domains, err := h.service.Projects(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "domains", domains, h.domain)
}

func readDomain(b *body, d *identity.ProjectSpec) error {
	b.text("name", &d.Name)
	b.optional("description", &d.Description)
	b.enabled(&d.Disabled)
	b.value("tags", &d.Tags, "array")
	b.value("options", &d.Options, "object")
	d.Extra = b.rest(d.Extra)
	return b.err
}

func (h *handler) createDomain(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "domain")
	if err != nil {
		return err
	}
	b.require("name")
	spec := identity.ProjectSpec{IsDomain: true}
	if err := readDomain(b, &spec); err != nil {
		return err
	}
	d, err := h.service.CreateProject(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"domain": h.domain(r, d)})
}

func (h *handler) showDomain(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
	id := r.PathValue("id")
	if !slices.Contains([]string{caller.DomainID, caller.ProjectDomainID, caller.UserDomainID}, id) {
		if err := caller.RequireAdmin("identity:get_domain"); err != nil {
			return err
		}
	}
	d, err := h.service.Domain(r.Context(), id)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"domain": h.domain(r, d)})
}

func (h *handler) updateDomain(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "domain")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	d, err := h.service.UpdateDomain(r.Context(), r.PathValue("id"), func(d *identity.ProjectSpec) error { return readDomain(b, d) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"domain": h.domain(r, d)})
}
