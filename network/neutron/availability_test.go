package neutron_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/network"
)

func TestAvailabilityOfAddresses(t *testing.T) {
	c := start(t, &network.Options{})
	net := id(c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {"name": "a"}}`, "network"))
	c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {"name": "bare"}}`, "network")
	c.must(t, 201, "demo", "POST", "/v2.0/subnets", `{"subnet": {"name": "four", "network_id": "`+net+`", "ip_version": 4, "cidr": "192.0.2.0/24", "enable_dhcp": false,
		"allocation_pools": [{"start": "192.0.2.10", "end": "192.0.2.19"}, {"start": "192.0.2.30", "end": "192.0.2.30"}]}}`, "subnet")
	c.must(t, 201, "demo", "POST", "/v2.0/subnets", `{"subnet": {"name": "six", "network_id": "`+net+`", "ip_version": 6, "cidr": "2001:db8::/64", "enable_dhcp": false, "gateway_ip": null}}`, "subnet")
	c.must(t, 201, "demo", "POST", "/v2.0/ports", `{"port": {"network_id": "`+net+`"}}`, "port")

	one := c.must(t, 200, "admin", "GET", "/v2.0/network-ip-availabilities/"+net, "", "network_ip_availability")
	require.Equal(t, []any{"a", "demo", net, 2.0}, []any{one["network_name"], one["project_id"], one["network_id"], one["used_ips"]})
	subnets := one["subnet_ip_availability"].([]any)
	require.Len(t, subnets, 2)
	four, six := subnets[0].(map[string]any), subnets[1].(map[string]any)
	require.Equal(t, []any{"four", "192.0.2.0/24", 4.0, 11.0, 1.0}, []any{four["subnet_name"], four["cidr"], four["ip_version"], four["total_ips"], four["used_ips"]})
	require.Equal(t, []any{"six", "2001:db8::/64", 6.0, math.Exp2(64), 1.0} /* more than an int64 holds */, []any{six["subnet_name"], six["cidr"], six["ip_version"], six["total_ips"], six["used_ips"]})

	list := func(project, query string) []any {
		return c.must(t, 200, project, "GET", "/v2.0/network-ip-availabilities"+query, "", "")["network_ip_availabilities"].([]any)
	}
	require.Len(t, list("admin", ""), 2)
	require.Equal(t, []any{one}, list("admin", "?network_name=a"))
	require.Empty(t, list("admin", "?network_id=nothing"))
	require.Equal(t, []any{map[string]any{"used_ips": 1.0}}, list("admin", "?ip_version=6&fields=used_ips"))
	require.Empty(t, list("demo", ""))
	c.must(t, 404, "demo", "GET", "/v2.0/network-ip-availabilities/"+net, "", "")
	c.must(t, 404, "admin", "GET", "/v2.0/network-ip-availabilities/nothing", "", "")
}
