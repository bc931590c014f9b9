package neutron_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/neutron"
	"github.com/stretchr/testify/require"
)

func TestListsFilterSortAndPage(t *testing.T) {
	c := start(t, nil)
	made := map[string]string{}
	for i := range 7 {
		name := fmt.Sprintf("n%d", i)
		made[name] = id(c.must(t, 201, "demo", "POST", "/v2.0/networks", fmt.Sprintf(`{"network": {"name": %q, "description": "d%d", "admin_state_up": %t}}`, name, i%2, i%3 != 0), "network"))
	}
	c.must(t, 201, "other", "POST", "/v2.0/networks", `{"network": {"name": "n0"}}`, "network")
	names := func(query string) []string {
		answer := c.must(t, 200, "demo", "GET", "/v2.0/networks?"+query, "", "")
		var names []string
		for _, n := range answer["networks"].([]any) {
			names = append(names, n.(map[string]any)["name"].(string))
		}
		return names
	}
	require.Equal(t, []string{"n0", "n3", "n6"}, names("admin_state_up=False&sort_key=name"))
	require.Equal(t, []string{"n5", "n1"}, names("description=d1&admin_state_up=true&sort_key=name&sort_dir=desc"))
	require.Equal(t, []string{"n1", "n2"}, names("name=n1&name=n2&name=nx&sort_key=name&sort_dir=asc"))
	require.Equal(t, []string{"n3"}, names("id="+made["n3"]))
	require.Equal(t, []string{"n0", "n2"}, names("description=d0&sort_key=name&limit=2"))
	require.Nil(t, names("tenant_id=other"))
	require.Nil(t, names("name=n"))
	require.Equal(t, map[string]any{"id": made["n1"]}, c.must(t, 200, "demo", "GET", "/v2.0/networks?name=n1&fields=id", "", "")["networks"].([]any)[0])
	require.Equal(t, map[string]any{"name": "n1"}, c.must(t, 200, "demo", "GET", "/v2.0/networks/"+made["n1"]+"?fields=name", "", "network"))

	// Forwards by the links, to the end, and back.
	path := "/v2.0/networks?limit=3&sort_key=description&sort_dir=desc&sort_key=name&sort_dir=asc"
	var forth []string
	var last string
	for path != "" {
		last = path
		answer := c.must(t, 200, "demo", "GET", path, "", "")
		for _, n := range answer["networks"].([]any) {
			forth = append(forth, n.(map[string]any)["name"].(string))
		}
		path = link(t, answer, "next")
	}
	require.Equal(t, []string{"n1", "n3", "n5", "n0", "n2", "n4", "n6"}, forth)
	answer := c.must(t, 200, "demo", "GET", link(t, c.must(t, 200, "demo", "GET", last, "", ""), "previous"), "", "")
	require.Equal(t, []string{made["n0"], made["n2"], made["n4"]}, ids(t, answer, "networks"))
}

// link is the path of the link of that kind, or empty.
func link(t testing.TB, answer map[string]any, rel string) string {
	t.Helper()
	links, _ := answer["networks_links"].([]any)
	for _, l := range links {
		if l := l.(map[string]any); l["rel"] == rel {
			u, err := url.Parse(l["href"].(string))
			require.NoError(t, err)
			return u.RequestURI()
		}
	}
	return ""
}

func TestPortsAreFoundByAddressAndGroup(t *testing.T) {
	c := start(t, nil)
	net := id(c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {}}`, "network"))
	subnet := id(c.must(t, 201, "demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "`+net+`", "ip_version": 4, "cidr": "192.0.2.0/24", "enable_dhcp": false}}`, "subnet"))
	var ports []map[string]any
	for range 2 {
		ports = append(ports, c.must(t, 201, "demo", "POST", "/v2.0/ports", `{"port": {"network_id": "`+net+`", "device_id": ""}}`, "port"))
	}
	group := ports[0]["security_groups"].([]any)[0].(string)
	for query, want := range map[string]int{
		"fixed_ips=ip_address%3D192.0.2.2": 1, "fixed_ips=ip_address%3D192.0.2.22": 0, "fixed_ips=subnet_id%3D" + subnet: 2,
		"fixed_ips=ip_address%3D192.0.2.3&fixed_ips=subnet_id%3D" + subnet: 1, "fixed_ips=ip_address_substr%3D2.0.2": 2, "security_groups=" + group: 2,
		"device_id=": 2, "device_id=x": 0, "mac_address=" + ports[1]["mac_address"].(string): 1, "network_id=" + net: 2,
	} {
		require.Len(t, ids(t, c.must(t, 200, "demo", "GET", "/v2.0/ports?"+query, "", ""), "ports"), want, query)
	}
	require.NotContains(t, ports[0], "binding:host_id", "for admins only")
	require.Contains(t, c.must(t, 200, "admin", "GET", "/v2.0/ports/"+id(ports[0]), "", "port"), "binding:host_id")
}

func TestBulkIsAllOrNothing(t *testing.T) {
	c := start(t, &network.Options{Quotas: map[string]int{"network": 2}})
	c.must(t, 409, "demo", "POST", "/v2.0/networks", `{"networks": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}`, "")
	require.Empty(t, ids(t, c.must(t, 200, "demo", "GET", "/v2.0/networks", "", ""), "networks"))
	require.Len(t, ids(t, c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"networks": [{"name": "a"}, {"name": "b"}]}`, ""), "networks"), 2)
}

func TestDiscovery(t *testing.T) {
	c := start(t, nil)
	require.Equal(t, "v2.0", id(c.must(t, 200, "", "GET", "/", "", "")["versions"].([]any)[0].(map[string]any)))
	require.NotEmpty(t, c.must(t, 200, "", "GET", "/v2.0/", "", "")["resources"])
	for _, e := range c.must(t, 200, "demo", "GET", "/v2.0/extensions", "", "")["extensions"].([]any) {
		alias := e.(map[string]any)["alias"].(string)
		require.Equal(t, e, any(c.must(t, 200, "demo", "GET", "/v2.0/extensions/"+alias, "", "extension")))
	}
	require.Equal(t, "demo", c.must(t, 200, "demo", "GET", "/v2.0/quotas/tenant", "", "tenant")["tenant_id"])
	c.must(t, 200, "demo", "GET", "/v2.0/service-providers", "", "")
	c.must(t, 200, "demo", "GET", "/v2.0/availability_zones", "", "")
}

func TestRevisionsGuardChanges(t *testing.T) {
	c := start(t, nil)
	net := id(c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {"name": "a"}}`, "network"))
	change := func(condition string) int {
		r, err := http.NewRequestWithContext(t.Context(), "PUT", c.server.URL+"/v2.0/networks/"+net, strings.NewReader(`{"network": {"name": "b"}}`))
		require.NoError(t, err)
		r.Header.Set("X-Auth-Token", "demo")
		r.Header.Set("If-Match", condition)
		w, err := c.server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, w.Body.Close())
		return w.StatusCode
	}
	require.Equal(t, 200, change("revision_number=1"))
	require.Equal(t, 412, change("revision_number=1"))
}

func TestOthersShareTheEndpoint(t *testing.T) {
	c := startWith(t, nil, &neutron.Options{Extensions: []neutron.Extension{{Alias: "lbaas", Name: "LoadBalancing service"}}})
	require.Equal(t, "LoadBalancing service", c.must(t, 200, "demo", "GET", "/v2.0/extensions/lbaas", "", "extension")["name"])
}
