package memnet

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// Fabric is the layer 2 of a machine.
type Fabric struct {
	machine *Machine
	filters driver.Filters
}

var _ driver.Fabric = (*Fabric)(nil)

// NewFabric returns the fabric of a machine, whose ports the filters guard.
func NewFabric(machine *Machine, filters driver.Filters) *Fabric {
	return &Fabric{machine: machine, filters: filters}
}

// Kind is "memory".
func (f *Fabric) Kind() string { return "memory" }

// Networks of the fabric.
func (f *Fabric) Networks() driver.Networks { return networks{f} }

// Ports of the fabric.
func (f *Fabric) Ports() driver.Ports { return ports{f} }

type networks struct{ *Fabric }

func (n networks) Apply(ctx context.Context, want driver.Network) error {
	if err := n.machine.steps.meet(ctx, "network apply", want.ID); err != nil {
		return err
	}
	m := n.machine
	switch {
	case want.Physical != "" && !slices.Contains(m.physical, want.Physical):
		return fmt.Errorf("network %s: %w", want.ID, fault.Wrap(ErrUnsupported, "this machine has no physical network %q", want.Physical))
	case want.Physical == "" && want.Segment == 0:
		return fmt.Errorf("network %s: %w", want.ID, fault.Wrap(ErrInvalid, "it has neither a segment nor a physical network"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, other := range m.networks {
		if id != want.ID && other.Physical == want.Physical && other.Segment == want.Segment {
			return fmt.Errorf("network %s: %w", want.ID, fault.Wrap(ErrConflict, "network %s has its segment or physical network", id))
		}
	}
	want.Peers = slices.Clone(want.Peers)
	m.networks[want.ID] = want
	return nil
}

func (n networks) Remove(ctx context.Context, id string) error {
	if err := n.machine.steps.meet(ctx, "network remove", id); err != nil {
		return err
	}
	m := n.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.networks, id)
	delete(m.connections, id)
	for _, d := range m.devices {
		if d.bridge == id {
			d.bridge = ""
		}
	}
	return nil
}

func (n networks) List(ctx context.Context) ([]string, error) {
	if err := n.machine.steps.meet(ctx, "network list", ""); err != nil {
		return nil, err
	}
	n.machine.mu.Lock()
	defer n.machine.mu.Unlock()
	return keys(n.machine.networks), nil
}

// Network returns a network as it was applied last.
func (m *Machine) Network(id string) (driver.Network, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.networks[id]
	return in, ok
}

// Port returns a port as it was applied last.
func (m *Machine) Port(id string) (driver.Port, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.ports[id]
	return p, ok
}

type ports struct{ *Fabric }

func (p ports) Apply(ctx context.Context, want driver.Port) error {
	if err := p.machine.steps.meet(ctx, "port apply", want.ID); err != nil {
		return err
	}
	if err := p.apply(ctx, want); err != nil {
		return fmt.Errorf("port %s: %w", want.ID, err)
	}
	return nil
}

func (p ports) apply(ctx context.Context, want driver.Port) error {
	if err := p.makeDevice(want); err != nil {
		return err
	}
	if err := p.machine.steps.meet(ctx, "port guard", want.ID); err != nil {
		return err
	}
	// As on a real host: guarded first, plugged in after.
	if err := p.guard(ctx, want); err != nil {
		return err
	}
	m := p.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.devices[DeviceName(want)]
	d.bridge, d.mtu = want.NetworkID, want.MTU
	return nil
}

// makeDevice checks the port and makes its device, plugged into nothing if it is new.
func (p ports) makeDevice(want driver.Port) error {
	if name := want.Endpoint.Device; name == "" || len(name) > 15 {
		return fault.Wrap(ErrInvalid, "device name %q must have 1 to 15 bytes", name)
	}
	if _, err := net.ParseMAC(want.MAC); err != nil {
		return fault.Wrap(ErrInvalid, "MAC %q: %v", want.MAC, err)
	}
	m := p.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.networks[want.NetworkID]; !ok {
		return fault.Wrap(ErrNotFound, "network %s is not on this machine", want.NetworkID)
	}
	if last, ok := m.ports[want.ID]; ok && DeviceName(last) != DeviceName(want) {
		delete(m.devices, DeviceName(last))
	}
	if m.devices[DeviceName(want)] == nil {
		m.devices[DeviceName(want)] = &device{}
	}
	m.ports[want.ID] = want
	return nil
}

func (p ports) guard(ctx context.Context, want driver.Port) error {
	switch {
	case want.Security == nil && p.filters == nil:
		return nil
	case want.Security == nil:
		return p.filters.Remove(ctx, want.ID)
	case p.filters == nil:
		return fault.Wrap(ErrUnsupported, "this fabric has no filters")
	}
	return p.filters.Apply(ctx, driver.Filter{PortID: want.ID, Device: DeviceName(want), Bridge: want.NetworkID, MAC: want.MAC, Security: *want.Security})
}

// DeviceName is a port's device on its machine: the tap, or the outer end of what leads into a namespace.
func DeviceName(p driver.Port) string {
	if p.Endpoint.Namespace == "" {
		return p.Endpoint.Device
	}
	return driver.TapName(p.ID)
}

func (p ports) Remove(ctx context.Context, id string) error {
	if err := p.machine.steps.meet(ctx, "port remove", id); err != nil {
		return err
	}
	m := p.machine
	m.mu.Lock()
	if last, ok := m.ports[id]; ok {
		delete(m.devices, DeviceName(last))
	}
	delete(m.ports, id)
	m.mu.Unlock()
	if p.filters == nil {
		return nil
	}
	return p.filters.Remove(ctx, id)
}

func (p ports) List(ctx context.Context) ([]string, error) {
	if err := p.machine.steps.meet(ctx, "port list", ""); err != nil {
		return nil, err
	}
	p.machine.mu.Lock()
	defer p.machine.mu.Unlock()
	return slices.Sorted(maps.Keys(p.machine.ports)), nil
}
