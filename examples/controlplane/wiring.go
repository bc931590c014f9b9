package main

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"

	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/memnet"
	"golang.org/x/sync/errgroup"
)

// start opens the domains' tables and the shops' own in one database, and runs a host's agents until ctx ends.
func start(ctx context.Context, db *sql.DB) (s *shops, wait func() error, err error) {
	s = &shops{db: db}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, nil, err
	}
	if s.networks, err = network.New(ctx, db, nil); err != nil {
		return nil, nil, err
	}
	if s.balancers, err = lbaas.New(ctx, db, ports{s.networks}, nil); err != nil {
		return nil, nil, err
	}
	// A real host has bridge.New, netnsrouter.New, dhcp.New and haproxy.New here.
	machine := memnet.NewMachine(nil)
	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
	s.host = network.NewAgent(s.networks, "host1", network.Drivers{
		Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), nil), DHCP: memnet.NewDHCPServers(fabric.Ports(), nil),
	}, nil)
	balancers := lbaas.NewAgent(s.balancers, "host1", memlb.New(nil), nil)
	var agents errgroup.Group
	agents.Go(func() error {
		if err := s.host.Run(ctx); !errors.Is(err, ctx.Err()) {
			return err
		}
		return nil
	})
	agents.Go(func() error { balancers.Run(ctx); return nil })

	// One network for all shops; their projects see it because it is shared.
	of, err := s.networks.CreateNetwork(ctx, network.System, network.NetworkSpec{Name: new("shops"), Shared: new(true)})
	if err == nil {
		s.subnet, err = s.networks.CreateSubnet(ctx, network.System, network.SubnetSpec{NetworkID: of.ID, CIDR: netip.MustParsePrefix("10.0.0.0/16")})
	}
	return s, agents.Wait, err
}

// ports give balancers their places in networks: the two domains do not know each other.
type ports struct{ networks *network.Service }

func (p ports) Subnet(ctx context.Context, scope lbaas.Scope, id string) error {
	_, err := p.networks.Subnet(ctx, network.Scope{ProjectID: scope.ProjectID}, id)
	return err
}

func (p ports) CreateVIPPort(ctx context.Context, _ lbaas.Scope, want lbaas.VIPPort) (lbaas.Port, error) {
	subnet, err := p.networks.Subnet(ctx, network.System, want.SubnetID)
	if err != nil {
		return lbaas.Port{}, err
	}
	made, err := p.networks.CreatePort(ctx, network.System, network.PortSpec{
		ProjectID: want.ProjectID, NetworkID: subnet.NetworkID, Name: &want.Name, FixedIPs: &[]network.FixedIPSpec{{SubnetID: subnet.ID, Address: want.Address}},
	})
	return p.describe(ctx, made, err)
}

func (p ports) BindVIPPort(ctx context.Context, id, host string) (lbaas.Port, error) {
	bound, err := p.networks.UpdatePort(ctx, network.System, id, network.PortSpec{HostID: &host})
	return p.describe(ctx, bound, err)
}

func (p ports) describe(ctx context.Context, port *network.Port, err error) (lbaas.Port, error) {
	if err != nil {
		return lbaas.Port{}, err
	}
	subnet, err := p.networks.Subnet(ctx, network.System, port.FixedIPs[0].SubnetID)
	if err != nil {
		return lbaas.Port{}, err
	}
	return lbaas.Port{ID: port.ID, MAC: port.MAC, Address: netip.PrefixFrom(port.FixedIPs[0].Address, subnet.CIDR.Bits()), Gateway: subnet.Gateway}, nil
}

func (p ports) DeleteVIPPort(ctx context.Context, id string) error {
	if err := p.networks.DeletePort(ctx, network.System, id); !errors.Is(err, network.ErrNotFound) {
		return err
	}
	return nil
}
