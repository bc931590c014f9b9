package neutron_test

import (
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/provider"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/rbacpolicies"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/subnetpools"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"
	"github.com/kintoun/kintoun/network"
	"github.com/stretchr/testify/require"
)

func TestGophercloudWalksThrough(t *testing.T) {
	c := start(t, nil)
	ctx := t.Context()
	admin, demo := c.client("admin"), c.client("demo")
	l3, err := c.service.Register(ctx, network.AgentInfo{Type: network.AgentL3, Binary: "neutron-l3-agent", Host: "one"})
	require.NoError(t, err)
	_, err = c.service.Register(ctx, network.AgentInfo{Type: network.AgentDHCP, Binary: "neutron-dhcp-agent", Host: "one"})
	require.NoError(t, err)

	flat := provider.CreateOptsExt{CreateOptsBuilder: external.CreateOptsExt{CreateOptsBuilder: networks.CreateOpts{Name: "public", AdminStateUp: new(true)}, External: new(true)},
		Segments: nil}
	public, err := networks.Create(ctx, admin, flat).Extract()
	require.NoError(t, err)
	_, err = subnets.Create(ctx, admin, subnets.CreateOpts{NetworkID: public.ID, CIDR: "10.0.0.0/24", IPVersion: 4, EnableDHCP: new(false)}).Extract()
	require.NoError(t, err)

	private, err := networks.Create(ctx, demo, networks.CreateOpts{Name: "private"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "demo", private.ProjectID)
	subnet, err := subnets.Create(ctx, demo, subnets.CreateOpts{NetworkID: private.ID, CIDR: "172.24.17.0/24", GatewayIP: new("172.24.17.254"), IPVersion: 4, DNSNameservers: []string{"192.0.2.53"},
		HostRoutes: []subnets.HostRoute{{DestinationCIDR: "198.51.100.0/24", NextHop: "172.24.17.9"}}}).Extract()
	require.NoError(t, err)
	require.Equal(t, []subnets.AllocationPool{{Start: "172.24.17.1", End: "172.24.17.253"}}, subnet.AllocationPools)
	again, err := networks.Get(ctx, demo, private.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{subnet.ID}, again.Subnets)

	vm1, err := ports.Create(ctx, demo, ports.CreateOpts{NetworkID: private.ID, Name: "vm1", DeviceID: "vm1"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "172.24.17.2", vm1.FixedIPs[0].IPAddress)
	require.Len(t, vm1.SecurityGroups, 1)
	vm1, err = ports.Update(ctx, demo, vm1.ID, ports.UpdateOpts{Name: new("renamed"), AllowedAddressPairs: &[]ports.AddressPair{{IPAddress: "172.24.17.200"}}}).Extract()
	require.NoError(t, err)
	require.Equal(t, []ports.AddressPair{{IPAddress: "172.24.17.200", MACAddress: vm1.MACAddress}}, vm1.AllowedAddressPairs)
	require.Equal(t, 2, vm1.RevisionNumber)

	router, err := routers.Create(ctx, demo, routers.CreateOpts{Name: "r1", GatewayInfo: &routers.GatewayInfo{NetworkID: public.ID}}).Extract()
	require.NoError(t, err)
	require.Len(t, router.GatewayInfo.ExternalFixedIPs, 1)
	leg, err := routers.AddInterface(ctx, demo, router.ID, routers.AddInterfaceOpts{SubnetID: subnet.ID}).Extract()
	require.NoError(t, err)
	require.Equal(t, router.ID, leg.ID)
	router, err = routers.Update(ctx, demo, router.ID, routers.UpdateOpts{Routes: &[]routers.Route{{DestinationCIDR: "203.0.113.0/24", NextHop: "172.24.17.7"}}}).Extract()
	require.NoError(t, err)
	require.Len(t, router.Routes, 1)
	hosting, err := routers.ListL3Agents(admin, router.ID).AllPages(ctx)
	require.NoError(t, err)
	on, err := routers.ExtractL3Agents(hosting)
	require.NoError(t, err)
	require.Equal(t, l3.ID, on[0].ID)

	float, err := floatingips.Create(ctx, demo, floatingips.CreateOpts{FloatingNetworkID: public.ID, PortID: vm1.ID}).Extract()
	require.NoError(t, err)
	require.Equal(t, "172.24.17.2", float.FixedIP)
	require.Equal(t, router.ID, float.RouterID)
	float, err = floatingips.Update(ctx, demo, float.ID, floatingips.UpdateOpts{PortID: new("")}).Extract()
	require.NoError(t, err)
	require.Empty(t, float.PortID)

	group, err := groups.Create(ctx, demo, groups.CreateOpts{Name: "web", Description: "web"}).Extract()
	require.NoError(t, err)
	require.Len(t, group.Rules, 2)
	rule, err := rules.Create(ctx, demo, rules.CreateOpts{Direction: rules.DirIngress, EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 80, PortRangeMax: 80, SecGroupID: group.ID, RemoteIPPrefix: "0.0.0.0/0"}).Extract()
	require.NoError(t, err)
	require.Equal(t, 80, rule.PortRangeMax)
	require.Equal(t, "0.0.0.0/0", rule.RemoteIPPrefix)
	listed, err := groups.List(demo, groups.ListOpts{Name: "default"}).AllPages(ctx)
	require.NoError(t, err)
	own, err := groups.ExtractGroups(listed)
	require.NoError(t, err)
	require.Len(t, own, 1)
	require.Len(t, own[0].Rules, 4)

	_, err = attributestags.ReplaceAll(ctx, demo, "networks", private.ID, attributestags.ReplaceAllOpts{Tags: []string{"b", "a"}}).Extract()
	require.NoError(t, err)
	found, err := networks.List(demo, networks.ListOpts{Tags: "a,b", Name: "private"}).AllPages(ctx)
	require.NoError(t, err)
	list, err := networks.ExtractNetworks(found)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, []string{"a", "b"}, list[0].Tags)

	pool, err := subnetpools.Create(ctx, demo, subnetpools.CreateOpts{Name: "pool", Prefixes: []string{"10.8.0.0/16"}, DefaultPrefixLen: 24}).Extract()
	require.NoError(t, err)
	second, err := subnets.Create(ctx, demo, subnets.CreateOpts{NetworkID: private.ID, SubnetPoolID: pool.ID, IPVersion: 4}).Extract()
	require.NoError(t, err)
	require.Equal(t, "10.8.0.0/24", second.CIDR)

	_, err = quotas.Update(ctx, admin, "demo", quotas.UpdateOpts{Network: new(1)}).Extract()
	require.NoError(t, err)
	_, err = networks.Create(ctx, demo, networks.CreateOpts{Name: "one too many"}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 409), "%v", err)
	require.ErrorContains(t, err, "OverQuota")
	detail, err := quotas.GetDetail(ctx, admin, "demo").Extract()
	require.NoError(t, err)
	require.Equal(t, 1, detail.Network.Limit)
	require.Equal(t, 1, detail.Network.Used)

	policy, err := rbacpolicies.Create(ctx, demo, rbacpolicies.CreateOpts{Action: rbacpolicies.ActionAccessShared, ObjectType: "network", ObjectID: private.ID, TargetTenant: "friend"}).Extract()
	require.NoError(t, err)
	seen, err := networks.Get(ctx, c.client("friend"), private.ID).Extract()
	require.NoError(t, err)
	require.True(t, seen.Shared)
	require.NoError(t, rbacpolicies.Delete(ctx, demo, policy.ID).ExtractErr())
	_, err = networks.Get(ctx, c.client("friend"), private.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 404))

	all, err := agents.List(admin, agents.ListOpts{}).AllPages(ctx)
	require.NoError(t, err)
	running, err := agents.ExtractAgents(all)
	require.NoError(t, err)
	require.Len(t, running, 2)
	require.True(t, running[0].Alive)
	require.NoError(t, agents.RemoveL3Router(ctx, admin, l3.ID, router.ID).ExtractErr())
	require.NoError(t, agents.ScheduleL3Router(ctx, admin, l3.ID, agents.ScheduleL3RouterOpts{RouterID: router.ID}).ExtractErr())

	_, err = routers.RemoveInterface(ctx, demo, router.ID, routers.RemoveInterfaceOpts{SubnetID: subnet.ID}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, 409), "its route needs it: %v", err)
	_, err = routers.Update(ctx, demo, router.ID, routers.UpdateOpts{Routes: &[]routers.Route{}}).Extract()
	require.NoError(t, err)
	_, err = routers.RemoveInterface(ctx, demo, router.ID, routers.RemoveInterfaceOpts{SubnetID: subnet.ID}).Extract()
	require.NoError(t, err)
	require.NoError(t, floatingips.Delete(ctx, demo, float.ID).ExtractErr())
	require.NoError(t, routers.Delete(ctx, demo, router.ID).ExtractErr())
	require.NoError(t, ports.Delete(ctx, demo, vm1.ID).ExtractErr())
	require.NoError(t, subnets.Delete(ctx, demo, second.ID).ExtractErr())
	require.NoError(t, networks.Delete(ctx, demo, private.ID).ExtractErr())
	require.NoError(t, subnetpools.Delete(ctx, demo, pool.ID).ExtractErr())
	require.NoError(t, groups.Delete(ctx, demo, group.ID).ExtractErr())
}
