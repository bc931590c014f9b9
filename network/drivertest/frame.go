package drivertest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
)

// TCP flags of [Packet].
const (
	FIN = 1 << 0
	SYN = 1 << 1
	RST = 1 << 2
	PSH = 1 << 3
	ACK = 1 << 4
)

// IP protocol numbers of [Packet].
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// A Packet is what [Packet.Frame] makes an Ethernet frame of, with right checksums.
type Packet struct {
	SourceMAC, DestinationMAC string
	Source, Destination       netip.Addr
	Protocol                  uint8
	SourcePort, Port          uint16
	// Flags, Sequence and Acknowledge are TCP's.
	Flags                 uint8
	Sequence, Acknowledge uint32
	// Type is ICMP's.
	Type    uint8
	Payload []byte
}

// Frame is the packet in an Ethernet frame.
func (p Packet) Frame() []byte {
	transport := p.transport()
	if p.Source.Is4() {
		return slices.Concat(ethernet(p.DestinationMAC, p.SourceMAC, 0x0800), p.ipv4(len(transport)), transport)
	}
	return slices.Concat(ethernet(p.DestinationMAC, p.SourceMAC, 0x86dd), p.ipv6(len(transport)), transport)
}

func (p Packet) ipv4(length int) []byte {
	h := []byte{0x45, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(20+length))
	h = append(h, 0, 1, 0x40, 0, 64, p.Protocol, 0, 0)
	h = append(h, p.Source.AsSlice()...)
	h = append(h, p.Destination.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return h
}

func (p Packet) ipv6(length int) []byte {
	h := []byte{0x60, 0, 0, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(length))
	// Neighbour discovery is only believed with a hop limit of 255.
	h = append(h, p.Protocol, 255)
	h = append(h, p.Source.AsSlice()...)
	return append(h, p.Destination.AsSlice()...)
}

func (p Packet) transport() []byte {
	var h []byte
	var sum int
	switch p.Protocol {
	case TCP:
		h = binary.BigEndian.AppendUint16(h, p.SourcePort)
		h = binary.BigEndian.AppendUint16(h, p.Port)
		h = binary.BigEndian.AppendUint32(h, p.Sequence)
		h = binary.BigEndian.AppendUint32(h, p.Acknowledge)
		h = append(h, 5<<4, p.Flags, 0xff, 0xff, 0, 0, 0, 0)
		sum = 16
	case UDP:
		h = binary.BigEndian.AppendUint16(h, p.SourcePort)
		h = binary.BigEndian.AppendUint16(h, p.Port)
		h = binary.BigEndian.AppendUint16(h, uint16(8+len(p.Payload)))
		h = append(h, 0, 0)
		sum = 6
	default:
		// The identifier of an echo is the source port.
		h = append(h, p.Type, 0, 0, 0)
		h = binary.BigEndian.AppendUint16(h, p.SourcePort)
		h = append(h, 0, 1)
		sum = 2
	}
	h = append(h, p.Payload...)
	covered := h
	if p.Protocol != ICMP {
		pseudo := slices.Concat(p.Source.AsSlice(), p.Destination.AsSlice(), []byte{0, p.Protocol})
		covered = slices.Concat(binary.BigEndian.AppendUint16(pseudo, uint16(len(h))), h)
	}
	binary.BigEndian.PutUint16(h[sum:], checksum(covered))
	return h
}

// reply is the packet that answers p, with the given TCP flags.
func (p Packet) reply(flags uint8) Packet {
	r := p
	r.SourceMAC, r.DestinationMAC = p.DestinationMAC, p.SourceMAC
	r.Source, r.Destination = p.Destination, p.Source
	r.SourcePort, r.Port = p.Port, p.SourcePort
	r.Flags, r.Sequence, r.Acknowledge = flags, p.Acknowledge, p.Sequence+uint32(len(p.Payload))
	if p.Flags&(SYN|FIN) != 0 {
		r.Acknowledge++
	}
	r.Payload = nil
	if p.Protocol == ICMP && p.Type == 8 {
		r.Type, r.SourcePort = 0, p.SourcePort
	}
	return r
}

// ARP is an ARP request for target.
func ARP(sourceMAC, senderMAC string, sender, target netip.Addr) []byte {
	h := append(ethernet("ff:ff:ff:ff:ff:ff", sourceMAC, 0x0806), 0, 1, 8, 0, 6, 4, 0, 1)
	h = append(h, hardware(senderMAC)...)
	h = append(h, sender.AsSlice()...)
	h = append(h, 0, 0, 0, 0, 0, 0)
	return append(h, target.AsSlice()...)
}

func ethernet(destination, source string, etherType uint16) []byte {
	return binary.BigEndian.AppendUint16(slices.Concat(hardware(destination), hardware(source)), etherType)
}

// hardware parses a MAC that a test wrote; a wrong one gives an empty address, and a frame that fails the test.
func hardware(mac string) []byte {
	address, _ := net.ParseMAC(mac)
	return address
}

// checksum is the Internet checksum (RFC 1071).
func checksum(data []byte) uint16 {
	var sum uint32
	for i, b := range data {
		if i%2 == 0 {
			sum += uint32(b) << 8
		} else {
			sum += uint32(b)
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
