package memnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/memnet"
)

// guest speaks just enough TCP/IP over a machine's device for the suite: it answers echo requests, and echoes TCP.
type guest struct {
	machine   *memnet.Machine
	device    string
	mac       string
	addresses []netip.Prefix
	frames    chan []byte
	served    []uint16
	// answer gets the packets that are neither echo requests nor to a served port.
	answer func(header, payload []byte)
}

var _ drivertest.TalkingGuest = (*guest)(nil)

func newGuest(machine *memnet.Machine, device, mac string, addresses []netip.Prefix) *guest {
	return &guest{machine: machine, device: device, mac: mac, addresses: addresses, frames: make(chan []byte, 4096)}
}

func (g *guest) Emit(_ testing.TB, frame []byte) { g.machine.Send(g.device, frame) }
func (g *guest) Frames() <-chan []byte           { return g.frames }

// take gets a frame from the machine.
func (g *guest) take(frame []byte) {
	select {
	case g.frames <- bytes.Clone(frame):
	default:
	}
	if len(g.addresses) == 0 || len(frame) < 42 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return
	}
	destination := netip.AddrFrom4([4]byte(frame[30:34]))
	if destination != g.addresses[0].Addr() {
		return
	}
	reply := drivertest.Packet{
		SourceMAC: g.mac, DestinationMAC: "ff:ff:ff:ff:ff:ff", Source: destination,
		Destination: netip.AddrFrom4([4]byte(frame[26:30])), Protocol: frame[23],
	}
	body := frame[34:]
	switch {
	case reply.Protocol == drivertest.ICMP && body[0] == 8:
		reply.SourcePort, reply.Payload = binary.BigEndian.Uint16(body[4:]), body[8:]
		g.machine.Send(g.device, reply.Frame())
	case reply.Protocol == drivertest.TCP && len(body) >= 20 && slices.Contains(g.served, binary.BigEndian.Uint16(body[2:])):
		reply.SourcePort, reply.Port = binary.BigEndian.Uint16(body[2:]), binary.BigEndian.Uint16(body)
		reply.Flags, reply.Payload = drivertest.ACK, body[20:]
		if body[13] == drivertest.SYN {
			reply.Flags |= drivertest.SYN
		}
		g.machine.Send(g.device, reply.Frame())
	case g.answer != nil:
		g.answer(body[:8], body[8:])
	}
}

// ask sends a packet and says what came back, which it does before Send returns.
func (g *guest) ask(p drivertest.Packet) (header, payload []byte, err error) {
	p.SourceMAC, p.DestinationMAC, p.Source = g.mac, "ff:ff:ff:ff:ff:ff", g.addresses[0].Addr()
	g.answer = func(h, b []byte) { header, payload = bytes.Clone(h), bytes.Clone(b) }
	defer func() { g.answer = nil }()
	g.machine.Send(g.device, p.Frame())
	if header == nil {
		return nil, nil, errors.New("no answer")
	}
	return header, payload, nil
}

func (g *guest) Ping(dst netip.Addr, size int) error {
	_, payload, err := g.ask(drivertest.Packet{Destination: dst, Protocol: drivertest.ICMP, Type: 8, SourcePort: 7, Payload: make([]byte, size-28)})
	if err == nil && len(payload) != size-28 {
		return errors.New("another echo came back")
	}
	return err
}

func (g *guest) Serve(_ testing.TB, port uint16) { g.served = append(g.served, port) }

func (g *guest) Dial(dst netip.AddrPort) (drivertest.GuestConn, error) {
	c := &guestConn{guest: g, dst: dst}
	_, _, err := g.ask(c.packet(drivertest.SYN, nil))
	return c, err
}

type guestConn struct {
	guest *guest
	dst   netip.AddrPort
}

func (c *guestConn) packet(flags uint8, payload []byte) drivertest.Packet {
	return drivertest.Packet{Destination: c.dst.Addr(), Protocol: drivertest.TCP, SourcePort: 40000, Port: c.dst.Port(), Flags: flags, Payload: payload}
}

func (c *guestConn) Transfer(n int) error {
	for part := range slices.Chunk(bytes.Repeat([]byte("kintoun."), n/8), 1400) {
		_, back, err := c.guest.ask(c.packet(drivertest.ACK, part))
		if err != nil {
			return err
		}
		// Twelve more bytes of TCP's header come before the payload.
		if !bytes.Equal(back[12:], part) {
			return errors.New("other bytes came back")
		}
	}
	return nil
}

func (c *guestConn) Close() error { return nil }
