// Package fakeports is a network for tests of load balancing: every project owns the subnets that it is given, each
// 172.24.17.0/24 with the gateway at its end. It is safe for concurrent use.
package fakeports

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/lbaas"
)

// Ports implements [lbaas.Ports].
type Ports struct {
	mu      sync.Mutex
	subnets map[string]string // subnet → project
	ports   map[string]lbaas.Port
	next    map[string]netip.Addr
	hosts   map[string]string
	broken  error
}

var _ lbaas.Ports = (*Ports)(nil)

// New returns a network without subnets.
func New() *Ports {
	return &Ports{subnets: map[string]string{}, ports: map[string]lbaas.Port{}, next: map[string]netip.Addr{}, hosts: map[string]string{}}
}

// AddSubnet makes a subnet of the project; its first free address is 172.24.17.4.
func (p *Ports) AddSubnet(project string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := uuid.NewString()
	p.subnets[id], p.next[id] = project, netip.MustParseAddr("172.24.17.4")
	return id
}

// Break has every call that makes or binds a port fail with err; nil mends it.
func (p *Ports) Break(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
}

// Count is how many ports there are.
func (p *Ports) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ports)
}

// Host is where the port was bound.
func (p *Ports) Host(portID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hosts[portID]
}

// Subnet implements [lbaas.Ports].
func (p *Ports) Subnet(_ context.Context, scope lbaas.Scope, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if owner, ok := p.subnets[id]; !ok || (owner != scope.ProjectID && !scope.Admin) {
		return fmt.Errorf("subnet %s: %w", id, lbaas.ErrNotFound)
	}
	return nil
}

// CreateVIPPort implements [lbaas.Ports].
func (p *Ports) CreateVIPPort(ctx context.Context, scope lbaas.Scope, want lbaas.VIPPort) (lbaas.Port, error) {
	if err := p.Subnet(ctx, scope, want.SubnetID); err != nil {
		return lbaas.Port{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return lbaas.Port{}, p.broken
	}
	address := want.Address
	if !address.IsValid() {
		address = p.next[want.SubnetID]
		p.next[want.SubnetID] = address.Next()
	}
	prefix := netip.PrefixFrom(address, 24)
	if prefix.Masked() != netip.MustParsePrefix("172.24.17.0/24") {
		return lbaas.Port{}, fmt.Errorf("address %s is not of the subnet: %w", address, lbaas.ErrInvalid)
	}
	port := lbaas.Port{ID: uuid.NewString(), MAC: "fa:16:3e:b2:2d:c8", Address: prefix, Gateway: netip.MustParseAddr("172.24.17.254"), MTU: 1450}
	p.ports[port.ID] = port
	return port, nil
}

// DeleteVIPPort implements [lbaas.Ports].
func (p *Ports) DeleteVIPPort(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ports, id)
	return nil
}

// BindVIPPort implements [lbaas.Ports].
func (p *Ports) BindVIPPort(_ context.Context, id, host string) (lbaas.Port, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	port, ok := p.ports[id]
	if !ok {
		return port, fmt.Errorf("port %s: %w", id, errors.Join(p.broken, lbaas.ErrNotFound))
	}
	p.hosts[id] = host
	return port, p.broken
}
