package drivertest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// A FrameGuest is a [TalkingGuest] without a kernel, for fabrics and labs that carry frames in the test's own process.
// It speaks just enough TCP/IP for the suites: it answers echo requests, and echoes what is sent by TCP.
type FrameGuest struct {
	mac       string
	addresses []netip.Prefix
	send      func(frame []byte)
	frames    chan []byte

	mu     sync.Mutex
	served []uint16
	// answers gets the packets that are neither echo requests nor to a served port.
	answers chan []byte
}

var _ TalkingGuest = (*FrameGuest)(nil)

// NewFrameGuest returns a guest with the port's MAC, which sends frames by send. Frames for it are given to
// [FrameGuest.Deliver]; both may be called from inside the other.
func NewFrameGuest(mac string, addresses []netip.Prefix, send func(frame []byte)) *FrameGuest {
	return &FrameGuest{mac: mac, addresses: addresses, send: send, frames: make(chan []byte, 4096), answers: make(chan []byte, 16)}
}

// Emit sends a frame.
func (g *FrameGuest) Emit(_ testing.TB, frame []byte) { g.send(frame) }

// Frames are those that were delivered.
func (g *FrameGuest) Frames() <-chan []byte { return g.frames }

// Deliver gives the guest a frame, which it does not keep.
func (g *FrameGuest) Deliver(frame []byte) {
	select {
	case g.frames <- bytes.Clone(frame):
	default: // the test does not look
	}
	if len(g.addresses) == 0 || len(frame) < 42 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return
	}
	destination := netip.AddrFrom4([4]byte(frame[30:34]))
	if destination != g.addresses[0].Addr() {
		return
	}
	reply := Packet{
		SourceMAC: g.mac, DestinationMAC: "ff:ff:ff:ff:ff:ff", Source: destination,
		Destination: netip.AddrFrom4([4]byte(frame[26:30])), Protocol: frame[23],
	}
	body := frame[34:]
	switch {
	case reply.Protocol == ICMP && body[0] == 8:
		reply.SourcePort, reply.Payload = binary.BigEndian.Uint16(body[4:]), body[8:]
		g.send(reply.Frame())
	case reply.Protocol == TCP && len(body) >= 20 && g.serves(binary.BigEndian.Uint16(body[2:])):
		reply.SourcePort, reply.Port = binary.BigEndian.Uint16(body[2:]), binary.BigEndian.Uint16(body)
		reply.Flags, reply.Payload = ACK, body[20:]
		if body[13] == SYN {
			reply.Flags |= SYN
		}
		g.send(reply.Frame())
	default:
		select {
		case g.answers <- bytes.Clone(body):
		default: // nobody has asked
		}
	}
}

func (g *FrameGuest) serves(port uint16) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.served, port)
}

// Serve has the guest echo what is sent to the port.
func (g *FrameGuest) Serve(_ testing.TB, port uint16) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.served = append(g.served, port)
}

// ask sends a packet and returns what follows the IP header of the answer.
func (g *FrameGuest) ask(p Packet, header int) ([]byte, error) {
	if len(g.addresses) == 0 {
		return nil, errors.New("the guest has no address")
	}
	for len(g.answers) > 0 {
		<-g.answers
	}
	p.SourceMAC, p.DestinationMAC, p.Source = g.mac, "ff:ff:ff:ff:ff:ff", g.addresses[0].Addr()
	g.send(p.Frame())
	select {
	case body := <-g.answers:
		if len(body) < header {
			return nil, errors.New("the answer is too short")
		}
		return body[header:], nil
	case <-time.After(frameLimit):
		return nil, errors.New("no answer")
	}
}

// Ping sends one echo request.
func (g *FrameGuest) Ping(dst netip.Addr, size int) error {
	const headers, echo = 28, 8
	back, err := g.ask(Packet{Destination: dst, Protocol: ICMP, Type: 8, SourcePort: 7, Payload: make([]byte, size-headers)}, echo)
	if err == nil && len(back) != size-headers {
		return errors.New("another echo came back")
	}
	return err
}

// Dial opens a connection to a served port of another FrameGuest.
func (g *FrameGuest) Dial(dst netip.AddrPort) (GuestConn, error) {
	c := &frameConn{guest: g, dst: dst}
	_, err := c.ask(SYN, nil)
	return c, err
}

type frameConn struct {
	guest *FrameGuest
	dst   netip.AddrPort
}

func (c *frameConn) ask(flags uint8, payload []byte) ([]byte, error) {
	const header = 20
	return c.guest.ask(Packet{Destination: c.dst.Addr(), Protocol: TCP, SourcePort: 40000, Port: c.dst.Port(), Flags: flags, Payload: payload}, header)
}

// Transfer sends segment by segment, each when the one before has come back.
func (c *frameConn) Transfer(n int) error {
	const segment = 1400
	for part := range slices.Chunk(bytes.Repeat([]byte("kintoun."), n/8), segment) {
		back, err := c.ask(ACK, part)
		if err != nil {
			return err
		}
		if !bytes.Equal(back, part) {
			return errors.New("other bytes came back")
		}
	}
	return nil
}

func (c *frameConn) Close() error { return nil }
