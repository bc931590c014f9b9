//go:build linux

package nftfilter

import (
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// maxSetRanges bounds one set, so that its elements fit one netlink attribute of 64 KiB; longer lists of
// remotes become several rules.
const maxSetRanges = 500

// A plan is what guards one port: who it may claim to be, what it may send, what it may receive.
type plan struct {
	source, egress, ingress []rule
}

// A rule is a match, at most one address set in it, and what then happens.
type rule struct {
	match match
	// field, if set, has to lie in one of ranges.
	field  addressField
	ranges []span
	then   match
}

var (
	accept = match{verdict(expr.VerdictReturn, "")}
	drop   = match{verdict(expr.VerdictDrop, "")}
)

// ICMPv6 types (RFC 2710, RFC 3810, RFC 4861).
const (
	listenerQuery         = 130
	listenerReport        = 131
	listenerDone          = 132
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighbourSolicitation = 135
	neighbourAdvertise    = 136
	listenerReport2       = 143
)

// identities are the addresses that go with one MAC.
type identity struct {
	mac    net.HardwareAddr
	v4, v6 []netip.Prefix
}

func compile(want driver.Filter) (*plan, error) {
	own, err := net.ParseMAC(want.MAC)
	if err != nil || len(own) != 6 {
		return nil, fault.Wrap(ErrInvalid, "port %s: MAC %q is not one of Ethernet", want.PortID, want.MAC)
	}
	identities, err := identify(own, want)
	if err != nil {
		return nil, err
	}
	p := &plan{source: sourceRules(own, identities)}
	p.egress = egressPreamble(identities)
	p.ingress = ingressPreamble()
	for i, r := range want.Security.Rules {
		compiled, err := compileRule(r)
		if err != nil {
			return nil, fault.Wrap(ErrInvalid, "port %s, rule %d: %v", want.PortID, i, err)
		}
		switch r.Direction {
		case driver.Ingress:
			p.ingress = append(p.ingress, compiled...)
		case driver.Egress:
			p.egress = append(p.egress, compiled...)
		default:
			return nil, fault.Wrap(ErrInvalid, "port %s, rule %d: direction %q", want.PortID, i, r.Direction)
		}
	}
	// What no rule allowed may pass only as part of a connection that one allowed.
	rest := rule{then: changeMark(0, markStateOnly)}
	p.egress = append(p.egress, rest)
	p.ingress = append(p.ingress, rest)
	return p, nil
}

// identify groups the allowed addresses by MAC; each MAC has its link-local address too (RFC 4291, appendix A).
func identify(own net.HardwareAddr, want driver.Filter) ([]identity, error) {
	all := []identity{{mac: own, v6: []netip.Prefix{linkLocal(own)}}}
	for _, pair := range want.Security.Allowed {
		mac := own
		if pair.MAC != "" {
			var err error
			if mac, err = net.ParseMAC(pair.MAC); err != nil || len(mac) != 6 {
				return nil, fault.Wrap(ErrInvalid, "port %s: allowed MAC %q is not one of Ethernet", want.PortID, pair.MAC)
			}
		}
		if !pair.Address.IsValid() {
			return nil, fault.Wrap(ErrInvalid, "port %s: an allowed pair has no address", want.PortID)
		}
		i := slices.IndexFunc(all, func(id identity) bool { return slices.Equal(id.mac, mac) })
		if i < 0 {
			i, all = len(all), append(all, identity{mac: mac, v6: []netip.Prefix{linkLocal(mac)}})
		}
		if pair.Address.Addr().Is4() {
			all[i].v4 = append(all[i].v4, pair.Address)
		} else {
			all[i].v6 = append(all[i].v6, pair.Address)
		}
	}
	return all, nil
}

func linkLocal(mac net.HardwareAddr) netip.Prefix {
	a := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	return netip.PrefixFrom(a, 128)
}

// sourceRules let a frame in when it is from an address that is the port's own.
func sourceRules(own net.HardwareAddr, identities []identity) []rule {
	var rules []rule
	for _, id := range identities {
		from := etherSource(id.mac)
		arp := slices.Concat(from, etherType(etherARP), arpSenderMAC.is(id.mac))
		if len(id.v4) > 0 {
			rules = append(rules,
				rule{match: arp, field: arpSenderIP, ranges: spans(id.v4), then: accept},
				rule{match: slices.Concat(from, etherType(etherIPv4)), field: ip4Source, ranges: spans(id.v4), then: accept})
		}
		rules = append(rules,
			// An ARP probe has no sender address yet (RFC 5227).
			rule{match: slices.Concat(arp, arpSenderIP.is(make([]byte, 4))), then: accept},
			rule{match: slices.Concat(from, etherType(etherIPv6)), field: ip6Source, ranges: spans(id.v6), then: accept})
	}
	from := etherSource(own)
	unset4 := slices.Concat(from, etherType(etherIPv4), ip4Source.is(make([]byte, 4)))
	unset6 := slices.Concat(from, etherType(etherIPv6), ip6Source.is(make([]byte, 16)), protocol(protocolICMPv6))
	return append(rules,
		// A guest without an address asks for one, and tests whether another has it.
		rule{match: slices.Concat(unset4, udpPorts(68, 67)), then: accept},
		rule{match: slices.Concat(unset6, icmpType(neighbourSolicitation)), then: accept},
		rule{match: slices.Concat(unset6, icmpType(listenerReport2)), then: accept},
		rule{then: drop})
}

// egressPreamble is what holds for every guest: it asks for addresses and never hands them out.
func egressPreamble(identities []identity) []rule {
	v4, v6 := etherType(etherIPv4), etherType(etherIPv6)
	icmp6 := slices.Concat(v6, protocol(protocolICMPv6))
	rules := []rule{
		{match: slices.Concat(v4, udpPorts(68, 67)), then: accept},
		{match: slices.Concat(v4, protocol(protocolUDP), equal(payload(expr.PayloadBaseTransportHeader, 0, 2), big16(67))), then: drop},
		{match: slices.Concat(v6, udpPorts(546, 547)), then: accept},
		{match: slices.Concat(v6, protocol(protocolUDP), equal(payload(expr.PayloadBaseTransportHeader, 0, 2), big16(547))), then: drop},
		{match: slices.Concat(icmp6, icmpType(routerAdvertisement)), then: drop},
	}
	for _, kind := range []uint8{listenerReport, listenerDone, listenerReport2, routerSolicitation, neighbourSolicitation} {
		rules = append(rules, rule{match: slices.Concat(icmp6, icmpType(kind)), then: accept})
	}
	var own []netip.Prefix
	for _, id := range identities {
		own = append(own, id.v6...)
	}
	advertise := slices.Concat(icmp6, icmpType(neighbourAdvertise))
	return append(rules,
		rule{match: advertise, field: neighbourTarget, ranges: spans(own), then: accept},
		rule{match: advertise, then: drop},
		rule{then: changeMark(0, markGuarded)})
}

// ingressPreamble lets in what a guest needs to have addresses and neighbours.
func ingressPreamble() []rule {
	v4, v6 := etherType(etherIPv4), etherType(etherIPv6)
	icmp6 := slices.Concat(v6, protocol(protocolICMPv6))
	rules := []rule{
		{match: etherType(etherARP), then: accept},
		{match: slices.Concat(v4, udpPorts(67, 68)), then: accept},
		{match: slices.Concat(v6, udpPorts(547, 546)), then: accept},
	}
	for _, kind := range []uint8{listenerQuery, routerAdvertisement, neighbourSolicitation, neighbourAdvertise} {
		rules = append(rules, rule{match: slices.Concat(icmp6, icmpType(kind)), then: accept})
	}
	neither := match{
		payload(expr.PayloadBaseLLHeader, 12, 2),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: big16(etherIPv4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: big16(etherIPv6)},
	}
	return append(rules, rule{match: neither, then: drop}, rule{then: changeMark(0, markGuarded)})
}

// compileRule is one rule of a security group: none when it is for nobody, several when its remotes are very many.
func compileRule(r driver.Rule) ([]rule, error) {
	m, field := etherType(etherIPv4), ip4Source
	switch {
	case r.IPv6 && r.Direction == driver.Egress:
		m, field = etherType(etherIPv6), ip6Destination
	case r.IPv6:
		m, field = etherType(etherIPv6), ip6Source
	case r.Direction == driver.Egress:
		field = ip4Destination
	}
	proto := ruleProtocol(r)
	if proto != 0 {
		m = slices.Concat(m, protocol(proto))
	}
	if r.PortMin != 0 || r.PortMax != 0 {
		if !hasPorts(proto) || r.PortMin > r.PortMax {
			return nil, fault.Wrap(ErrInvalid, "ports %d to %d of protocol %d", r.PortMin, r.PortMax, proto)
		}
		m = slices.Concat(m, destinationPorts(r.PortMin, r.PortMax))
	}
	if (r.ICMPType != nil || r.ICMPCode != nil) && proto != protocolICMP && proto != protocolICMPv6 {
		return nil, fault.Wrap(ErrInvalid, "an ICMP type or code with protocol %d", proto)
	}
	if r.ICMPType != nil {
		m = slices.Concat(m, icmpType(*r.ICMPType))
	}
	if r.ICMPCode != nil {
		m = slices.Concat(m, icmpCode(*r.ICMPCode))
	}
	if r.Remotes == nil {
		return []rule{{match: m, then: accept}}, nil
	}
	remotes, err := remotesOf(r)
	if err != nil {
		return nil, err
	}
	var rules []rule
	for part := range slices.Chunk(spans(remotes), maxSetRanges) {
		rules = append(rules, rule{match: m, field: field, ranges: part, then: accept})
	}
	return rules, nil
}

// ruleProtocol is the protocol number, where ICMP in an IPv6 rule means ICMPv6.
func ruleProtocol(r driver.Rule) uint8 {
	if r.IPv6 && r.Protocol == protocolICMP {
		return protocolICMPv6
	}
	return r.Protocol
}

// hasPorts says whether the protocol's header begins with ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
func hasPorts(proto uint8) bool {
	return slices.Contains([]uint8{6, protocolUDP, 33, 132, 136}, proto)
}

func remotesOf(r driver.Rule) ([]netip.Prefix, error) {
	var remotes []netip.Prefix
	for _, p := range r.Remotes {
		if !p.IsValid() {
			return nil, fault.Wrap(ErrInvalid, "a remote prefix is not valid")
		}
		// A remote group may have members of both families; a rule is for one.
		if p.Addr().Is6() == r.IPv6 {
			remotes = append(remotes, p)
		}
	}
	return remotes, nil
}

// add puts the rules into the chain, with a set of their own for each list of addresses.
func add(conn *nftables.Conn, chain *nftables.Chain, rules []rule) error {
	for _, r := range rules {
		exprs := slices.Clone(r.match)
		if len(r.ranges) > 0 {
			lookup, err := addSet(conn, chain.Table, r)
			if err != nil {
				return err
			}
			exprs = append(exprs, lookup...)
		}
		conn.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: append(exprs, r.then...)})
	}
	return nil
}

func addSet(conn *nftables.Conn, table *nftables.Table, r rule) (match, error) {
	set := &nftables.Set{Table: table, Anonymous: true, Constant: true, Interval: true, KeyType: nftables.TypeIPAddr}
	if r.field.size == 16 {
		set.KeyType = nftables.TypeIP6Addr
	}
	if err := conn.AddSet(set, setElements(r.ranges)); err != nil {
		return nil, err
	}
	return match{
		payload(r.field.base, r.field.offset, r.field.size),
		&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID},
	}, nil
}
