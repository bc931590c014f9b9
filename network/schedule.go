package network

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/record"
)

// choose returns the live agent of the type that hosts least, or nil.
func (s *Service) choose(tx *record.Tx, agentType string) (*AgentInfo, error) {
	agents, err := s.agents.List(tx, record.Query{Where: []record.Condition{record.Eq("agent_type", agentType), record.Eq("admin_state_up", true)}, Order: []record.Order{{Column: "host"}}})
	if err != nil {
		return nil, err
	}
	var best *AgentInfo
	least := 0
	for i := range agents {
		if !s.alive(&agents[i]) {
			continue
		}
		n, err := s.bindings.Count(tx, record.Eq("agent_id", agents[i].ID))
		if err != nil {
			return nil, err
		}
		if best == nil || n < least {
			best, least = &agents[i], n
		}
	}
	return best, nil
}

func (s *Service) bindingsOf(tx *record.Tx, resourceID string) ([]binding, error) {
	return s.bindings.List(tx, record.Query{Where: []record.Condition{record.Eq("resource_id", resourceID)}})
}

// scheduleRouter gives the router to an agent if none hosts it.
func (s *Service) scheduleRouter(tx *record.Tx, id string) error {
	bound, err := s.bindingsOf(tx, id)
	if err != nil || len(bound) > 0 {
		return err
	}
	a, err := s.choose(tx, AgentL3)
	if err != nil || a == nil {
		return err
	}
	return s.bindRouter(tx, a, id)
}

func (s *Service) bindRouter(tx *record.Tx, a *AgentInfo, id string) error {
	if err := s.bindings.Insert(tx, &binding{AgentID: a.ID, ResourceID: id, Kind: kindL3}); err != nil {
		return err
	}
	return s.moveRouterPorts(tx, id, a.Host)
}

// moveRouterPorts says on which host the router's legs are; empty is nowhere.
func (s *Service) moveRouterPorts(tx *record.Tx, id, host string) error {
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("device_id", id), record.In("device_owner", OwnerRouterInterface, OwnerRouterGateway)}})
	if err != nil {
		return err
	}
	for i := range ports {
		if err := s.changePort(tx, &ports[i], PortSpec{HostID: &host}); err != nil {
			return err
		}
	}
	return tx.Announce(changedRouter, id)
}

// routerHost is the host of the agent that has the router, or empty.
func (s *Service) routerHost(tx *record.Tx, id string) (string, error) {
	holder, err := s.store.Holder(tx, "l3", id)
	if err != nil || holder == "" {
		return "", err
	}
	b, err := s.bindings.Get(tx, holder)
	if err != nil {
		return "", err
	}
	a, err := s.agents.Get(tx, b.AgentID)
	if err != nil {
		return "", err
	}
	return a.Host, nil
}

// dhcpDevice names the server of a host for a network, as Neutron's agents do.
func dhcpDevice(host, networkID string) string {
	return "dhcp" + uuid.NewSHA1(uuid.NameSpaceDNS, []byte(host)).String() + "-" + networkID
}

// scheduleNetwork gives the network's DHCP to an agent if none has it.
func (s *Service) scheduleNetwork(tx *record.Tx, network *Network) error {
	bound, err := s.bindingsOf(tx, network.ID)
	if err != nil || len(bound) > 0 {
		return err
	}
	a, err := s.choose(tx, AgentDHCP)
	if err != nil || a == nil {
		return err
	}
	return s.bindNetwork(tx, a, network)
}

func (s *Service) bindNetwork(tx *record.Tx, a *AgentInfo, network *Network) error {
	if err := s.bindings.Insert(tx, &binding{AgentID: a.ID, ResourceID: network.ID, Kind: kindDHCP}); err != nil {
		return err
	}
	return s.ensureDHCPPorts(tx, network)
}

func (s *Service) unbind(tx *record.Tx, a *AgentInfo, b *binding) error {
	if err := s.bindings.Delete(tx, bindingID(b.AgentID, b.ResourceID)); err != nil {
		return err
	}
	if b.Kind == kindL3 {
		return s.moveRouterPorts(tx, b.ResourceID, "")
	}
	if err := tx.Announce(changedDHCP, b.ResourceID); err != nil {
		return err
	}
	return s.reserveDHCPPort(tx, a.Host, b.ResourceID)
}

// unbindAll forgets who hosts a resource that is going away.
func (s *Service) unbindAll(tx *record.Tx, resourceID string) error {
	bound, err := s.bindingsOf(tx, resourceID)
	for i := range bound {
		if err := s.bindings.Delete(tx, bindingID(bound[i].AgentID, resourceID)); err != nil {
			return err
		}
	}
	return err
}

// syncDHCP keeps a network's DHCP ports in step with its subnets. The first one is made with the first subnet that
// has DHCP, before any other port can take an address.
func (s *Service) syncDHCP(tx *record.Tx, network *Network) error {
	if err := tx.Announce(changedDHCP, network.ID); err != nil {
		return err
	}
	wanted, err := s.dhcpSubnets(tx, network.ID)
	if err != nil {
		return err
	}
	if len(wanted) > 0 {
		if err := s.scheduleNetwork(tx, network); err != nil {
			return err
		}
	}
	return s.ensureDHCPPorts(tx, network)
}

// dhcpSubnets are those that are served: IPv4 with DHCP on.
func (s *Service) dhcpSubnets(tx *record.Tx, networkID string) ([]Subnet, error) {
	all, err := s.subnetsOf(tx, networkID)
	return slices.DeleteFunc(all, func(n Subnet) bool { return !n.EnableDHCP || n.Version() != 4 }), err
}

func (s *Service) dhcpPorts(tx *record.Tx, networkID string) ([]Port, error) {
	return s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", networkID), record.Eq("device_owner", OwnerDHCP)}, Order: []record.Order{{Column: "created_at"}}})
}

// ensureDHCPPorts gives each agent that hosts the network a port with an address in each served subnet, and keeps
// one reserved while no agent does.
func (s *Service) ensureDHCPPorts(tx *record.Tx, network *Network) error {
	subnets, err := s.dhcpSubnets(tx, network.ID)
	if err != nil {
		return err
	}
	ports, err := s.dhcpPorts(tx, network.ID)
	if err != nil {
		return err
	}
	if len(subnets) == 0 {
		for i := range ports {
			if err := s.dropPort(tx, &ports[i]); err != nil {
				return err
			}
		}
		return nil
	}
	hosts, err := s.dhcpHosts(tx, network.ID)
	if err != nil {
		return err
	}
	wanted := map[string]string{} // device: host
	for _, host := range hosts {
		wanted[dhcpDevice(host, network.ID)] = host
	}
	if len(wanted) == 0 {
		wanted[reservedDHCPDevice] = ""
	}
	return s.matchDHCPPorts(tx, network, subnets, ports, wanted)
}

func (s *Service) matchDHCPPorts(tx *record.Tx, network *Network, subnets []Subnet, ports []Port, wanted map[string]string) error {
	var spare []*Port
	for i := range ports {
		if _, ok := wanted[ports[i].DeviceID]; !ok {
			spare = append(spare, &ports[i])
			continue
		}
		host := wanted[ports[i].DeviceID]
		delete(wanted, ports[i].DeviceID)
		if err := s.placeDHCPPort(tx, &ports[i], ports[i].DeviceID, host, subnets); err != nil {
			return err
		}
	}
	for device, host := range wanted {
		if len(spare) > 0 {
			p := spare[0]
			spare = spare[1:]
			if err := s.placeDHCPPort(tx, p, device, host, subnets); err != nil {
				return err
			}
			continue
		}
		p, err := s.newPort(tx, network, network.ProjectID, PortSpec{DeviceID: &device, DeviceOwner: new(OwnerDHCP), HostID: &host, FixedIPs: &[]FixedIPSpec{}})
		if err != nil {
			return err
		}
		if err := s.placeDHCPPort(tx, p, device, host, subnets); err != nil {
			return err
		}
	}
	return nil
}

// placeDHCPPort gives the port its device and host, and one address in each subnet that has one left.
func (s *Service) placeDHCPPort(tx *record.Tx, p *Port, device, host string, subnets []Subnet) error {
	before := *p
	var kept []FixedIPSpec
	for i := range subnets {
		want := append(slices.Clone(kept), FixedIPSpec{SubnetID: subnets[i].ID})
		if at := slices.IndexFunc(before.FixedIPs, func(ip FixedIP) bool { return ip.SubnetID == subnets[i].ID }); at >= 0 {
			want[len(want)-1].Address = before.FixedIPs[at].Address
		}
		try := before
		if err := s.assign(tx, &try, &want, before.FixedIPs); errors.Is(err, ErrExhausted) {
			continue
		} else if err != nil {
			return err
		}
		kept = kept[:0]
		for _, ip := range try.FixedIPs {
			kept = append(kept, FixedIPSpec(ip))
		}
		p.FixedIPs = try.FixedIPs
	}
	if len(kept) == 0 {
		p.FixedIPs = []FixedIP{}
	}
	if before.DeviceID == device && before.HostID == host && slices.Equal(before.FixedIPs, p.FixedIPs) {
		return nil
	}
	p.touch(s.now())
	if err := p.change(&PortSpec{DeviceID: &device, HostID: &host}); err != nil {
		return err
	}
	return s.savePort(tx, &before, p)
}

// dhcpHosts are the hosts of the agents that serve the network.
func (s *Service) dhcpHosts(tx *record.Tx, networkID string) ([]string, error) {
	bound, err := s.bindingsOf(tx, networkID)
	if err != nil {
		return nil, err
	}
	var hosts []string
	for i := range bound {
		a, err := s.agents.Get(tx, bound[i].AgentID)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, a.Host)
	}
	return hosts, nil
}

// reserveDHCPPort keeps the address of a server that left for the next one; with others there, it goes.
func (s *Service) reserveDHCPPort(tx *record.Tx, host, networkID string) error {
	id, err := s.store.Holder(tx, "dhcp/"+networkID, dhcpDevice(host, networkID))
	if err != nil || id == "" {
		return err
	}
	p, err := s.ports.Get(tx, id)
	if err != nil {
		return err
	}
	others, err := s.dhcpPorts(tx, networkID)
	if err != nil {
		return err
	}
	if len(others) > 1 {
		return s.dropPort(tx, p)
	}
	return s.changePort(tx, p, PortSpec{DeviceID: new(reservedDHCPDevice), HostID: new("")})
}

// scheduleUnhosted gives what nobody hosts to agents.
func (s *Service) scheduleUnhosted(ctx context.Context) error {
	tx := s.store.Read(ctx)
	bound, err := s.bindings.List(tx, record.Query{})
	if err != nil {
		return err
	}
	hosted := map[string]bool{}
	for i := range bound {
		hosted[bound[i].ResourceID] = true
	}
	routers, err := s.routers.List(tx, record.Query{})
	if err != nil {
		return err
	}
	for i := range routers {
		if hosted[routers[i].ID] {
			continue
		}
		if err := ignoreGone(s.update(ctx, func(tx *record.Tx) error { return s.scheduleRouter(tx, routers[i].ID) })); err != nil {
			return err
		}
	}
	return s.scheduleUnserved(ctx, hosted)
}

func (s *Service) scheduleUnserved(ctx context.Context, hosted map[string]bool) error {
	subnets, err := s.subnets.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("enable_dhcp", true), record.Eq("ip_version", 4)}})
	if err != nil {
		return err
	}
	for i := range subnets {
		id := subnets[i].NetworkID
		if hosted[id] {
			continue
		}
		hosted[id] = true
		if err := ignoreGone(s.update(ctx, func(tx *record.Tx) error {
			network, err := s.networks.Get(tx, id)
			if err != nil {
				return err
			}
			return s.scheduleNetwork(tx, network)
		})); err != nil {
			return err
		}
	}
	return nil
}

func ignoreGone(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Hosted says which of the networks or routers an agent hosts.
func (s *Service) Hosted(ctx context.Context, ids ...string) (map[string]bool, error) {
	bound, err := s.bindings.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.In("resource_id", ids...)}})
	hosted := map[string]bool{}
	for i := range bound {
		hosted[bound[i].ResourceID] = true
	}
	return hosted, err
}
