//go:build linux

package netnsrouter

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule is one nftables rule: its text as nft(8) would have it, and what the text means to the kernel.
type rule struct {
	text        string
	expressions []expr.Any
}

// part is a piece of a rule.
type part struct {
	text        string
	expressions []expr.Any
}

func makeRule(parts ...part) rule {
	var r rule
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.text)
		r.expressions = append(r.expressions, p.expressions...)
	}
	r.text = strings.Join(texts, " ")
	return r
}

// rules of one chain.
func (p *plan) rules(chain string) []rule {
	switch chain {
	case "prerouting":
		return p.prerouting()
	case "output":
		return []rule{makeRule(translateTo("dnat", "daddr", inMap))}
	case "postrouting":
		return p.postrouting()
	case "input":
		return p.input()
	}
	linkLocal := netip.PrefixFrom(metadataAddress, 16).Masked()
	return []rule{
		makeRule(within("daddr", linkLocal), drop()),
		makeRule(within("saddr", linkLocal), drop()),
	}
}

func (p *plan) prerouting() []rule {
	var rules []rule
	if p.metadata != 0 {
		rules = append(rules, makeRule(device("iifname", innerPrefix+"*"),
			within("daddr", netip.PrefixFrom(metadataAddress, 32)), tcpTo(80), redirectTo(p.metadata)))
	}
	return append(rules, makeRule(translateTo("dnat", "daddr", inMap)))
}

func (p *plan) postrouting() []rule {
	if p.outer == "" {
		return nil
	}
	inside := []part{device("iifname", innerPrefix+"*"), device("oifname", innerPrefix+"*"), destinationTranslated(true)}
	rules := []rule{
		makeRule(device("oifname", p.outer), translateTo("snat", "saddr", outMap)),
		// An inner caller of a floating IP has to hear the answer from that address, so the answer has to come back here.
		makeRule(append(inside, translateTo("snat", "saddr", outMap))...),
	}
	if p.hairpin.IsValid() {
		rules = append(rules, makeRule(append(inside, sourceTo(p.hairpin))...))
	}
	if p.hide.IsValid() {
		rules = append(rules, makeRule(device("oifname", p.outer), sourceTo(p.hide)))
	}
	return rules
}

// input keeps the metadata proxy from all callers that were not redirected to it.
func (p *plan) input() []rule {
	if p.metadata == 0 {
		return nil
	}
	return []rule{makeRule(tcpTo(p.metadata), destinationTranslated(false), drop())}
}

// device matches an interface's name, or with a final "*" its start.
func device(which, name string) part {
	key := expr.MetaKeyIIFNAME
	if which == "oifname" {
		key = expr.MetaKeyOIFNAME
	}
	data := append([]byte(name), 0)
	if start, ok := strings.CutSuffix(name, "*"); ok {
		data = []byte(start)
	}
	return part{which + " " + name, []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data},
	}}
}

// loadAddress loads the packet's source or destination address.
func loadAddress(which string) *expr.Payload {
	offset := uint32(12)
	if which == "daddr" {
		offset = 16
	}
	return &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

func within(which string, prefix netip.Prefix) part {
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-prefix.Bits()))
	return part{"ip " + which + " " + prefix.String(), []expr.Any{
		loadAddress(which),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: prefix.Addr().AsSlice()},
	}}
}

func tcpTo(port uint16) part {
	return part{"tcp dport " + strconv.Itoa(int(port)), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}}
}

// destinationTranslated matches connections whose destination was (or was not) translated on the way in.
func destinationTranslated(yes bool) part {
	const dstNAT = 1 << 5 // IPS_DST_NAT
	op, text := expr.CmpOpNeq, "ct status dnat"
	if !yes {
		op, text = expr.CmpOpEq, "ct status & dnat == 0"
	}
	return part{text, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, dstNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: make([]byte, 4)},
	}}
}

// translateTo translates an address to the one that a map has for it; packets whose address is not in the map go on.
func translateTo(verb, which, mapName string) part {
	kind := expr.NATTypeSourceNAT
	if verb == "dnat" {
		kind = expr.NATTypeDestNAT
	}
	return part{verb + " to ip " + which + " map @" + mapName, []expr.Any{
		loadAddress(which),
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: mapName},
		&expr.NAT{Type: kind, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}}
}

func sourceTo(address netip.Addr) part {
	return part{"snat to " + address.String(), []expr.Any{
		&expr.Immediate{Register: 1, Data: address.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	}}
}

func redirectTo(port uint16) part {
	return part{"redirect to :" + strconv.Itoa(int(port)), []expr.Any{
		&expr.Immediate{Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		&expr.Redir{RegisterProtoMin: 1},
	}}
}

func drop() part {
	return part{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
}
