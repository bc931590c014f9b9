package network_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

func settle(t testing.TB, agents ...*network.Agent) {
	t.Helper()
	for range 2 { // what one reports may concern the other
		for _, a := range agents {
			require.NoError(t, a.Settle(t.Context()))
		}
	}
}

func TestHostsLearnWhomToReach(t *testing.T) {
	s, one, two := open(t, nil), newHost(), newHost()
	a1, _ := one.run(t, s, "one", &network.AgentOptions{TunnelAddress: netip.MustParseAddr("192.0.2.1")})
	settle(t, a1)
	n, _ := private(t, s, demo)
	server(t, s, demo, n.ID, "one")
	settle(t, a1)
	require.Empty(t, one.networks.get(t, n.ID).Peers)

	p := server(t, s, demo, n.ID, "two")
	settle(t, a1)
	require.Empty(t, one.networks.get(t, n.ID).Peers, "nobody knows yet where host two is")
	a2, _ := two.run(t, s, "two", &network.AgentOptions{TunnelAddress: netip.MustParseAddr("192.0.2.2")})
	settle(t, a1, a2)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.2")}, one.networks.get(t, n.ID).Peers)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, two.networks.get(t, n.ID).Peers)
	require.Equal(t, n.Segment, two.networks.get(t, n.ID).Segment)

	require.NoError(t, s.DeletePort(t.Context(), demo, p.ID))
	settle(t, a1, a2)
	require.Empty(t, one.networks.get(t, n.ID).Peers)
	require.Empty(t, two.networks.ids())
	require.Empty(t, two.ports.ids())
}

func TestAChangeOfASecurityGroupConcernsItsPortsOnly(t *testing.T) {
	s, h := open(t, nil), newHost()
	a, _ := h.run(t, s, "one", nil)
	n, _ := private(t, s, demo)
	group := func(name string) *network.SecurityGroup {
		g, err := s.CreateSecurityGroup(t.Context(), demo, network.SecurityGroupSpec{Name: &name})
		require.NoError(t, err)
		return g
	}
	web, db, other := group("web"), group("db"), group("other")
	guarded := func(g *network.SecurityGroup) *network.Port {
		p := server(t, s, demo, n.ID, "one")
		p, err := s.UpdatePort(t.Context(), demo, p.ID, network.PortSpec{SecurityGroups: &[]string{g.ID}})
		require.NoError(t, err)
		return p
	}
	pWeb, pDB, pOther := guarded(web), guarded(db), guarded(other)
	settle(t, a)
	counts := func() [3]int {
		settle(t, a)
		return [3]int{h.ports.count(pWeb.ID), h.ports.count(pDB.ID), h.ports.count(pOther.ID)}
	}
	before := counts()
	_, err := s.CreateSecurityGroupRule(t.Context(), demo, network.SecurityGroupRuleSpec{GroupID: db.ID, Direction: "ingress", Protocol: "tcp", PortMin: new(5432), PortMax: new(5432), RemoteGroupID: web.ID})
	require.NoError(t, err)
	after := counts()
	require.Equal(t, [3]int{before[0], before[1] + 1, before[2]}, after)
	fromWeb := func(addresses ...string) driver.Rule {
		r := driver.Rule{Direction: driver.Ingress, Protocol: 6, PortMin: 5432, PortMax: 5432, Remotes: []netip.Prefix{}}
		for _, address := range addresses {
			r.Remotes = append(r.Remotes, netip.MustParsePrefix(address))
		}
		return r
	}
	require.Contains(t, h.ports.get(t, pDB.ID).Security.Rules, fromWeb("172.24.17.2/32"))

	// A new member of web, on another host, changes what db's port lets in, and nothing else.
	elsewhere, err := s.CreatePort(t.Context(), demo, network.PortSpec{NetworkID: n.ID, SecurityGroups: &[]string{web.ID}})
	require.NoError(t, err)
	require.Equal(t, [3]int{before[0], before[1] + 2, before[2]}, counts())
	require.Contains(t, h.ports.get(t, pDB.ID).Security.Rules, fromWeb("172.24.17.2/32", "172.24.17.5/32"))
	require.NoError(t, s.DeletePort(t.Context(), demo, elsewhere.ID))
	require.NoError(t, s.DeletePort(t.Context(), demo, pWeb.ID))
	settle(t, a)
	require.Contains(t, h.ports.get(t, pDB.ID).Security.Rules, fromWeb())
	require.Equal(t, before[2], h.ports.count(pOther.ID))
}

func TestARestartedAgentAdoptsAndTidies(t *testing.T) {
	s, h := open(t, nil), newHost()
	a, stop := h.run(t, s, "one", nil)
	n, subnet := private(t, s, demo)
	kept, gone := server(t, s, demo, n.ID, "one"), server(t, s, demo, n.ID, "one")
	balancer, err := s.CreatePort(t.Context(), demo, network.PortSpec{NetworkID: n.ID, DeviceOwner: new("neutron:LOADBALANCER")})
	require.NoError(t, err)
	_, err = a.Plug(t.Context(), balancer.ID, driver.Endpoint{Namespace: "qlbaas-1", Device: "tap1"})
	require.NoError(t, err)
	r, err := s.CreateRouter(t.Context(), demo, network.RouterSpec{})
	require.NoError(t, err)
	_, err = s.AddRouterInterface(t.Context(), demo, r.ID, subnet.ID, "")
	require.NoError(t, err)
	settle(t, a)
	stop()

	require.NoError(t, s.DeletePort(t.Context(), demo, gone.ID))
	require.NoError(t, h.networks.Apply(t.Context(), driver.Network{ID: "left over"}))
	require.NoError(t, h.routers.Apply(t.Context(), driver.Router{ID: "left over"}))
	require.NoError(t, h.dhcp.Apply(t.Context(), driver.DHCPServer{NetworkID: "left over"}))
	b, _ := h.run(t, s, "one", nil)
	settle(t, b)
	require.Contains(t, h.ports.ids(), kept.ID)
	require.Contains(t, h.ports.ids(), balancer.ID, "its owner will plug it again")
	require.NotContains(t, h.ports.ids(), gone.ID)
	require.Len(t, h.networks.ids(), 1)
	require.Len(t, h.routers.ids(), 1)
	require.Len(t, h.dhcp.ids(), 1)
	_, err = b.Plug(t.Context(), balancer.ID, driver.Endpoint{Namespace: "qlbaas-1", Device: "tap1"})
	require.NoError(t, err)

	agents, err := s.Agents(t.Context(), network.System, network.Query{})
	require.NoError(t, err)
	require.Len(t, agents, 3)
}

func TestFailuresAreReportedAndMended(t *testing.T) {
	s, h := open(t, nil), newHost()
	a, _ := h.run(t, s, "one", nil)
	n, subnet := private(t, s, demo)
	r, err := s.CreateRouter(t.Context(), demo, network.RouterSpec{})
	require.NoError(t, err)
	h.routers.setFail(r.ID, "no memory")
	_, err = s.AddRouterInterface(t.Context(), demo, r.ID, subnet.ID, "")
	require.NoError(t, err)
	p := server(t, s, demo, n.ID, "nowhere")
	h.ports.setFail(p.ID, "no such bridge")
	_, err = a.Plug(t.Context(), p.ID, driver.Endpoint{Device: "tap1"})
	require.ErrorContains(t, err, "no such bridge")
	p, err = s.Port(t.Context(), demo, p.ID)
	require.NoError(t, err)
	require.Equal(t, "DOWN", p.Status)
	require.Equal(t, "one", p.HostID)
	h.ports.setFail(p.ID, "")
	h.routers.setFail(r.ID, "")
	_, err = a.Plug(t.Context(), p.ID, driver.Endpoint{Device: "tap1"})
	require.NoError(t, err)
	_, err = s.WaitPort(t.Context(), p.ID, "ACTIVE")
	require.NoError(t, err)
	settle(t, a)
	r, err = s.Router(t.Context(), demo, r.ID)
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", r.Status)

	_, err = s.UpdatePort(t.Context(), demo, p.ID, network.PortSpec{AdminStateUp: new(false)})
	require.NoError(t, err)
	settle(t, a)
	require.Equal(t, &driver.Security{}, h.ports.get(t, p.ID).Security, "nothing passes")
	p, err = s.Port(t.Context(), demo, p.ID)
	require.NoError(t, err)
	require.Equal(t, "DOWN", p.Status)
	_, err = a.Plug(t.Context(), "nobody", driver.Endpoint{})
	require.ErrorIs(t, err, network.ErrNotFound)
}

func TestADeadHostsRoutersAndDHCPMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, one, two := openAlone(t), newHost(), newHost()
		a1, stop := one.run(t, s, "one", nil)
		settle(t, a1)
		n, subnet := private(t, s, demo)
		r, err := s.CreateRouter(t.Context(), demo, network.RouterSpec{})
		require.NoError(t, err)
		_, err = s.AddRouterInterface(t.Context(), demo, r.ID, subnet.ID, "")
		require.NoError(t, err)
		a2, _ := two.run(t, s, "two", nil)
		settle(t, a1, a2)
		served := one.dhcp.get(t, n.ID)
		require.Empty(t, two.routers.ids())

		stop() // the host dies: what it ran is out of reach, and no heartbeat comes
		time.Sleep(60 * time.Second)
		settle(t, a2)
		require.Empty(t, two.routers.ids(), "it may only be late")
		time.Sleep(60 * time.Second)
		settle(t, a2)
		require.Contains(t, two.routers.ids(), r.ID)
		require.Equal(t, served.Addresses, two.dhcp.get(t, n.ID).Addresses, "the server keeps its address")
		agents, err := s.Agents(t.Context(), network.System, network.Eq("alive", "False"))
		require.NoError(t, err)
		require.Len(t, agents, 3)
		require.Equal(t, "one", agents[0].Host)

		// Back again, it finds that others do its work, and stops.
		b1, _ := one.run(t, s, "one", nil)
		settle(t, b1, a2)
		require.Empty(t, one.routers.ids())
		require.Empty(t, one.dhcp.ids())
		agents, err = s.Agents(t.Context(), network.System, network.Eq("alive", "True"))
		require.NoError(t, err)
		require.Len(t, agents, 6)
	})
}

func TestOperatorsPlaceRoutersAndNetworks(t *testing.T) {
	s, one, two := open(t, nil), newHost(), newHost()
	a1, _ := one.run(t, s, "one", nil)
	settle(t, a1)
	n, subnet := private(t, s, demo)
	r, err := s.CreateRouter(t.Context(), demo, network.RouterSpec{})
	require.NoError(t, err)
	_, err = s.AddRouterInterface(t.Context(), demo, r.ID, subnet.ID, "")
	require.NoError(t, err)
	a2, _ := two.run(t, s, "two", nil)
	settle(t, a1, a2)
	id := func(agentType, host string) string {
		found, err := s.Agents(t.Context(), network.System, network.Query{Filters: map[string][]string{"agent_type": {agentType}, "host": {host}}})
		require.NoError(t, err)
		require.Len(t, found, 1)
		return found[0].ID
	}
	ctx, all := t.Context(), network.System
	require.ErrorIs(t, s.AddRouterToAgent(ctx, all, id("L3 agent", "two"), r.ID), network.ErrConflict, "one has it")
	require.NoError(t, s.AddRouterToAgent(ctx, all, id("L3 agent", "one"), r.ID))
	require.NoError(t, s.RemoveRouterFromAgent(ctx, all, id("L3 agent", "one"), r.ID))
	require.ErrorIs(t, s.RemoveRouterFromAgent(ctx, all, id("L3 agent", "one"), r.ID), network.ErrConflict)
	settle(t, a1, a2)
	require.Empty(t, one.routers.ids())
	require.NoError(t, s.AddRouterToAgent(ctx, all, id("L3 agent", "two"), r.ID))
	settle(t, a1, a2)
	require.Contains(t, two.routers.ids(), r.ID)
	hosting, err := s.AgentsHosting(ctx, all, r.ID)
	require.NoError(t, err)
	require.Equal(t, "two", hosting[0].Host)
	routers, err := s.RoutersOn(ctx, all, id("L3 agent", "two"))
	require.NoError(t, err)
	require.Len(t, routers, 1)

	// Two servers serve one network, each with an address of its own.
	require.NoError(t, s.AddNetworkToAgent(ctx, all, id("DHCP agent", "two"), n.ID))
	require.ErrorIs(t, s.AddNetworkToAgent(ctx, all, id("DHCP agent", "two"), n.ID), network.ErrConflict)
	settle(t, a1, a2)
	require.NotEqual(t, one.dhcp.get(t, n.ID).Addresses, two.dhcp.get(t, n.ID).Addresses)
	require.NoError(t, s.RemoveNetworkFromAgent(ctx, all, id("DHCP agent", "one"), n.ID))
	settle(t, a1, a2)
	require.Empty(t, one.dhcp.ids())
	require.Contains(t, two.dhcp.ids(), n.ID)
	require.ErrorIs(t, s.AddNetworkToAgent(ctx, all, id("L3 agent", "two"), n.ID), network.ErrConflict)

	// An agent that is deleted while it runs comes back, and what it hosted was left to others.
	require.NoError(t, s.DeleteAgent(ctx, all, id("L3 agent", "two")))
	settle(t, a1, a2)
	require.Empty(t, two.routers.ids())
}
