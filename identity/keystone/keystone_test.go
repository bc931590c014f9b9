package keystone_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/identity/keystone"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "secret"

type cloud struct {
	t       testing.TB
	service *identity.Service
	url     string
}

func start(t testing.TB) *cloud {
	t.Helper()
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	service, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 4})
	require.NoError(t, err)
	server := httptest.NewServer(keystone.Handler(service, nil))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	require.NoError(t, service.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: password, Services: []identity.BootstrapService{
		{Type: "identity", Name: "keystone", Public: server.URL + "/v3"},
		{Type: "object-store", Name: "swift", Public: "http://127.0.0.1:8080/v1/AUTH_$(project_id)s"},
	}}))
	return &cloud{t, service, server.URL}
}

// client logs in with gophercloud.
func (c *cloud) client(options gophercloud.AuthOptions) *gophercloud.ServiceClient {
	c.t.Helper()
	client, err := c.tryClient(options)
	require.NoError(c.t, err)
	return client
}

func (c *cloud) tryClient(options gophercloud.AuthOptions) (*gophercloud.ServiceClient, error) {
	options.IdentityEndpoint = c.url
	provider, err := openstack.NewClient(options.IdentityEndpoint)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if err := openstack.Authenticate(context.Background(), provider, options); err != nil {
		return nil, err
	}
	return openstack.NewIdentityV3(provider, gophercloud.EndpointOpts{})
}

func (c *cloud) admin() *gophercloud.ServiceClient {
	c.t.Helper()
	return c.client(gophercloud.AuthOptions{Username: "admin", Password: password, DomainName: "Default", TenantName: "admin"})
}

// member is a user with the role member on a project, both of that name.
func (c *cloud) member(name string) (user *identity.User, project *identity.Project, token string) {
	c.t.Helper()
	ctx := context.Background()
	project, err := c.service.CreateProject(ctx, identity.ProjectSpec{Name: name, DomainID: identity.DefaultDomainID})
	require.NoError(c.t, err)
	user, err = c.service.CreateUser(ctx, identity.UserSpec{Name: name, Password: password})
	require.NoError(c.t, err)
	require.NoError(c.t, c.service.Assign(ctx, identity.Assignment{RoleID: c.role("member"), UserID: user.ID, ProjectID: project.ID}))
	token, _, err = c.service.Authenticate(ctx, identity.AuthRequest{
		Password: &identity.PasswordProof{User: identity.UserRef{ID: user.ID}, Password: password},
		Scope:    &identity.ScopeRequest{Project: &identity.ProjectRef{ID: project.ID}},
	})
	require.NoError(c.t, err)
	return user, project, token
}

func (c *cloud) role(name string) string {
	roles, err := c.service.Roles(context.Background(), identity.RoleFilter{Name: name})
	require.NoError(c.t, err)
	require.Len(c.t, roles, 1)
	return roles[0].ID
}

type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// do makes one request by hand.
func (c *cloud) do(method, path, token, body string, headers ...string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	if len(text) > 0 {
		require.NoError(c.t, json.Unmarshal(text, &a.body), a.text)
	}
	return a
}

// at walks into the answer: at("error", "code").
func (a answer) at(path ...string) any {
	var v any = a.body
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func TestDiscovery(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/v3", "/v3/"} {
		a := c.do("GET", path, "", "")
		require.Equal(t, 200, a.status)
		require.Equal(t, "stable", a.at("version", "status"))
	}
	root := c.do("GET", "/", "", "")
	require.Equal(t, 300, root.status)
	require.Len(t, root.at("versions", "values"), 1)
	require.Contains(t, root.text, c.url+"/v3/")
}

func TestLinksUseThePublicAddress(t *testing.T) {
	c := start(t)
	h := keystone.Handler(c.service, &keystone.Options{PublicURL: "https://cloud.example:5000/"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v3", nil))
	require.Contains(t, w.Body.String(), `"https://cloud.example:5000/v3/"`)
}

func TestRoutesAreData(t *testing.T) {
	c := start(t)
	seen := map[string]bool{}
	for _, r := range keystone.Routes(c.service, nil) {
		require.False(t, seen[r.Method+r.Path], r.Path)
		seen[r.Method+r.Path] = true
		require.NotNil(t, r.Serve)
	}
	require.Greater(t, len(seen), 150)
}

// fill replaces the names in a route's path by something that does not exist.
func fill(path string) string {
	for {
		before, rest, found := strings.Cut(path, "{")
		if !found {
			return path
		}
		_, after, _ := strings.Cut(rest, "}")
		path = before + "nothing" + after
	}
}

func TestWithoutATokenNothingIsTold(t *testing.T) {
	c := start(t)
	for _, r := range keystone.Routes(c.service, nil) {
		if r.Public {
			continue
		}
		for _, token := range []string{"", "gAAAAA-not-a-token"} {
			a := c.do(r.Method, fill(r.Path), token, "{}")
			require.Equal(t, 401, a.status, "%s %s", r.Method, r.Path)
			require.Equal(t, `Keystone uri="`+c.url+`/v3"`, a.header.Get("Www-Authenticate"))
		}
	}
}

func TestMembersMayDoLittle(t *testing.T) {
	c := start(t)
	_, _, token := c.member("m")
	// Everything that a member gets an answer to though it names nothing of its own. What names another's gets 404
	// where the member can have its own, and 403 elsewhere.
	own := map[string]int{
		"GET /v3/auth/tokens": 404, "DELETE /v3/auth/tokens": 404, "GET /v3/auth/projects": 200, "GET /v3/auth/domains": 200,
		"GET /v3/auth/catalog": 200, "GET /v3/auth/system": 200, "GET /v3/regions": 200, "GET /v3/regions/{id}": 404,
		"GET /v3/credentials": 200, "POST /v3/credentials": 400, "GET /v3/credentials/{id}": 404,
		"PATCH /v3/credentials/{id}": 400, "DELETE /v3/credentials/{id}": 404, "POST /v3/OS-TRUST/trusts": 400,
		"GET /v3/OS-TRUST/trusts/{id}": 404, "DELETE /v3/OS-TRUST/trusts/{id}": 404, "GET /v3/OS-TRUST/trusts/{id}/roles": 404,
		"GET /v3/OS-TRUST/trusts/{id}/roles/{role}": 404, "GET /v3/limits/model": 200, "GET /v3/registered_limits": 200,
		"GET /v3/OS-FEDERATION/projects": 200, "GET /v3/OS-FEDERATION/domains": 200, "GET /v3/registered_limits/{id}": 404, "GET /v3/limits": 200, "GET /v3/limits/{id}": 404,
	}
	for _, r := range keystone.Routes(c.service, nil) {
		if r.Public {
			continue
		}
		want, known := own[r.Method+" "+r.Path]
		if !known {
			want = 403
		}
		a := c.do(r.Method, fill(r.Path), token, "{}")
		require.Equal(t, want, a.status, "%s %s: %s", r.Method, r.Path, a.text)
	}
}

func TestNobodyLearnsWhatExists(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	_, _, token := c.member("m")
	user, project, _ := c.member("other")
	group, err := c.service.CreateGroup(ctx, identity.GroupSpec{Name: "g"})
	require.NoError(t, err)
	domain, err := c.service.CreateProject(ctx, identity.ProjectSpec{Name: "d", IsDomain: true})
	require.NoError(t, err)
	credential, err := c.service.CreateCredential(ctx, identity.Credential{UserID: user.ID, Type: "cert", Blob: "x"})
	require.NoError(t, err)
	trust, err := c.service.CreateTrust(ctx, identity.Trust{TrustorID: user.ID, TrusteeID: user.ID, ProjectID: project.ID, RoleIDs: []string{c.role("member")}})
	require.NoError(t, err)
	for path, id := range map[string]string{
		"/v3/users/": user.ID, "/v3/projects/": project.ID, "/v3/groups/": group.ID, "/v3/domains/": domain.ID,
		"/v3/credentials/": credential.ID, "/v3/OS-TRUST/trusts/": trust.ID,
	} {
		for _, method := range []string{"GET", "DELETE"} {
			there, gone := c.do(method, path+id, token, ""), c.do(method, path+"0123456789abcdef0123456789abcdef", token, "")
			require.Equal(t, gone.status, there.status, path)
			require.Equal(t, strings.ReplaceAll(gone.text, "0123456789abcdef0123456789abcdef", id), there.text)
		}
	}
	for _, path := range []string{"/v3/auth/projects", "/v3/credentials"} {
		require.NotContains(t, c.do("GET", path, token, "").text, user.ID, path)
		require.NotContains(t, c.do("GET", path, token, "").text, project.ID, path)
	}
}
