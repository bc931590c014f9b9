package drivertest

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

// A FabricLab is some hosts that reach each other by an underlay which carries 1500 bytes, each with a fabric.
type FabricLab interface {
	// Fabric is the driver of a host, from 0 on.
	Fabric(host int) driver.Fabric
	// Restart returns a new driver value over the same host, as a restarted agent makes one.
	Restart(t testing.TB, host int) driver.Fabric
	// Address is the host's tunnel address.
	Address(host int) netip.Addr
	// Namespace makes a network namespace of the host for a port's end, and returns its name.
	Namespace(t testing.TB, host int) string
	// Attach puts a guest at the end of a port that was applied: into its namespace, or as the guest behind its tap.
	// With no addresses only the test talks.
	Attach(t testing.TB, host int, port driver.Port, addresses ...netip.Prefix) TalkingGuest
	// MTU is the largest that a network over the underlay can have.
	MTU() int
	// Damage leaves a port as a driver leaves it that is killed in the middle of Apply: there in part.
	Damage(t testing.TB, host int, port driver.Port)
}

// PhysicalNetwork is the physical network that a [FabricLab]'s hosts have.
const PhysicalNetwork = "public"

// network is one of the suite's, told apart by n.
func fabricNetwork(lab FabricLab, n int, hosts ...int) driver.Network {
	want := driver.Network{ID: fmt.Sprintf("%08d-aaaa-4000-8000-000000000000", n), Segment: uint32(1000 + n), MTU: lab.MTU()}
	for _, host := range hosts {
		want.Peers = append(want.Peers, lab.Address(host))
	}
	return want
}

// port is one of a network: the n-th address of 172.24.17.0/24 and a tap.
func fabricPort(_ FabricLab, in driver.Network, n int) driver.Port {
	id := fmt.Sprintf("%s%02d-bbbb-4000-8000-000000000000", in.ID[2:8], n)
	return driver.Port{
		ID: id, NetworkID: in.ID, MAC: fabricMAC(n), MTU: in.MTU,
		Endpoint: driver.Endpoint{Device: driver.TapName(id)},
	}
}

func fabricMAC(n int) string { return fmt.Sprintf("fa:16:3e:00:00:%02x", n) }

func fabricAddress(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 24, 17, byte(n)}), 24)
}

// inNamespace makes the port end in a namespace of the host.
func inNamespace(t testing.TB, lab FabricLab, host int, p driver.Port) driver.Port {
	p.Endpoint = driver.Endpoint{Namespace: lab.Namespace(t, host), Device: driver.TapName(p.ID)}
	return p
}

// secure guards the port with its own address and the rules.
func secure(p driver.Port, n int, rules ...driver.Rule) driver.Port {
	p.Security = &driver.Security{
		Allowed: []driver.AddressPair{{MAC: p.MAC, Address: netip.PrefixFrom(fabricAddress(n).Addr(), 32)}},
		Rules:   rules,
	}
	return p
}

func applyFabric(t testing.TB, f driver.Fabric, in driver.Network, ports ...driver.Port) {
	t.Helper()
	require.NoError(t, f.Networks().Apply(t.Context(), in))
	for _, p := range ports {
		require.NoError(t, f.Ports().Apply(t.Context(), p))
	}
}

// frame is a packet from one of the suite's ports to another.
func frame(from, to int, port uint16) Packet {
	return Packet{SourceMAC: fabricMAC(from), DestinationMAC: fabricMAC(to), Source: fabricAddress(from).Addr(), Destination: fabricAddress(to).Addr(), Protocol: TCP, SourcePort: 1001, Port: port, Flags: SYN}
}

// TestFabric is the conformance suite of a [driver.Fabric].
func TestFabric(t *testing.T, factory func(t testing.TB, hosts int) FabricLab) {
	for name, test := range map[string]struct {
		hosts int
		run   func(*testing.T, FabricLab)
	}{
		"PortsOfOneHostTalk":              {1, oneHost},
		"HostsReachEachOther":             {2, twoHosts},
		"PeersComeAndGo":                  {3, peersChange},
		"NetworksStayApart":               {2, networksApart},
		"AGuardedPortIsGuarded":           {1, guardedPort},
		"ApplyIsIdempotentAndListIsTrue":  {1, idempotent},
		"RemoveIsHappyTwice":              {1, removals},
		"ARestartLosesNoFrame":            {1, restartLosesNothing},
		"AKilledApplyConverges":           {1, converges},
		"PhysicalNetworksAreTheHosts":     {1, physical},
		"BadInputIsRefused":               {1, refused},
		"SecurityComesAndGoesWithoutPort": {1, securityChanges},
	} {
		t.Run(name, func(t *testing.T) { test.run(t, factory(t, test.hosts)) })
	}
}

func oneHost(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1)
	tap, ns := fabricPort(lab, in, 2), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	applyFabric(t, lab.Fabric(0), in, tap, ns)
	guest, server := lab.Attach(t, 0, tap, fabricAddress(2)), lab.Attach(t, 0, ns, fabricAddress(3))
	require.NoError(t, guest.Ping(fabricAddress(3).Addr(), in.MTU))
	require.NoError(t, server.Ping(fabricAddress(2).Addr(), in.MTU))
	transferBack(t, guest, server, netip.AddrPortFrom(fabricAddress(3).Addr(), 80))
	transferBack(t, server, guest, netip.AddrPortFrom(fabricAddress(2).Addr(), 80))
}

// transfer sends 1 MB there and back.
func transferBack(t *testing.T, client, server TalkingGuest, to netip.AddrPort) {
	t.Helper()
	server.Serve(t, to.Port())
	conn, err := client.Dial(to)
	require.NoError(t, err)
	require.NoError(t, conn.Transfer(1<<20))
	require.NoError(t, conn.Close())
}

func twoHosts(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1, 0, 1)
	all := []driver.Rule{anyOut, pingIn, tcpIn(80)}
	one, two := secure(fabricPort(lab, in, 2), 2, all...), secure(fabricPort(lab, in, 3), 3, all...)
	router := inNamespace(t, lab, 1, fabricPort(lab, in, 4))
	applyFabric(t, lab.Fabric(0), in, one)
	applyFabric(t, lab.Fabric(1), in, two, router)
	a, b, r := lab.Attach(t, 0, one, fabricAddress(2)), lab.Attach(t, 1, two, fabricAddress(3)), lab.Attach(t, 1, router, fabricAddress(4))
	require.NoError(t, a.Ping(fabricAddress(3).Addr(), in.MTU))
	require.NoError(t, b.Ping(fabricAddress(2).Addr(), in.MTU))
	require.NoError(t, r.Ping(fabricAddress(2).Addr(), in.MTU))
	transferBack(t, a, b, netip.AddrPortFrom(fabricAddress(3).Addr(), 80))
	transferBack(t, r, a, netip.AddrPortFrom(fabricAddress(2).Addr(), 80))
}

func peersChange(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1, 0, 1)
	var guests []TalkingGuest
	for host := range 3 {
		p := inNamespace(t, lab, host, fabricPort(lab, in, 2+host))
		applyFabric(t, lab.Fabric(host), fabricNetwork(lab, 1), p)
		guests = append(guests, lab.Attach(t, host, p, fabricAddress(2+host)))
	}
	for host := range 3 {
		applyFabric(t, lab.Fabric(host), fabricNetwork(lab, 1, 0, 1, 2))
	}
	require.NoError(t, guests[0].Ping(fabricAddress(3).Addr(), 100))
	require.NoError(t, guests[0].Ping(fabricAddress(4).Addr(), 100))
	// Host 2 leaves: what host 0 sends to all reaches host 1 only.
	applyFabric(t, lab.Fabric(0), in)
	hello := func(n int) []byte {
		return ARP(fabricMAC(2), fabricMAC(2), fabricAddress(2).Addr(), fabricAddress(n).Addr())
	}
	guests[0].Emit(t, hello(100))
	expect(t, guests[1], hello(100))
	applyFabric(t, lab.Fabric(0), fabricNetwork(lab, 1, 0, 1, 2))
	guests[0].Emit(t, hello(101))
	expectOnly(t, guests[2], hello(101), hello(100))
}

func networksApart(t *testing.T, lab FabricLab) {
	var guests [2][2]TalkingGuest
	for n := range 2 {
		in := fabricNetwork(lab, 1+n, 0, 1)
		for host := range 2 {
			// The same addresses and MACs in both networks.
			p := fabricPort(lab, in, 2+host)
			if host == 1 {
				p = inNamespace(t, lab, host, p)
			}
			applyFabric(t, lab.Fabric(host), in, p)
			guests[n][host] = lab.Attach(t, host, p, fabricAddress(2+host))
		}
		require.NoError(t, guests[n][0].Ping(fabricAddress(3).Addr(), 1000))
	}
	for n := range 2 {
		hello := ARP(fabricMAC(2), fabricMAC(2), fabricAddress(2).Addr(), fabricAddress(100+n).Addr())
		guests[n][0].Emit(t, hello)
		expect(t, guests[n][1], hello)
	}
	// Had the first network's reached the second, it would have come before the second's own.
	own := ARP(fabricMAC(2), fabricMAC(2), fabricAddress(2).Addr(), fabricAddress(102).Addr())
	guests[1][0].Emit(t, own)
	expectOnly(t, guests[1][1], own, ARP(fabricMAC(2), fabricMAC(2), fabricAddress(2).Addr(), fabricAddress(100).Addr()))
}

func guardedPort(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1)
	tap, ns := secure(fabricPort(lab, in, 2), 2, tcpIn(80)), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	applyFabric(t, lab.Fabric(0), in, tap, ns)
	guest, peer := lab.Attach(t, 0, tap), lab.Attach(t, 0, ns)
	request := frame(3, 2, 80)
	delivers(t, peer, guest, request)
	delivers(t, guest, peer, request.reply(SYN|ACK))
	sentinel := ARP(fabricMAC(3), fabricMAC(3), fabricAddress(3).Addr(), fabricAddress(100).Addr())
	peer.Emit(t, frame(3, 2, 81).Frame())
	peer.Emit(t, sentinel)
	expectOnly(t, guest, sentinel, frame(3, 2, 81).Frame())
	strange := frame(2, 3, 80)
	strange.SourceMAC = fabricMAC(99)
	sentinel = ARP(fabricMAC(2), fabricMAC(2), fabricAddress(2).Addr(), fabricAddress(100).Addr())
	for _, f := range [][]byte{strange.Frame(), frame(2, 3, 80).Frame(), ARP(fabricMAC(2), fabricMAC(2), fabricAddress(66).Addr(), fabricAddress(3).Addr())} {
		guest.Emit(t, f)
	}
	guest.Emit(t, sentinel)
	expectOnly(t, peer, sentinel, strange.Frame(), frame(2, 3, 80).Frame(), ARP(fabricMAC(2), fabricMAC(2), fabricAddress(66).Addr(), fabricAddress(3).Addr()))
}
