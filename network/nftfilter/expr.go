//go:build linux

package nftfilter

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// Ether types, IP protocols and sizes that rules name.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protocolICMP   = 1
	protocolUDP    = 17
	protocolICMPv6 = 58

	interfaceNameSize = 16
)

// match is a run of expressions that a packet has to satisfy.
type match []expr.Any

func equal(load expr.Any, value []byte) match {
	return match{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}}
}

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: 1, Base: base, Offset: offset, Len: length}
}

func big16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// etherType reads the frame's own header, so that a frame with a VLAN tag never passes for plain IP: the
// kernel would hide such a frame from the IP hooks, and so from the judgement of connections.
func etherType(v uint16) match {
	return equal(payload(expr.PayloadBaseLLHeader, 12, 2), big16(v))
}

func etherSource(mac net.HardwareAddr) match {
	return equal(payload(expr.PayloadBaseLLHeader, 6, 6), mac)
}

func protocol(v uint8) match {
	return equal(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, []byte{v})
}

// udpPorts matches UDP from one port to another.
func udpPorts(source, destination uint16) match {
	return slices.Concat(protocol(protocolUDP), equal(payload(expr.PayloadBaseTransportHeader, 0, 4), append(big16(source), big16(destination)...)))
}

func icmpType(v uint8) match {
	return equal(payload(expr.PayloadBaseTransportHeader, 0, 1), []byte{v})
}

func icmpCode(v uint8) match {
	return equal(payload(expr.PayloadBaseTransportHeader, 1, 1), []byte{v})
}

// destinationPorts matches a range of TCP, UDP or SCTP destination ports.
func destinationPorts(low, high uint16) match {
	load := payload(expr.PayloadBaseTransportHeader, 2, 2)
	if low == high {
		return equal(load, big16(low))
	}
	return match{
		load,
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: big16(low)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: big16(high)},
	}
}

// An addressField is where a header holds an address.
type addressField struct {
	base         expr.PayloadBase
	offset, size uint32
}

var (
	ip4Source      = addressField{expr.PayloadBaseNetworkHeader, 12, 4}
	ip4Destination = addressField{expr.PayloadBaseNetworkHeader, 16, 4}
	ip6Source      = addressField{expr.PayloadBaseNetworkHeader, 8, 16}
	ip6Destination = addressField{expr.PayloadBaseNetworkHeader, 24, 16}
	arpSenderMAC   = addressField{expr.PayloadBaseNetworkHeader, 8, 6}
	arpSenderIP    = addressField{expr.PayloadBaseNetworkHeader, 14, 4}
	// The target of a neighbour solicitation or advertisement (RFC 4861 section 4.4).
	neighbourTarget = addressField{expr.PayloadBaseTransportHeader, 8, 16}
)

func (f addressField) is(value []byte) match {
	return equal(payload(f.base, f.offset, f.size), value)
}

// changeMark clears and then sets bits of the packet's mark.
func changeMark(unset, set uint32) match {
	return match{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(^(unset | set)), Xor: native32(set)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

// markIs matches packets whose mark has all of the bits, or none.
func markIs(bits uint32, present bool) match {
	return bitsOf(&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, bits, present)
}

// connection matches the state of a packet's connection (NF_CT_STATE_BIT in the kernel's headers).
func connection(states uint32) match {
	return bitsOf(&expr.Ct{Key: expr.CtKeySTATE, Register: 1}, states, true)
}

func connectionMark(bits uint32) match {
	return bitsOf(&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, bits, true)
}

func bitsOf(load expr.Any, bits uint32, present bool) match {
	op := expr.CmpOpEq
	if present {
		op = expr.CmpOpNeq
	}
	return match{
		load,
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(bits), Xor: native32(0)},
		&expr.Cmp{Op: op, Register: 1, Data: native32(0)},
	}
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

func verdict(kind expr.VerdictKind, chain string) *expr.Verdict {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func interfaceName(name string) []byte {
	key := make([]byte, interfaceNameSize)
	copy(key, name)
	return key
}

// A span is a closed range of addresses of one family.
type span struct{ first, last netip.Addr }

// spans turns prefixes of one family into disjoint ranges in order, as sets of the kernel need them.
func spans(prefixes []netip.Prefix) []span {
	all := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		p = p.Masked()
		all = append(all, span{p.Addr(), lastAddress(p)})
	}
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	var merged []span
	for _, s := range all {
		if n := len(merged); n > 0 && (s.first.Compare(merged[n-1].last) <= 0 || s.first == merged[n-1].last.Next()) {
			if s.last.Compare(merged[n-1].last) > 0 {
				merged[n-1].last = s.last
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

func lastAddress(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// setElements are the spans as the kernel's interval sets hold them: a start, and the first address after the end.
func setElements(ranges []span) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, r := range ranges {
		elements = append(elements, nftables.SetElement{Key: r.first.AsSlice()})
		if after := r.last.Next(); after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

// connection states as the kernel's ct expression gives them.
const (
	stateInvalid     = 1 << 0
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
)
