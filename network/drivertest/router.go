package drivertest

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

// RouterHost is a host on which a router driver is tried, with everything around the routers.
type RouterHost struct {
	Routers driver.Routers
	// Restarted returns a driver for the same host that knows nothing but what it finds there.
	Restarted func(t testing.TB) driver.Routers
	// Interrupted returns a driver for the same host whose Apply gives up after so many legs of routers, and leaves
	// everything as it is, as a killed process does.
	Interrupted func(t testing.TB, legs int) driver.Routers
	// Join puts a station into a network. An invalid gateway is none.
	Join func(t testing.TB, name, networkID string, address netip.Prefix, gateway netip.Addr) Station
	// Listen answers, as a station would, on a TCP port of the router's own.
	Listen func(t testing.TB, name, routerID string, port uint16)
	// Plugged are the identifiers of the routers' ports in the fabric.
	Plugged func(t testing.TB) []string
}

// Station is a host in a network.
type Station interface {
	// Ping returns when the address has answered.
	Ping(ctx context.Context, to netip.Addr) error
	// Listen answers everything sent to a TCP port with the station's name and the caller's address.
	Listen(t testing.TB, port uint16)
	Dial(ctx context.Context, to netip.AddrPort) (Conn, error)
}

// Conn is an open TCP connection to a port that a [Station] listens on.
type Conn interface {
	// Ask returns the name of who answers and the address that it sees as the caller's.
	Ask(ctx context.Context) (name string, caller netip.Addr, err error)
	Close() error
}

// patience is how long an answer is waited for that has to come; doubt, one that must not.
const (
	patience = 20 * time.Second
	doubt    = 600 * time.Millisecond
)

const webPort = 80

var (
	address = netip.MustParseAddr
	prefix  = netip.MustParsePrefix
)

// TestRouters is the conformance suite of [driver.Routers]. The factory is called once per test and returns an empty host.
func TestRouters(t *testing.T, factory func(t testing.TB) RouterHost) {
	tests := []struct {
		name string
		run  func(t *testing.T, h RouterHost)
	}{
		{"routes between its networks", testRouterRoutes},
		{"hides inner addresses behind the gateway's", testRouterSNAT},
		{"routes to the outside without hiding", testRouterWithoutSNAT},
		{"floating IPs work both ways and from inside", testRouterFloatingIP},
		{"networks with the same addresses stay apart", testRouterSameAddresses},
		{"a floating IP's change leaves the others' connections alone", testRouterFloatingIPChange},
		{"a floating IP moves to another router", testRouterFloatingIPMoves},
		{"a restarted driver takes over without disturbing a connection", testRouterRestart},
		{"an interrupted Apply is completed by the next", testRouterInterrupted},
		{"legs come and go", testRouterLegs},
		{"static routes", testRouterStaticRoutes},
		{"redirects metadata requests", testRouterMetadata},
		{"is removed with its ports, twice", testRouterRemove},
		{"refuses what cannot be", testRouterInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, factory(t)) })
	}
}

func routerLeg(port, network, addr string) driver.RouterInterface {
	return driver.RouterInterface{
		PortID: port, NetworkID: network, MAC: portMAC(port), MTU: 1500, Addresses: []netip.Prefix{prefix(addr)},
	}
}

// portMAC is a MAC that differs where the ports' identifiers do.
func portMAC(port string) string {
	var sum uint32
	for _, b := range []byte(port) {
		sum = sum*31 + uint32(b)
	}
	return fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", byte(sum>>16), byte(sum>>8), byte(sum))
}

// outerRouter has one inner network, inner-NAME with 172.24.17.0/24, and a gateway, 10.0.0.N, in the network "public".
func outerRouter(name string, n int) driver.Router {
	return driver.Router{
		ID:         "router-" + name,
		Interfaces: []driver.RouterInterface{routerLeg("in-"+name, "inner-"+name, "172.24.17.254/24")},
		Gateway: &driver.Gateway{
			RouterInterface: routerLeg("out-"+name, "public", fmt.Sprintf("10.0.0.%d/24", n)),
			NextHops:        []netip.Addr{address("10.0.0.1")}, SNAT: true,
		},
	}
}

func floating(external, internal string) driver.FloatingIP {
	return driver.FloatingIP{ID: "fip-" + external, External: address(external), Internal: address(internal)}
}

func inner(t testing.TB, h RouterHost, name, network, addr string) Station {
	s := h.Join(t, name, network, prefix(addr), address("172.24.17.254"))
	s.Listen(t, webPort)
	return s
}

func outside(t testing.TB, h RouterHost) Station {
	s := h.Join(t, "outside", "public", prefix("10.0.0.1/24"), netip.Addr{})
	s.Listen(t, webPort)
	return s
}

func apply(t testing.TB, routers driver.Routers, want driver.Router) {
	t.Helper()
	require.NoError(t, routers.Apply(t.Context(), want))
}

func dial(t testing.TB, from Station, to string, port uint16) Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := from.Dial(ctx, netip.AddrPortFrom(address(to), port))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// answers asserts who answers on a connection, and whom it sees.
func answers(t testing.TB, conn Conn, name, caller string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	gotName, gotCaller, err := conn.Ask(ctx)
	require.NoError(t, err)
	require.Equal(t, name, gotName, "who answers")
	require.Equal(t, caller, gotCaller.String(), "the caller that is seen")
}

func reaches(t testing.TB, from Station, to, name, caller string) {
	t.Helper()
	conn := dial(t, from, to, webPort)
	answers(t, conn, name, caller)
	require.NoError(t, conn.Close())
}

func pings(t testing.TB, from Station, to string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, from.Ping(ctx, address(to)))
}

func unreachable(t testing.TB, from Station, to string, port uint16) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), doubt)
	defer cancel()
	conn, err := from.Dial(ctx, netip.AddrPortFrom(address(to), port))
	if err == nil {
		_ = conn.Close()
	}
	require.Error(t, err, "%s:%d answers", to, port)
}

// dead asserts that nothing comes back on a connection any more.
func dead(t testing.TB, conn Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), doubt)
	defer cancel()
	_, _, err := conn.Ask(ctx)
	require.Error(t, err, "the connection still lives")
}

func testRouterRoutes(t *testing.T, h RouterHost) {
	apply(t, h.Routers, driver.Router{ID: "r", Interfaces: []driver.RouterInterface{
		routerLeg("leg-a", "net-a", "172.24.17.254/24"), routerLeg("leg-b", "net-b", "172.24.18.254/24"),
	}})
	a := inner(t, h, "a", "net-a", "172.24.17.2/24")
	b := h.Join(t, "b", "net-b", prefix("172.24.18.2/24"), address("172.24.18.254"))
	b.Listen(t, webPort)
	pings(t, a, "172.24.17.254")
	pings(t, a, "172.24.18.2")
	pings(t, b, "172.24.17.2")
	reaches(t, a, "172.24.18.2", "b", "172.24.17.2")
	ids, err := h.Routers.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"r"}, ids)
}

func testRouterSNAT(t *testing.T, h RouterHost) {
	apply(t, h.Routers, outerRouter("one", 11))
	out := outside(t, h)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	pings(t, a, "10.0.0.1")
	reaches(t, a, "10.0.0.1", "outside", "10.0.0.11")
	pings(t, out, "10.0.0.11")
	unreachable(t, out, "172.24.17.2", webPort)
}

func testRouterWithoutSNAT(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.Gateway.SNAT = false
	apply(t, h.Routers, want)
	out := h.Join(t, "outside", "public", prefix("10.0.0.1/24"), address("10.0.0.11"))
	out.Listen(t, webPort)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	reaches(t, a, "10.0.0.1", "outside", "172.24.17.2")
	reaches(t, out, "172.24.17.2", "a", "10.0.0.1")
}

func testRouterFloatingIP(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}
	apply(t, h.Routers, want)
	out := outside(t, h)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	b := inner(t, h, "b", "inner-one", "172.24.17.3/24")
	pings(t, out, "10.0.0.50")
	reaches(t, out, "10.0.0.50", "a", "10.0.0.1")
	reaches(t, a, "10.0.0.1", "outside", "10.0.0.50")
	reaches(t, b, "10.0.0.1", "outside", "10.0.0.11")
	reaches(t, b, "10.0.0.50", "a", "10.0.0.11")
	reaches(t, a, "10.0.0.50", "a", "10.0.0.50")
}

func testRouterSameAddresses(t *testing.T, h RouterHost) {
	one, two := outerRouter("one", 11), outerRouter("two", 12)
	one.FloatingIPs = []driver.FloatingIP{floating("10.0.0.51", "172.24.17.2")}
	two.FloatingIPs = []driver.FloatingIP{floating("10.0.0.52", "172.24.17.2")}
	apply(t, h.Routers, one)
	apply(t, h.Routers, two)
	out := outside(t, h)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	b := inner(t, h, "b", "inner-two", "172.24.17.2/24")
	reaches(t, out, "10.0.0.51", "a", "10.0.0.1")
	reaches(t, out, "10.0.0.52", "b", "10.0.0.1")
	reaches(t, a, "10.0.0.52", "b", "10.0.0.51")
	reaches(t, b, "10.0.0.51", "a", "10.0.0.52")
	require.NoError(t, h.Routers.Remove(t.Context(), "router-one"))
	reaches(t, out, "10.0.0.52", "b", "10.0.0.1")
	unreachable(t, out, "10.0.0.51", webPort)
}

func testRouterFloatingIPChange(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2"), floating("10.0.0.51", "172.24.17.3")}
	apply(t, h.Routers, want)
	out := outside(t, h)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	b := inner(t, h, "b", "inner-one", "172.24.17.3/24")
	toA, toB := dial(t, out, "10.0.0.50", webPort), dial(t, out, "10.0.0.51", webPort)
	fromA := dial(t, a, "10.0.0.1", webPort)
	answers(t, toA, "a", "10.0.0.1")
	answers(t, toB, "b", "10.0.0.1")
	answers(t, fromA, "outside", "10.0.0.50")

	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2"), floating("10.0.0.52", "172.24.17.3")}
	apply(t, h.Routers, want)
	answers(t, toA, "a", "10.0.0.1")
	answers(t, fromA, "outside", "10.0.0.50")
	reaches(t, out, "10.0.0.52", "b", "10.0.0.1")
	reaches(t, b, "10.0.0.1", "outside", "10.0.0.52")
	dead(t, toB)

	// Given to another server, a floating IP's connections do not go on to the first one.
	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.3")}
	apply(t, h.Routers, want)
	dead(t, toA)
	reaches(t, out, "10.0.0.50", "b", "10.0.0.1")
	reaches(t, a, "10.0.0.1", "outside", "10.0.0.11")
}

func testRouterStaticRoutes(t *testing.T, h RouterHost) {
	near := driver.Router{ID: "near", Interfaces: []driver.RouterInterface{
		routerLeg("near-a", "net-a", "172.24.17.254/24"), routerLeg("near-x", "transit", "192.168.0.1/30"),
	}, Routes: []driver.Route{{Destination: prefix("172.24.18.0/24"), NextHop: address("192.168.0.2")}}}
	far := driver.Router{ID: "far", Interfaces: []driver.RouterInterface{
		routerLeg("far-b", "net-b", "172.24.18.254/24"), routerLeg("far-x", "transit", "192.168.0.2/30"),
	}, Routes: []driver.Route{{Destination: prefix("172.24.17.0/24"), NextHop: address("192.168.0.1")}}}
	apply(t, h.Routers, near)
	apply(t, h.Routers, far)
	a := inner(t, h, "a", "net-a", "172.24.17.2/24")
	b := h.Join(t, "b", "net-b", prefix("172.24.18.2/24"), address("172.24.18.254"))
	b.Listen(t, webPort)
	reaches(t, a, "172.24.18.2", "b", "172.24.17.2")
	near.Routes = nil
	apply(t, h.Routers, near)
	unreachable(t, a, "172.24.18.2", webPort)
}

func testRouterMetadata(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.MetadataPort = 9697
	apply(t, h.Routers, want)
	h.Listen(t, "proxy", "router-one", 9697)
	out := outside(t, h)
	a := inner(t, h, "a", "inner-one", "172.24.17.2/24")
	reaches(t, a, "169.254.169.254", "proxy", "172.24.17.2")
	// Nobody gets at the proxy otherwise.
	unreachable(t, a, "172.24.17.254", 9697)
	unreachable(t, out, "10.0.0.11", 9697)
	unreachable(t, a, "169.254.169.254", 8080)
	unreachable(t, a, "169.254.1.1", webPort)
	reaches(t, a, "10.0.0.1", "outside", "10.0.0.11")

	want.MetadataPort = 0
	apply(t, h.Routers, want)
	unreachable(t, a, "169.254.169.254", webPort)
}

// The neighbours outside are told at once: their own doubts would come only after half a minute.
func testRouterFloatingIPMoves(t *testing.T, h RouterHost) {
	one, two := outerRouter("one", 11), outerRouter("two", 12)
	moving := []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}
	one.FloatingIPs = moving
	apply(t, h.Routers, one)
	apply(t, h.Routers, two)
	out := outside(t, h)
	inner(t, h, "a", "inner-one", "172.24.17.2/24")
	inner(t, h, "b", "inner-two", "172.24.17.2/24")
	reaches(t, out, "10.0.0.50", "a", "10.0.0.1")
	one.FloatingIPs, two.FloatingIPs = nil, moving
	apply(t, h.Routers, one)
	apply(t, h.Routers, two)
	reaches(t, out, "10.0.0.50", "b", "10.0.0.1")
}
