package memnet

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Ether types and IP protocols.
const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
)

// A packet is what a filter looks at in a frame.
type packet struct {
	sourceMAC, senderMAC string
	etherType            uint16
	// source is ARP's sender, too; destination its target.
	source, destination netip.Addr
	protocol            uint8
	sourcePort, port    uint16
	icmpType, icmpCode  uint8
	// target is that of a neighbour advertisement.
	target netip.Addr
	// length is the IP packet's.
	length int
}

// parse reads a frame; what is cut short stays zero, which nothing allows.
func parse(frame []byte) packet {
	if len(frame) < 14 {
		return packet{}
	}
	p := packet{sourceMAC: net.HardwareAddr(frame[6:12]).String(), etherType: binary.BigEndian.Uint16(frame[12:]), length: len(frame) - 14}
	body := frame[14:]
	switch {
	case p.etherType == etherARP && len(body) >= 28:
		p.senderMAC = net.HardwareAddr(body[8:14]).String()
		p.source, p.destination = netip.AddrFrom4([4]byte(body[14:18])), netip.AddrFrom4([4]byte(body[24:28]))
	case p.etherType == etherIPv4 && len(body) >= 20:
		p.source, p.destination = netip.AddrFrom4([4]byte(body[12:16])), netip.AddrFrom4([4]byte(body[16:20]))
		p.protocol = body[9]
		if header := int(body[0]&15) * 4; header >= 20 && header <= len(body) {
			p.parseTransport(body[header:])
		}
	case p.etherType == etherIPv6 && len(body) >= 40:
		p.source, p.destination = netip.AddrFrom16([16]byte(body[8:24])), netip.AddrFrom16([16]byte(body[24:40]))
		p.protocol = body[6]
		p.parseTransport(body[40:])
	}
	return p
}

func (p *packet) parseTransport(body []byte) {
	if len(body) < 8 {
		return
	}
	switch p.protocol {
	case protocolICMP, protocolICMPv6:
		p.icmpType, p.icmpCode = body[0], body[1]
		// The identifier keeps echoes apart, as ports do connections.
		p.sourcePort = binary.BigEndian.Uint16(body[4:])
		if len(body) >= 24 {
			p.target = netip.AddrFrom16([16]byte(body[8:24]))
		}
	default:
		p.sourcePort, p.port = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
	}
}
