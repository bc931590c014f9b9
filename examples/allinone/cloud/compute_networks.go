package cloud

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/compute"
	computedriver "github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/network"
	networkdriver "github.com/kintoun/kintoun/network/driver"
)

// computeNetworks gives compute the networks that it needs.
type computeNetworks struct{ network *network.Service }

var _ compute.Networks = computeNetworks{}

func networkScope(s compute.Scope) network.Scope {
	return network.Scope{ProjectID: s.ProjectID, Admin: s.Admin}
}

func (n computeNetworks) Networks(ctx context.Context, scope compute.Scope) ([]compute.Network, error) {
	// An administrator's servers attach by themselves to its own project's networks only.
	found, err := n.network.Networks(ctx, network.Scope{ProjectID: scope.ProjectID}, network.Eq("router:external", "false"))
	if err != nil {
		return nil, err
	}
	return n.describe(ctx, found)
}

func (n computeNetworks) Network(ctx context.Context, scope compute.Scope, id string) (compute.Network, error) {
	found, err := n.network.Network(ctx, networkScope(scope), id)
	if err != nil {
		return compute.Network{}, err
	}
	all, err := n.describe(ctx, []network.Network{*found})
	if err != nil {
		return compute.Network{}, err
	}
	return all[0], nil
}

func (n computeNetworks) describe(ctx context.Context, found []network.Network) ([]compute.Network, error) {
	ids := make([]string, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	subnets, err := n.network.SubnetIDs(ctx, ids...)
	if err != nil {
		return nil, err
	}
	described := make([]compute.Network, len(found))
	for i, f := range found {
		described[i] = compute.Network{ID: f.ID, Name: f.Name, External: f.External, Subnets: len(subnets[f.ID])}
	}
	return described, nil
}

func (n computeNetworks) SecurityGroups(ctx context.Context, scope compute.Scope, namesOrIDs []string) ([]compute.SecurityGroup, error) {
	own, err := n.network.SecurityGroups(ctx, network.Scope{ProjectID: scope.ProjectID}, network.Query{})
	if err != nil {
		return nil, err
	}
	groups := make([]compute.SecurityGroup, 0, len(namesOrIDs))
	for _, wanted := range namesOrIDs {
		group, err := pickGroup(own, wanted)
		if err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return groups, nil
}

func pickGroup(all []network.SecurityGroup, wanted string) (compute.SecurityGroup, error) {
	var found []compute.SecurityGroup
	for _, g := range all {
		if g.ID == wanted {
			return compute.SecurityGroup{ID: g.ID, Name: g.Name}, nil
		}
		if g.Name == wanted {
			found = append(found, compute.SecurityGroup{ID: g.ID, Name: g.Name})
		}
	}
	switch len(found) {
	case 0:
		return compute.SecurityGroup{}, fmt.Errorf("security group %q: %w", wanted, compute.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return compute.SecurityGroup{}, fmt.Errorf("several security groups are named %q: %w", wanted, compute.ErrConflict)
}

func (n computeNetworks) Port(ctx context.Context, scope compute.Scope, id string) (compute.Port, error) {
	p, err := n.network.Port(ctx, networkScope(scope), id)
	if err != nil {
		return compute.Port{}, err
	}
	all, err := n.ports(ctx, []network.Port{*p})
	if err != nil {
		return compute.Port{}, err
	}
	return all[0], nil
}

func (n computeNetworks) CreatePort(ctx context.Context, spec compute.PortSpec) (string, error) {
	owner := "compute:" + spec.Binding.Zone
	want := network.PortSpec{
		ProjectID: spec.ProjectID, NetworkID: spec.NetworkID, DNSName: &spec.Name,
		DeviceID: &spec.Binding.ServerID, DeviceOwner: &owner, HostID: &spec.Binding.Host,
	}
	if spec.FixedIP.IsValid() {
		want.FixedIPs = &[]network.FixedIPSpec{{Address: spec.FixedIP}}
	}
	if spec.SecurityGroups != nil {
		want.SecurityGroups = &spec.SecurityGroups
	}
	p, err := n.network.CreatePort(ctx, network.System, want)
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func (n computeNetworks) BindPort(ctx context.Context, portID string, binding compute.Binding) error {
	owner := ""
	if binding.ServerID != "" {
		owner = "compute:" + binding.Zone
		held, err := n.network.Port(ctx, network.System, portID)
		if err != nil {
			return err
		}
		if held.DeviceID != "" && held.DeviceID != binding.ServerID {
			return fmt.Errorf("port %s belongs to %s: %w", portID, held.DeviceID, compute.ErrConflict)
		}
	}
	_, err := n.network.UpdatePort(ctx, network.System, portID, network.PortSpec{DeviceID: &binding.ServerID, DeviceOwner: &owner, HostID: &binding.Host})
	return err
}

func (n computeNetworks) SetPortSecurityGroups(ctx context.Context, portID string, groupIDs []string) error {
	_, err := n.network.UpdatePort(ctx, network.System, portID, network.PortSpec{SecurityGroups: &groupIDs})
	return err
}

func (n computeNetworks) DeletePort(ctx context.Context, portID string) error {
	return gone(n.network.DeletePort(ctx, network.System, portID))
}

func (n computeNetworks) ServerPorts(ctx context.Context, serverIDs []string) (map[string][]compute.Port, error) {
	if len(serverIDs) == 0 {
		return nil, nil
	}
	query := network.Eq("device_id", serverIDs...)
	query.Sort = []network.SortKey{{Attribute: "created_at"}}
	found, err := n.network.Ports(ctx, network.System, query)
	if err != nil {
		return nil, err
	}
	all, err := n.ports(ctx, found)
	if err != nil {
		return nil, err
	}
	byServer := map[string][]compute.Port{}
	for _, p := range all {
		byServer[p.ServerID] = append(byServer[p.ServerID], p)
	}
	return byServer, nil
}

// ports adds to ports what is known of them elsewhere: names of networks and groups, floating addresses.
func (n computeNetworks) ports(ctx context.Context, found []network.Port) ([]compute.Port, error) {
	if len(found) == 0 {
		return nil, nil
	}
	var ids, networkIDs, groupIDs []string
	for _, p := range found {
		ids, networkIDs, groupIDs = append(ids, p.ID), append(networkIDs, p.NetworkID), append(groupIDs, p.SecurityGroups...)
	}
	// Many ports share them.
	networkIDs, groupIDs = distinct(networkIDs), distinct(groupIDs)
	networks, err := n.network.Networks(ctx, network.System, network.Eq("id", networkIDs...))
	if err != nil {
		return nil, err
	}
	floating, err := n.network.FloatingIPs(ctx, network.System, network.Eq("port_id", ids...))
	if err != nil {
		return nil, err
	}
	groups, err := n.network.SecurityGroups(ctx, network.System, network.Eq("id", groupIDs...))
	if err != nil {
		return nil, err
	}
	networkNames, groupNames, addresses := map[string]string{}, map[string]string{}, map[string][]netip.Addr{}
	for _, one := range networks {
		networkNames[one.ID] = one.Name
	}
	for _, g := range groups {
		groupNames[g.ID] = g.Name
	}
	for _, f := range floating {
		addresses[f.PortID] = append(addresses[f.PortID], f.Address)
	}
	all := make([]compute.Port, len(found))
	for i, p := range found {
		all[i] = compute.Port{
			ID: p.ID, ProjectID: p.ProjectID, NetworkID: p.NetworkID, NetworkName: networkNames[p.NetworkID], MAC: p.MAC,
			Status: p.Status, ServerID: p.DeviceID, FloatingIPs: addresses[p.ID],
		}
		for _, f := range p.FixedIPs {
			all[i].FixedIPs = append(all[i].FixedIPs, compute.FixedIP{Address: f.Address, SubnetID: f.SubnetID})
		}
		for _, id := range p.SecurityGroups {
			all[i].SecurityGroups = append(all[i].SecurityGroups, compute.SecurityGroup{ID: id, Name: groupNames[id]})
		}
	}
	return all, nil
}

func distinct(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// computePlugger plugs servers' ports on this host.
type computePlugger struct {
	agent *network.Agent
	// owner is the user that opens the tap devices.
	owner int
}

var _ compute.Plugger = computePlugger{}

func (p computePlugger) Plug(ctx context.Context, portID string) (computedriver.NIC, error) {
	port, err := p.agent.Plug(ctx, portID, networkdriver.Endpoint{Device: networkdriver.TapName(portID), Owner: p.owner})
	if err != nil {
		return computedriver.NIC{}, err
	}
	return computedriver.NIC{PortID: portID, MAC: port.MAC, MTU: port.MTU, Device: port.Endpoint.Device}, nil
}

func (p computePlugger) Unplug(ctx context.Context, portID string) error {
	return p.agent.Unplug(ctx, portID)
}
