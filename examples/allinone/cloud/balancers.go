package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/lbaas"
	lbaasdriver "github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/network"
	networkdriver "github.com/kintoun/kintoun/network/driver"
)

// ownerBalancer is the device owner of balancers' ports, as LBaaS v1 had it.
const ownerBalancer = "neutron:LOADBALANCER"

// balancerPorts gives load balancing the ports that it needs.
type balancerPorts struct{ network *network.Service }

var _ lbaas.Ports = balancerPorts{}

func (b balancerPorts) Subnet(ctx context.Context, scope lbaas.Scope, subnetID string) error {
	_, err := b.network.Subnet(ctx, network.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}, subnetID)
	return err
}

func (b balancerPorts) CreateVIPPort(ctx context.Context, scope lbaas.Scope, want lbaas.VIPPort) (lbaas.Port, error) {
	subnet, err := b.network.Subnet(ctx, network.Scope{ProjectID: scope.ProjectID, Admin: scope.Admin}, want.SubnetID)
	if err != nil {
		return lbaas.Port{}, err
	}
	owner := ownerBalancer
	fixed := []network.FixedIPSpec{{SubnetID: want.SubnetID, Address: want.Address}}
	p, err := b.network.CreatePort(ctx, network.System, network.PortSpec{
		ProjectID: want.ProjectID, NetworkID: subnet.NetworkID, Name: &want.Name, DeviceID: &want.VIPID, DeviceOwner: &owner, FixedIPs: &fixed,
	})
	if err != nil {
		return lbaas.Port{}, err
	}
	return b.describe(ctx, p)
}

func (b balancerPorts) BindVIPPort(ctx context.Context, portID, host string) (lbaas.Port, error) {
	p, err := b.network.Port(ctx, network.System, portID)
	if err == nil && p.HostID != host {
		p, err = b.network.UpdatePort(ctx, network.System, portID, network.PortSpec{HostID: &host})
	}
	if err != nil {
		return lbaas.Port{}, err
	}
	return b.describe(ctx, p)
}

func (b balancerPorts) DeleteVIPPort(ctx context.Context, portID string) error {
	return gone(b.network.DeletePort(ctx, network.System, portID))
}

func (b balancerPorts) describe(ctx context.Context, p *network.Port) (lbaas.Port, error) {
	if len(p.FixedIPs) == 0 {
		return lbaas.Port{}, fmt.Errorf("port %s has no address: %w", p.ID, lbaas.ErrConflict)
	}
	subnet, err := b.network.Subnet(ctx, network.System, p.FixedIPs[0].SubnetID)
	if err != nil {
		return lbaas.Port{}, err
	}
	of, err := b.network.Network(ctx, network.System, p.NetworkID)
	if err != nil {
		return lbaas.Port{}, err
	}
	return lbaas.Port{
		ID: p.ID, MAC: p.MAC, Address: netip.PrefixFrom(p.FixedIPs[0].Address, subnet.CIDR.Bits()), Gateway: subnet.Gateway, MTU: of.MTU,
	}, nil
}

// balancerPlugger plugs balancers' ports on this host.
type balancerPlugger struct{ agent *network.Agent }

var _ lbaasdriver.Plugger = balancerPlugger{}

func (b balancerPlugger) Plug(ctx context.Context, portID, namespace, device string) error {
	_, err := b.agent.Plug(ctx, portID, networkdriver.Endpoint{Namespace: namespace, Device: device})
	return err
}

func (b balancerPlugger) Unplug(ctx context.Context, portID string) error {
	return gone(b.agent.Unplug(ctx, portID))
}

// gone takes "there is no such thing" for success.
func gone(err error) error {
	if errors.Is(err, network.ErrNotFound) {
		return nil
	}
	return err
}
