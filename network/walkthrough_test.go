package network_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var demo = network.Scope{ProjectID: "demo"}

// private makes the walkthrough's network.
func private(t testing.TB, s *network.Service, scope network.Scope) (*network.Network, *network.Subnet) {
	t.Helper()
	n, err := s.CreateNetwork(t.Context(), scope, network.NetworkSpec{Name: new("private")})
	require.NoError(t, err)
	subnet, err := s.CreateSubnet(t.Context(), scope, network.SubnetSpec{NetworkID: n.ID, Version: 4, CIDR: netip.MustParsePrefix("172.24.17.0/24"), Gateway: new(netip.MustParseAddr("172.24.17.254"))})
	require.NoError(t, err)
	return n, subnet
}

func external(t testing.TB, s *network.Service) *network.Network {
	t.Helper()
	n, err := s.CreateNetwork(t.Context(), network.System, network.NetworkSpec{Name: new("public"), External: new(true), Type: new("flat"), Physical: new("public")})
	require.NoError(t, err)
	_, err = s.CreateSubnet(t.Context(), network.System, network.SubnetSpec{NetworkID: n.ID, Version: 4, CIDR: netip.MustParsePrefix("10.0.0.0/24"), EnableDHCP: new(false)})
	require.NoError(t, err)
	return n
}

func server(t testing.TB, s *network.Service, scope network.Scope, networkID, host string) *network.Port {
	t.Helper()
	p, err := s.CreatePort(t.Context(), network.System, network.PortSpec{ProjectID: scope.ProjectID, NetworkID: networkID, DeviceID: new("server"), DeviceOwner: new("compute:nova"), HostID: &host})
	require.NoError(t, err)
	return p
}

type namespaces struct {
	mu     sync.Mutex
	served map[string]network.ServedNamespace
}

func (n *namespaces) Serving(_ context.Context, ns network.ServedNamespace) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.served[ns.Name] = ns
	return nil
}

func (n *namespaces) Gone(_ context.Context, name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.served, name)
	return nil
}

func TestWalkthrough(t *testing.T) {
	for _, late := range []bool{false, true} {
		s, h := open(t, nil), newHost()
		ns := &namespaces{served: map[string]network.ServedNamespace{}}
		options := &network.AgentOptions{TapOwner: 64055, MetadataPort: 9697, MetadataAddress: netip.MustParseAddr("169.254.169.254"), Namespaces: ns}
		var agent *network.Agent
		if !late {
			agent, _ = h.run(t, s, "one", options)
			require.NoError(t, agent.Settle(t.Context()))
		}
		n, subnet := private(t, s, demo)
		require.Equal(t, []network.Pool{{Start: netip.MustParseAddr("172.24.17.1"), End: netip.MustParseAddr("172.24.17.253")}}, subnet.Pools)
		vm1, vm2 := server(t, s, demo, n.ID, "one"), server(t, s, demo, n.ID, "one")
		require.Equal(t, "172.24.17.2", vm1.FixedIPs[0].Address.String())
		require.Equal(t, "172.24.17.3", vm2.FixedIPs[0].Address.String())
		vip, err := s.CreatePort(t.Context(), demo, network.PortSpec{NetworkID: n.ID, DeviceOwner: new("neutron:LOADBALANCER")})
		require.NoError(t, err)
		require.Equal(t, "172.24.17.4", vip.FixedIPs[0].Address.String())

		public := external(t, s)
		router, err := s.CreateRouter(t.Context(), demo, network.RouterSpec{Gateway: &network.GatewaySpec{NetworkID: public.ID}})
		require.NoError(t, err)
		leg, err := s.AddRouterInterface(t.Context(), demo, router.ID, subnet.ID, "")
		require.NoError(t, err)
		float, err := s.CreateFloatingIP(t.Context(), demo, network.FloatingIPSpec{NetworkID: public.ID, PortID: &vm1.ID})
		require.NoError(t, err)
		require.Equal(t, "DOWN", float.Status)
		if late {
			agent, _ = h.run(t, s, "one", options)
		}
		_, err = s.WaitPort(t.Context(), vm1.ID, "ACTIVE")
		require.NoError(t, err)
		require.NoError(t, agent.Settle(t.Context()))

		tap := h.ports.get(t, vm1.ID)
		require.Equal(t, driver.Endpoint{Device: driver.TapName(vm1.ID), Owner: 64055}, tap.Endpoint)
		require.Equal(t, vm1.MAC, tap.MAC)
		require.Contains(t, tap.Security.Allowed, driver.AddressPair{MAC: vm1.MAC, Address: netip.MustParsePrefix("172.24.17.2/32")})
		require.Contains(t, tap.Security.Rules, driver.Rule{Direction: driver.Ingress, Remotes: []netip.Prefix{netip.MustParsePrefix("172.24.17.2/32"), netip.MustParsePrefix("172.24.17.3/32"), netip.MustParsePrefix("172.24.17.4/32")}})
		require.NotContains(t, h.ports.ids(), vip.ID, "nobody plugged it")

		dhcp := h.dhcp.get(t, n.ID)
		require.Equal(t, []netip.Prefix{netip.MustParsePrefix("172.24.17.1/24")}, dhcp.Addresses)
		require.Contains(t, dhcp.Leases, driver.Lease{MAC: vm2.MAC, Address: vm2.FixedIPs[0].Address, Hostname: "host-172-24-17-3"})
		require.False(t, dhcp.MetadataAddress.IsValid(), "the router serves it")

		r := h.routers.get(t, router.ID)
		require.Equal(t, []netip.Prefix{netip.MustParsePrefix("172.24.17.254/24")}, r.Interfaces[0].Addresses)
		require.Equal(t, leg.PortID, r.Interfaces[0].PortID)
		require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, r.Gateway.NextHops)
		require.True(t, r.Gateway.SNAT)
		require.Equal(t, []driver.FloatingIP{{ID: float.ID, External: float.Address, Internal: vm1.FixedIPs[0].Address}}, r.FloatingIPs)
		require.EqualValues(t, 9697, r.MetadataPort)
		require.Equal(t, driver.Network{ID: n.ID, Segment: n.Segment, MTU: 1450}, h.networks.get(t, n.ID))
		require.Equal(t, "public", h.networks.get(t, public.ID).Physical)

		require.Equal(t, map[netip.Prefix]string{netip.MustParsePrefix("172.24.17.254/24"): n.ID}, ns.served["qrouter-"+router.ID].Networks)
		require.Equal(t, map[netip.Prefix]string{netip.MustParsePrefix("172.24.17.1/24"): n.ID}, ns.served["qdhcp-"+n.ID].Networks)

		float, err = s.FloatingIP(t.Context(), demo, float.ID)
		require.NoError(t, err)
		require.Equal(t, "ACTIVE", float.Status)
		ports, err := s.Ports(t.Context(), network.System, network.Eq("status", "DOWN"))
		require.NoError(t, err)
		for _, p := range ports {
			require.Contains(t, []string{vip.ID, float.ExternalPortID}, p.ID)
		}

		_, err = agent.Plug(t.Context(), vip.ID, driver.Endpoint{Namespace: "qlbaas-1", Device: driver.TapName(vip.ID)})
		require.NoError(t, err)
		require.Equal(t, "qlbaas-1", h.ports.get(t, vip.ID).Endpoint.Namespace)
		found, err := s.PortByAddress(t.Context(), n.ID, netip.MustParseAddr("172.24.17.4"))
		require.NoError(t, err)
		require.Equal(t, vip.ID, found.ID)
		require.NoError(t, agent.Unplug(t.Context(), vip.ID))
		require.NoError(t, agent.Unplug(t.Context(), vip.ID))
		require.NotContains(t, h.ports.ids(), vip.ID)

		// All of it away again.
		require.ErrorIs(t, s.DeleteNetwork(t.Context(), demo, n.ID), network.ErrInUse)
		require.ErrorIs(t, s.DeleteSubnet(t.Context(), demo, subnet.ID), network.ErrInUse)
		require.ErrorIs(t, s.DeleteRouter(t.Context(), demo, router.ID), network.ErrInUse)
		_, err = s.RemoveRouterInterface(t.Context(), demo, router.ID, subnet.ID, "")
		require.ErrorIs(t, err, network.ErrInUse)
		require.NoError(t, s.DeleteFloatingIP(t.Context(), demo, float.ID))
		_, err = s.RemoveRouterInterface(t.Context(), demo, router.ID, subnet.ID, "")
		require.NoError(t, err)
		require.NoError(t, agent.Settle(t.Context()))
		require.True(t, h.dhcp.get(t, n.ID).MetadataAddress.IsValid(), "nobody else serves it now")
		require.NoError(t, s.DeleteRouter(t.Context(), demo, router.ID))
		for _, p := range []string{vm1.ID, vm2.ID, vip.ID} {
			require.NoError(t, s.DeletePort(t.Context(), demo, p))
		}
		require.NoError(t, s.DeleteNetwork(t.Context(), demo, n.ID))
		require.NoError(t, s.DeleteNetwork(t.Context(), network.System, public.ID))
		require.NoError(t, agent.Settle(t.Context()))
		require.Empty(t, h.networks.ids())
		require.Empty(t, h.ports.ids())
		require.Empty(t, h.routers.ids())
		require.Empty(t, h.dhcp.ids())
		require.Empty(t, ns.served)
	}
}
