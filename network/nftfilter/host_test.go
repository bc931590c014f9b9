//go:build linux

package nftfilter_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A host that routes and translates for a guarded guest finds the answers' connection in its own zone.
func TestTheHostTranslatesForAGuardedGuest(t *testing.T) {
	labtest.Require(t)
	hosts := portlab.Hosts(t, 2)
	host, bridge := link.Host{Namespace: hosts[0]}, "br-public"
	require.NoError(t, host.EnsureBridge(bridge, link.NetworkAlias("n"), 1500))
	port := driver.Port{ID: "guest", MAC: "fa:16:3e:00:00:02", MTU: 1500, Endpoint: driver.Endpoint{Device: "tapguest"}, Security: &driver.Security{
		Allowed: []driver.AddressPair{{Address: netip.MustParsePrefix("172.24.17.2/32")}},
		Rules:   []driver.Rule{{Direction: driver.Egress}},
	}}
	require.NoError(t, host.PlugPort(t.Context(), nftfilter.New(&nftfilter.Options{Namespace: hosts[0]}), port, bridge))
	require.NoError(t, netns.Do(hosts[0], func() error { return translate(bridge) }))
	namespace := portlab.TapGuest(t, hosts[0], "tapguest", port.MAC, 1500)
	guest := portlab.NewStation(t, namespace, "eth0", netip.MustParsePrefix("172.24.17.2/24"))
	require.NoError(t, netns.Do(namespace, func() error {
		return netlink.RouteAdd(&netlink.Route{Gw: net.IPv4(172, 24, 17, 254)})
	}))
	// The other host knows nothing of 172.24.17.0/24, and answers only a translated address.
	require.NoError(t, guest.Ping(portlab.Address(1), 1500))
	// The host itself reaches the guest, and the guest answers though no rule lets anything in.
	require.NoError(t, guest.Ping(netip.MustParseAddr("172.24.17.254"), 100))
}

// translate gives the host the guest's gateway address, and has it route and hide the guest behind its own.
func translate(bridge string) error {
	l, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	gateway, err := netlink.ParseAddr("172.24.17.254/24")
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, gateway); err != nil {
		return err
	}
	if err := portlab.Forward(); err != nil {
		return err
	}
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "hide"})
	chain := conn.AddChain(&nftables.Chain{Table: table, Name: "out", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, portlab.Underlay)
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name}, &expr.Masq{},
	}})
	return conn.Flush()
}
