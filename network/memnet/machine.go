package memnet

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// An Underlay is what machines reach each other by.
type Underlay struct {
	mu       sync.Mutex
	machines map[netip.Addr]*Machine
}

// NewUnderlay returns one without machines.
func NewUnderlay() *Underlay { return &Underlay{machines: map[netip.Addr]*Machine{}} }

// A Machine plays a host's kernel: bridges, devices, guards and connections.
type Machine struct {
	underlay *Underlay
	address  netip.Addr
	physical []string
	steps    steps

	mu       sync.Mutex
	networks map[string]driver.Network
	ports    map[string]driver.Port
	devices  map[string]*device
	guards   map[string]*guard
	// connections are kept by bridge, under their first packet.
	connections map[string]map[packet]*connection
}

// MachineOptions of a [Machine].
type MachineOptions struct {
	// Underlay and Address join the machine to others; without, its networks stay its own.
	Underlay *Underlay
	Address  netip.Addr
	// Physical are the physical networks that it has.
	Physical []string
	// Faults are what goes wrong on the machine, whose name is Host; nil is nothing.
	Faults *inject.Set
	Host   string
}

// NewMachine returns a machine without anything.
func NewMachine(opts *MachineOptions) *Machine {
	if opts == nil {
		opts = &MachineOptions{}
	}
	m := &Machine{
		underlay: cmp.Or(opts.Underlay, NewUnderlay()), address: opts.Address, physical: opts.Physical, steps: steps{opts.Faults, opts.Host},
		networks: map[string]driver.Network{}, ports: map[string]driver.Port{}, devices: map[string]*device{},
		guards: map[string]*guard{}, connections: map[string]map[packet]*connection{},
	}
	m.underlay.mu.Lock()
	defer m.underlay.mu.Unlock()
	m.underlay.machines[m.address] = m
	return m
}

// A device is a bridge's port.
type device struct {
	bridge  string
	mtu     int
	deliver func(frame []byte)
}

// connection is what is remembered of packets that passed.
type connection struct{ replied, cut bool }

// AddDevice plugs a device into a bridge of the machine, beside those of the fabric's ports. Frames for it are given
// to deliver, which must not keep them.
func (m *Machine) AddDevice(bridge, name string, deliver func(frame []byte)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices[name] = &device{bridge: bridge, deliver: deliver}
}

// RemoveDevice takes a device away; one that is not there is no error. A guard on it goes with its driver's Remove.
func (m *Machine) RemoveDevice(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.devices, name)
}

// Listen has the frames for a device of a port given to deliver, which must not keep them.
func (m *Machine) Listen(name string, deliver func(frame []byte)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[name]
	if d == nil {
		return fault.Wrap(ErrNotFound, "the machine has no device %q", name)
	}
	d.deliver = deliver
	return nil
}

// Send puts a frame into the machine by a device, as the guest at its end does. It returns when the frame, and what
// those who got it sent in answer, has arrived everywhere.
func (m *Machine) Send(name string, frame []byte) {
	p := parse(frame)
	m.mu.Lock()
	from := m.devices[name]
	if from == nil || from.bridge == "" || (from.mtu > 0 && p.length > from.mtu) {
		m.mu.Unlock()
		return
	}
	sent := pass
	if g := m.guardOf(name); g != nil {
		sent = g.sends(p)
	}
	if sent == drop {
		m.mu.Unlock()
		return
	}
	receivers := m.receivers(from.bridge, name, sent, p)
	others, segment := m.peers(from.bridge, sent, p)
	m.mu.Unlock()
	for _, deliver := range receivers {
		deliver(bytes.Clone(frame))
	}
	for _, other := range others {
		other.arrive(segment, frame)
	}
}

// arrive takes a frame in from a tunnel.
func (m *Machine) arrive(segment uint32, frame []byte) {
	p := parse(frame)
	m.mu.Lock()
	var receivers []func([]byte)
	for _, in := range m.networks {
		if in.Physical == "" && in.Segment == segment {
			receivers = append(receivers, m.receivers(in.ID, "", pass, p)...)
		}
	}
	m.mu.Unlock()
	for _, deliver := range receivers {
		deliver(bytes.Clone(frame))
	}
}

// receivers are the devices of the bridge that the packet reaches.
func (m *Machine) receivers(bridge, from string, sent judgement, p packet) []func([]byte) {
	var to []func([]byte)
	for _, name := range slices.Sorted(maps.Keys(m.devices)) {
		d := m.devices[name]
		if name == from || d.bridge != bridge || d.deliver == nil || (d.mtu > 0 && p.length > d.mtu) {
			continue
		}
		received := pass
		if g := m.guardOf(name); g != nil {
			received = g.receives(p)
		}
		if m.passes(bridge, p, sent, received) {
			to = append(to, d.deliver)
		}
	}
	return to
}

// peers are the machines that the bridge's network is tunnelled to.
func (m *Machine) peers(bridge string, sent judgement, p packet) ([]*Machine, uint32) {
	in, ok := m.networks[bridge]
	if !ok || in.Physical != "" || len(in.Peers) == 0 || !m.passes(bridge, p, sent, pass) {
		return nil, 0
	}
	m.underlay.mu.Lock()
	defer m.underlay.mu.Unlock()
	var all []*Machine
	for _, address := range in.Peers {
		if other := m.underlay.machines[address]; other != nil && other != m {
			all = append(all, other)
		}
	}
	return all, in.Segment
}

func (m *Machine) guardOf(name string) *guard {
	for _, g := range m.guards {
		if g.want.Device == name {
			return g
		}
	}
	return nil
}

// passes has both ends' judgements meet the connection's state, and remembers the connection.
func (m *Machine) passes(bridge string, p packet, sent, received judgement) bool {
	if received == drop {
		return false
	}
	if p.etherType != etherIPv4 && p.etherType != etherIPv6 {
		return true
	}
	known := m.connections[bridge]
	if known == nil {
		known = map[packet]*connection{}
		m.connections[bridge] = known
	}
	first, answer := flowOf(p), flowOf(reverse(p))
	c, reply := known[first], false
	if r := known[answer]; c == nil && r != nil {
		c, reply = r, true
	}
	guarded := sent > drop || received > drop
	if c != nil && c.cut && guarded {
		return false
	}
	established := c != nil && (reply || c.replied)
	if (sent == onlyEstablished || received == onlyEstablished) && !established {
		return false
	}
	if c == nil {
		c = &connection{}
		known[first] = c
	}
	c.replied = c.replied || reply
	return true
}

// flowOf is what packets of one direction of a connection share.
func flowOf(p packet) packet {
	return packet{source: p.source, destination: p.destination, protocol: p.protocol, sourcePort: p.sourcePort, port: p.port, icmpType: p.icmpType, icmpCode: p.icmpCode}
}

// reverse is the packet that p would be the answer to.
func reverse(p packet) packet {
	p.source, p.destination = p.destination, p.source
	switch {
	case p.protocol == protocolICMP && p.icmpType == 0:
		p.icmpType = 8
	case p.protocol == protocolICMPv6 && p.icmpType == 129:
		p.icmpType = 128
	case p.protocol != protocolICMP && p.protocol != protocolICMPv6:
		p.sourcePort, p.port = p.port, p.sourcePort
	}
	return p
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
