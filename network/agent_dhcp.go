package network

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

type dhcpTarget struct{ *Agent }

// List names the networks that this host's agent serves, and those that are served on it.
func (a dhcpTarget) List(ctx context.Context) ([]string, error) {
	ids, err := a.drivers.DHCP.List(ctx)
	if err != nil {
		return nil, err
	}
	hosted, err := a.service.hostedOn(ctx, a.host, AgentDHCP)
	return append(ids, hosted...), err
}

// Reconcile serves the network, or stops when another host does or it is gone.
func (a dhcpTarget) Reconcile(ctx context.Context, id string) error {
	want, err := a.service.dhcpFor(ctx, a.host, id, &a.options)
	if err != nil {
		return err
	}
	name, user := driver.DHCPNamespace(id), "dhcp "+id
	if want == nil {
		if err := a.drivers.DHCP.Remove(ctx, id); err != nil {
			return err
		}
		a.leave(user)
		return a.gone(ctx, name)
	}
	if err := a.enter(ctx, id, user); err != nil {
		return err
	}
	err = a.drivers.DHCP.Apply(ctx, *want)
	status := StatusActive
	if err != nil {
		status = StatusDown
	}
	if err := errors.Join(err, a.service.reportPort(ctx, want.PortID, a.host, status)); err != nil {
		return err
	}
	served := ServedNamespace{Name: name, Kind: NamespaceDHCP, ID: id, Networks: map[netip.Prefix]string{}, Metadata: want.MetadataAddress.IsValid()}
	for _, address := range want.Addresses {
		served.Networks[address] = id
	}
	return a.serving(ctx, served)
}

// dhcpFor is the network's DHCP server as the host needs to know it, or nil if it is not to run there.
func (s *Service) dhcpFor(ctx context.Context, host, networkID string, options *AgentOptions) (*driver.DHCPServer, error) {
	tx := s.store.Read(ctx)
	portID, err := s.store.Holder(tx, "dhcp/"+networkID, dhcpDevice(host, networkID))
	if err != nil || portID == "" {
		return nil, err
	}
	p, err := s.ports.Get(tx, portID)
	if errors.Is(err, ErrNotFound) || err == nil && len(p.FixedIPs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n, err := s.networks.Get(tx, networkID)
	if errors.Is(err, ErrNotFound) || err == nil && !n.AdminStateUp {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	want := &driver.DHCPServer{NetworkID: networkID, PortID: p.ID, MAC: p.MAC, MTU: n.MTU}
	subnets, err := s.dhcpSubnets(tx, networkID)
	if err != nil {
		return nil, err
	}
	isolated := false
	for i := range subnets {
		at := slices.IndexFunc(p.FixedIPs, func(ip FixedIP) bool { return ip.SubnetID == subnets[i].ID })
		if at < 0 {
			continue
		}
		want.Addresses = append(want.Addresses, netip.PrefixFrom(p.FixedIPs[at].Address, subnets[i].CIDR.Bits()))
		want.Subnets = append(want.Subnets, s.dhcpSubnet(&subnets[i], options))
		routed, err := s.routed(tx, &subnets[i])
		if err != nil {
			return nil, err
		}
		isolated = isolated || !routed
	}
	if isolated {
		want.MetadataAddress = options.MetadataAddress
	}
	want.Leases, err = s.leases(tx, networkID)
	return want, err
}

func (s *Service) dhcpSubnet(n *Subnet, options *AgentOptions) driver.DHCPSubnet {
	d := driver.DHCPSubnet{Prefix: n.CIDR, Gateway: n.Gateway, DNS: n.DNS, LeaseSeconds: uint32(options.Lease.Seconds()), Domain: s.options.DHCPDomain}
	for _, r := range n.HostRoutes {
		d.Routes = append(d.Routes, driver.Route(r))
	}
	return d
}

// routed says whether a router has the subnet's gateway address.
func (s *Service) routed(tx *record.Tx, n *Subnet) (bool, error) {
	if !n.Gateway.IsValid() {
		return false, nil
	}
	holder, err := s.store.Holder(tx, addressSpace(n.ID), addressText(n.Gateway))
	if err != nil || holder == "" {
		return false, err
	}
	count, err := s.ports.Count(tx, record.Eq("id", holder), record.Eq("device_owner", OwnerRouterInterface))
	return count > 0, err
}

// leases are the IPv4 addresses of the network's ports, but those of the cloud's own.
func (s *Service) leases(tx *record.Tx, networkID string) ([]driver.Lease, error) {
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", networkID)}})
	var list []driver.Lease
	for i := range ports {
		p := &ports[i]
		if infrastructure(p.DeviceOwner) {
			continue
		}
		for _, ip := range p.FixedIPs {
			if ip.Address.Is4() {
				list = append(list, driver.Lease{MAC: p.MAC, Address: ip.Address, Hostname: p.Hostname(ip.Address)})
			}
		}
	}
	return list, err
}

// Hostname is the port's DNS name, or Neutron's default: host-10-0-0-3.
func (p *Port) Hostname(a netip.Addr) string {
	if p.DNSName != "" {
		return p.DNSName
	}
	return "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.String())
}
