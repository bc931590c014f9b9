package drivertest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

func testRouterRestart(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}
	apply(t, h.Routers, want)
	out := outside(t, h)
	inner(t, h, "a", "inner-one", "172.24.17.2/24")
	b := inner(t, h, "b", "inner-one", "172.24.17.3/24")
	in, hidden := dial(t, out, "10.0.0.50", webPort), dial(t, b, "10.0.0.1", webPort)
	answers(t, in, "a", "10.0.0.1")
	answers(t, hidden, "outside", "10.0.0.11")

	again := h.Restarted(t)
	ids, err := again.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"router-one"}, ids)
	for range 3 {
		apply(t, again, want)
		answers(t, in, "a", "10.0.0.1")
		answers(t, hidden, "outside", "10.0.0.11")
	}
	want.MetadataPort = 9697
	apply(t, again, want)
	answers(t, in, "a", "10.0.0.1")
	answers(t, hidden, "outside", "10.0.0.11")
}

func testRouterInterrupted(t *testing.T, h RouterHost) {
	want := outerRouter("one", 11)
	want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}
	for legs := range 2 {
		require.Error(t, h.Interrupted(t, legs).Apply(t.Context(), want))
	}
	apply(t, h.Restarted(t), want)
	out := outside(t, h)
	inner(t, h, "a", "inner-one", "172.24.17.2/24")
	reaches(t, out, "10.0.0.50", "a", "10.0.0.1")

	require.Error(t, h.Interrupted(t, 1).Apply(t.Context(), outerRouter("two", 12)))
	again := h.Restarted(t)
	require.NoError(t, again.Remove(t.Context(), "router-two"))
	ids, err := again.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"router-one"}, ids)
	require.ElementsMatch(t, []string{"in-one", "out-one"}, h.Plugged(t))
}

func testRouterLegs(t *testing.T, h RouterHost) {
	legA, legB := routerLeg("leg-a", "net-a", "172.24.17.254/24"), routerLeg("leg-b", "net-b", "172.24.18.254/24")
	want := driver.Router{ID: "r", Interfaces: []driver.RouterInterface{legA}}
	apply(t, h.Routers, want)
	a := inner(t, h, "a", "net-a", "172.24.17.2/24")
	b := h.Join(t, "b", "net-b", prefix("172.24.18.2/24"), address("172.24.18.254"))
	b.Listen(t, webPort)
	unreachable(t, a, "172.24.18.2", webPort)

	want.Interfaces = []driver.RouterInterface{legA, legB}
	apply(t, h.Routers, want)
	reaches(t, a, "172.24.18.2", "b", "172.24.17.2")

	// A second subnet's address, on the same leg.
	want.Interfaces[0].Addresses = append(want.Interfaces[0].Addresses, prefix("192.168.5.1/24"))
	apply(t, h.Routers, want)
	pings(t, a, "192.168.5.1")
	reaches(t, a, "172.24.18.2", "b", "172.24.17.2")

	want.Interfaces = []driver.RouterInterface{legA}
	apply(t, h.Routers, want)
	unreachable(t, a, "172.24.18.2", webPort)
	unreachable(t, a, "192.168.5.1", webPort)
	pings(t, a, "172.24.17.254")
	require.Equal(t, []string{"leg-a"}, h.Plugged(t))
}

func testRouterRemove(t *testing.T, h RouterHost) {
	apply(t, h.Routers, outerRouter("one", 11))
	require.ElementsMatch(t, []string{"in-one", "out-one"}, h.Plugged(t))
	for range 2 {
		require.NoError(t, h.Routers.Remove(t.Context(), "router-one"))
		require.Empty(t, h.Plugged(t))
		ids, err := h.Routers.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, ids)
	}
	require.NoError(t, h.Routers.Remove(t.Context(), "never-was"))
	apply(t, h.Routers, outerRouter("one", 11))
	pings(t, outside(t, h), "10.0.0.11")
}

func testRouterInvalid(t *testing.T, h RouterHost) {
	twice := outerRouter("one", 11)
	twice.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2"), floating("10.0.0.50", "172.24.17.3")}
	nowhere := driver.Router{ID: "r", FloatingIPs: []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}}
	leg := routerLeg("leg", "net", "172.24.17.254/24")
	badMAC, badAddress := leg, leg
	badMAC.MAC = "fa:16"
	badAddress.Addresses = []netip.Prefix{{}}
	for name, want := range map[string]driver.Router{
		"no identifier":                 {},
		"an identifier with a slash":    {ID: "../x"},
		"one floating IP twice":         twice,
		"a floating IP, but no gateway": nowhere,
		"one port twice":                {ID: "r", Interfaces: []driver.RouterInterface{leg, leg}},
		"no MAC":                        {ID: "r", Interfaces: []driver.RouterInterface{badMAC}},
		"no address":                    {ID: "r", Interfaces: []driver.RouterInterface{badAddress}},
		"a route to nowhere":            {ID: "r", Routes: []driver.Route{{}}},
	} {
		require.Error(t, h.Routers.Apply(t.Context(), want), name)
	}
	ids, err := h.Routers.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}

// BenchmarkRouters measures a router with one inner leg, a gateway and a floating IP: made, applied again as it is, with a floating
// IP exchanged, and removed. Creation and removal are measured together with the fabric's ports.
func BenchmarkRouters(b *testing.B, factory func(t testing.TB) RouterHost) {
	router := func(n int) driver.Router {
		name := fmt.Sprintf("bench%06d", n)
		want := outerRouter(name, 11)
		want.MetadataPort = 9697
		want.FloatingIPs = []driver.FloatingIP{floating("10.0.0.50", "172.24.17.2")}
		// The identifiers' beginnings make the devices' names.
		want.Interfaces[0].NetworkID = fmt.Sprintf("%06d-net", n)
		want.Interfaces[0].PortID, want.Gateway.PortID = fmt.Sprintf("%06d-in", n), fmt.Sprintf("%06d-out", n)
		return want
	}
	b.Run("create", func(b *testing.B) {
		h, n := factory(b), 0
		for b.Loop() {
			apply(b, h.Routers, router(n))
			n++
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		h := factory(b)
		apply(b, h.Routers, router(0))
		for b.Loop() {
			apply(b, h.Routers, router(0))
		}
	})
	b.Run("floating IP", func(b *testing.B) {
		h, n := factory(b), 0
		want := router(0)
		for b.Loop() {
			n++
			want.FloatingIPs = []driver.FloatingIP{floating(fmt.Sprintf("10.0.0.%d", 50+n%2), "172.24.17.2")}
			apply(b, h.Routers, want)
		}
	})
	b.Run("remove", func(b *testing.B) {
		h, n := factory(b), 0
		for b.Loop() {
			b.StopTimer()
			apply(b, h.Routers, router(n))
			b.StartTimer()
			require.NoError(b, h.Routers.Remove(b.Context(), router(n).ID))
			n++
		}
	})
}
