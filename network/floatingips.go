package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/internal/record"
)

// FloatingIPSpec is what to create or change; nil is the default, or unchanged.
type FloatingIPSpec struct {
	ProjectID   string
	Description *string
	// NetworkID is the external network; SubnetID and Address choose in it (an address: admins only). At creation only.
	NetworkID string
	SubnetID  string
	Address   netip.Addr
	// PortID is the port to give the address to; an empty text takes it away.
	PortID *string
	// FixedAddress is which of the port's addresses; the zero address is its only one.
	FixedAddress       netip.Addr
	DNSName, DNSDomain *string
}

// CreateFloatingIP takes an external address, and gives it to a port if one is named.
func (s *Service) CreateFloatingIP(ctx context.Context, scope Scope, spec FloatingIPSpec) (*FloatingIP, error) {
	project, err := scope.owner(spec.ProjectID, "create_floatingip")
	if err != nil {
		return nil, err
	}
	if spec.Address.IsValid() && !scope.Admin {
		return nil, forbidden("create_floatingip:floating_ip_address")
	}
	var made *FloatingIP
	err = s.update(ctx, func(tx *record.Tx) error {
		network, err := s.visibleNetwork(tx, scope, spec.NetworkID)
		if err != nil {
			return err
		}
		if !network.External {
			return badRequest("floatingip", "Network %s is not a valid external network", network.ID)
		}
		if err := s.charge(tx, project, "floatingip", 1); err != nil {
			return err
		}
		f := &FloatingIP{Meta: s.newMeta(project, nil, spec.Description), NetworkID: network.ID, Status: StatusDown}
		set(&f.DNSName, spec.DNSName)
		set(&f.DNSDomain, spec.DNSDomain)
		if err := s.takeExternal(tx, f, network, &spec); err != nil {
			return err
		}
		if given(spec.PortID) {
			if err := s.associate(tx, scope, f, *spec.PortID, spec.FixedAddress); err != nil {
				return err
			}
		} else if spec.FixedAddress.IsValid() {
			return badRequest("floatingip", "fixed_ip_address cannot be specified without a port_id")
		}
		made = f
		return s.floating.Insert(tx, f)
	})
	return made, err
}

// takeExternal makes the port that holds the address in the external network.
func (s *Service) takeExternal(tx *record.Tx, f *FloatingIP, network *Network, spec *FloatingIPSpec) error {
	want := FixedIPSpec{SubnetID: spec.SubnetID, Address: spec.Address}
	if want.SubnetID == "" && !want.Address.IsValid() {
		free, err := s.freeExternal(tx, network.ID)
		if err != nil {
			return err
		}
		want = free
	}
	p, err := s.newPort(tx, network, "", PortSpec{DeviceID: &f.ID, DeviceOwner: new(OwnerFloatingIP), FixedIPs: &[]FixedIPSpec{want}})
	if err != nil {
		return err
	}
	f.ExternalPortID, f.Address = p.ID, p.FixedIPs[0].Address
	if !f.Address.Is4() {
		return badRequest("floatingip", "External network %s does not contain any IPv4 subnet", network.ID)
	}
	return nil
}

func (s *Service) freeExternal(tx *record.Tx, networkID string) (FixedIPSpec, error) {
	subnets, err := s.subnetsOf(tx, networkID)
	if err != nil {
		return FixedIPSpec{}, err
	}
	any := false
	for i := range subnets {
		n := &subnets[i]
		if n.Version() != 4 || !n.serves(OwnerFloatingIP) {
			continue
		}
		any = true
		address, err := s.freeAddress(tx, n)
		if err != nil {
			return FixedIPSpec{}, err
		}
		if address.IsValid() {
			return FixedIPSpec{n.ID, address}, nil
		}
	}
	if !any {
		return FixedIPSpec{}, badRequest("floatingip", "Network %s does not contain any IPv4 subnet", networkID)
	}
	return FixedIPSpec{}, exhausted(networkID)
}

// associate gives the address to the port, through the router that connects both.
func (s *Service) associate(tx *record.Tx, scope Scope, f *FloatingIP, portID string, fixed netip.Addr) error {
	p, _, err := s.visiblePort(tx, scope, portID)
	if err != nil {
		return err
	}
	ip, err := innerAddress(p, fixed)
	if err != nil {
		return err
	}
	router, err := s.routerBetween(tx, ip.SubnetID, f.NetworkID)
	if err != nil {
		return err
	}
	if router == "" {
		return refuse(ErrNotFound, "ExternalGatewayForFloatingIPNotFound", "External network %s is not reachable from subnet %s. Therefore, cannot associate Port %s with a Floating IP.", f.NetworkID, ip.SubnetID, p.ID)
	}
	holder, err := s.store.Holder(tx, "floating/"+f.NetworkID+"/"+p.ID, ip.Address.String())
	if err != nil {
		return err
	}
	if holder != "" && holder != f.ID {
		return refuse(ErrConflict, "FloatingIPPortAlreadyAssociated", "Cannot associate floating IP %s (%s) with port %s using fixed IP %s, as that fixed IP already has a floating IP on external network %s.", f.Address, f.ID, p.ID, ip.Address, f.NetworkID)
	}
	if f.RouterID != "" && f.RouterID != router {
		if err := tx.Announce(changedRouter, f.RouterID); err != nil {
			return err
		}
	}
	f.PortID, f.FixedAddress, f.RouterID, f.Status = p.ID, ip.Address, router, StatusDown
	return tx.Announce(changedRouter, router)
}

// innerAddress is the port's IPv4 address that is meant.
func innerAddress(p *Port, fixed netip.Addr) (FixedIP, error) {
	var v4 []FixedIP
	for _, ip := range p.FixedIPs {
		if ip.Address == fixed {
			return ip, nil
		}
		if ip.Address.Is4() {
			v4 = append(v4, ip)
		}
	}
	switch {
	case fixed.IsValid():
		return FixedIP{}, badRequest("floatingip", "Port %s does not have fixed ip %s", p.ID, fixed)
	case len(v4) == 0:
		return FixedIP{}, badRequest("floatingip", "Cannot add floating IP to port %s that has no fixed IPv4 addresses", p.ID)
	case len(v4) > 1:
		return FixedIP{}, badRequest("floatingip", "Port %s has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when assigning a floating IP", p.ID)
	}
	return v4[0], nil
}

// routerBetween finds a router with a leg in the subnet and its gateway in the external network.
func (s *Service) routerBetween(tx *record.Tx, subnetID, externalID string) (string, error) {
	legs, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("device_owner", OwnerRouterInterface), record.Contains("fixed_ips", ",subnet="+subnetID+",")}})
	if err != nil {
		return "", err
	}
	for i := range legs {
		r, err := s.routers.Get(tx, legs[i].DeviceID)
		if err != nil {
			return "", err
		}
		if r.gatewayNetwork() == externalID {
			return r.ID, nil
		}
	}
	return "", nil
}

// disassociate takes the address off its port.
func (s *Service) disassociate(tx *record.Tx, f *FloatingIP) error {
	if f.RouterID != "" {
		if err := tx.Announce(changedRouter, f.RouterID); err != nil {
			return err
		}
	}
	f.PortID, f.FixedAddress, f.RouterID, f.Status = "", netip.Addr{}, "", StatusDown
	f.touch(s.now())
	return s.floating.Update(tx, f)
}

// UpdateFloatingIP gives the address to a port, or takes it away.
func (s *Service) UpdateFloatingIP(ctx context.Context, scope Scope, id string, spec FloatingIPSpec) (*FloatingIP, error) {
	var changed *FloatingIP
	err := s.update(ctx, func(tx *record.Tx) error {
		f, err := s.visibleFloatingIP(tx, scope, id)
		if err != nil {
			return err
		}
		f.update(s.now(), nil, spec.Description)
		changed = f
		switch {
		case given(spec.PortID):
			if err := s.associate(tx, scope, f, *spec.PortID, spec.FixedAddress); err != nil {
				return err
			}
		case spec.PortID != nil:
			return s.disassociate(tx, f)
		case spec.FixedAddress.IsValid():
			return badRequest("floatingip", "fixed_ip_address cannot be specified without a port_id")
		}
		return s.floating.Update(tx, f)
	})
	return changed, err
}

// DeleteFloatingIP gives the address back.
func (s *Service) DeleteFloatingIP(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		f, err := s.visibleFloatingIP(tx, scope, id)
		if err != nil {
			return err
		}
		return s.dropFloatingIP(tx, f)
	})
}

func (s *Service) dropFloatingIP(tx *record.Tx, f *FloatingIP) error {
	if f.RouterID != "" {
		if err := tx.Announce(changedRouter, f.RouterID); err != nil {
			return err
		}
	}
	p, err := s.ports.Get(tx, f.ExternalPortID)
	if err != nil {
		return err
	}
	if err := s.floating.Delete(tx, f.ID); err != nil {
		return err
	}
	return s.dropPort(tx, p)
}

// dropUnusedFloatingIPs gives back an external network's addresses that no port has.
func (s *Service) dropUnusedFloatingIPs(tx *record.Tx, networkID string) error {
	unused, err := s.floating.List(tx, record.Query{Where: []record.Condition{record.Eq("floating_network_id", networkID), record.Eq("port_id", "")}})
	for i := range unused {
		if err := s.dropFloatingIP(tx, &unused[i]); err != nil {
			return err
		}
	}
	return err
}

// FloatingIP returns a floating IP that the scope can see.
func (s *Service) FloatingIP(ctx context.Context, scope Scope, id string) (*FloatingIP, error) {
	return s.visibleFloatingIP(s.store.Read(ctx), scope, id)
}

// FloatingIPs lists the scope's floating IPs.
func (s *Service) FloatingIPs(ctx context.Context, scope Scope, q Query) ([]FloatingIP, error) {
	return list(ctx, s, s.floating, floatingAttributes, q, ownedBy(scope)...)
}

func (s *Service) visibleFloatingIP(tx *record.Tx, scope Scope, id string) (*FloatingIP, error) {
	f, err := s.floating.Get(tx, id)
	if err == nil && !scope.owns(&f.Meta) {
		err = fmt.Errorf("floating IP %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, notFound(err, "FloatingIPNotFound", "Floating IP %s", id)
	}
	return f, nil
}
