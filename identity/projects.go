package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

const (
	projectNameLength = 64
	userNameLength    = 255
	maxTags           = 80
	// maxDepth is how deep projects may nest below their domain, as Keystone's max_project_tree_depth.
	maxDepth = 5
)

// ProjectFilter says which projects to list; empty fields do not filter.
type ProjectFilter struct {
	Page
	IDs                      []string
	Name, DomainID, ParentID string
	Enabled, IsDomain        *bool
	// Tags must all, TagsAny one at least, NotTags not all, NotTagsAny none be there.
	Tags, TagsAny, NotTags, NotTagsAny []string
}

// CreateProject creates a project, or a domain where spec.IsDomain says so.
func (s *Service) CreateProject(ctx context.Context, spec ProjectSpec) (*Project, error) {
	return s.createProject(ctx, newID(), spec)
}

func (s *Service) createProject(ctx context.Context, id string, spec ProjectSpec) (*Project, error) {
	p := &Project{ID: id, ProjectSpec: spec, Generation: 1}
	err := s.update(ctx, func(tx *record.Tx) error {
		if err := s.placeProject(tx, p); err != nil {
			return err
		}
		if err := checkProject(p); err != nil {
			return err
		}
		return duplicate(s.projects.Insert(tx, p), p.what(), p.Name, p.DomainID)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// placeProject finds the project's place in the tree: every project stands below its domain.
func (s *Service) placeProject(tx *record.Tx, p *Project) error {
	if p.IsDomain {
		if p.DomainID != "" || p.ParentID != "" {
			return fault.Wrap(ErrInvalid, "A domain has neither a parent nor a domain.")
		}
		return nil
	}
	if p.ParentID == "" {
		p.ParentID = p.DomainID
	}
	parent, err := get(tx, s.projects, "project", p.ParentID)
	if err != nil {
		return err
	}
	domain := parent.DomainID
	if parent.IsDomain {
		domain = parent.ID
	}
	if p.DomainID == "" {
		p.DomainID = domain
	}
	if p.DomainID != domain {
		return fault.Wrap(ErrInvalid, "Cannot create project: the parent belongs to another domain than %s.", p.DomainID)
	}
	if parent.Disabled {
		return fault.Wrap(ErrForbidden, "Cannot create project: the parent %s is disabled.", p.ParentID)
	}
	above, err := s.ancestors(tx, parent)
	if err != nil {
		return err
	}
	if len(above) >= maxDepth {
		return fault.Wrap(ErrForbidden, "Max hierarchy depth reached for %s branch.", parent.ID)
	}
	return nil
}

func (p *Project) what() string {
	if p.IsDomain {
		return "domain"
	}
	return "project"
}

func checkProject(p *Project) error {
	if err := checkName(p.what(), p.Name, projectNameLength); err != nil {
		return err
	}
	if len(p.Tags) > maxTags {
		return fault.Wrap(ErrInvalid, "A project has at most %d tags.", maxTags)
	}
	for i, tag := range p.Tags {
		if err := CheckTag(tag); err != nil {
			return err
		}
		if slices.Contains(p.Tags[:i], tag) {
			return fault.Wrap(ErrInvalid, "Invalid input for field 'tags': %q is there twice.", tag)
		}
	}
	return nil
}

// CheckTag refuses tags that OpenStack's API refuses.
func CheckTag(tag string) error {
	if tag == "" || len(tag) > 255 || strings.ContainsAny(tag, ",/") {
		return fault.Wrap(ErrInvalid, "Invalid input for field 'tags': a tag has 1 to 255 characters, none of them a comma or a slash.")
	}
	return nil
}

// Project returns the project (or domain) with that identifier.
func (s *Service) Project(ctx context.Context, id string) (*Project, error) {
	return get(s.store.Read(ctx), s.projects, "project", id)
}

// Domain returns the domain with that identifier.
func (s *Service) Domain(ctx context.Context, id string) (*Project, error) {
	return s.domain(s.store.Read(ctx), id)
}

func (s *Service) domain(tx *record.Tx, id string) (*Project, error) {
	d, err := get(tx, s.projects, "domain", id)
	if err == nil && !d.IsDomain {
		return nil, notFound("domain", id)
	}
	return d, err
}

// Projects lists projects, by name.
func (s *Service) Projects(ctx context.Context, f ProjectFilter) ([]Project, error) {
	var w where
	w.text("name", f.Name)
	w.text("domain_id", f.DomainID)
	w.text("parent_id", f.ParentID)
	w.flag("enabled", f.Enabled)
	w.flag("is_domain", f.IsDomain)
	if f.IDs != nil {
		w = append(w, record.In("id", f.IDs...))
	}
	query := f.query(w, record.Order{Column: "name"})
	if len(f.Tags)+len(f.TagsAny)+len(f.NotTags)+len(f.NotTagsAny) == 0 {
		return s.projects.List(s.store.Read(ctx), query)
	}
	// Tags are looked at here, so the page is cut here too.
	query.Limit = 0
	list, err := s.projects.List(s.store.Read(ctx), query)
	list = slices.DeleteFunc(list, func(p Project) bool { return !f.tagged(p.Tags) })
	if f.Limit > 0 {
		list = list[:min(f.Limit, len(list))]
	}
	return list, err
}

func (f *ProjectFilter) tagged(tags []string) bool {
	has := func(tag string) bool { return slices.Contains(tags, tag) }
	all := func(wanted []string) bool {
		return !slices.ContainsFunc(wanted, func(t string) bool { return !has(t) })
	}
	return all(f.Tags) && (len(f.TagsAny) == 0 || slices.ContainsFunc(f.TagsAny, has)) &&
		(len(f.NotTags) == 0 || !all(f.NotTags)) && !slices.ContainsFunc(f.NotTagsAny, has)
}

// UpdateProject lets change alter what is known of the project. It may be called more than once. What a project
// belongs to cannot be changed. Disabling a project ends its tokens; a domain's users can no longer log in.
func (s *Service) UpdateProject(ctx context.Context, id string, change func(*ProjectSpec) error) (*Project, error) {
	return s.modifyProject(ctx, id, "project", change)
}

// UpdateDomain is [Service.UpdateProject] for domains alone.
func (s *Service) UpdateDomain(ctx context.Context, id string, change func(*ProjectSpec) error) (*Project, error) {
	return s.modifyProject(ctx, id, "domain", change)
}

func (s *Service) modifyProject(ctx context.Context, id, what string, change func(*ProjectSpec) error) (updated *Project, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		p, err := get(tx, s.projects, what, id)
		if err != nil {
			return err
		}
		if what == "domain" && !p.IsDomain {
			return notFound(what, id)
		}
		before := p.ProjectSpec
		if err := change(&p.ProjectSpec); err != nil {
			return err
		}
		if p.DomainID != before.DomainID || p.ParentID != before.ParentID || p.IsDomain != before.IsDomain {
			return fault.Wrap(ErrInvalid, "A project's domain and parent cannot be changed.")
		}
		if p.IsDomain && p.ID == DefaultDomainID && p.Disabled {
			return fault.Wrap(ErrForbidden, "The default domain cannot be disabled.")
		}
		if p.Disabled && !before.Disabled {
			p.Generation++
		}
		if err := checkProject(p); err != nil {
			return err
		}
		updated = p
		return duplicate(s.projects.Update(tx, p), p.what(), p.Name, p.DomainID)
	})
	return updated, err
}

// DeleteProject deletes a project that has none below it, with its role assignments and what depends on it.
func (s *Service) DeleteProject(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		p, err := get(tx, s.projects, "project", id)
		if err != nil {
			return err
		}
		if p.IsDomain {
			return s.deleteDomain(tx, p)
		}
		below, err := s.projects.Count(tx, record.Eq("parent_id", id))
		if err != nil {
			return err
		}
		if below > 0 {
			return fault.Wrap(ErrForbidden, "Cannot delete the project %s since it is not a leaf in the hierarchy.", id)
		}
		return s.dropProject(tx, id)
	})
}

func (s *Service) dropProject(tx *record.Tx, id string) error {
	if err := deleteAll(tx, s.assignments, (*Assignment).key, record.Eq("project_id", id)); err != nil {
		return err
	}
	if err := deleteAll(tx, s.credentials, func(c *Credential) string { return c.ID }, record.Eq("project_id", id)); err != nil {
		return err
	}
	if err := deleteAll(tx, s.appCreds, func(c *ApplicationCredential) string { return c.ID }, record.Eq("project_id", id)); err != nil {
		return err
	}
	if err := deleteAll(tx, s.trusts, func(t *Trust) string { return t.ID }, record.Eq("project_id", id)); err != nil {
		return err
	}
	users, err := s.users.List(tx, record.Query{Where: []record.Condition{record.Eq("default_project_id", id)}})
	if err != nil {
		return err
	}
	for i := range users {
		users[i].DefaultProjectID = ""
		if err := s.users.Update(tx, &users[i]); err != nil {
			return err
		}
	}
	return s.projects.Delete(tx, id)
}

// DeleteDomain deletes a disabled domain with everything in it.
func (s *Service) DeleteDomain(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		d, err := s.domain(tx, id)
		if err != nil {
			return err
		}
		return s.deleteDomain(tx, d)
	})
}

func (s *Service) deleteDomain(tx *record.Tx, d *Project) error {
	if !d.Disabled {
		return fault.Wrap(ErrForbidden, "Cannot delete a domain that is enabled, please disable it first.")
	}
	inside := []record.Condition{record.Eq("domain_id", d.ID)}
	projects, err := s.projects.List(tx, record.Query{Where: inside})
	if err != nil {
		return err
	}
	users, err := s.users.List(tx, record.Query{Where: inside})
	if err != nil {
		return err
	}
	groups, err := s.groups.List(tx, record.Query{Where: inside})
	if err != nil {
		return err
	}
	roles, err := s.roles.List(tx, record.Query{Where: inside})
	if err != nil {
		return err
	}
	for _, drop := range []func() error{
		func() error { return each(projects, func(p *Project) error { return s.dropProject(tx, p.ID) }) },
		func() error { return each(users, func(u *User) error { return s.dropUser(tx, u.ID) }) },
		func() error { return each(groups, func(g *Group) error { return s.dropGroup(tx, g.ID) }) },
		func() error { return each(roles, func(r *Role) error { return s.dropRole(tx, r.ID) }) },
		func() error {
			return deleteAll(tx, s.documents, func(c *Document) string { return c.Kind + "/" + c.ID }, record.Eq("owner", d.ID))
		},
		func() error { return deleteAll(tx, s.assignments, (*Assignment).key, record.Eq("domain_id", d.ID)) },
	} {
		if err := drop(); err != nil {
			return err
		}
	}
	return s.dropProject(tx, d.ID)
}

func each[T any](list []T, fn func(*T) error) error {
	for i := range list {
		if err := fn(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// ancestors are the projects above p, nearest first; the last is its domain.
func (s *Service) ancestors(tx *record.Tx, p *Project) ([]Project, error) {
	var above []Project
	for p.ParentID != "" && len(above) <= maxDepth {
		parent, err := get(tx, s.projects, "project", p.ParentID)
		if err != nil {
			return nil, err
		}
		above, p = append(above, *parent), parent
	}
	return above, nil
}

// Ancestors returns the projects above one, nearest first, without the domain.
func (s *Service) Ancestors(ctx context.Context, id string) ([]Project, error) {
	tx := s.store.Read(ctx)
	p, err := get(tx, s.projects, "project", id)
	if err != nil {
		return nil, err
	}
	above, err := s.ancestors(tx, p)
	return slices.DeleteFunc(above, func(p Project) bool { return p.IsDomain }), err
}

// Subtree returns all projects below one, each after its parent.
func (s *Service) Subtree(ctx context.Context, id string) ([]Project, error) {
	return s.subtree(s.store.Read(ctx), id)
}

func (s *Service) subtree(tx *record.Tx, id string) ([]Project, error) {
	var below []Project
	level := []string{id}
	for len(level) > 0 {
		children, err := s.projects.List(tx, record.Query{Where: []record.Condition{record.In("parent_id", level...)}})
		if err != nil {
			return nil, err
		}
		level = level[:0]
		for i := range children {
			level = append(level, children[i].ID)
		}
		below = append(below, children...)
	}
	return below, nil
}
