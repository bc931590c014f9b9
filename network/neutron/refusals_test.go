package neutron_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/network"
	"github.com/stretchr/testify/require"
)

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	c := start(t, nil)
	agent, err := c.service.Register(t.Context(), network.AgentInfo{Type: network.AgentL3, Host: "one"})
	require.NoError(t, err)
	public := id(c.must(t, 201, "admin", "POST", "/v2.0/networks", `{"network": {"name": "public", "router:external": true}}`, "network"))
	outer := id(c.must(t, 201, "admin", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "`+public+`", "ip_version": 4, "cidr": "10.0.0.0/24", "enable_dhcp": "False"}}`, "subnet"))
	net := id(c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {"name": "private"}}`, "network"))
	subnet := id(c.must(t, 201, "demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "`+net+`", "ip_version": "4", "cidr": "172.24.17.0/24"}}`, "subnet"))
	small := id(c.must(t, 201, "demo", "POST", "/v2.0/networks", `{"network": {}}`, "network"))
	c.must(t, 201, "demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "`+small+`", "ip_version": 4, "cidr": "192.0.2.0/30", "gateway_ip": null, "enable_dhcp": false, "allocation_pools": [{"start": "192.0.2.1", "end": "192.0.2.1"}]}}`, "subnet")
	c.must(t, 201, "demo", "POST", "/v2.0/ports", `{"port": {"network_id": "`+small+`"}}`, "port")
	port := id(c.must(t, 201, "demo", "POST", "/v2.0/ports", `{"port": {"network_id": "`+net+`", "fixed_ips": [{"ip_address": "172.24.17.9"}], "mac_address": "fa:16:3e:00:00:01"}}`, "port"))
	router := id(c.must(t, 201, "demo", "POST", "/v2.0/routers", `{"router": {"name": "r"}}`, "router"))
	c.must(t, 200, "demo", "PUT", "/v2.0/routers/"+router+"/add_router_interface", `{"subnet_id": "`+subnet+`"}`, "")
	group := id(c.must(t, 201, "demo", "POST", "/v2.0/security-groups", `{"security_group": {"name": "web"}}`, "security_group"))
	secret := id(c.must(t, 201, "other", "POST", "/v2.0/networks", `{"network": {"name": "secret"}}`, "network"))
	shared := id(c.must(t, 201, "admin", "POST", "/v2.0/networks", `{"network": {"shared": true}}`, "network"))
	c.must(t, 201, "admin", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "`+shared+`", "ip_version": 4, "cidr": "192.0.2.0/24"}}`, "subnet")
	used := id(c.must(t, 201, "demo", "POST", "/v2.0/ports", `{"port": {"network_id": "`+net+`", "security_groups": ["`+group+`"]}}`, "port"))
	long := strings.Repeat("x", 256)

	for _, r := range []struct {
		project, method, path, body string
		status                      int
		name                        string
	}{
		// the request
		{"", "GET", "/v2.0/networks", "", 401, ""},
		{"bad", "GET", "/v2.0/networks", "", 401, ""},
		{"demo", "GET", "/v2.0/nothing", "", 404, "HTTPNotFound"},
		{"demo", "PATCH", "/v2.0/networks", "", 405, "HTTPMethodNotAllowed"},
		{"demo", "POST", "/v2.0/networks", "", 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", "{", 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `[]`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"net": {}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": 3}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"networks": []}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"networks": [{"name": "a"}, {"nome": "b"}]}`, 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?color=red", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?limit=-1", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?limit=some", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?marker=nobody&limit=1", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?sort_key=subnets", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?sort_key=name&sort_dir=up", "", 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/networks?admin_state_up=perhaps", "", 400, "InvalidInput"},
		// networks
		{"demo", "POST", "/v2.0/networks", `{"network": {"nome": "x"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"id": "x"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"name": 3}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"name": null}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"name": "` + long + `"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"admin_state_up": "perhaps"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"mtu": 9000}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"shared": true}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"router:external": true}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"provider:segmentation_id": 7}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/networks", `{"network": {"tenant_id": "other"}}`, 403, "PolicyNotAuthorized"},
		{"admin", "POST", "/v2.0/networks", `{"network": {"provider:network_type": "vlan"}}`, 400, "InvalidInput"},
		{"admin", "POST", "/v2.0/networks", `{"network": {"provider:network_type": "flat"}}`, 400, "InvalidInput"},
		{"admin", "POST", "/v2.0/networks", `{"network": {"provider:segmentation_id": 1}}`, 409, "TunnelIdInUse"},
		{"demo", "GET", "/v2.0/networks/" + secret, "", 404, "NetworkNotFound"},
		{"demo", "PUT", "/v2.0/networks/" + secret, `{"network": {"name": "mine"}}`, 404, "NetworkNotFound"},
		{"demo", "PUT", "/v2.0/networks/" + secret, `{"network": {"nome": "mine"}}`, 404, "NetworkNotFound"},
		{"demo", "DELETE", "/v2.0/networks/" + secret, "", 404, "NetworkNotFound"},
		{"demo", "PUT", "/v2.0/networks/" + public, `{"network": {"name": "mine"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "DELETE", "/v2.0/networks/" + shared, "", 403, "PolicyNotAuthorized"},
		{"demo", "PUT", "/v2.0/networks/" + net, `{"network": {"status": "DOWN"}}`, 400, "HTTPBadRequest"},
		{"demo", "DELETE", "/v2.0/networks/" + net, "", 409, "NetworkInUse"},
		// subnets
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"ip_version": 4, "cidr": "10.1.0.0/24"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4}}`, 400, "BadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 5, "cidr": "10.1.0.0/24"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 6, "cidr": "10.1.0.0/24"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.5/24"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "224.0.0.0/24"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "172.24.0.0/16"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.255"}}`, 400, "BadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9", "end": "10.1.0.3"}]}}`, 400, "InvalidAllocationPool"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9", "end": "10.1.1.3"}]}}`, 400, "OutOfBoundsAllocationPool"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}, {"start": "10.1.0.9", "end": "10.1.0.10"}]}}`, 409, "OverlappingAllocationPools"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.5", "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}]}}`, 409, "GatewayConflictWithAllocationPools"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "dns_nameservers": ["nobody"]}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + net + `", "ip_version": 4, "cidr": "10.1.0.0/24", "host_routes": [{"destination": "10.0.0.0/8"}]}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + secret + `", "ip_version": 4, "cidr": "10.1.0.0/24"}}`, 404, "NetworkNotFound"},
		{"demo", "POST", "/v2.0/subnets", `{"subnet": {"network_id": "` + shared + `", "ip_version": 4, "cidr": "10.1.0.0/24"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "PUT", "/v2.0/subnets/" + subnet, `{"subnet": {"cidr": "10.1.0.0/24"}}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", "/v2.0/subnets/" + subnet, `{"subnet": {"gateway_ip": "172.24.17.200"}}`, 409, "GatewayIpInUse"},
		{"demo", "DELETE", "/v2.0/subnets/" + subnet, "", 409, "SubnetInUse"},
		{"demo", "GET", "/v2.0/subnets/" + outer, "", 404, "SubnetNotFound"},
		// ports
		{"demo", "POST", "/v2.0/ports", `{"port": {}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + secret + `"}}`, 404, "NetworkNotFound"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + public + `"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + small + `"}}`, 409, "IpAddressGenerationFailure"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": [{"ip_address": "172.24.17.9"}]}}`, 409, "IpAddressAlreadyAllocated"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": [{"ip_address": "10.9.9.9"}]}}`, 400, "InvalidIpForNetwork"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": [{"ip_address": "172.24.17.255"}]}}`, 400, "InvalidIpForSubnet"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": [{"subnet_id": "` + outer + `"}]}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": [{"color": "red"}]}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "fixed_ips": "172.24.17.9"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "mac_address": "fa:16:3e:00:00:01"}}`, 409, "MacAddressInUse"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "mac_address": "fa:16"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "security_groups": ["nobody"]}}`, 404, "SecurityGroupNotFound"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "binding:host_id": "one"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "allowed_address_pairs": [{"mac_address": "fa:16:3e:00:00:01"}]}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + net + `", "port_security_enabled": false, "security_groups": ["` + group + `"]}}`, 409, "PortSecurityAndIPRequiredForSecurityGroups"},
		{"demo", "POST", "/v2.0/ports", `{"port": {"network_id": "` + shared + `", "mac_address": "fa:16:3e:00:00:02"}}`, 403, "PolicyNotAuthorized"},
		{"demo", "PUT", "/v2.0/ports/" + used, `{"port": {"port_security_enabled": false}}`, 409, "PortSecurityPortHasSecurityGroup"},
		{"other", "GET", "/v2.0/ports/" + port, "", 404, "PortNotFound"},
		{"other", "DELETE", "/v2.0/ports/" + port, "", 404, "PortNotFound"},
		// routers
		{"demo", "POST", "/v2.0/routers", `{"router": {"external_gateway_info": {"network_id": "` + net + `"}}}`, 400, "BadRequest"},
		{"demo", "POST", "/v2.0/routers", `{"router": {"external_gateway_info": {"network_id": "` + secret + `"}}}`, 404, "NetworkNotFound"},
		{"demo", "POST", "/v2.0/routers", `{"router": {"external_gateway_info": {"network_id": "` + public + `", "enable_snat": false}}}`, 403, "PolicyNotAuthorized"},
		{"demo", "POST", "/v2.0/routers", `{"router": {"external_gateway_info": "public"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/routers", `{"router": {"ha": true}}`, 400, "HTTPBadRequest"},
		{"demo", "PUT", "/v2.0/routers/" + router, `{"router": {"routes": [{"destination": "10.7.0.0/16", "nexthop": "10.9.9.9"}]}}`, 400, "InvalidRoutes"},
		{"demo", "PUT", "/v2.0/routers/" + router + "/add_router_interface", `{}`, 400, "BadRequest"},
		{"demo", "PUT", "/v2.0/routers/" + router + "/add_router_interface", `{"subnet_id": "` + subnet + `"}`, 400, "BadRequest"},
		{"demo", "PUT", "/v2.0/routers/" + router + "/add_router_interface", `{"subnet_id": "nobody"}`, 404, "SubnetNotFound"},
		{"demo", "PUT", "/v2.0/routers/" + router + "/remove_router_interface", `{"port_id": "` + port + `"}`, 404, "RouterInterfaceNotFound"},
		{"other", "PUT", "/v2.0/routers/" + router + "/add_router_interface", `{"subnet_id": "` + subnet + `"}`, 404, "RouterNotFound"},
		{"demo", "DELETE", "/v2.0/routers/" + router, "", 409, "RouterInUse"},
		// floating IPs
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip": {}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip": {"floating_network_id": "` + net + `"}}`, 400, "BadRequest"},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip": {"floating_network_id": "` + public + `", "port_id": "` + port + `"}}`, 404, "ExternalGatewayForFloatingIPNotFound"},
		{"demo", "POST", "/v2.0/floatingips", `{"floatingip": {"floating_network_id": "` + public + `", "floating_ip_address": "10.0.0.77"}}`, 403, "PolicyNotAuthorized"},
		{"admin", "POST", "/v2.0/floatingips", `{"floatingip": {"floating_network_id": "` + public + `", "floating_ip_address": "10.9.0.77"}}`, 400, "InvalidIpForNetwork"},
		{"demo", "GET", "/v2.0/floatingips/nobody", "", 404, "FloatingIPNotFound"},
		// security groups
		{"demo", "POST", "/v2.0/security-groups", `{"security_group": {"name": "default"}}`, 409, "SecurityGroupDefaultAlreadyExists"},
		{"demo", "DELETE", "/v2.0/security-groups/" + group, "", 409, "SecurityGroupInUse"},
		{"other", "GET", "/v2.0/security-groups/" + group, "", 404, "SecurityGroupNotFound"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `"}}`, 400, "HTTPBadRequest"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "sideways"}}`, 400, "InvalidInput"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "morse"}}`, 400, "SecurityGroupRuleInvalidProtocol"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": 256}}`, 400, "SecurityGroupRuleInvalidProtocol"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "port_range_min": 1, "port_range_max": 2}}`, 400, "SecurityGroupProtocolRequiredWithPorts"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "tcp", "port_range_min": 3, "port_range_max": 2}}`, 400, "SecurityGroupInvalidPortRange"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "tcp", "port_range_max": 6}}`, 400, "SecurityGroupInvalidPortRange"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "tcp", "port_range_min": -16, "port_range_max": 80}}`, 400, "SecurityGroupInvalidPortValue"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "icmp", "port_range_min": 256}}`, 400, "SecurityGroupInvalidIcmpValue"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "protocol": "icmp", "port_range_max": 1}}`, 400, "SecurityGroupMissingIcmpType"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "ingress", "remote_ip_prefix": "2001:db8::/32"}}`, 400, "SecurityGroupRuleParameterConflict"},
		{"demo", "POST", "/v2.0/security-group-rules", `{"security_group_rule": {"security_group_id": "` + group + `", "direction": "egress"}}`, 409, "SecurityGroupRuleExists"},
		{"demo", "DELETE", "/v2.0/security-group-rules/nobody", "", 404, "SecurityGroupRuleNotFound"},
		// operators' things
		{"demo", "GET", "/v2.0/agents/" + agent.ID, "", 404, "AgentNotFound"},
		{"demo", "POST", "/v2.0/agents/" + agent.ID + "/l3-routers", `{"router_id": "` + router + `"}`, 404, "AgentNotFound"},
		{"admin", "POST", "/v2.0/agents/" + agent.ID + "/l3-routers", `{}`, 400, "HTTPBadRequest"},
		{"admin", "POST", "/v2.0/agents/" + agent.ID + "/dhcp-networks", `{"network_id": "` + net + `"}`, 409, "InvalidDHCPAgent"},
		{"admin", "PUT", "/v2.0/agents/" + agent.ID, `{"agent": {"host": "two"}}`, 400, "HTTPBadRequest"},
		{"demo", "GET", "/v2.0/quotas", "", 403, "PolicyNotAuthorized"},
		{"demo", "GET", "/v2.0/quotas/other", "", 403, "PolicyNotAuthorized"},
		{"demo", "PUT", "/v2.0/quotas/demo", `{"quota": {"port": 1}}`, 403, "PolicyNotAuthorized"},
		{"admin", "PUT", "/v2.0/quotas/demo", `{"quota": {"port": -2}}`, 400, "InvalidInput"},
		{"admin", "PUT", "/v2.0/quotas/demo", `{"quota": {"unicorn": 1}}`, 400, "HTTPBadRequest"},
		{"admin", "DELETE", "/v2.0/quotas/nobody", "", 404, "TenantQuotaNotFound"},
		{"demo", "GET", "/v2.0/extensions/unicorn", "", 404, "ExtensionNotFound"},
		{"demo", "PUT", "/v2.0/networks/" + net + "/tags/" + long, "", 400, "InvalidInput"},
		{"demo", "GET", "/v2.0/networks/" + net + "/tags/none", "", 404, "TagNotFound"},
		{"demo", "PUT", "/v2.0/networks/" + secret + "/tags/mine", "", 404, "NetworkNotFound"},
	} {
		before := c.everything(t)
		status, answer := c.do(t, r.project, r.method, r.path, r.body)
		require.Equal(t, r.status, status, "%s %s %s: %v", r.method, r.path, r.body, answer)
		if r.name != "" {
			fault, ok := answer["NeutronError"].(map[string]any)
			require.True(t, ok, "%v", answer)
			require.Equal(t, r.name, fault["type"], "%s %s %s: %v", r.method, r.path, r.body, answer)
			require.NotEmpty(t, fault["message"])
			require.Contains(t, fault, "detail")
		}
		require.Equal(t, before, c.everything(t), "%s %s %s changed something", r.method, r.path, r.body)
	}
}

// everything is what the admin sees.
func (c *cloud) everything(t testing.TB) string {
	t.Helper()
	all := ""
	for _, path := range []string{"networks", "subnets", "ports", "routers", "floatingips", "security-groups", "quotas", "agents"} {
		all += fmt.Sprintln(c.must(t, 200, "admin", "GET", "/v2.0/"+path, "", ""))
	}
	return all
}
