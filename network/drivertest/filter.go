package drivertest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

// A FilterLab is a host whose bridges have guests on their ports.
type FilterLab interface {
	// Filters is the driver under test.
	Filters() driver.Filters
	// Restart returns a new driver value over the same host, as a restarted agent makes one.
	Restart() driver.Filters
	// Plug puts a device with a guest at its end into a Linux bridge of the host; both are made.
	Plug(t testing.TB, bridge, device string) Guest
}

// Addresses of the suite's players: a guarded guest, and a peer that is not guarded.
const (
	guestMAC, peerMAC = "fa:16:3e:00:00:02", "fa:16:3e:00:00:03"
	broadcast         = "ff:ff:ff:ff:ff:ff"
)

var (
	guestIP   = netip.MustParseAddr("172.24.17.2")
	peerIP    = netip.MustParseAddr("172.24.17.3")
	strangeIP = netip.MustParseAddr("172.24.17.66")
	guestLLA  = netip.MustParseAddr("fe80::f816:3eff:fe00:2")
	peerLLA   = netip.MustParseAddr("fe80::f816:3eff:fe00:3")
	allNodes  = netip.MustParseAddr("ff02::1")
)

// Packets between the two.
func toGuest(port, from uint16) Packet {
	return Packet{SourceMAC: peerMAC, DestinationMAC: guestMAC, Source: peerIP, Destination: guestIP, Protocol: TCP, SourcePort: from, Port: port, Flags: SYN}
}

func fromGuest(port, from uint16) Packet {
	return Packet{SourceMAC: guestMAC, DestinationMAC: peerMAC, Source: guestIP, Destination: peerIP, Protocol: TCP, SourcePort: from, Port: port, Flags: SYN}
}

func tcpIn(port uint16) driver.Rule {
	return driver.Rule{Direction: driver.Ingress, Protocol: TCP, PortMin: port, PortMax: port}
}

var (
	anyOut = driver.Rule{Direction: driver.Egress}
	pingIn = driver.Rule{Direction: driver.Ingress, Protocol: ICMP}
)

// guarded is a filter lab's usual scene.
type guarded struct {
	lab         FilterLab
	bridge      string
	guest, peer Guest
	n           uint16
}

func newGuarded(t *testing.T, lab FilterLab, bridge string, rules ...driver.Rule) *guarded {
	t.Helper()
	g := &guarded{lab: lab, bridge: bridge}
	g.guest = lab.Plug(t, bridge, "tap"+bridge)
	g.peer = lab.Plug(t, bridge, "peer"+bridge)
	g.apply(t, lab.Filters(), rules...)
	return g
}

func (g *guarded) filter(rules ...driver.Rule) driver.Filter {
	return driver.Filter{
		PortID: g.portID(), Device: "tap" + g.bridge, Bridge: g.bridge, MAC: guestMAC,
		Security: driver.Security{
			Allowed: []driver.AddressPair{{MAC: guestMAC, Address: netip.PrefixFrom(guestIP, 32)}},
			Rules:   rules,
		},
	}
}

func (g *guarded) portID() string { return "6c7a1e4e-0000-4000-8000-" + g.bridge }

func (g *guarded) apply(t *testing.T, filters driver.Filters, rules ...driver.Rule) {
	t.Helper()
	require.NoError(t, filters.Apply(t.Context(), g.filter(rules...)))
}

// reaches sends frames that must arrive.
func delivers(t *testing.T, from, to Guest, packets ...Packet) {
	t.Helper()
	for _, p := range packets {
		from.Emit(t, p.Frame())
		expect(t, to, p.Frame())
	}
}

// dropped sends frames that must not arrive, and then an ARP request, which always may.
func (g *guarded) dropped(t *testing.T, from, to Guest, frames ...[]byte) {
	t.Helper()
	for _, frame := range frames {
		from.Emit(t, frame)
	}
	g.n++
	target := netip.AddrFrom4([4]byte{10, 0, byte(g.n >> 8), byte(g.n)})
	last := ARP(peerMAC, peerMAC, peerIP, target)
	if from == g.guest {
		last = ARP(guestMAC, guestMAC, guestIP, target)
	}
	from.Emit(t, last)
	expectOnly(t, to, last, frames...)
}

// TestFilters is the conformance suite of a [driver.Filters].
func TestFilters(t *testing.T, factory func(t *testing.T) FilterLab) {
	for name, test := range map[string]func(*testing.T, FilterLab){
		"RulesLetInAndNothingElse":           rulesLetIn,
		"RepliesPass":                        repliesPass,
		"FalseAddressesAreDropped":           falseAddresses,
		"GuestsAskForAddressesAndGiveNone":   guestsAsk,
		"RemotesAreSets":                     remotes,
		"UpdateKeepsWhatIsStillAllowed":      updateKeeps,
		"RemovedRuleCutsItsConnections":      removalCuts,
		"BridgesHaveConnectionsOfTheirOwn":   bridgesApart,
		"UnguardedPortsPass":                 unguardedPass,
		"ARestartedDriverFindsWhatIsApplied": restartFinds,
		"RemoveIsHappyTwice":                 removeTwice,
		"BadInputChangesNothing":             badFilter,
		"TwoGuestsOfOneBridge":               twoGuests,
	} {
		t.Run(name, func(t *testing.T) { test(t, factory(t)) })
	}
}

func rulesLetIn(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80), anyOut, driver.Rule{Direction: driver.Ingress, Protocol: UDP, PortMin: 5000, PortMax: 5010})
	udp := func(port uint16) Packet { p := toGuest(port, 4000); p.Protocol = UDP; return p }
	delivers(t, g.peer, g.guest, toGuest(80, 1001), udp(5000), udp(5010))
	ping := Packet{SourceMAC: peerMAC, DestinationMAC: guestMAC, Source: peerIP, Destination: guestIP, Protocol: ICMP, Type: 8, SourcePort: 1}
	g.dropped(t, g.peer, g.guest, toGuest(81, 1002).Frame(), toGuest(22, 1003).Frame(), udp(80).Frame(), udp(4999).Frame(), udp(5011).Frame(), ping.Frame())
}

func repliesPass(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80))
	request := toGuest(80, 1001)
	delivers(t, g.peer, g.guest, request)
	delivers(t, g.guest, g.peer, request.reply(SYN|ACK))
	// Nothing may leave by itself, nor answer what was never asked.
	g.dropped(t, g.guest, g.peer, fromGuest(443, 1002).Frame(), toGuest(80, 1999).reply(SYN|ACK).Frame())
}

func falseAddresses(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", anyOut, driver.Rule{Direction: driver.Egress, IPv6: true})
	delivers(t, g.guest, g.peer, fromGuest(80, 1001))
	mac, ip := fromGuest(80, 1002), fromGuest(80, 1003)
	mac.SourceMAC, ip.Source = "fa:16:3e:00:00:99", strangeIP
	six := fromGuest(80, 1004)
	six.Source, six.Destination = netip.MustParseAddr("fe80::99"), peerLLA
	advertise := Packet{SourceMAC: guestMAC, DestinationMAC: peerMAC, Source: guestLLA, Destination: peerLLA, Protocol: ICMPv6, Type: 136, Payload: peerLLA.AsSlice()}
	tagged := slices.Insert(fromGuest(80, 1005).Frame(), 12, 0x81, 0, 0, 7)
	g.dropped(t, g.guest, g.peer, mac.Frame(), ip.Frame(), six.Frame(), advertise.Frame(), tagged,
		ARP(guestMAC, guestMAC, strangeIP, peerIP), ARP(guestMAC, "fa:16:3e:00:00:99", guestIP, peerIP), ARP("fa:16:3e:00:00:99", guestMAC, guestIP, peerIP))
	// Its own link-local address it may use, and advertise.
	six.Source, advertise.Payload = guestLLA, guestLLA.AsSlice()
	delivers(t, g.guest, g.peer, six, advertise)
}

func guestsAsk(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", anyOut, driver.Rule{Direction: driver.Egress, IPv6: true})
	discover := Packet{SourceMAC: guestMAC, DestinationMAC: broadcast, Source: netip.IPv4Unspecified(), Destination: netip.MustParseAddr("255.255.255.255"), Protocol: UDP, SourcePort: 68, Port: 67, Payload: []byte("who am I")}
	delivers(t, g.guest, g.peer, discover)
	offer := Packet{SourceMAC: peerMAC, DestinationMAC: guestMAC, Source: peerIP, Destination: guestIP, Protocol: UDP, SourcePort: 67, Port: 68, Payload: []byte("you are you")}
	delivers(t, g.peer, g.guest, offer)
	false4 := Packet{SourceMAC: guestMAC, DestinationMAC: peerMAC, Source: guestIP, Destination: peerIP, Protocol: UDP, SourcePort: 67, Port: 68}
	false6 := Packet{SourceMAC: guestMAC, DestinationMAC: peerMAC, Source: guestLLA, Destination: peerLLA, Protocol: UDP, SourcePort: 547, Port: 546}
	router := Packet{SourceMAC: guestMAC, DestinationMAC: "33:33:00:00:00:01", Source: guestLLA, Destination: allNodes, Protocol: ICMPv6, Type: 134, Payload: make([]byte, 8)}
	g.dropped(t, g.guest, g.peer, false4.Frame(), false6.Frame(), router.Frame())
	// A real router's advertisement comes in.
	router.SourceMAC, router.Source = peerMAC, peerLLA
	delivers(t, g.peer, g.guest, router)
}

func remotes(t *testing.T, lab FilterLab) {
	of := func(port uint16, remotes ...netip.Prefix) driver.Rule {
		r := tcpIn(port)
		r.Remotes = append([]netip.Prefix{}, remotes...)
		return r
	}
	many := []netip.Prefix{netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("172.24.17.2/31")}
	for i := range 1200 {
		many = append(many, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 7), byte(i << 1), 1}), 32))
	}
	g := newGuarded(t, lab, "br1", of(80, netip.PrefixFrom(peerIP, 32)), of(81), of(82, netip.PrefixFrom(strangeIP, 32)),
		of(83, netip.MustParsePrefix("0.0.0.0/0")), of(84, many...), of(85, netip.MustParsePrefix("172.24.17.0/24"), netip.MustParsePrefix("172.24.17.0/28")))
	delivers(t, g.peer, g.guest, toGuest(80, 1001), toGuest(83, 1001), toGuest(84, 1001), toGuest(85, 1001))
	g.dropped(t, g.peer, g.guest, toGuest(81, 1001).Frame(), toGuest(82, 1001).Frame())
	other := toGuest(80, 1002)
	other.Source = strangeIP
	g.dropped(t, g.peer, g.guest, other.Frame())
	// A group's new member is let in by the next Apply.
	g.apply(t, lab.Filters(), of(80, netip.PrefixFrom(peerIP, 32), netip.PrefixFrom(strangeIP, 32)))
	delivers(t, g.peer, g.guest, other)
}

// open makes a TCP connection to the guest's port and returns a packet of it in each direction.
func (g *guarded) open(t *testing.T, port, from uint16) (in, out Packet) {
	t.Helper()
	syn := toGuest(port, from)
	delivers(t, g.peer, g.guest, syn)
	answer := syn.reply(SYN | ACK)
	answer.Sequence = 7000
	delivers(t, g.guest, g.peer, answer)
	in, out = answer.reply(ACK), syn.reply(ACK)
	out.Sequence = 7001
	delivers(t, g.peer, g.guest, in)
	return in, out
}

func updateKeeps(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80), tcpIn(22))
	in, out := g.open(t, 80, 1001)
	for i := range 3 {
		g.apply(t, lab.Filters(), tcpIn(80), tcpIn(uint16(5000+i)))
		delivers(t, g.guest, g.peer, out)
		delivers(t, g.peer, g.guest, in)
	}
	// The same port by a rule of another shape is still allowed.
	g.apply(t, lab.Filters(), driver.Rule{Direction: driver.Ingress, Remotes: []netip.Prefix{netip.PrefixFrom(peerIP, 32)}})
	delivers(t, g.guest, g.peer, out)
	delivers(t, g.peer, g.guest, in)
}

func removalCuts(t *testing.T, lab FilterLab) {
	// The guest may send anything: that must not keep open what only came in by a rule that is gone.
	g := newGuarded(t, lab, "br1", tcpIn(80), tcpIn(22), anyOut)
	keptIn, keptOut := g.open(t, 80, 1001)
	cutIn, cutOut := g.open(t, 22, 1001)
	g.apply(t, lab.Filters(), tcpIn(80), anyOut)
	g.dropped(t, g.guest, g.peer, cutOut.Frame())
	g.dropped(t, g.peer, g.guest, cutIn.Frame())
	delivers(t, g.guest, g.peer, keptOut)
	delivers(t, g.peer, g.guest, keptIn)
	// The rule comes back, and so does what it allowed.
	g.apply(t, lab.Filters(), tcpIn(80), tcpIn(22), anyOut)
	delivers(t, g.peer, g.guest, cutIn)
	delivers(t, g.guest, g.peer, cutOut)
}

func bridgesApart(t *testing.T, lab FilterLab) {
	one := newGuarded(t, lab, "br1", tcpIn(80))
	two := newGuarded(t, lab, "br2", tcpIn(81))
	_, out := one.open(t, 80, 1001)
	// The same addresses and ports on another bridge are another connection, which nobody opened.
	two.dropped(t, two.guest, two.peer, out.Frame())
	in := toGuest(80, 1001)
	in.Flags = ACK
	two.dropped(t, two.peer, two.guest, in.Frame())
	delivers(t, one.guest, one.peer, out)
	// What becomes of one bridge is nothing to the other.
	require.NoError(t, lab.Filters().Remove(t.Context(), two.portID()))
	delivers(t, one.guest, one.peer, out)
	one.dropped(t, one.peer, one.guest, toGuest(81, 1001).Frame())
}

func unguardedPass(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1")
	other := lab.Plug(t, "br1", "otherbr1")
	p := Packet{SourceMAC: peerMAC, DestinationMAC: "fa:16:3e:00:00:04", Source: peerIP, Destination: strangeIP, Protocol: TCP, SourcePort: 1001, Port: 80, Flags: SYN}
	delivers(t, g.peer, other, p)
	offer := Packet{SourceMAC: peerMAC, DestinationMAC: broadcast, Source: peerIP, Destination: netip.MustParseAddr("255.255.255.255"), Protocol: UDP, SourcePort: 67, Port: 68}
	delivers(t, g.peer, other, offer)
	p.Flags = ACK
	p.SourcePort = 1002
	delivers(t, g.peer, other, p)
}

func restartFinds(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80))
	in, out := g.open(t, 80, 1001)
	filters := lab.Restart()
	ids, err := filters.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{g.portID()}, ids)
	g.apply(t, filters, tcpIn(80))
	delivers(t, g.guest, g.peer, out)
	delivers(t, g.peer, g.guest, in)
	g.dropped(t, g.peer, g.guest, toGuest(81, 1001).Frame())
	g.apply(t, filters, tcpIn(81))
	g.dropped(t, g.peer, g.guest, toGuest(80, 1002).Frame(), in.Frame())
	delivers(t, g.peer, g.guest, toGuest(81, 1003))
}

func removeTwice(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80))
	for range 2 {
		require.NoError(t, lab.Filters().Remove(t.Context(), g.portID()))
		ids, err := lab.Filters().List(t.Context())
		require.NoError(t, err)
		require.Empty(t, ids)
	}
	require.NoError(t, lab.Filters().Remove(t.Context(), "never-seen"))
	// Again it can be guarded as if it had never been.
	g.apply(t, lab.Filters(), tcpIn(81))
	delivers(t, g.peer, g.guest, toGuest(81, 1001))
	g.dropped(t, g.peer, g.guest, toGuest(80, 1001).Frame())
}

func badFilter(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80))
	one := uint8(1)
	for name, spoil := range map[string]func(*driver.Filter){
		"MAC":       func(f *driver.Filter) { f.MAC = "nonsense" },
		"pair":      func(f *driver.Filter) { f.Security.Allowed = []driver.AddressPair{{}} },
		"direction": func(f *driver.Filter) { f.Security.Rules = []driver.Rule{{Direction: "sideways"}} },
		"ports": func(f *driver.Filter) {
			f.Security.Rules = []driver.Rule{{Direction: driver.Ingress, PortMin: 80, PortMax: 80}}
		},
		"range": func(f *driver.Filter) {
			f.Security.Rules = []driver.Rule{{Direction: driver.Ingress, Protocol: TCP, PortMin: 81, PortMax: 80}}
		},
		"ICMP": func(f *driver.Filter) {
			f.Security.Rules = []driver.Rule{{Direction: driver.Ingress, Protocol: TCP, ICMPType: &one}}
		},
		"remote": func(f *driver.Filter) {
			f.Security.Rules = []driver.Rule{{Direction: driver.Ingress, Remotes: []netip.Prefix{{}}}}
		},
	} {
		want := g.filter(tcpIn(81))
		spoil(&want)
		require.Error(t, lab.Filters().Apply(t.Context(), want), name)
	}
	delivers(t, g.peer, g.guest, toGuest(80, 1001))
	g.dropped(t, g.peer, g.guest, toGuest(81, 1001).Frame())
}

func twoGuests(t *testing.T, lab FilterLab) {
	g := newGuarded(t, lab, "br1", tcpIn(80), pingIn)
	second := lab.Plug(t, "br1", "tap2br1")
	other := driver.Filter{PortID: "second", Device: "tap2br1", Bridge: "br1", MAC: peerMAC, Security: driver.Security{
		Allowed: []driver.AddressPair{{Address: netip.PrefixFrom(peerIP, 32)}},
		Rules:   []driver.Rule{{Direction: driver.Egress, Protocol: TCP, PortMin: 80, PortMax: 81}},
	}}
	require.NoError(t, lab.Filters().Apply(t.Context(), other))
	// Both have to agree: one to send, the other to receive.
	delivers(t, second, g.guest, toGuest(80, 1001))
	ping := Packet{SourceMAC: peerMAC, DestinationMAC: guestMAC, Source: peerIP, Destination: guestIP, Protocol: ICMP, Type: 8, SourcePort: 1}
	g.dropped(t, second, g.guest, toGuest(81, 1001).Frame(), toGuest(82, 1001).Frame(), ping.Frame())
	ids, err := lab.Filters().List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{g.portID(), "second"}, ids, fmt.Sprint(ids))
}
