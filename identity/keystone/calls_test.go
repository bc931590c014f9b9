package keystone_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryCallOfTempest makes, in an order that makes sense, every identity call that Tempest's clients can make
// (federation, OAuth tokens and endpoint policies aside), with the statuses that Keystone answers. A word in
// capitals is what a step before it called so; "NAME=path.to.value" remembers one.
func TestEveryCallOfTempest(t *testing.T) {
	c := start(t)
	token := c.admin().TokenID
	user, project, _ := c.member("m")
	words := map[string]string{
		"ADMIN": c.role("admin"), "MEMBER": c.role("member"), "READER": c.role("reader"), "USER": user.ID, "PROJECT": project.ID,
	}
	for _, call := range []struct {
		method, path, body string
		status             int
		keep, has          string
	}{
		{"POST", "/v3/domains", `{"domain": {"name": "d"}}`, 201, "DOMAIN=domain.id", `"enabled":true`},
		{"GET", "/v3/domains?name=d", "", 200, "", "DOMAIN"},
		{"PATCH", "/v3/domains/DOMAIN", `{"domain": {"description": "x"}}`, 200, "", `"x"`},
		{"GET", "/v3/domains/DOMAIN", "", 200, "", `"x"`},
		{"POST", "/v3/projects", `{"project": {"name": "top", "domain_id": "DOMAIN"}}`, 201, "TOP=project.id", `"parent_id":"DOMAIN"`},
		{"POST", "/v3/projects", `{"project": {"name": "leaf", "domain_id": "DOMAIN", "parent_id": "TOP"}}`, 201, "LEAF=project.id", ""},
		{"GET", "/v3/projects?parent_id=TOP", "", 200, "", "LEAF"},
		{"GET", "/v3/projects/LEAF?parents_as_list", "", 200, "", "TOP"},
		{"GET", "/v3/projects/LEAF?parents_as_ids", "", 200, "", `"parents":{"TOP":null}`},
		{"GET", "/v3/projects/TOP?subtree_as_ids", "", 200, "", `"subtree":{"LEAF":null}`},
		{"GET", "/v3/projects/TOP?subtree_as_list", "", 200, "", "LEAF"},
		{"PATCH", "/v3/projects/LEAF", `{"project": {"enabled": false}}`, 200, "", `"enabled":false`},
		{"PUT", "/v3/projects/LEAF/tags", `{"tags": ["a", "b"]}`, 200, "", `["a","b"]`},
		{"PUT", "/v3/projects/LEAF/tags/c", "", 201, "", ""},
		{"GET", "/v3/projects/LEAF/tags/c", "", 204, "", ""},
		{"DELETE", "/v3/projects/LEAF/tags/c", "", 204, "", ""},
		{"GET", "/v3/projects/LEAF/tags/c", "", 404, "", ""},
		{"DELETE", "/v3/projects/LEAF/tags/c", "", 404, "", ""},
		{"GET", "/v3/projects?tags=a,b&not-tags=c&tags-any=b,x&not-tags-any=y", "", 200, "", "LEAF"},
		{"GET", "/v3/projects?not-tags-any=a&name=leaf", "", 200, "", `"projects":[]`},
		{"GET", "/v3/projects/LEAF/tags", "", 200, "", `["a","b"]`},
		{"DELETE", "/v3/projects/LEAF/tags", "", 204, "", ""},

		{"POST", "/v3/users", `{"user": {"name": "u", "domain_id": "DOMAIN", "email": "e"}}`, 201, "OTHER=user.id", `"email":"e"`},
		{"GET", "/v3/users?name=u&domain_id=DOMAIN&enabled=True", "", 200, "", "OTHER"},
		{"PATCH", "/v3/users/OTHER", `{"user": {"email": null, "description": "x"}}`, 200, "", `"x"`},
		{"POST", "/v3/groups", `{"group": {"name": "g", "domain_id": "DOMAIN"}}`, 201, "GROUP=group.id", ""},
		{"GET", "/v3/groups?name=g", "", 200, "", "GROUP"},
		{"PATCH", "/v3/groups/GROUP", `{"group": {"description": "x"}}`, 200, "", `"x"`},
		{"PUT", "/v3/groups/GROUP/users/OTHER", "", 204, "", ""},
		{"HEAD", "/v3/groups/GROUP/users/OTHER", "", 204, "", ""},
		{"GET", "/v3/groups/GROUP/users", "", 200, "", "OTHER"},
		{"GET", "/v3/users/OTHER/groups", "", 200, "", "GROUP"},

		{"PUT", "/v3/domains/DOMAIN/groups/GROUP/roles/MEMBER", "", 204, "", ""},
		{"HEAD", "/v3/domains/DOMAIN/groups/GROUP/roles/MEMBER", "", 204, "", ""},
		{"GET", "/v3/domains/DOMAIN/groups/GROUP/roles", "", 200, "", "MEMBER"},
		{"GET", "/v3/role_assignments?group.id=GROUP&include_names=1", "", 200, "", `"name":"g"`},
		{"GET", "/v3/role_assignments?user.id=OTHER&effective", "", 200, "", "/groups/GROUP/users/OTHER"},
		{"GET", "/v3/role_assignments?scope.domain.id=DOMAIN&role.id=MEMBER", "", 200, "", "GROUP"},
		{"DELETE", "/v3/domains/DOMAIN/groups/GROUP/roles/MEMBER", "", 204, "", ""},
		{"HEAD", "/v3/domains/DOMAIN/groups/GROUP/roles/MEMBER", "", 404, "", ""},
		{"PUT", "/v3/domains/DOMAIN/users/OTHER/roles/MEMBER", "", 204, "", ""},
		{"GET", "/v3/domains/DOMAIN/users/OTHER/roles", "", 200, "", "MEMBER"},
		{"DELETE", "/v3/domains/DOMAIN/users/OTHER/roles/MEMBER", "", 204, "", ""},
		{"PUT", "/v3/projects/TOP/groups/GROUP/roles/MEMBER", "", 204, "", ""},
		{"DELETE", "/v3/projects/TOP/groups/GROUP/roles/MEMBER", "", 204, "", ""},
		{"PUT", "/v3/projects/LEAF/users/OTHER/roles/READER", "", 204, "", ""},
		{"GET", "/v3/projects/LEAF/users/OTHER/roles", "", 200, "", "READER"},
		{"GET", "/v3/role_assignments?scope.project.id=TOP&include_subtree=true", "", 200, "", "LEAF"},
		{"GET", "/v3/role_assignments?scope.project.id=TOP&include_subtree=true&effective", "", 200, "", "LEAF"},
		{"PUT", "/v3/system/users/OTHER/roles/READER", "", 204, "", ""},
		{"HEAD", "/v3/system/users/OTHER/roles/READER", "", 204, "", ""},
		{"GET", "/v3/role_assignments?scope.system=all&user.id=OTHER", "", 200, "", `"system":{"all":true}`},
		{"DELETE", "/v3/system/users/OTHER/roles/READER", "", 204, "", ""},
		{"PUT", "/v3/system/groups/GROUP/roles/READER", "", 204, "", ""},
		{"GET", "/v3/system/groups/GROUP/roles", "", 200, "", "READER"},
		{"DELETE", "/v3/system/groups/GROUP/roles/READER", "", 204, "", ""},
		{"PUT", "/v3/OS-INHERIT/domains/DOMAIN/users/OTHER/roles/MEMBER/inherited_to_projects", "", 204, "", ""},
		{"HEAD", "/v3/OS-INHERIT/domains/DOMAIN/users/OTHER/roles/MEMBER/inherited_to_projects", "", 204, "", ""},
		{"GET", "/v3/OS-INHERIT/domains/DOMAIN/users/OTHER/roles/inherited_to_projects", "", 200, "", "MEMBER"},
		{"GET", "/v3/role_assignments?scope.OS-INHERIT:inherited_to=projects", "", 200, "", `"OS-INHERIT:inherited_to":"projects"`},
		{"GET", "/v3/role_assignments?effective=1&scope.project.id=LEAF&role.id=MEMBER", "", 200, "", "OTHER"},
		{"DELETE", "/v3/OS-INHERIT/domains/DOMAIN/users/OTHER/roles/MEMBER/inherited_to_projects", "", 204, "", ""},
		{"PUT", "/v3/OS-INHERIT/projects/TOP/groups/GROUP/roles/MEMBER/inherited_to_projects", "", 204, "", ""},
		{"DELETE", "/v3/OS-INHERIT/projects/TOP/groups/GROUP/roles/MEMBER/inherited_to_projects", "", 204, "", ""},

		{"POST", "/v3/roles", `{"role": {"name": "r"}}`, 201, "ROLE=role.id", `"domain_id":null`},
		{"GET", "/v3/roles?name=r", "", 200, "", "ROLE"},
		{"PATCH", "/v3/roles/ROLE", `{"role": {"name": "r2"}}`, 200, "", `"r2"`},
		{"PUT", "/v3/roles/ROLE/implies/READER", "", 201, "", "READER"},
		{"HEAD", "/v3/roles/ROLE/implies/READER", "", 204, "", ""},
		{"GET", "/v3/roles/ROLE/implies/READER", "", 200, "", "READER"},
		{"GET", "/v3/roles/ROLE/implies", "", 200, "", "READER"},
		{"GET", "/v3/role_inferences", "", 200, "", "ROLE"},
		{"DELETE", "/v3/roles/ROLE/implies/READER", "", 204, "", ""},
		{"HEAD", "/v3/roles/ROLE/implies/READER", "", 404, "", ""},
		{"DELETE", "/v3/roles/ROLE", "", 204, "", ""},

		{"POST", "/v3/services", `{"service": {"type": "t", "name": "n", "description": "d"}}`, 201, "SERVICE=service.id", ""},
		{"GET", "/v3/services?type=t", "", 200, "", "SERVICE"},
		{"GET", "/v3/services/SERVICE", "", 200, "", "SERVICE"},
		{"PATCH", "/v3/services/SERVICE", `{"service": {"enabled": false}}`, 200, "", `"enabled":false`},
		{"PUT", "/v3/regions/west", `{"region": {"description": "d"}}`, 201, "", "west"},
		{"PATCH", "/v3/regions/west", `{"region": {"parent_region_id": "RegionOne"}}`, 200, "", "RegionOne"},
		{"GET", "/v3/regions?parent_region_id=RegionOne", "", 200, "", "west"},
		{"GET", "/v3/regions/west", "", 200, "", "west"},
		{"POST", "/v3/endpoints", `{"endpoint": {"service_id": "SERVICE", "interface": "public", "url": "http://x", "region": "east"}}`, 201, "ENDPOINT=endpoint.id", "east"},
		{"GET", "/v3/endpoints?service_id=SERVICE&interface=public", "", 200, "", "ENDPOINT"},
		{"GET", "/v3/endpoints/ENDPOINT", "", 200, "", "ENDPOINT"},
		{"PATCH", "/v3/endpoints/ENDPOINT", `{"endpoint": {"region": "north", "enabled": false}}`, 200, "", "north"},
		{"DELETE", "/v3/endpoints/ENDPOINT", "", 204, "", ""},
		{"DELETE", "/v3/services/SERVICE", "", 204, "", ""},
		{"DELETE", "/v3/regions/north", "", 204, "", ""},
		{"DELETE", "/v3/regions/west", "", 204, "", ""},

		{"POST", "/v3/credentials", `{"credential": {"user_id": "USER", "project_id": "PROJECT", "type": "ec2", "blob": "{\"access\": \"a\", \"secret\": \"s\"}"}}`, 201, "CREDENTIAL=credential.id", ""},
		{"PATCH", "/v3/credentials/CREDENTIAL", `{"credential": {"type": "ec2", "blob": "{\"access\": \"a\", \"secret\": \"s2\"}"}}`, 200, "", "s2"},
		{"GET", "/v3/credentials?user_id=USER&type=ec2", "", 200, "", "CREDENTIAL"},
		{"GET", "/v3/credentials/CREDENTIAL", "", 200, "", "s2"},
		{"GET", "/v3/users/USER/credentials/OS-EC2/a", "", 200, "", "s2"},
		{"GET", "/v3/users/OTHER/credentials/OS-EC2/a", "", 404, "", ""},
		{"DELETE", "/v3/credentials/CREDENTIAL", "", 204, "", ""},
		{"POST", "/v3/policies", `{"policy": {"type": "t", "blob": "b"}}`, 201, "POLICY=policy.id", ""},
		{"PATCH", "/v3/policies/POLICY", `{"policy": {"type": "t2"}}`, 200, "", `"b"`},
		{"GET", "/v3/policies", "", 200, "", "POLICY"},
		{"GET", "/v3/policies/POLICY", "", 200, "", "t2"},
		{"DELETE", "/v3/policies/POLICY", "", 204, "", ""},
		{"POST", "/v3/OS-EP-FILTER/endpoint_groups", `{"endpoint_group": {"name": "e", "filters": {"interface": "public"}}}`, 201, "EPG=endpoint_group.id", ""},
		{"HEAD", "/v3/OS-EP-FILTER/endpoint_groups/EPG", "", 200, "", ""},
		{"DELETE", "/v3/OS-EP-FILTER/endpoint_groups/EPG", "", 204, "", ""},
		{"POST", "/v3/OS-OAUTH1/consumers", `{"consumer": {"description": "d"}}`, 201, "CONSUMER=consumer.id", "secret"},
		{"GET", "/v3/OS-OAUTH1/consumers/CONSUMER", "", 200, "", `"d"`},
		{"PATCH", "/v3/OS-OAUTH1/consumers/CONSUMER", `{"consumer": {"secret": "mine"}}`, 400, "", ""},
		{"DELETE", "/v3/OS-OAUTH1/consumers/CONSUMER", "", 204, "", ""},
		{"POST", "/v3/registered_limits", `{"registered_limits": [{"service_id": "s", "resource_name": "r", "default_limit": 1}]}`, 201, "", `"default_limit":1`},
		{"GET", "/v3/registered_limits?resource_name=none", "", 200, "", `"registered_limits":[]`},
		{"POST", "/v3/limits", `{"limits": [{"service_id": "s"}]}`, 400, "", "required"},

		{"DELETE", "/v3/groups/GROUP/users/OTHER", "", 204, "", ""},
		{"HEAD", "/v3/groups/GROUP/users/OTHER", "", 404, "", ""},
		{"DELETE", "/v3/groups/GROUP", "", 204, "", ""},
		{"DELETE", "/v3/users/OTHER", "", 204, "", ""},
		{"DELETE", "/v3/projects/LEAF", "", 204, "", ""},
		{"DELETE", "/v3/projects/TOP", "", 204, "", ""},
		{"PATCH", "/v3/domains/DOMAIN", `{"domain": {"enabled": false}}`, 200, "", ""},
		{"DELETE", "/v3/domains/DOMAIN", "", 204, "", ""},
		{"GET", "/v3/domains/DOMAIN", "", 404, "", "Could not find domain"},
		{"GET", "/v3/auth/catalog", "", 200, "", "keystone"},
		{"GET", "/v3/auth/projects", "", 200, "", "admin"},
		{"GET", "/v3/auth/domains", "", 200, "", `"domains":[]`},
		{"GET", "/v3/auth/system", "", 200, "", `"all":true`},
	} {
		known := []string{}
		for word, value := range words {
			known = append(known, word, value)
		}
		said := strings.NewReplacer(known...)
		a := c.do(call.method, said.Replace(call.path), token, said.Replace(call.body))
		require.Equal(t, call.status, a.status, "%s %s: %s", call.method, call.path, a.text)
		require.Contains(t, a.text, said.Replace(call.has), "%s %s", call.method, call.path)
		if word, path, found := strings.Cut(call.keep, "="); found {
			words[word] = a.at(strings.Split(path, ".")...).(string)
		}
	}
}

func TestAccessRules(t *testing.T) {
	c := start(t)
	user, _, token := c.member("m")
	base := "/v3/users/" + user.ID
	app := c.do("POST", base+"/application_credentials", token, `{"application_credential": {"name": "a", "expires_at": "2100-01-02T03:04:05.000006", "access_rules": [{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]}}`)
	require.Equal(t, 201, app.status, app.text)
	require.Equal(t, "2100-01-02T03:04:05.000006", app.at("application_credential", "expires_at"))
	rules := c.do("GET", base+"/access_rules", token, "").at("access_rules").([]any)
	require.Len(t, rules, 1)
	rule := base + "/access_rules/" + rules[0].(map[string]any)["id"].(string)
	require.Equal(t, 200, c.do("GET", rule, token, "").status)
	require.Equal(t, 403, c.do("DELETE", rule, token, "").status, "in use")
	require.Equal(t, 204, c.do("DELETE", base+"/application_credentials/"+app.at("application_credential", "id").(string), token, "").status)
	require.Equal(t, 204, c.do("DELETE", rule, token, "").status)
	require.Equal(t, 404, c.do("GET", rule, token, "").status)
	bad := c.do("POST", base+"/application_credentials", token, `{"application_credential": {"name": "a", "expires_at": "soon"}}`)
	require.Equal(t, 400, bad.status, bad.text)
}

// Who was lent some of a user's power must not get at the rest of it.
func TestLentPowerDoesNotGrow(t *testing.T) {
	c := start(t)
	user, project, token := c.member("m")
	base := "/v3/users/" + user.ID
	app := c.do("POST", base+"/application_credentials", token, `{"application_credential": {"name": "a", "roles": [{"name": "reader"}]}}`)
	require.Equal(t, 201, app.status, app.text)
	login := c.do("POST", "/v3/auth/tokens", "", `{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "`+
		app.at("application_credential", "id").(string)+`", "secret": "`+app.at("application_credential", "secret").(string)+`"}}}}`)
	require.Equal(t, 201, login.status, login.text)
	lent := login.header.Get("X-Subject-Token")
	for path, body := range map[string]string{
		base + "/credentials/OS-EC2":      `{"tenant_id": "` + project.ID + `"}`,
		base + "/application_credentials": `{"application_credential": {"name": "b"}}`,
		"/v3/credentials":                 `{"credential": {"type": "cert", "blob": "b"}}`,
		"/v3/OS-TRUST/trusts":             `{"trust": {"trustor_user_id": "` + user.ID + `", "trustee_user_id": "` + user.ID + `", "impersonation": true, "project_id": "` + project.ID + `", "roles": [{"name": "member"}]}}`,
	} {
		a := c.do("POST", path, lent, body)
		require.Equal(t, 403, a.status, "%s: %s", path, a.text)
		require.Equal(t, 201, c.do("POST", path, token, body).status, "its owner may: %s", path)
	}
	require.Equal(t, 403, c.do("GET", "/v3/credentials", lent, "").status, "secrets are not shown either")
	again := c.do("POST", "/v3/auth/tokens", "", `{"auth": {"identity": {"methods": ["token"], "token": {"id": "`+lent+`"}}}}`)
	require.Equal(t, 201, again.status)
	require.Len(t, again.at("token", "roles"), 1, "reader, and no more by another token")
}

func TestNoApplicationCredentialBegetsEC2Credentials(t *testing.T) {
	c := start(t)
	user, project, token := c.member("m")
	base := "/v3/users/" + user.ID
	app := c.do("POST", base+"/application_credentials", token, `{"application_credential": {"name": "a", "unrestricted": true}}`)
	require.Equal(t, 201, app.status, app.text)
	login := c.do("POST", "/v3/auth/tokens", "", `{"auth": {"identity": {"methods": ["application_credential"], "application_credential": {"id": "`+
		app.at("application_credential", "id").(string)+`", "secret": "`+app.at("application_credential", "secret").(string)+`"}}}}`)
	require.Equal(t, 201, login.status, login.text)
	lent := login.header.Get("X-Subject-Token")
	body := `{"tenant_id": "` + project.ID + `"}`
	mine := c.do("POST", base+"/credentials/OS-EC2", token, body)
	require.Equal(t, 201, mine.status, mine.text)
	for _, call := range [][3]string{
		{"POST", base + "/credentials/OS-EC2", body}, {"GET", base + "/credentials/OS-EC2", ""},
		{"GET", base + "/credentials/OS-EC2/" + mine.at("credential", "access").(string), ""}, {"GET", "/v3/credentials", ""},
		{"POST", "/v3/credentials", `{"credential": {"type": "ec2", "blob": "{}", "project_id": "` + project.ID + `"}}`},
	} {
		a := c.do(call[0], call[1], lent, call[2])
		require.Equal(t, 403, a.status, "%s %s: %s", call[0], call[1], a.text)
	}
	again := c.do("POST", base+"/application_credentials", lent, `{"application_credential": {"name": "b"}}`)
	require.Equal(t, 201, again.status, "what it is unrestricted for: %s", again.text)
}
