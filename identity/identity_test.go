package identity

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that only tests move.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_700_000_000+c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

const adminPassword = "admin's secret"

func open(t testing.TB, options Options) (*Service, *clock) {
	t.Helper()
	ctx := context.Background()
	db, err := postgres.Or(ctx, sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c := &clock{}
	if options.BcryptCost == 0 {
		options.BcryptCost = 4
	}
	options.Now = c.now
	s, err := New(ctx, db, fernet.New(nil), &options)
	require.NoError(t, err)
	require.NoError(t, s.Bootstrap(ctx, BootstrapSpec{AdminPassword: adminPassword, Services: []BootstrapService{
		{Type: "identity", Name: "keystone", Public: "http://127.0.0.1:5000/v3"},
		{Type: "object-store", Name: "swift", Public: "http://127.0.0.1:8080/v1/AUTH_$(project_id)s"},
	}}))
	return s, c
}

// someone is a user with a role on a project of its own.
type someone struct {
	user    *User
	project *Project
	role    string
}

func member(t testing.TB, s *Service, name string) someone {
	t.Helper()
	ctx := context.Background()
	project, err := s.CreateProject(ctx, ProjectSpec{Name: name, DomainID: DefaultDomainID})
	require.NoError(t, err)
	user, err := s.CreateUser(ctx, UserSpec{Name: name, Password: name + "'s secret"})
	require.NoError(t, err)
	role := roleNamed(t, s, RoleMember)
	require.NoError(t, s.Assign(ctx, Assignment{RoleID: role, UserID: user.ID, ProjectID: project.ID}))
	return someone{user, project, role}
}

func roleNamed(t testing.TB, s *Service, name string) string {
	t.Helper()
	roles, err := s.Roles(context.Background(), RoleFilter{Name: name})
	require.NoError(t, err)
	require.Len(t, roles, 1)
	return roles[0].ID
}

func (m someone) request() AuthRequest {
	return AuthRequest{
		Password: &PasswordProof{User: UserRef{ID: m.user.ID}, Password: m.user.Name + "'s secret"},
		Scope:    &ScopeRequest{Project: &ProjectRef{ID: m.project.ID}},
	}
}

func (m someone) login(t testing.TB, s *Service) string {
	t.Helper()
	value, _, err := s.Authenticate(context.Background(), m.request())
	require.NoError(t, err)
	return value
}

func roleNames(roles []Role) []string {
	names := []string{}
	for _, r := range roles {
		names = append(names, r.Name)
	}
	return names
}

func TestBootstrapCanBeRepeated(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	again := BootstrapSpec{AdminPassword: "another", Services: []BootstrapService{
		{Type: "identity", Name: "keystone", Public: "http://127.0.0.1:15000/v3", Internal: "http://127.0.0.2:5000/v3"},
	}}
	require.NoError(t, s.Bootstrap(ctx, again))
	require.NoError(t, s.Bootstrap(ctx, again))
	_, token, err := s.Authenticate(ctx, AuthRequest{
		Password: &PasswordProof{User: UserRef{Name: AdminUser, DomainName: "Default"}, Password: adminPassword},
		Scope:    &ScopeRequest{Project: &ProjectRef{Name: AdminProject, DomainID: DefaultDomainID}},
	})
	require.NoError(t, err, "the admin keeps its password")
	require.Equal(t, []string{"admin", "member", "reader"}, roleNames(token.Roles))
	require.True(t, token.IsAdmin())
	catalog, err := s.Catalog(ctx, &token.Caller)
	require.NoError(t, err)
	require.Len(t, catalog, 2)
	urls := map[string]string{}
	for _, e := range catalog[0].Endpoints {
		urls[e.Interface] = e.URL
	}
	require.Equal(t, map[string]string{Public: "http://127.0.0.1:15000/v3", Internal: "http://127.0.0.2:5000/v3", Admin: "http://127.0.0.1:15000/v3"}, urls)
	require.Equal(t, "http://127.0.0.1:8080/v1/AUTH_"+token.ProjectID, catalog[1].Endpoints[0].URL)
	catalog, err = s.Catalog(ctx, &Caller{UserID: "u"})
	require.NoError(t, err)
	require.Empty(t, catalog[1].Endpoints, "without a project there is no address")
}

func TestBootstrapNeedsAPasswordOnce(t *testing.T) {
	db, err := postgres.Or(t.Context(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := New(t.Context(), db, fernet.New(nil), &Options{BcryptCost: 4})
	require.NoError(t, err)
	require.ErrorIs(t, s.Bootstrap(t.Context(), BootstrapSpec{}), ErrInvalid)
	require.NoError(t, s.Bootstrap(t.Context(), BootstrapSpec{AdminPassword: "x"}))
	require.NoError(t, s.Bootstrap(t.Context(), BootstrapSpec{}))
}

func TestARandomPasswordIsCheckedWithoutBcrypt(t *testing.T) {
	s, _ := open(t, Options{})
	u, err := s.CreateUser(t.Context(), UserSpec{Name: "robot", Password: "F2ZB6KX3QJ5W7N4TLMHVAOCEDY", PasswordRandom: true})
	require.NoError(t, err)
	require.NotContains(t, u.PasswordHash, u.Password)
	login := func(password string) error {
		_, _, err := s.Authenticate(t.Context(), AuthRequest{Password: &PasswordProof{User: UserRef{ID: u.ID}, Password: password}})
		return err
	}
	require.NoError(t, login("F2ZB6KX3QJ5W7N4TLMHVAOCEDY"))
	for _, wrong := range []string{"", "F2ZB6KX3QJ5W7N4TLMHVAOCEDZ", u.PasswordHash} {
		require.ErrorIs(t, login(wrong), ErrUnauthorized)
	}
	require.NoError(t, s.ChangePassword(t.Context(), u.ID, "F2ZB6KX3QJ5W7N4TLMHVAOCEDY", "simple"))
	require.NoError(t, login("simple"))
	require.ErrorIs(t, login("F2ZB6KX3QJ5W7N4TLMHVAOCEDY"), ErrUnauthorized)
}

func TestNamesAreUniqueWhereTheyMustBe(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	other, err := s.CreateProject(ctx, ProjectSpec{Name: "other", IsDomain: true})
	require.NoError(t, err)
	for what, create := range map[string]func(domain string) error{
		"project": func(d string) error {
			_, err := s.CreateProject(ctx, ProjectSpec{Name: "n", DomainID: d})
			return err
		},
		"user":  func(d string) error { _, err := s.CreateUser(ctx, UserSpec{Name: "n", DomainID: d}); return err },
		"group": func(d string) error { _, err := s.CreateGroup(ctx, GroupSpec{Name: "n", DomainID: d}); return err },
		"role":  func(d string) error { _, err := s.CreateRole(ctx, Role{Name: "n", DomainID: d}); return err },
	} {
		require.NoError(t, create(DefaultDomainID), what)
		require.NoError(t, create(other.ID), what)
		err := create(other.ID)
		require.ErrorIs(t, err, ErrConflict, what)
		require.ErrorContains(t, err, "Duplicate entry found with name n at domain ID "+other.ID)
		require.ErrorIs(t, create("nowhere"), ErrNotFound, what)
	}
	_, err = s.CreateProject(ctx, ProjectSpec{Name: "other", IsDomain: true})
	require.ErrorIs(t, err, ErrConflict)
}

func TestProjectsFormATree(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	parent := DefaultDomainID
	var ids []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		p, err := s.CreateProject(ctx, ProjectSpec{Name: name, ParentID: parent})
		require.NoError(t, err)
		require.Equal(t, DefaultDomainID, p.DomainID)
		parent = p.ID
		ids = append(ids, p.ID)
	}
	_, err := s.CreateProject(ctx, ProjectSpec{Name: "f", ParentID: parent})
	require.ErrorIs(t, err, ErrForbidden, "too deep")
	require.ErrorIs(t, s.DeleteProject(ctx, ids[0]), ErrForbidden, "not a leaf")
	below, err := s.Subtree(ctx, ids[2])
	require.NoError(t, err)
	require.Equal(t, []string{ids[3], ids[4]}, []string{below[0].ID, below[1].ID})
	above, err := s.Ancestors(ctx, ids[2])
	require.NoError(t, err)
	require.Equal(t, []string{ids[1], ids[0]}, []string{above[0].ID, above[1].ID})
	_, err = s.UpdateProject(ctx, ids[0], func(p *ProjectSpec) error { p.ParentID = ids[1]; return nil })
	require.ErrorIs(t, err, ErrInvalid)
	require.NoError(t, s.DeleteProject(ctx, ids[4]))
}

func TestDeletingADomainDeletesAllInIt(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	d, err := s.CreateProject(ctx, ProjectSpec{Name: "d", IsDomain: true})
	require.NoError(t, err)
	p, err := s.CreateProject(ctx, ProjectSpec{Name: "p", DomainID: d.ID})
	require.NoError(t, err)
	_, err = s.CreateProject(ctx, ProjectSpec{Name: "below", ParentID: p.ID})
	require.NoError(t, err)
	u, err := s.CreateUser(ctx, UserSpec{Name: "u", DomainID: d.ID})
	require.NoError(t, err)
	g, err := s.CreateGroup(ctx, GroupSpec{Name: "g", DomainID: d.ID})
	require.NoError(t, err)
	require.NoError(t, s.AddMember(ctx, g.ID, u.ID))
	r, err := s.CreateRole(ctx, Role{Name: "r", DomainID: d.ID})
	require.NoError(t, err)
	require.NoError(t, s.Assign(ctx, Assignment{RoleID: r.ID, GroupID: g.ID, DomainID: d.ID}))
	require.ErrorIs(t, s.DeleteDomain(ctx, d.ID), ErrForbidden, "still enabled")
	_, err = s.UpdateDomain(ctx, d.ID, func(d *ProjectSpec) error { d.Disabled = true; return nil })
	require.NoError(t, err)
	require.NoError(t, s.DeleteDomain(ctx, d.ID))
	for _, err := range []error{
		second(s.Project(ctx, p.ID)), second(s.User(ctx, u.ID)), second(s.Group(ctx, g.ID)), second(s.Role(ctx, r.ID)), second(s.Domain(ctx, d.ID)),
	} {
		require.ErrorIs(t, err, ErrNotFound)
	}
	left, err := s.Assignments(ctx, AssignmentFilter{})
	require.NoError(t, err)
	require.Len(t, left, 2, "the admin's")
	_, err = s.UpdateDomain(ctx, DefaultDomainID, func(d *ProjectSpec) error { d.Disabled = true; return nil })
	require.ErrorIs(t, err, ErrForbidden)
}

func second[T any](_ T, err error) error { return err }

func TestRolesComeByGroupInheritanceAndImplication(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	top, err := s.CreateProject(ctx, ProjectSpec{Name: "top", DomainID: DefaultDomainID})
	require.NoError(t, err)
	leaf, err := s.CreateProject(ctx, ProjectSpec{Name: "leaf", ParentID: top.ID})
	require.NoError(t, err)
	u, err := s.CreateUser(ctx, UserSpec{Name: "u"})
	require.NoError(t, err)
	g, err := s.CreateGroup(ctx, GroupSpec{Name: "g"})
	require.NoError(t, err)
	require.NoError(t, s.AddMember(ctx, g.ID, u.ID))
	require.NoError(t, s.AddMember(ctx, g.ID, u.ID), "twice is once")
	names := func(scope Scope) []string {
		roles, err := s.RolesOn(ctx, u.ID, scope)
		require.NoError(t, err)
		return roleNames(roles)
	}
	require.Empty(t, names(Scope{ProjectID: leaf.ID}))

	inherited := Assignment{RoleID: roleNamed(t, s, RoleMember), GroupID: g.ID, ProjectID: top.ID, Inherited: true}
	require.NoError(t, s.Assign(ctx, inherited))
	require.Equal(t, []string{"member", "reader"}, names(Scope{ProjectID: leaf.ID}))
	require.Empty(t, names(Scope{ProjectID: top.ID}), "below it only")
	require.NoError(t, s.Unassign(ctx, inherited))
	require.Empty(t, names(Scope{ProjectID: leaf.ID}))
	require.ErrorIs(t, s.Unassign(ctx, inherited), ErrNotFound)

	onDomain := Assignment{RoleID: roleNamed(t, s, RoleReader), UserID: u.ID, DomainID: DefaultDomainID, Inherited: true}
	require.NoError(t, s.Assign(ctx, onDomain))
	require.Equal(t, []string{"reader"}, names(Scope{ProjectID: leaf.ID}))
	require.Equal(t, []string{"reader"}, names(Scope{ProjectID: top.ID}))
	require.Empty(t, names(Scope{DomainID: DefaultDomainID}))
	require.NoError(t, s.Unassign(ctx, onDomain))

	// A domain's role is seen by what it implies alone.
	local, err := s.CreateRole(ctx, Role{Name: "local", DomainID: DefaultDomainID})
	require.NoError(t, err)
	require.NoError(t, s.Assign(ctx, Assignment{RoleID: local.ID, UserID: u.ID, ProjectID: leaf.ID}))
	require.Empty(t, names(Scope{ProjectID: leaf.ID}))
	require.NoError(t, s.Imply(ctx, local.ID, roleNamed(t, s, RoleReader)))
	require.Equal(t, []string{"reader"}, names(Scope{ProjectID: leaf.ID}))
	require.ErrorIs(t, s.Imply(ctx, local.ID, roleNamed(t, s, RoleAdmin)), ErrForbidden)
	require.ErrorIs(t, s.Imply(ctx, roleNamed(t, s, RoleReader), local.ID), ErrForbidden)

	list, err := s.Assignments(ctx, AssignmentFilter{UserID: u.ID, Effective: true})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, local.ID, list[0].PriorRoleID)
	mine, err := s.ProjectsOf(ctx, u.ID, ProjectFilter{})
	require.NoError(t, err)
	require.Len(t, mine, 1)
	require.Equal(t, leaf.ID, mine[0].ID)
}

func TestImplicationsMayFormACircle(t *testing.T) {
	s, _ := open(t, Options{})
	ctx := t.Context()
	m := member(t, s, "m")
	require.NoError(t, s.Imply(ctx, roleNamed(t, s, RoleReader), roleNamed(t, s, RoleMember)))
	roles, err := s.RolesOn(ctx, m.user.ID, Scope{ProjectID: m.project.ID})
	require.NoError(t, err)
	require.Equal(t, []string{"member", "reader"}, roleNames(roles))
}

func TestListsArePaged(t *testing.T) {
	s, _ := open(t, Options{})
	for _, name := range []string{"c", "a", "b"} {
		member(t, s, name)
	}
	first, err := s.Users(t.Context(), UserFilter{Page: Page{Limit: 2}})
	require.NoError(t, err)
	require.Len(t, first, 2)
	rest, err := s.Users(t.Context(), UserFilter{Page: Page{Marker: first[1].ID}})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "admin", "b", "c"}, []string{first[0].Name, first[1].Name, rest[0].Name, rest[1].Name})
	_, err = s.Users(t.Context(), UserFilter{Page: Page{Marker: "nobody"}})
	require.ErrorIs(t, err, ErrInvalid)
}
