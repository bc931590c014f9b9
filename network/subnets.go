package network

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// SubnetSpec is what to create or change; nil is the default, or unchanged.
type SubnetSpec struct {
	ProjectID         string
	NetworkID         string
	Name, Description *string
	// CIDR is given at creation only, or SubnetPoolID, and the prefix length to take from it (zero is its default).
	CIDR         netip.Prefix
	Version      int
	SubnetPoolID string
	PrefixLength int
	// Gateway is the default router's address; the zero address is none. By default it is the first of the CIDR.
	Gateway             *netip.Addr
	Pools               *[]Pool
	DNS                 *[]netip.Addr
	HostRoutes          *[]Route
	EnableDHCP          *bool
	RAMode, AddressMode *string
	ServiceTypes        *[]string
}

// Version is 4 or 6.
func (n *Subnet) Version() int {
	if n.CIDR.Addr().Is4() {
		return 4
	}
	return 6
}

// CreateSubnet makes a subnet in a network of the scope's project.
func (s *Service) CreateSubnet(ctx context.Context, scope Scope, spec SubnetSpec) (*Subnet, error) {
	if _, err := scope.owner(spec.ProjectID, "create_subnet"); err != nil {
		return nil, err
	}
	var made *Subnet
	err := s.update(ctx, func(tx *record.Tx) error {
		network, err := s.visibleNetwork(tx, scope, spec.NetworkID)
		if err != nil {
			return err
		}
		if !scope.owns(&network.Meta) {
			return forbidden("create_subnet")
		}
		project := spec.ProjectID
		if project == "" {
			project = network.ProjectID
		}
		if err := s.charge(tx, project, "subnet", 1); err != nil {
			return err
		}
		n := &Subnet{Meta: s.newMeta(project, spec.Name, spec.Description), NetworkID: network.ID, CIDR: spec.CIDR, EnableDHCP: true,
			DNS: []netip.Addr{}, HostRoutes: []Route{}, ServiceTypes: []string{}, SubnetPoolID: spec.SubnetPoolID}
		if spec.SubnetPoolID != "" {
			if err := s.takeFromPool(tx, scope, n, &spec); err != nil {
				return err
			}
		}
		if err := n.create(&spec); err != nil {
			return err
		}
		if err := s.checkOverlap(tx, n); err != nil {
			return err
		}
		if err := s.subnets.Insert(tx, n); err != nil {
			return err
		}
		made = n
		return s.subnetChanged(tx, network, n)
	})
	return made, err
}

// create fills in a new subnet.
func (n *Subnet) create(spec *SubnetSpec) error {
	if err := checkCIDR(n.CIDR, spec.Version); err != nil {
		return err
	}
	if first := n.CIDR.Addr().Next(); spec.Gateway == nil && n.usable(first) {
		n.Gateway = first
	}
	if n.Version() == 6 {
		set(&n.RAMode, spec.RAMode)
		set(&n.AddressMode, spec.AddressMode)
	} else if given(spec.RAMode) || given(spec.AddressMode) {
		return badRequest("subnet", "ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4")
	}
	if err := n.change(spec); err != nil {
		return err
	}
	if spec.Pools == nil {
		n.Pools = defaultPools(n.CIDR, n.Gateway)
	}
	return n.checkModes()
}

func given(s *string) bool { return s != nil && *s != "" }

// change applies what a spec may change at any time.
func (n *Subnet) change(spec *SubnetSpec) error {
	set(&n.EnableDHCP, spec.EnableDHCP)
	set(&n.ServiceTypes, spec.ServiceTypes)
	if spec.Gateway != nil {
		if g := *spec.Gateway; g.IsValid() && (g.Is4() != n.CIDR.Addr().Is4() || g.Is4() && n.CIDR.Contains(g) && !n.usable(g)) {
			return badRequest("subnet", "Gateway is not valid on subnet")
		}
		n.Gateway = *spec.Gateway
	}
	if spec.Pools != nil {
		n.Pools = slices.Clone(*spec.Pools)
		if err := checkPools(n); err != nil {
			return err
		}
	}
	if spec.Gateway != nil || spec.Pools != nil {
		if err := gatewayOutsidePools(n); err != nil {
			return err
		}
	}
	if spec.DNS != nil {
		n.DNS = *spec.DNS
		if len(n.DNS) > 5 {
			return refuse(ErrInvalid, "DNSNameServersExhausted", "Unable to complete operation for %s. The number of DNS nameservers exceeds the limit 5.", n.ID)
		}
	}
	return n.changeRoutes(spec)
}

func (n *Subnet) changeRoutes(spec *SubnetSpec) error {
	if spec.HostRoutes == nil {
		return nil
	}
	n.HostRoutes = *spec.HostRoutes
	if len(n.HostRoutes) > 20 {
		return refuse(ErrInvalid, "HostRoutesExhausted", "Unable to complete operation for %s. The number of host routes exceeds the limit 20.", n.ID)
	}
	for _, r := range n.HostRoutes {
		if r.Destination.Addr().Is4() != n.CIDR.Addr().Is4() || r.NextHop.Is4() != n.CIDR.Addr().Is4() {
			return badRequest("subnet", "Invalid route: %s via %s", r.Destination, r.NextHop)
		}
	}
	return nil
}

func (n *Subnet) checkModes() error {
	for _, mode := range []string{n.RAMode, n.AddressMode} {
		switch mode {
		case "", "slaac", "dhcpv6-stateful", "dhcpv6-stateless":
		default:
			return invalid("'%s' is not an IPv6 mode", mode)
		}
	}
	if (n.RAMode != "" || n.AddressMode != "") && !n.EnableDHCP {
		return badRequest("subnet", "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
	}
	if n.RAMode != "" && n.AddressMode != "" && n.RAMode != n.AddressMode {
		return invalid("ipv6_ra_mode set to '%s' with ipv6_address_mode set to '%s' is not valid. If both attributes are set, they must be the same value", n.RAMode, n.AddressMode)
	}
	if n.automatic() && n.CIDR.Bits() != 64 {
		return invalid("Invalid CIDR %s for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to be /64", n.CIDR)
	}
	return nil
}

// automatic says that addresses follow from MACs.
func (n *Subnet) automatic() bool {
	auto := func(mode string) bool { return mode == "slaac" || mode == "dhcpv6-stateless" }
	return auto(n.AddressMode) || auto(n.RAMode)
}

func (s *Service) checkOverlap(tx *record.Tx, n *Subnet) error {
	others, err := s.subnetsOf(tx, n.NetworkID)
	if err != nil {
		return err
	}
	for i := range others {
		if others[i].CIDR.Overlaps(n.CIDR) {
			return invalid("Requested subnet with cidr: %s for network: %s overlaps with another subnet", n.CIDR, n.NetworkID)
		}
	}
	return nil
}

// UpdateSubnet changes a subnet of the scope's project.
func (s *Service) UpdateSubnet(ctx context.Context, scope Scope, id string, spec SubnetSpec) (*Subnet, error) {
	var changed *Subnet
	err := s.update(ctx, func(tx *record.Tx) error {
		n, network, err := s.visibleSubnet(tx, scope, id)
		if err != nil {
			return err
		}
		if !scope.owns(&n.Meta) {
			return forbidden("update_subnet")
		}
		if err := s.mayMoveGateway(tx, n, spec.Gateway); err != nil {
			return err
		}
		n.update(s.now(), spec.Name, spec.Description)
		if err := n.change(&spec); err != nil {
			return err
		}
		if err := n.checkModes(); err != nil {
			return err
		}
		s.forgetHint(n.ID)
		changed = n
		if err := s.subnets.Update(tx, n); err != nil {
			return err
		}
		return s.subnetChanged(tx, network, n)
	})
	return changed, err
}

// mayMoveGateway refuses to change the gateway that a router has.
func (s *Service) mayMoveGateway(tx *record.Tx, n *Subnet, gateway *netip.Addr) error {
	if gateway == nil || *gateway == n.Gateway || !n.Gateway.IsValid() {
		return nil
	}
	holder, err := s.store.Holder(tx, addressSpace(n.ID), addressText(n.Gateway))
	if err != nil || holder == "" {
		return err
	}
	p, err := s.ports.Get(tx, holder)
	if err == nil && p.DeviceOwner == OwnerRouterInterface {
		err = refuse(ErrInUse, "GatewayIpInUse", "Current gateway ip %s already in use by port %s. Unable to update.", n.Gateway, p.ID)
	}
	return err
}

// subnetChanged keeps the DHCP port in step and tells the agents.
func (s *Service) subnetChanged(tx *record.Tx, network *Network, n *Subnet) error {
	if err := s.syncDHCP(tx, network); err != nil {
		return err
	}
	return s.announceRoutersOn(tx, n.NetworkID)
}

func (s *Service) announceRoutersOn(tx *record.Tx, networkID string) error {
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", networkID), record.In("device_owner", OwnerRouterInterface, OwnerRouterGateway)}})
	for i := range ports {
		if err := tx.Announce(changedRouter, ports[i].DeviceID); err != nil {
			return err
		}
	}
	return err
}

// DeleteSubnet removes a subnet. Ports with addresses in it, other than DHCP servers', are in its way.
func (s *Service) DeleteSubnet(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		n, network, err := s.visibleSubnet(tx, scope, id)
		if err != nil {
			return err
		}
		if !scope.owns(&n.Meta) {
			return forbidden("delete_subnet")
		}
		ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", n.NetworkID), record.Contains("fixed_ips", ",subnet="+id+",")}})
		if err != nil {
			return err
		}
		for i := range ports {
			p := &ports[i]
			if p.DeviceOwner != OwnerDHCP && (!n.automatic() || p.ofRouter()) {
				return refuse(ErrInUse, "SubnetInUse", "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", id)
			}
			before := *p
			p.FixedIPs = slices.DeleteFunc(slices.Clone(p.FixedIPs), func(ip FixedIP) bool { return ip.SubnetID == id })
			if err := s.savePort(tx, &before, p); err != nil {
				return err
			}
		}
		if err := s.subnets.Delete(tx, id); err != nil {
			return err
		}
		s.forgetHint(id)
		return s.subnetChanged(tx, network, n)
	})
}

// Subnet returns a subnet that the scope can see.
func (s *Service) Subnet(ctx context.Context, scope Scope, id string) (*Subnet, error) {
	n, _, err := s.visibleSubnet(s.store.Read(ctx), scope, id)
	return n, err
}

// Subnets lists subnets: the scope's own and those of networks that it may use.
func (s *Service) Subnets(ctx context.Context, scope Scope, q Query) ([]Subnet, error) {
	if scope.Admin {
		return list(ctx, s, s.subnets, subnetAttributes, q)
	}
	networks, err := s.networks.List(s.store.Read(ctx), record.Query{Where: networkVisibility(scope)})
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range networks {
		if networks[i].usableBy(scope) {
			ids = append(ids, networks[i].ID)
		}
	}
	return list(ctx, s, s.subnets, subnetAttributes, q, record.Any(record.Eq("project_id", scope.ProjectID), record.In("network_id", ids...)))
}

// SubnetIDs returns the subnets of each of the networks.
func (s *Service) SubnetIDs(ctx context.Context, networkIDs ...string) (map[string][]string, error) {
	found, err := s.subnets.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.In("network_id", networkIDs...)}, Order: []record.Order{{Column: "created_at"}}})
	ids := map[string][]string{}
	for i := range found {
		ids[found[i].NetworkID] = append(ids[found[i].NetworkID], found[i].ID)
	}
	return ids, err
}

func (s *Service) subnetsOf(tx *record.Tx, networkID string) ([]Subnet, error) {
	return s.subnets.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", networkID)}, Order: []record.Order{{Column: "created_at"}}})
}

func (s *Service) visibleSubnet(tx *record.Tx, scope Scope, id string) (*Subnet, *Network, error) {
	n, err := s.subnets.Get(tx, id)
	var network *Network
	if err == nil {
		network, err = s.networks.Get(tx, n.NetworkID)
	}
	if err == nil && !scope.owns(&n.Meta) && !network.usableBy(scope) {
		err = fmt.Errorf("subnet %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, nil, notFound(err, "SubnetNotFound", "Subnet %s", id)
	}
	return n, network, nil
}
