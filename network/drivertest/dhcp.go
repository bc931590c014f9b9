package drivertest

import (
	"context"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

// DHCPHost is a host on which a DHCP driver is tried, with clients around it.
type DHCPHost struct {
	Servers driver.DHCPServers
	// Restarted ends a driver of this host and returns another, which knows nothing but what it finds there.
	Restarted func(t testing.TB) driver.DHCPServers
	// Interrupted returns a driver for the same host whose Apply gives up before its port is plugged in.
	Interrupted func(t testing.TB) driver.DHCPServers
	// Client puts a client into a network.
	Client func(t testing.TB, name, networkID, mac string) DHCPClient
	// Plugged are the identifiers of the servers' ports in the fabric.
	Plugged func(t testing.TB) []string
}

// DHCPClient is a client in a network.
type DHCPClient interface {
	// Send sends a message and returns the answer. Without one it returns an error when ctx is done.
	Send(ctx context.Context, message DHCPMessage) (DHCPAnswer, error)
}

// DHCPMessage is what a client sends (RFC 2131). Addresses are left out where they are invalid.
type DHCPMessage struct {
	// Type is "DISCOVER", "REQUEST", "INFORM", "RELEASE" or "DECLINE".
	Type string
	// Requested and Server are the options of these names.
	Requested, Server netip.Addr
	// Client is the address that the client has and sends from: ciaddr.
	Client netip.Addr
	// Relay is the relay agent's address: giaddr.
	Relay netip.Addr
	// Broadcast is set by clients that cannot receive unicast before they have an address.
	Broadcast bool
}

// DHCPAnswer is what a server answers.
type DHCPAnswer struct {
	// Type is "OFFER", "ACK" or "NAK".
	Type    string
	Address netip.Addr
	Server  netip.Addr
	// PrefixLength is the subnet mask's.
	PrefixLength int
	Routers      []netip.Addr
	DNS          []netip.Addr
	Routes       []driver.Route
	MTU          int
	LeaseSeconds uint32
	Domain       string
	Hostname     string
}

// TestDHCPServers is the conformance suite of [driver.DHCPServers]. The factory is called once per test and returns an empty host.
func TestDHCPServers(t *testing.T, factory func(t testing.TB) DHCPHost) {
	tests := []struct {
		name string
		run  func(t *testing.T, h DHCPHost)
	}{
		{"leases an address with all that belongs to it", testDHCPLease},
		{"answers clients that cannot receive unicast", testDHCPBroadcast},
		{"renews", testDHCPRenew},
		{"refuses wrong addresses", testDHCPRefuse},
		{"informs", testDHCPInform},
		{"is silent to strangers, relays and choosers of another", testDHCPSilent},
		{"keeps networks with the same addresses apart", testDHCPSameAddresses},
		{"serves several subnets and several addresses of one MAC", testDHCPSubnets},
		{"leaves out what a subnet does not have", testDHCPPlain},
		{"follows changes", testDHCPChange},
		{"a restarted driver serves on", testDHCPRestart},
		{"an interrupted Apply is completed by the next", testDHCPInterrupted},
		{"is removed with its port, twice", testDHCPRemove},
		{"refuses what cannot be", testDHCPInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, factory(t)) })
	}
}

const (
	macA = "fa:16:3e:00:00:0a"
	macB = "fa:16:3e:00:00:0b"
)

func addresses(all ...string) []netip.Addr {
	var list []netip.Addr
	for _, a := range all {
		list = append(list, address(a))
	}
	return list
}

// dhcpServer serves 172.24.17.0/24 in net-NAME: .2 to macA, .3 to macB.
func dhcpServer(name string) driver.DHCPServer {
	return driver.DHCPServer{
		NetworkID: "net-" + name, PortID: "dhcp-" + name, MAC: portMAC("dhcp-" + name), MTU: 1450,
		Addresses: []netip.Prefix{prefix("172.24.17.1/24")},
		Subnets: []driver.DHCPSubnet{{
			Prefix: prefix("172.24.17.0/24"), Gateway: address("172.24.17.254"), DNS: addresses("192.0.2.53", "192.0.2.54"),
			Routes:       []driver.Route{{Destination: prefix("192.168.7.0/24"), NextHop: address("172.24.17.9")}},
			LeaseSeconds: 7200, Domain: "example.org",
		}},
		Leases: []driver.Lease{
			{MAC: macA, Address: address("172.24.17.2"), Hostname: "host-a"},
			{MAC: macB, Address: address("172.24.17.3")},
		},
		MetadataAddress: address("169.254.169.254"),
	}
}

func applyDHCP(t testing.TB, servers driver.DHCPServers, want driver.DHCPServer) {
	t.Helper()
	require.NoError(t, servers.Apply(t.Context(), want))
}

func send(t testing.TB, c DHCPClient, m DHCPMessage) DHCPAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := c.Send(ctx, m)
	require.NoError(t, err, m.Type)
	return a
}

func silence(t testing.TB, c DHCPClient, m DHCPMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), doubt)
	defer cancel()
	a, err := c.Send(ctx, m)
	require.Error(t, err, "answered %+v to %+v", a, m)
}

// lease goes the whole way from DISCOVER to ACK.
func lease(t testing.TB, c DHCPClient) DHCPAnswer {
	t.Helper()
	offer := send(t, c, DHCPMessage{Type: "DISCOVER"})
	require.Equal(t, "OFFER", offer.Type)
	ack := send(t, c, DHCPMessage{Type: "REQUEST", Requested: offer.Address, Server: offer.Server})
	require.Equal(t, "ACK", ack.Type)
	require.Equal(t, offer.Address, ack.Address)
	return ack
}

func testDHCPLease(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	require.Equal(t, DHCPAnswer{
		Type: "ACK", Address: address("172.24.17.2"), Server: address("172.24.17.1"), PrefixLength: 24,
		Routers: addresses("172.24.17.254"), DNS: addresses("192.0.2.53", "192.0.2.54"),
		Routes: []driver.Route{
			{Destination: prefix("192.168.7.0/24"), NextHop: address("172.24.17.9")},
			{Destination: prefix("169.254.169.254/32"), NextHop: address("172.24.17.1")},
			{Destination: prefix("0.0.0.0/0"), NextHop: address("172.24.17.254")},
		},
		MTU: 1450, LeaseSeconds: 7200, Domain: "example.org", Hostname: "host-a",
	}, lease(t, h.Client(t, "a", "net-one", macA)))
	b := lease(t, h.Client(t, "b", "net-one", macB))
	require.Equal(t, address("172.24.17.3"), b.Address)
	require.Empty(t, b.Hostname)
}

func testDHCPBroadcast(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	a := h.Client(t, "a", "net-one", macA)
	offer := send(t, a, DHCPMessage{Type: "DISCOVER", Broadcast: true})
	require.Equal(t, address("172.24.17.2"), offer.Address)
	ack := send(t, a, DHCPMessage{Type: "REQUEST", Requested: offer.Address, Server: offer.Server, Broadcast: true})
	require.Equal(t, "ACK", ack.Type)
}

func testDHCPRenew(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	a := h.Client(t, "a", "net-one", macA)
	got := lease(t, a)
	renewed := send(t, a, DHCPMessage{Type: "REQUEST", Client: got.Address})
	require.Equal(t, got, renewed)
	// After a reboot the client asks for what it had.
	require.Equal(t, got, send(t, a, DHCPMessage{Type: "REQUEST", Requested: got.Address}))
}

func testDHCPRefuse(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	a := h.Client(t, "a", "net-one", macA)
	for _, wrong := range []DHCPMessage{
		{Type: "REQUEST", Requested: address("172.24.17.3")},
		{Type: "REQUEST", Requested: address("10.1.1.1")},
		{Type: "REQUEST", Requested: address("172.24.17.3"), Server: address("172.24.17.1")},
		{Type: "REQUEST", Client: address("172.24.17.3")},
		{Type: "REQUEST"},
	} {
		nak := send(t, a, wrong)
		require.Equal(t, "NAK", nak.Type, "%+v", wrong)
		require.False(t, nak.Address.IsValid() && !nak.Address.IsUnspecified())
	}
	// It offers the right one to who asks for a wrong one first.
	offer := send(t, a, DHCPMessage{Type: "DISCOVER", Requested: address("172.24.17.3")})
	require.Equal(t, address("172.24.17.2"), offer.Address)
}

func testDHCPInform(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	ack := send(t, h.Client(t, "a", "net-one", macA), DHCPMessage{Type: "INFORM", Client: address("172.24.17.2")})
	require.Equal(t, "ACK", ack.Type)
	require.Equal(t, addresses("192.0.2.53", "192.0.2.54"), ack.DNS)
	require.Zero(t, ack.LeaseSeconds)
	require.False(t, ack.Address.IsValid() && !ack.Address.IsUnspecified())
}

func testDHCPSilent(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	stranger := h.Client(t, "stranger", "net-one", "fa:16:3e:00:00:ff")
	silence(t, stranger, DHCPMessage{Type: "DISCOVER"})
	silence(t, stranger, DHCPMessage{Type: "REQUEST", Requested: address("172.24.17.2")})
	a := h.Client(t, "a", "net-one", macA)
	silence(t, a, DHCPMessage{Type: "DISCOVER", Relay: address("10.9.9.9")})
	silence(t, a, DHCPMessage{Type: "REQUEST", Requested: address("172.24.17.2"), Server: address("172.24.17.77")})
	silence(t, a, DHCPMessage{Type: "RELEASE"})
	require.Equal(t, address("172.24.17.2"), lease(t, a).Address)
}

func testDHCPSameAddresses(t *testing.T, h DHCPHost) {
	one, two := dhcpServer("one"), dhcpServer("two")
	two.Leases = []driver.Lease{{MAC: macB, Address: address("172.24.17.2"), Hostname: "other"}}
	applyDHCP(t, h.Servers, one)
	applyDHCP(t, h.Servers, two)
	require.Equal(t, "host-a", lease(t, h.Client(t, "a", "net-one", macA)).Hostname)
	require.Equal(t, "other", lease(t, h.Client(t, "b", "net-two", macB)).Hostname)
	silence(t, h.Client(t, "c", "net-two", macA), DHCPMessage{Type: "DISCOVER"})
	ids, err := h.Servers.List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"net-one", "net-two"}, ids)
}

func testDHCPSubnets(t *testing.T, h DHCPHost) {
	want := dhcpServer("one")
	want.Addresses = append(want.Addresses, prefix("192.168.9.1/26"))
	want.Subnets = append(want.Subnets, driver.DHCPSubnet{Prefix: prefix("192.168.9.0/26"), Gateway: address("192.168.9.62")})
	want.Leases = append(want.Leases,
		driver.Lease{MAC: macA, Address: address("172.24.17.8")},
		driver.Lease{MAC: "fa:16:3e:00:00:0c", Address: address("192.168.9.5")},
		// An address of a subnet without DHCP.
		driver.Lease{MAC: "fa:16:3e:00:00:0d", Address: address("10.5.5.5")})
	applyDHCP(t, h.Servers, want)
	a := h.Client(t, "a", "net-one", macA)
	require.Equal(t, address("172.24.17.2"), lease(t, a).Address)
	second := send(t, a, DHCPMessage{Type: "REQUEST", Requested: address("172.24.17.8")})
	require.Equal(t, "ACK", second.Type)
	require.Equal(t, address("172.24.17.8"), second.Address)
	c := lease(t, h.Client(t, "c", "net-one", "fa:16:3e:00:00:0c"))
	require.Equal(t, address("192.168.9.5"), c.Address)
	require.Equal(t, address("192.168.9.1"), c.Server)
	require.Equal(t, 26, c.PrefixLength)
	require.Equal(t, addresses("192.168.9.62"), c.Routers)
	silence(t, h.Client(t, "d", "net-one", "fa:16:3e:00:00:0d"), DHCPMessage{Type: "DISCOVER"})
}

func testDHCPPlain(t *testing.T, h DHCPHost) {
	want := dhcpServer("one")
	want.MetadataAddress = netip.Addr{}
	want.Subnets = []driver.DHCPSubnet{{Prefix: prefix("172.24.17.0/24"), LeaseSeconds: 600}}
	applyDHCP(t, h.Servers, want)
	require.Equal(t, DHCPAnswer{
		Type: "ACK", Address: address("172.24.17.2"), Server: address("172.24.17.1"), PrefixLength: 24,
		MTU: 1450, LeaseSeconds: 600, Hostname: "host-a",
	}, lease(t, h.Client(t, "a", "net-one", macA)))
}

func testDHCPChange(t *testing.T, h DHCPHost) {
	want := dhcpServer("one")
	applyDHCP(t, h.Servers, want)
	a, b := h.Client(t, "a", "net-one", macA), h.Client(t, "b", "net-one", macB)
	lease(t, a)
	want.Leases = want.Leases[1:]
	want.Subnets[0].DNS = addresses("192.0.2.55")
	applyDHCP(t, h.Servers, want)
	silence(t, a, DHCPMessage{Type: "DISCOVER"})
	require.Equal(t, addresses("192.0.2.55"), lease(t, b).DNS)

	// The server moves to another port and address.
	want.PortID, want.MAC, want.Addresses = "moved-one", portMAC("moved-one"), []netip.Prefix{prefix("172.24.17.5/24")}
	applyDHCP(t, h.Servers, want)
	require.Equal(t, address("172.24.17.5"), lease(t, b).Server)
	require.Equal(t, []string{"moved-one"}, h.Plugged(t))
}

func testDHCPRestart(t *testing.T, h DHCPHost) {
	want := dhcpServer("one")
	applyDHCP(t, h.Servers, want)
	a := h.Client(t, "a", "net-one", macA)
	got := lease(t, a)
	again := h.Restarted(t)
	ids, err := again.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"net-one"}, ids)
	applyDHCP(t, again, want)
	applyDHCP(t, again, want)
	require.Equal(t, got, send(t, a, DHCPMessage{Type: "REQUEST", Client: got.Address}))
	require.Equal(t, []string{"dhcp-one"}, h.Plugged(t))
}

func testDHCPInterrupted(t *testing.T, h DHCPHost) {
	require.Error(t, h.Interrupted(t).Apply(t.Context(), dhcpServer("one")))
	require.Error(t, h.Interrupted(t).Apply(t.Context(), dhcpServer("two")))
	applyDHCP(t, h.Servers, dhcpServer("one"))
	lease(t, h.Client(t, "a", "net-one", macA))
	require.NoError(t, h.Servers.Remove(t.Context(), "net-two"))
	ids, err := h.Servers.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"net-one"}, ids)
}

func testDHCPRemove(t *testing.T, h DHCPHost) {
	applyDHCP(t, h.Servers, dhcpServer("one"))
	a := h.Client(t, "a", "net-one", macA)
	lease(t, a)
	for range 2 {
		require.NoError(t, h.Servers.Remove(t.Context(), "net-one"))
		require.Empty(t, h.Plugged(t))
		ids, err := h.Servers.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, ids)
	}
	silence(t, a, DHCPMessage{Type: "DISCOVER"})
	require.NoError(t, h.Servers.Remove(t.Context(), "never-was"))
	applyDHCP(t, h.Servers, dhcpServer("one"))
	lease(t, a)
}

func testDHCPInvalid(t *testing.T, h DHCPHost) {
	change := func(f func(*driver.DHCPServer)) driver.DHCPServer {
		want := dhcpServer("one")
		f(&want)
		return want
	}
	for name, want := range map[string]driver.DHCPServer{
		"no identifier":       change(func(s *driver.DHCPServer) { s.NetworkID = "" }),
		"a slash":             change(func(s *driver.DHCPServer) { s.NetworkID = "../x" }),
		"no port":             change(func(s *driver.DHCPServer) { s.PortID = "" }),
		"no MAC":              change(func(s *driver.DHCPServer) { s.MAC = "" }),
		"no address":          change(func(s *driver.DHCPServer) { s.Addresses = nil }),
		"an invalid address":  change(func(s *driver.DHCPServer) { s.Addresses = []netip.Prefix{{}} }),
		"an invalid subnet":   change(func(s *driver.DHCPServer) { s.Subnets[0].Prefix = netip.Prefix{} }),
		"a lease without MAC": change(func(s *driver.DHCPServer) { s.Leases[0].MAC = "" }),
		"a lease of nothing":  change(func(s *driver.DHCPServer) { s.Leases[0].Address = netip.Addr{} }),
	} {
		require.Error(t, h.Servers.Apply(t.Context(), want), name)
	}
	ids, err := h.Servers.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}
