//go:build linux

package netnsrouter_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/labnet"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		victim()
	}
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

// station is a labnet station as the suite wants it.
type station struct {
	*labnet.Station
	name string
}

func (s station) Listen(t testing.TB, port uint16) { listen(t, s.Namespace, s.name, port) }

func (s station) Dial(ctx context.Context, to netip.AddrPort) (drivertest.Conn, error) {
	return s.Station.Dial(ctx, to)
}

func listen(t testing.TB, namespace, name string, port uint16) {
	stop, err := labnet.Listen(namespace, name, port)
	require.NoError(t, err)
	t.Cleanup(stop)
}

func host(t testing.TB) drivertest.RouterHost {
	labtest.Require(t)
	t.Cleanup(func() { require.NoError(t, labnet.Clear()) })
	fabric := labnet.New()
	return drivertest.RouterHost{
		Routers:   netnsrouter.New(fabric, nil),
		Restarted: func(testing.TB) driver.Routers { return netnsrouter.New(fabric, nil) },
		Interrupted: func(_ testing.TB, legs int) driver.Routers {
			return netnsrouter.New(labnet.Interrupted(legs), nil)
		},
		Join: func(t testing.TB, name, networkID string, address netip.Prefix, gateway netip.Addr) drivertest.Station {
			s, err := labnet.Join(t.Context(), fabric, name, networkID, address, gateway)
			require.NoError(t, err)
			return station{s, name}
		},
		Listen: func(t testing.TB, name, routerID string, port uint16) {
			listen(t, driver.RouterNamespace(routerID), name, port)
		},
		Plugged: func(t testing.TB) []string {
			ids, err := fabric.List(t.Context())
			require.NoError(t, err)
			var routers []string
			for _, id := range ids {
				if !strings.HasPrefix(id, "station-") {
					routers = append(routers, id)
				}
			}
			return routers
		},
	}
}

func TestConformance(t *testing.T) {
	labtest.Require(t)
	drivertest.TestRouters(t, host)
}

// What is as wanted is left alone: the kernel tells of no change, and the rules stay the same ones.
func TestAppliedAgainNothingChanges(t *testing.T) {
	h := host(t)
	want := victimRouter(0)
	want.Gateway.Addresses = append(want.Gateway.Addresses, netip.MustParsePrefix("fd00:0:0:1::2/64"))
	want.Gateway.NextHops = append(want.Gateway.NextHops, netip.MustParseAddr("fd00:0:0:1::1"))
	want.Interfaces[0].Addresses = append(want.Interfaces[0].Addresses, netip.MustParsePrefix("fd00:0:0:2::1/64"))
	want.Routes = []driver.Route{{Destination: netip.MustParsePrefix("192.168.77.0/24"), NextHop: netip.MustParseAddr("172.24.17.9")}}
	require.NoError(t, h.Routers.Apply(t.Context(), want))

	namespace := driver.RouterNamespace(want.ID)
	ns, err := vnetns.GetFromName(namespace)
	require.NoError(t, err)
	defer func() { require.NoError(t, ns.Close()) }()
	done := make(chan struct{})
	defer close(done)
	routes := make(chan netlink.RouteUpdate, 100)
	require.NoError(t, netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{Namespace: &ns}))
	addresses := make(chan netlink.AddrUpdate, 100)
	require.NoError(t, netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{Namespace: &ns}))
	before := handles(t, ns)
	require.NotEmpty(t, before)
	require.NoError(t, h.Restarted(t).Apply(t.Context(), want))
	require.Equal(t, before, handles(t, ns))

	// Then a change: its news are the first. What the kernel does by itself when an IPv6 address settles does not count.
	want.Routes = nil
	want.Gateway.NextHops = nil
	require.NoError(t, h.Routers.Apply(t.Context(), want))
	gone := map[string]bool{}
	for len(gone) < 3 {
		u := <-routes
		if u.Protocol != unix.RTPROT_STATIC {
			continue
		}
		require.EqualValues(t, unix.RTM_DELROUTE, u.Type, "%v", u.Route)
		gone[u.Dst.String()] = true
	}
	require.Equal(t, map[string]bool{"192.168.77.0/24": true, "0.0.0.0/0": true, "::/0": true}, gone)
	for range len(addresses) {
		u := <-addresses
		require.Nil(t, u.LinkAddress.IP.To4(), "%v", u)
	}
}

// handles are the identifiers of the rules in a namespace: a rule that is replaced gets another.
func handles(t *testing.T, ns vnetns.NsHandle) []uint64 {
	t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	require.NoError(t, err)
	chains, err := conn.ListChains()
	require.NoError(t, err)
	var all []uint64
	for _, chain := range chains {
		rules, err := conn.GetRules(chain.Table, chain)
		require.NoError(t, err)
		for _, rule := range rules {
			all = append(all, rule.Handle)
		}
	}
	return all
}

// victimVariable makes this test's program one that applies routers until it is killed.
const victimVariable = "KINTOUN_ROUTER_VICTIM"

func victimRouter(n int) driver.Router {
	leg := func(port, network, address string) driver.RouterInterface {
		return driver.RouterInterface{
			PortID: port, NetworkID: network, MAC: labnet.MAC(port), MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix(address)},
		}
	}
	want := driver.Router{
		ID: "kept", MetadataPort: uint16(9000 + n%3),
		Interfaces: []driver.RouterInterface{leg("in-kept", "inner", "172.24.17.254/24")},
		Gateway: &driver.Gateway{
			RouterInterface: leg("out-kept", "public", "10.0.0.11/24"), NextHops: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, SNAT: true,
		},
		FloatingIPs: []driver.FloatingIP{
			{ID: "kept", External: netip.MustParseAddr("10.0.0.50"), Internal: netip.MustParseAddr("172.24.17.2")},
			{ID: "moving", External: netip.AddrFrom4([4]byte{10, 0, 0, byte(60 + n%4)}), Internal: netip.AddrFrom4([4]byte{172, 24, 17, byte(3 + n%2)})},
		},
	}
	if n%2 == 0 {
		port := fmt.Sprintf("x%d", n%8)
		want.Interfaces = append(want.Interfaces, leg(port, "extra", fmt.Sprintf("192.168.%d.1/24", n%8)))
	}
	return want
}

func victim() {
	d := netnsrouter.New(labnet.New(), nil)
	for n := 0; ; n++ {
		if err := d.Apply(context.Background(), victimRouter(n)); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// A program that applies one change after another is killed at some point of one, several times; the next one goes on
// from there, and a connection through what did not change lives through it all.
func TestKilledInTheMiddleOfApply(t *testing.T) {
	h := host(t)
	require.NoError(t, h.Routers.Apply(t.Context(), victimRouter(0)))
	outside := h.Join(t, "outside", "public", netip.MustParsePrefix("10.0.0.1/24"), netip.Addr{})
	a := h.Join(t, "a", "inner", netip.MustParsePrefix("172.24.17.2/24"), netip.MustParseAddr("172.24.17.254"))
	a.Listen(t, 80)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, err := outside.Dial(ctx, netip.MustParseAddrPort("10.0.0.50:80"))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	for round := range 6 {
		killAfter(t, 3+round)
		name, _, err := conn.Ask(ctx)
		require.NoError(t, err)
		require.Equal(t, "a", name)
	}
	require.NoError(t, h.Restarted(t).Apply(t.Context(), victimRouter(1)))
	name, _, err := conn.Ask(ctx)
	require.NoError(t, err)
	require.Equal(t, "a", name)
	require.ElementsMatch(t, []string{"in-kept", "out-kept"}, h.Plugged(t))
}

// killAfter runs the victim and kills it after so many changes, in the middle of the next.
func killAfter(t *testing.T, changes int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), victimVariable+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range changes {
		require.True(t, lines.Scan())
		require.NotContains(t, lines.Text(), "error")
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
}

func BenchmarkRouters(b *testing.B) {
	labtest.Require(b)
	drivertest.BenchmarkRouters(b, host)
}
