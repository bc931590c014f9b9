package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// Filters guards the ports of a machine.
type Filters struct {
	machine *Machine
}

var _ driver.Filters = (*Filters)(nil)

// NewFilters returns filters over the machine.
func NewFilters(machine *Machine) *Filters {
	return &Filters{machine: machine}
}

// Apply guards the port.
func (f *Filters) Apply(ctx context.Context, want driver.Filter) error {
	if err := f.machine.steps.meet(ctx, "filter apply", want.PortID); err != nil {
		return err
	}
	g, err := newGuard(want)
	if err != nil {
		return fmt.Errorf("filter of port %s: %w", want.PortID, err)
	}
	m := f.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guards[want.PortID] = g
	for key, c := range m.connections[want.Bridge] {
		if allowed, concerned := g.judge(key); concerned {
			c.cut = !allowed
		}
	}
	return nil
}

// Remove takes the guard away.
func (f *Filters) Remove(ctx context.Context, portID string) error {
	if err := f.machine.steps.meet(ctx, "filter remove", portID); err != nil {
		return err
	}
	m := f.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.guards[portID]
	delete(m.guards, portID)
	if g == nil {
		return nil
	}
	for _, other := range m.guards {
		if other.want.Bridge == g.want.Bridge {
			return nil
		}
	}
	delete(m.connections, g.want.Bridge)
	return nil
}

// List returns the guarded ports.
func (f *Filters) List(ctx context.Context) ([]string, error) {
	if err := f.machine.steps.meet(ctx, "filter list", ""); err != nil {
		return nil, err
	}
	f.machine.mu.Lock()
	defer f.machine.mu.Unlock()
	return keys(f.machine.guards), nil
}

// A guard is a port's filter, checked and with its own link-local address added.
type guard struct {
	want driver.Filter
	own  []driver.AddressPair
}

func newGuard(want driver.Filter) (*guard, error) {
	mac, err := net.ParseMAC(want.MAC)
	if err != nil || len(mac) != 6 {
		return nil, fault.Wrap(ErrInvalid, "MAC %q is not one of Ethernet", want.MAC)
	}
	g := &guard{want: want, own: []driver.AddressPair{{MAC: mac.String(), Address: linkLocal(mac)}}}
	g.want.MAC = mac.String()
	for _, pair := range want.Security.Allowed {
		from := mac
		if pair.MAC != "" {
			if from, err = net.ParseMAC(pair.MAC); err != nil || len(from) != 6 {
				return nil, fault.Wrap(ErrInvalid, "allowed MAC %q is not one of Ethernet", pair.MAC)
			}
		}
		if !pair.Address.IsValid() {
			return nil, fault.Wrap(ErrInvalid, "an allowed pair has no address")
		}
		g.own = append(g.own, driver.AddressPair{MAC: from.String(), Address: pair.Address},
			driver.AddressPair{MAC: from.String(), Address: linkLocal(from)})
	}
	for i, r := range want.Security.Rules {
		if err := checkRule(r); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i, err)
		}
	}
	return g, nil
}

func linkLocal(mac net.HardwareAddr) netip.Prefix {
	a := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.PrefixFrom(a, 128)
}

func checkRule(r driver.Rule) error {
	ported := slices.Contains([]uint8{protocolTCP, protocolUDP, 33, 132, 136}, r.Protocol)
	icmp := r.Protocol == protocolICMP || r.Protocol == protocolICMPv6
	switch {
	case r.Direction != driver.Ingress && r.Direction != driver.Egress:
		return fault.Wrap(ErrInvalid, "direction %q", r.Direction)
	case (r.PortMin != 0 || r.PortMax != 0) && (!ported || r.PortMin > r.PortMax):
		return fault.Wrap(ErrInvalid, "ports %d to %d of protocol %d", r.PortMin, r.PortMax, r.Protocol)
	case (r.ICMPType != nil || r.ICMPCode != nil) && !icmp:
		return fault.Wrap(ErrInvalid, "an ICMP type or code with protocol %d", r.Protocol)
	case slices.ContainsFunc(r.Remotes, func(p netip.Prefix) bool { return !p.IsValid() }):
		return fault.Wrap(ErrInvalid, "a remote prefix is not valid")
	}
	return nil
}

// A judgement is what a guard says of a packet.
type judgement int

const (
	// pass regardless of connections, drop, allow as a new connection, or only as part of one.
	pass judgement = iota
	drop
	allow
	onlyEstablished
)

// sends judges a packet from the port.
func (g *guard) sends(p packet) judgement {
	if !g.honest(p) {
		return drop
	}
	udp, icmp6 := p.protocol == protocolUDP, p.protocol == protocolICMPv6
	switch {
	case p.etherType == etherARP, udp && p.sourcePort == 68 && p.port == 67, udp && p.sourcePort == 546 && p.port == 547:
		return pass
	case udp && (p.sourcePort == 67 || p.sourcePort == 547), icmp6 && p.icmpType == 134:
		return drop
	case icmp6 && p.icmpType == 136:
		if !g.owns(p.sourceMAC, p.target) {
			return drop
		}
		return pass
	case icmp6 && slices.Contains([]uint8{131, 132, 133, 135, 143}, p.icmpType):
		return pass
	case g.allows(driver.Egress, p.destination, p):
		return allow
	}
	return onlyEstablished
}

// honest says whether the packet is from an address that is the port's, or from none where it asks for one.
func (g *guard) honest(p packet) bool {
	own := p.sourceMAC == g.want.MAC
	switch p.etherType {
	case etherARP:
		return p.senderMAC == p.sourceMAC && (g.owns(p.sourceMAC, p.source) || own && p.source == netip.IPv4Unspecified())
	case etherIPv4, etherIPv6:
		asks := own && (p.source == netip.IPv4Unspecified() && p.protocol == protocolUDP && p.sourcePort == 68 && p.port == 67 ||
			p.source == netip.IPv6Unspecified() && p.protocol == protocolICMPv6 && (p.icmpType == 135 || p.icmpType == 143))
		return asks || g.owns(p.sourceMAC, p.source)
	}
	return false
}

func (g *guard) owns(mac string, address netip.Addr) bool {
	return slices.ContainsFunc(g.own, func(pair driver.AddressPair) bool { return pair.MAC == mac && pair.Address.Contains(address) })
}

// receives judges a packet to the port.
func (g *guard) receives(p packet) judgement {
	udp, icmp6 := p.protocol == protocolUDP, p.protocol == protocolICMPv6
	switch {
	case p.etherType == etherARP, udp && p.sourcePort == 67 && p.port == 68, udp && p.sourcePort == 547 && p.port == 546,
		icmp6 && slices.Contains([]uint8{130, 134, 135, 136}, p.icmpType):
		return pass
	case p.etherType != etherIPv4 && p.etherType != etherIPv6:
		return drop
	case g.allows(driver.Ingress, p.source, p):
		return allow
	}
	return onlyEstablished
}

func (g *guard) allows(direction driver.Direction, remote netip.Addr, p packet) bool {
	for _, r := range g.want.Security.Rules {
		proto := r.Protocol
		if r.IPv6 && proto == protocolICMP {
			proto = protocolICMPv6
		}
		switch {
		case r.Direction != direction, r.IPv6 != remote.Is6():
		case proto != 0 && proto != p.protocol:
		case (r.PortMin != 0 || r.PortMax != 0) && (p.port < r.PortMin || p.port > r.PortMax):
		case r.ICMPType != nil && *r.ICMPType != p.icmpType:
		case r.ICMPCode != nil && *r.ICMPCode != p.icmpCode:
		case r.Remotes != nil && !slices.ContainsFunc(r.Remotes, func(x netip.Prefix) bool { return x.Contains(remote) }):
		default:
			return true
		}
	}
	return false
}

// judge says whether the rules allow a connection, and whether it is the port's at all.
func (g *guard) judge(first packet) (allowed, concerned bool) {
	allowed = true
	isOwn := func(a netip.Addr) bool {
		return slices.ContainsFunc(g.own, func(pair driver.AddressPair) bool { return pair.Address.IsSingleIP() && pair.Address.Addr() == a })
	}
	if isOwn(first.source) {
		concerned, allowed = true, g.allows(driver.Egress, first.destination, first)
	}
	if isOwn(first.destination) {
		concerned, allowed = true, allowed && g.allows(driver.Ingress, first.source, first)
	}
	return allowed, concerned
}
