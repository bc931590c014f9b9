package keystone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/identity"
	"github.com/stretchr/testify/require"
)

func serviceFilter(kind string) identity.ServiceFilter { return identity.ServiceFilter{Type: kind} }

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	c := start(t)
	token := c.admin().TokenID
	user, project, _ := c.member("m")
	before := c.inventory(token)
	for _, bad := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/v3/projects", "", 400, "no body"},
		{"POST", "/v3/projects", "{", 400, "malformed"},
		{"POST", "/v3/projects", "[]", 400, "not allowed"},
		{"POST", "/v3/projects", "{}", 400, "Expecting to find project"},
		{"POST", "/v3/projects", `{"project": null}`, 400, "not an object"},
		{"POST", "/v3/projects", `{"project": "p"}`, 400, "not an object"},
		{"POST", "/v3/projects", `{"project": {}}`, 400, "'name' is a required property"},
		{"POST", "/v3/projects", `{"project": {"name": ""}}`, 400, "1 to 64"},
		{"POST", "/v3/projects", `{"project": {"name": null}}`, 400, "not of type 'string'"},
		{"POST", "/v3/projects", `{"project": {"name": 7}}`, 400, "not of type 'string'"},
		{"POST", "/v3/projects", `{"project": {"name": "` + strings.Repeat("x", 65) + `"}}`, 400, "1 to 64"},
		{"POST", "/v3/projects", `{"project": {"name": "p", "enabled": "yes"}}`, 400, "not of type 'boolean'"},
		{"POST", "/v3/projects", `{"project": {"name": "p", "tags": ["a", "a"]}}`, 400, "twice"},
		{"POST", "/v3/projects", `{"project": {"name": "p", "tags": ["a/b"]}}`, 400, "slash"},
		{"POST", "/v3/projects", `{"project": {"name": "p", "domain_id": "nowhere"}}`, 404, "Could not find project: nowhere."},
		{"POST", "/v3/projects", `{"project": {"name": "p", "parent_id": "nowhere"}}`, 404, "nowhere"},
		{"POST", "/v3/projects", `{"project": {"name": "m"}}`, 409, "Duplicate entry"},
		{"POST", "/v3/projects", `{"project": {"name": "` + strings.Repeat("x", 2<<20) + `"}}`, 413, "too large"},
		{"PATCH", "/v3/projects/" + project.ID, `{"project": {"id": "another"}}`, 400, "Cannot change ID"},
		{"PATCH", "/v3/projects/" + project.ID, `{"project": {"domain_id": "another"}}`, 400, "cannot be changed"},
		{"PATCH", "/v3/projects/nothing", `{"project": {"name": "x"}}`, 404, "Could not find project: nothing."},
		{"DELETE", "/v3/projects/nothing", "", 404, "Could not find project: nothing."},
		{"DELETE", "/v3/projects/default", "", 403, "disable it first"},
		{"PUT", "/v3/projects/" + project.ID + "/tags/a,b", "", 400, "comma"},
		{"PUT", "/v3/projects/" + project.ID + "/tags", `{"tags": 3}`, 400, "tags"},
		{"GET", "/v3/projects?limit=many", "", 400, "limit"},
		{"GET", "/v3/projects?marker=nothing", "", 400, "marker"},
		{"GET", "/v3/projects?enabled=perhaps", "", 400, "enabled"},
		{"POST", "/v3/users", `{"user": {"name": "u", "password": 5}}`, 400, "not of type 'string'"},
		{"POST", "/v3/users", `{"user": {"name": "u", "password": "` + strings.Repeat("x", 5000) + `"}}`, 400, "4096"},
		{"POST", "/v3/users", `{"user": {"name": "u", "domain_id": "nowhere"}}`, 404, "Could not find domain: nowhere."},
		{"POST", "/v3/users", `{"user": {"name": "m"}}`, 409, "Duplicate entry"},
		{"PATCH", "/v3/users/" + user.ID, `{"user": {"domain_id": "another"}}`, 400, "cannot be changed"},
		{"POST", "/v3/users/" + user.ID + "/password", `{"user": {"password": "x"}}`, 400, "original_password"},
		{"POST", "/v3/users/" + user.ID + "/password", `{"user": {"password": "x", "original_password": "guess"}}`, 401, "requires authentication"},
		{"POST", "/v3/users/nobody/password", `{"user": {"password": "x", "original_password": "guess"}}`, 401, "requires authentication"},
		{"POST", "/v3/roles", `{"role": {"name": "admin"}}`, 409, "Duplicate entry"},
		{"PUT", "/v3/projects/" + project.ID + "/users/" + user.ID + "/roles/nothing", "", 404, "Could not find role: nothing."},
		{"PUT", "/v3/projects/" + project.ID + "/users/nobody/roles/" + c.role("member"), "", 404, "Could not find user: nobody."},
		{"PUT", "/v3/projects/nothing/users/" + user.ID + "/roles/" + c.role("member"), "", 404, "Could not find project: nothing."},
		{"DELETE", "/v3/projects/" + project.ID + "/users/" + user.ID + "/roles/" + c.role("admin"), "", 404, "role assignment"},
		{"PUT", "/v3/roles/" + c.role("reader") + "/implies/" + c.role("admin"), "", 403, "may not be implied"},
		{"GET", "/v3/role_assignments?include_subtree", "", 400, "scope.project.id"},
		{"POST", "/v3/endpoints", `{"endpoint": {"interface": "public", "url": "http://x", "service_id": "nothing"}}`, 400, "service"},
		{"POST", "/v3/endpoints", `{"endpoint": {"interface": "side", "url": "http://x", "service_id": "nothing"}}`, 400, "interface"},
		{"POST", "/v3/endpoints", `{"endpoint": {"interface": "public", "url": "http://x/$(password)s", "service_id": "nothing"}}`, 400, "Malformed"},
		{"POST", "/v3/endpoints", `{"endpoint": {"interface": "public", "url": "http://x", "service_id": "n", "enabled": "False"}}`, 400, "boolean"},
		{"POST", "/v3/regions", `{"region": {"id": "RegionOne"}}`, 409, "Duplicate"},
		{"PUT", "/v3/regions/a", `{"region": {"id": "b"}}`, 400, "Cannot change ID"},
		{"PATCH", "/v3/regions/RegionOne", `{"region": {"parent_region_id": "RegionOne"}}`, 400, "below itself"},
		{"POST", "/v3/credentials", `{"credential": {"type": "ec2", "blob": "no json"}}`, 400, "blob"},
		{"POST", "/v3/policies", `{"policy": {"blob": "x"}}`, 400, "type"},
		{"POST", "/v3/OS-TRUST/trusts", `{"trust": {"trustor_user_id": "x"}}`, 400, "trustee_user_id"},
		{"POST", "/v3/OS-TRUST/trusts", `{"trust": {"trustor_user_id": "` + user.ID + `", "trustee_user_id": "x", "impersonation": true}}`, 403, "create_trust"},
		{"GET", "/v3/nothing", "", 404, "could not be found"},
		{"PUT", "/v3/users", "", 405, "not allowed"},
	} {
		a := c.do(bad.method, bad.path, token, bad.body)
		what := fmt.Sprintf("%s %s %.80s: %s", bad.method, bad.path, bad.body, a.text)
		require.Equal(t, bad.status, a.status, what)
		require.Contains(t, a.at("error", "message"), bad.says, what)
		require.EqualValues(t, bad.status, a.at("error", "code"), what)
		require.NotEmpty(t, a.at("error", "title"), what)
		require.Equal(t, before, c.inventory(token), what)
	}
}

// inventory is all that bad input could have changed.
func (c *cloud) inventory(token string) string {
	all := ""
	for _, path := range []string{"projects", "users", "roles", "role_assignments", "endpoints", "regions", "credentials", "policies"} {
		all += c.do("GET", "/v3/"+path, token, "").text
	}
	return all
}

func TestBadLogins(t *testing.T) {
	c := start(t)
	good := `"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": "secret"}}}`
	for body, status := range map[string]int{
		``:             400,
		`{`:            400,
		`{}`:           400,
		`{"auth": {}}`: 400,
		`{"auth": {"identity": {"methods": []}}}`:                                                                                                     400,
		`{"auth": {"identity": {"methods": ["password"]}}}`:                                                                                           400,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}}}`:                                                  400,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}}}`:                                 400,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"name": "Default"}, "password": "x"}}}}}`:  401,
		`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "nobody", "domain": {"name": "Nowhere"}, "password": "x"}}}}}`: 401,
		`{"auth": {"identity": {"methods": ["token"], "token": {"id": "gAAAAA"}}}}`:                                                                   401,
		`{"auth": {"identity": {"methods": ["token"]}}}`:                                                                                              400,
		`{"auth": {"identity": {"methods": ["magic"]}}}`:                                                                                              401,
		`{"auth": {"identity": {"methods": "password"}}}`:                                                                                             400,
		`{"auth": {` + good + `, "scope": {}}}`:                                                                                                       400,
		`{"auth": {` + good + `, "scope": "everything"}}`:                                                                                             400,
		`{"auth": {` + good + `, "scope": {"project": {"name": "admin"}}}}`:                                                                           400,
		`{"auth": {` + good + `, "scope": {"system": {"all": false}}}}`:                                                                               400,
		`{"auth": {` + good + `, "scope": {"project": {"id": "x"}, "system": {"all": true}}}}`:                                                        400,
		`{"auth": {` + good + `, "scope": {"project": {"id": "nothing"}}}}`:                                                                           401,
		`{"auth": {` + good + `, "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}`:                                              201,
		`{"auth": {` + good + `, "scope": "unscoped"}}`:                                                                                               201,
		`{"auth": {` + good + `, "scope": {"unscoped": {}}}}`:                                                                                         201,
		`{"auth": {` + good + `}}`: 201,
	} {
		a := c.do("POST", "/v3/auth/tokens", "", body)
		require.Equal(t, status, a.status, "%s: %s", body, a.text)
		if status == 401 && !strings.Contains(body, "magic") {
			require.Equal(t, "The request you have made requires authentication.", a.at("error", "message"))
		}
		require.Equal(t, status == 201, a.header.Get("X-Subject-Token") != "", body)
	}
}

func TestListsHaveLinksToTheNextPage(t *testing.T) {
	c := start(t)
	token := c.admin().TokenID
	for _, name := range []string{"a", "b", "c"} {
		c.member(name)
	}
	path, names := "/v3/users?limit=2", []any{}
	for pages := 0; path != ""; pages++ {
		require.Less(t, pages, 4)
		a := c.do("GET", path, token, "")
		require.Equal(t, c.url+path, a.at("links", "self"))
		for _, u := range a.at("users").([]any) {
			names = append(names, u.(map[string]any)["name"])
		}
		next, _ := a.at("links", "next").(string)
		path = strings.TrimPrefix(next, c.url)
	}
	require.Equal(t, []any{"a", "admin", "b", "c"}, names)
}

func TestUsersSeeTheirOwn(t *testing.T) {
	c := start(t)
	user, project, token := c.member("m")
	for path, status := range map[string]int{
		"/v3/users/" + user.ID: 200, "/v3/users/" + user.ID + "/projects": 200, "/v3/users/" + user.ID + "/groups": 200,
		"/v3/projects/" + project.ID: 200, "/v3/projects/" + project.ID + "/tags": 200, "/v3/domains/default": 200,
		"/v3/users/" + user.ID + "/application_credentials": 200, "/v3/users/" + user.ID + "/access_rules": 200,
		"/v3/OS-TRUST/trusts?trustor_user_id=" + user.ID: 200, "/v3/OS-TRUST/trusts": 403,
		"/v3/users/" + user.ID + "/credentials/OS-EC2": 200,
	} {
		require.Equal(t, status, c.do("GET", path, token, "").status, path)
	}
	a := c.do("HEAD", "/v3/auth/tokens", token, "", "X-Subject-Token", token)
	require.Equal(t, 200, a.status)
	require.Equal(t, 204, c.do("DELETE", "/v3/auth/tokens", token, "", "X-Subject-Token", token).status)
	require.Equal(t, 401, c.do("GET", "/v3/users/"+user.ID, token, "").status)
}

func TestDomainConfigurationsAreKept(t *testing.T) {
	c := start(t)
	token := c.admin().TokenID
	for _, step := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"GET", "/v3/domains/config/ldap/default", "", 200, "user_tree_dn"},
		{"GET", "/v3/domains/config/identity/driver/default", "", 200, "sql"},
		{"GET", "/v3/domains/config/identity/nothing/default", "", 404, ""},
		{"PUT", "/v3/domains/nowhere/config", `{"config": {"ldap": {"url": "a"}}}`, 404, ""},
		{"PUT", "/v3/domains/default/config", `{"config": {"other": {}}}`, 403, ""},
		{"PUT", "/v3/domains/default/config", `{"config": {}}`, 400, ""},
		{"PUT", "/v3/domains/default/config", `{"config": {"ldap": {"url": "a", "password": "hush"}}}`, 201, `"url":"a"`},
		{"PATCH", "/v3/domains/default/config", `{"config": {"ldap": {"url": "b"}}}`, 200, `"url":"b"`},
		{"GET", "/v3/domains/default/config/ldap/url", "", 200, `"url":"b"`},
		{"GET", "/v3/domains/default/config/ldap/password", "", 404, ""},
		{"PATCH", "/v3/domains/default/config/identity", `{"config": {"identity": {"driver": "x"}}}`, 404, ""},
		{"DELETE", "/v3/domains/default/config/ldap/url", "", 204, ""},
		{"DELETE", "/v3/domains/default/config/ldap/url", "", 404, ""},
		{"DELETE", "/v3/domains/default/config/ldap", "", 204, ""},
		{"DELETE", "/v3/domains/default/config", "", 204, ""},
		{"GET", "/v3/domains/default/config", "", 404, ""},
	} {
		a := c.do(step.method, step.path, token, step.body)
		require.Equal(t, step.status, a.status, "%s %s: %s", step.method, step.path, a.text)
		require.Contains(t, a.text, step.has)
		require.NotContains(t, a.text, "hush")
	}
}

func BenchmarkTokenIssue(b *testing.B) {
	c := start(b)
	_, _, token := c.member("m")
	body := `{"auth": {"identity": {"methods": ["token"], "token": {"id": "` + token + `"}}}}`
	for b.Loop() {
		require.Equal(b, 201, c.do("POST", "/v3/auth/tokens", "", body).status)
	}
}

func BenchmarkTokenValidate(b *testing.B) {
	c := start(b)
	_, _, token := c.member("m")
	for b.Loop() {
		require.Equal(b, 200, c.do("GET", "/v3/auth/tokens", token, "", "X-Subject-Token", token).status)
	}
}
