// Package meshfabric is an outsider's fabric: tunnels are function calls between machines in memory.
package meshfabric

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

// Overhead is what a tunnel adds to a packet.
const Overhead = 60

// Physical is the one physical network of hosts.
const Physical = "public"

// Wire joins hosts.
type Wire struct {
	mu    sync.Mutex
	hosts map[netip.Addr]*Host
}

func (w *Wire) host(a netip.Addr) *Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[a]
}

// Host is what stays when a driver value is thrown away.
type Host struct {
	Machine *memnet.Machine
	Address netip.Addr
	wire    *Wire

	mu       sync.Mutex
	networks map[string]driver.Network
	ports    map[string]plugged
	ends     map[string]func([]byte) // device → who is behind it
}

type plugged struct {
	driver.Port
	device string
	done   bool
}

// NewHost returns a host on the wire.
func NewHost(w *Wire, address netip.Addr) *Host {
	h := &Host{
		Machine: memnet.NewMachine(&memnet.MachineOptions{Physical: []string{Physical}}), Address: address, wire: w,
		networks: map[string]driver.Network{}, ports: map[string]plugged{}, ends: map[string]func([]byte){},
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hosts == nil {
		w.hosts = map[netip.Addr]*Host{}
	}
	w.hosts[address] = h
	return h
}

// Listen puts somebody at the end of a device.
func (h *Host) Listen(device string, deliver func([]byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends[device] = deliver
}

func (h *Host) bridge(n driver.Network) string {
	if n.Physical != "" {
		return n.Physical
	}
	return "mesh-" + n.ID
}

func tunnel(segment uint32) string { return fmt.Sprint("mesh", segment) }

// out carries a frame of a network to the other hosts.
func (h *Host) out(id string, frame []byte) {
	h.mu.Lock()
	n, ok := h.networks[id]
	h.mu.Unlock()
	if !ok || len(frame) > n.MTU+18 {
		return
	}
	for _, peer := range n.Peers {
		if p := h.wire.host(peer); p != nil && p != h {
			p.in(n.Segment, h.Address, frame)
		}
	}
}

func (h *Host) in(segment uint32, from netip.Addr, frame []byte) {
	h.mu.Lock()
	known := false
	for _, n := range h.networks {
		known = known || n.Physical == "" && n.Segment == segment && slices.Contains(n.Peers, from)
	}
	h.mu.Unlock()
	if known {
		h.Machine.Send(tunnel(segment), slices.Clone(frame))
	}
}

// Fabric is the driver.
type Fabric struct {
	host    *Host
	filters driver.Filters
}

// New returns a driver over the host.
func New(h *Host) *Fabric { return &Fabric{h, memnet.NewFilters(h.Machine)} }

// Kind is "mesh".
func (f *Fabric) Kind() string { return "mesh" }

// Networks of the fabric.
func (f *Fabric) Networks() driver.Networks { return networks{f} }

// Ports of the fabric.
func (f *Fabric) Ports() driver.Ports { return ports{f} }

type networks struct{ *Fabric }

func (n networks) Apply(ctx context.Context, want driver.Network) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if want.Physical != "" && want.Physical != Physical {
		return fmt.Errorf("mesh: network %s: no physical network %q here", want.ID, want.Physical)
	}
	if want.ID == "" || (want.Physical == "") == (want.Segment == 0) {
		return fmt.Errorf("mesh: network %q: an identifier and either segment or physical network are needed", want.ID)
	}
	h := n.host
	h.mu.Lock()
	defer h.mu.Unlock()
	old, ok := h.networks[want.ID]
	want.Peers = slices.Clone(want.Peers)
	h.networks[want.ID] = want
	if ok && old.Segment == want.Segment && old.Physical == want.Physical {
		return nil
	}
	if ok && old.Physical == "" {
		h.Machine.RemoveDevice(tunnel(old.Segment))
	}
	if want.Physical == "" {
		h.Machine.AddDevice(h.bridge(want), tunnel(want.Segment), func(frame []byte) { h.out(want.ID, frame) })
	}
	return nil
}

func (n networks) Remove(ctx context.Context, id string) error {
	h := n.host
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.networks[id]; ok && old.Physical == "" {
		h.Machine.RemoveDevice(tunnel(old.Segment))
	}
	delete(h.networks, id)
	return ctx.Err()
}

func (n networks) List(ctx context.Context) ([]string, error) {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	return slices.Sorted(maps.Keys(n.host.networks)), ctx.Err()
}

type ports struct{ *Fabric }

func (p ports) Apply(ctx context.Context, want driver.Port) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n := len(want.Endpoint.Device); want.ID == "" || n == 0 || n > 15 || strings.ContainsAny(want.Endpoint.Device, "/ ") {
		return fmt.Errorf("mesh: port %q: no identifier, or no device can be called %q", want.ID, want.Endpoint.Device)
	}
	if _, err := net.ParseMAC(want.MAC); err != nil {
		return fmt.Errorf("mesh: port %s: %w", want.ID, err)
	}
	h := p.host
	device := memnet.DeviceName(want)
	h.mu.Lock()
	network, ok := h.networks[want.NetworkID]
	old, there := h.ports[want.ID]
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("mesh: port %s: network %s is not here", want.ID, want.NetworkID)
	}
	if there && (old.device != device || old.NetworkID != want.NetworkID) {
		if err := p.Remove(ctx, want.ID); err != nil {
			return err
		}
		old, there = plugged{}, false
	}
	// Leave a trace first, so that a killed Apply is found.
	h.mu.Lock()
	h.ports[want.ID] = plugged{want, device, old.done}
	h.mu.Unlock()
	if want.Security != nil {
		err := p.filters.Apply(ctx, driver.Filter{
			PortID: want.ID, Device: device, Bridge: h.bridge(network), MAC: want.MAC, Security: *want.Security,
		})
		if err != nil {
			return err
		}
	} else if err := p.filters.Remove(ctx, want.ID); err != nil {
		return err
	}
	if old.done {
		return nil
	}
	h.Machine.AddDevice(h.bridge(network), device, func(frame []byte) {
		h.mu.Lock()
		deliver := h.ends[device]
		h.mu.Unlock()
		if deliver != nil {
			deliver(frame)
		}
	})
	h.mu.Lock()
	h.ports[want.ID] = plugged{want, device, true}
	h.mu.Unlock()
	return nil
}

func (p ports) Remove(ctx context.Context, id string) error {
	h := p.host
	h.mu.Lock()
	old, ok := h.ports[id]
	h.mu.Unlock()
	if ok {
		h.Machine.RemoveDevice(old.device)
	}
	if err := p.filters.Remove(ctx, id); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ports, id)
	delete(h.ends, old.device)
	return ctx.Err()
}

func (p ports) List(ctx context.Context) ([]string, error) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return slices.Sorted(maps.Keys(p.host.ports)), ctx.Err()
}
