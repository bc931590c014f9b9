package identity

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

type tables struct {
	projects     *record.Table[Project]
	users        *record.Table[User]
	groups       *record.Table[Group]
	members      *record.Table[membership]
	roles        *record.Table[Role]
	implications *record.Table[implication]
	assignments  *record.Table[Assignment]
	services     *record.Table[CatalogService]
	endpoints    *record.Table[Endpoint]
	regions      *record.Table[Region]
	credentials  *record.Table[Credential]
	trusts       *record.Table[Trust]
	appCreds     *record.Table[ApplicationCredential]
	accessRules  *record.Table[AccessRule]
	documents    *record.Table[Document]
	revocations  *record.Table[revocation]
}

// unindexed are columns that lists are filtered by only together with others, or that only name a few values.
var unindexed = []string{"enabled", "is_domain", "default_project_id", "inherited", "system"}

func define(store *record.Store) tables {
	return tables{
		projects: record.Define(store, "projects", record.Spec[Project]{
			Key: func(p *Project) string { return p.ID }, Revision: func(p *Project) *int64 { return &p.Revision },
			Event:     (*Project).told,
			Unindexed: unindexed,
			Columns: []record.Column[Project]{
				{Name: "name", Value: func(p *Project) any { return p.Name }},
				{Name: "domain_id", Value: func(p *Project) any { return orNil(p.DomainID) }},
				{Name: "parent_id", Value: func(p *Project) any { return orNil(p.ParentID) }},
				{Name: "enabled", Value: func(p *Project) any { return !p.Disabled }},
				{Name: "is_domain", Value: func(p *Project) any { return p.IsDomain }},
			},
			Claims: func(p *Project) []record.Claim { return named("project", p.DomainID, p.Name) },
		}),
		users: record.Define(store, "users", record.Spec[User]{
			Key: func(u *User) string { return u.ID }, Revision: func(u *User) *int64 { return &u.Revision },
			Event:     told[User]("user"),
			Unindexed: unindexed,
			Columns: []record.Column[User]{
				{Name: "name", Value: func(u *User) any { return u.Name }},
				{Name: "domain_id", Value: func(u *User) any { return u.DomainID }},
				{Name: "enabled", Value: func(u *User) any { return !u.Disabled }},
				{Name: "default_project_id", Value: func(u *User) any { return orNil(u.DefaultProjectID) }},
			},
			Claims: func(u *User) []record.Claim { return named("user", u.DomainID, u.Name) },
		}),
		groups: record.Define(store, "groups", record.Spec[Group]{
			Key: func(g *Group) string { return g.ID }, Revision: func(g *Group) *int64 { return &g.Revision },
			Event: told[Group]("group"),
			Columns: []record.Column[Group]{
				{Name: "name", Value: func(g *Group) any { return g.Name }},
				{Name: "domain_id", Value: func(g *Group) any { return g.DomainID }},
			},
			Claims: func(g *Group) []record.Claim { return named("group", g.DomainID, g.Name) },
		}),
		members: record.Define(store, "members", record.Spec[membership]{
			Key:      func(m *membership) string { return m.GroupID + "/" + m.UserID },
			Revision: func(m *membership) *int64 { return &m.Revision },
			Event:    told[membership]("group_member"),
			Columns: []record.Column[membership]{
				{Name: "group_id", Value: func(m *membership) any { return m.GroupID }},
				{Name: "user_id", Value: func(m *membership) any { return m.UserID }},
			},
		}),
		roles: record.Define(store, "roles", record.Spec[Role]{
			Key: func(r *Role) string { return r.ID }, Revision: func(r *Role) *int64 { return &r.Revision },
			Event: told[Role]("role"),
			Columns: []record.Column[Role]{
				{Name: "name", Value: func(r *Role) any { return r.Name }},
				{Name: "domain_id", Value: func(r *Role) any { return orNil(r.DomainID) }},
			},
			Claims: func(r *Role) []record.Claim { return named("role", r.DomainID, r.Name) },
		}),
		implications: record.Define(store, "implications", record.Spec[implication]{
			Key:      func(i *implication) string { return i.Prior + "/" + i.Implied },
			Revision: func(i *implication) *int64 { return &i.Revision },
			Event:    told[implication]("role_implication"),
			Columns: []record.Column[implication]{
				{Name: "prior", Value: func(i *implication) any { return i.Prior }},
				{Name: "implied", Value: func(i *implication) any { return i.Implied }},
			},
		}),
		assignments: defineAssignments(store),
		services: record.Define(store, "services", record.Spec[CatalogService]{
			Key: func(s *CatalogService) string { return s.ID }, Revision: func(s *CatalogService) *int64 { return &s.Revision },
			Event: told[CatalogService]("service"),
			Columns: []record.Column[CatalogService]{
				{Name: "name", Value: func(s *CatalogService) any { return s.Name }},
				{Name: "type", Value: func(s *CatalogService) any { return s.Type }},
			},
		}),
		endpoints: record.Define(store, "endpoints", record.Spec[Endpoint]{
			Key: func(e *Endpoint) string { return e.ID }, Revision: func(e *Endpoint) *int64 { return &e.Revision },
			Event: told[Endpoint]("endpoint"),
			Columns: []record.Column[Endpoint]{
				{Name: "service_id", Value: func(e *Endpoint) any { return e.ServiceID }},
				{Name: "region_id", Value: func(e *Endpoint) any { return orNil(e.RegionID) }},
				{Name: "interface", Value: func(e *Endpoint) any { return e.Interface }},
			},
		}),
		regions: record.Define(store, "regions", record.Spec[Region]{
			Key: func(r *Region) string { return r.ID }, Revision: func(r *Region) *int64 { return &r.Revision },
			Event:   told[Region]("region"),
			Columns: []record.Column[Region]{{Name: "parent_id", Value: func(r *Region) any { return orNil(r.ParentID) }}},
		}),
		credentials: record.Define(store, "credentials", record.Spec[Credential]{
			Key: func(c *Credential) string { return c.ID }, Revision: func(c *Credential) *int64 { return &c.Revision },
			Event: told[Credential]("credential"),
			Columns: []record.Column[Credential]{
				{Name: "user_id", Value: func(c *Credential) any { return c.UserID }},
				{Name: "project_id", Value: func(c *Credential) any { return orNil(c.ProjectID) }},
				{Name: "type", Value: func(c *Credential) any { return c.Type }},
			},
		}),
		trusts:      defineTrusts(store),
		appCreds:    defineAppCreds(store),
		accessRules: defineAccessRules(store),
		documents: record.Define(store, "documents", record.Spec[Document]{
			Key: func(d *Document) string { return d.Kind + "/" + d.ID }, Revision: func(d *Document) *int64 { return &d.Revision },
			Event: (*Document).told,
			Columns: []record.Column[Document]{
				{Name: "kind", Value: func(d *Document) any { return d.Kind }},
				{Name: "owner", Value: func(d *Document) any { return orNil(d.Owner) }},
			},
		}),
		revocations: record.Define(store, "revocations", record.Spec[revocation]{
			Key: func(r *revocation) string { return r.AuditID }, Revision: func(r *revocation) *int64 { return &r.Revision },
			Columns: []record.Column[revocation]{{Name: "expires_at", Value: func(r *revocation) any { return r.ExpiresAt.UTC().Format(time.RFC3339) }}},
		}),
	}
}

func defineAssignments(store *record.Store) *record.Table[Assignment] {
	return record.Define(store, "assignments", record.Spec[Assignment]{
		Key: (*Assignment).key, Revision: func(a *Assignment) *int64 { return &a.Revision },
		Event:     told[Assignment]("role_assignment"),
		Unindexed: unindexed,
		Columns: []record.Column[Assignment]{
			{Name: "role_id", Value: func(a *Assignment) any { return a.RoleID }},
			{Name: "user_id", Value: func(a *Assignment) any { return orNil(a.UserID) }},
			{Name: "group_id", Value: func(a *Assignment) any { return orNil(a.GroupID) }},
			{Name: "project_id", Value: func(a *Assignment) any { return orNil(a.ProjectID) }},
			{Name: "domain_id", Value: func(a *Assignment) any { return orNil(a.DomainID) }},
			{Name: "system", Value: func(a *Assignment) any { return a.System }},
			{Name: "inherited", Value: func(a *Assignment) any { return a.Inherited }},
		},
	})
}

func defineTrusts(store *record.Store) *record.Table[Trust] {
	return record.Define(store, "trusts", record.Spec[Trust]{
		Key: func(t *Trust) string { return t.ID }, Revision: func(t *Trust) *int64 { return &t.Revision },
		Event: told[Trust]("trust"),
		Columns: []record.Column[Trust]{
			{Name: "trustor_id", Value: func(t *Trust) any { return t.TrustorID }},
			{Name: "trustee_id", Value: func(t *Trust) any { return t.TrusteeID }},
			{Name: "project_id", Value: func(t *Trust) any { return orNil(t.ProjectID) }},
			{Name: "redelegated_trust_id", Value: func(t *Trust) any { return orNil(t.RedelegatedTrustID) }},
		},
	})
}

func defineAppCreds(store *record.Store) *record.Table[ApplicationCredential] {
	return record.Define(store, "application_credentials", record.Spec[ApplicationCredential]{
		Key: func(c *ApplicationCredential) string { return c.ID }, Revision: func(c *ApplicationCredential) *int64 { return &c.Revision },
		Event: told[ApplicationCredential]("application_credential"),
		Columns: []record.Column[ApplicationCredential]{
			{Name: "name", Value: func(c *ApplicationCredential) any { return c.Name }},
			{Name: "user_id", Value: func(c *ApplicationCredential) any { return c.UserID }},
			{Name: "project_id", Value: func(c *ApplicationCredential) any { return c.ProjectID }},
		},
		Claims: func(c *ApplicationCredential) []record.Claim {
			return named("application credential", c.UserID, c.Name)
		},
	})
}

func defineAccessRules(store *record.Store) *record.Table[AccessRule] {
	return record.Define(store, "access_rules", record.Spec[AccessRule]{
		Key: func(r *AccessRule) string { return r.ID }, Revision: func(r *AccessRule) *int64 { return &r.Revision },
		Event:   told[AccessRule]("access_rule"),
		Columns: []record.Column[AccessRule]{{Name: "user_id", Value: func(r *AccessRule) any { return r.UserID }}},
	})
}

// key says the whole assignment, so that it can exist once only.
func (a *Assignment) key() string {
	actor, target, below := "user:"+a.UserID, "system", ""
	if a.GroupID != "" {
		actor = "group:" + a.GroupID
	}
	if a.ProjectID != "" {
		target = "project:" + a.ProjectID
	} else if a.DomainID != "" {
		target = "domain:" + a.DomainID
	}
	if a.Inherited {
		below = "/inherited"
	}
	return actor + "/" + target + "/" + a.RoleID + below
}

// named makes a name unique within its scope.
func named(kind, scope, name string) []record.Claim {
	return []record.Claim{{Space: kind + " name", Value: scope + "/" + name}}
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}
