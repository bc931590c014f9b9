// Package shop is a control plane of an outsider's own: networks and balancers, its own table, its own database handle.
package shop

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

// Shop is the control plane.
type Shop struct {
	DB       *sql.DB
	Networks *network.Service
	LBaaS    *lbaas.Service
	Balance  *memlb.Driver
	Machine  *memnet.Machine
	net      *network.Agent
	lb       *lbaas.Agent
	wg       sync.WaitGroup
}

// Start opens the shop, whose host works until ctx ends.
func Start(ctx context.Context, db *sql.DB) (s *Shop, err error) {
	s = &Shop{DB: db, Balance: memlb.New(nil), Machine: memnet.NewMachine(nil)}
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, vip TEXT)"); err != nil {
		return nil, err
	}
	if s.Networks, err = network.New(ctx, db, nil); err != nil {
		return nil, err
	}
	if s.LBaaS, err = lbaas.New(ctx, db, ports{s.Networks}, nil); err != nil {
		return nil, err
	}
	fabric := memnet.NewFabric(s.Machine, memnet.NewFilters(s.Machine))
	s.net = network.NewAgent(s.Networks, "here", network.Drivers{
		Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), nil), DHCP: memnet.NewDHCPServers(fabric.Ports(), nil),
	}, nil)
	s.lb = lbaas.NewAgent(s.LBaaS, "here", s.Balance, nil)
	s.wg.Go(func() { s.net.Run(ctx) })
	s.wg.Go(func() { s.lb.Run(ctx) })
	return s, nil
}

// Wait returns when the host's agents have ended.
func (s *Shop) Wait() { s.wg.Wait() }

// Events are everything's.
func (s *Shop) Events() event.Sources {
	return event.Sources{"network": s.Networks, "lbaas": s.LBaaS}
}

// Order makes a network, a balancer and two servers' ports for a customer.
func (s *Shop) Order(ctx context.Context, customer string) (pool string, err error) {
	name := "lan"
	n, err := s.Networks.CreateNetwork(ctx, network.System, network.NetworkSpec{ProjectID: customer, Name: &name})
	if err != nil {
		return "", err
	}
	subnet, err := s.Networks.CreateSubnet(ctx, network.System, network.SubnetSpec{
		ProjectID: customer, NetworkID: n.ID, CIDR: netip.MustParsePrefix("10.1.0.0/24"), Version: 4,
	})
	if err != nil {
		return "", err
	}
	scope := lbaas.Scope{ProjectID: customer}
	p, err := s.LBaaS.CreatePool(ctx, scope, lbaas.PoolSpec{
		Name: "web", SubnetID: subnet.ID, Protocol: "HTTP", Method: "ROUND_ROBIN",
	})
	if err != nil {
		return "", err
	}
	for i := range 2 {
		device := fmt.Sprint("server", i)
		port, err := s.Networks.CreatePort(ctx, network.Scope{ProjectID: customer}, network.PortSpec{NetworkID: n.ID, DeviceID: &device})
		if err != nil {
			return "", err
		}
		if _, err := s.net.Plug(ctx, port.ID, driver.Endpoint{Device: driver.TapName(port.ID)}); err != nil {
			return "", err
		}
		_, err = s.LBaaS.CreateMember(ctx, scope, lbaas.MemberSpec{
			PoolID: p.ID, Address: port.FixedIPs[0].Address, Port: 80, Weight: 1,
		})
		if err != nil {
			return "", err
		}
	}
	vip, err := s.LBaaS.CreateVIP(ctx, scope, lbaas.VIPSpec{
		Name: "front", SubnetID: subnet.ID, ProtocolPort: 80, Protocol: "HTTP", PoolID: p.ID, ConnectionLimit: -1,
	})
	if err != nil {
		return "", err
	}
	_, err = s.DB.ExecContext(ctx, "INSERT INTO orders VALUES (?, ?)", customer, vip.Address.String())
	return p.ID, errors.Join(err, s.net.Settle(ctx), s.lb.Settle(ctx))
}

// ports give balancers their places.
type ports struct{ networks *network.Service }

func (p ports) kind(err error) error {
	if errors.Is(err, network.ErrNotFound) {
		return fmt.Errorf("%w: %w", lbaas.ErrNotFound, err)
	}
	return err
}

func (p ports) Subnet(ctx context.Context, scope lbaas.Scope, id string) error {
	_, err := p.networks.Subnet(ctx, network.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}, id)
	return p.kind(err)
}

func (p ports) port(ctx context.Context, port *network.Port) (out lbaas.Port, err error) {
	fixed := port.FixedIPs[0]
	subnet, err := p.networks.Subnet(ctx, network.System, fixed.SubnetID)
	if err != nil {
		return out, p.kind(err)
	}
	n, err := p.networks.Network(ctx, network.System, port.NetworkID)
	if err != nil {
		return out, p.kind(err)
	}
	return lbaas.Port{
		ID: port.ID, MAC: port.MAC, Address: netip.PrefixFrom(fixed.Address, subnet.CIDR.Bits()), Gateway: subnet.Gateway, MTU: n.MTU,
	}, nil
}

func (p ports) CreateVIPPort(ctx context.Context, scope lbaas.Scope, want lbaas.VIPPort) (out lbaas.Port, err error) {
	subnet, err := p.networks.Subnet(ctx, network.System, want.SubnetID)
	if err != nil {
		return out, p.kind(err)
	}
	owner, open := "neutron:LOADBALANCER", false
	port, err := p.networks.CreatePort(ctx, network.System, network.PortSpec{
		ProjectID: want.ProjectID, NetworkID: subnet.NetworkID, Name: &want.Name, DeviceID: &want.VIPID, DeviceOwner: &owner,
		FixedIPs: &[]network.FixedIPSpec{{SubnetID: want.SubnetID, Address: want.Address}}, PortSecurityEnabled: &open,
	})
	if err != nil {
		return out, p.kind(err)
	}
	return p.port(ctx, port)
}

func (p ports) DeleteVIPPort(ctx context.Context, id string) error {
	err := p.networks.DeletePort(ctx, network.System, id)
	if errors.Is(err, network.ErrNotFound) {
		return nil
	}
	return err
}

func (p ports) BindVIPPort(ctx context.Context, id, host string) (out lbaas.Port, err error) {
	port, err := p.networks.UpdatePort(ctx, network.System, id, network.PortSpec{HostID: &host})
	if err != nil {
		return out, p.kind(err)
	}
	return p.port(ctx, port)
}
