package network

import (
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// RouterInterface is a router's leg as the API names it.
type RouterInterface struct {
	RouterID, ProjectID, NetworkID, PortID, SubnetID string
	SubnetIDs                                        []string
	Tags                                             []string
}

// AddRouterInterface gives the router a leg in a subnet, with the subnet's gateway address, or makes a port its leg.
// Exactly one of subnetID and portID is given.
func (s *Service) AddRouterInterface(ctx context.Context, scope Scope, routerID, subnetID, portID string) (*RouterInterface, error) {
	if (subnetID == "") == (portID == "") {
		return nil, badRequest("router", "Either subnet_id or port_id must be specified")
	}
	var leg *RouterInterface
	err := s.update(ctx, func(tx *record.Tx) error {
		r, err := s.visibleRouter(tx, scope, routerID)
		if err != nil {
			return err
		}
		host, err := s.routerHost(tx, r.ID)
		if err != nil {
			return err
		}
		var p *Port
		if subnetID != "" {
			p, err = s.addSubnet(tx, scope, r, host, subnetID)
		} else {
			p, err = s.addPort(tx, scope, r, host, portID)
		}
		if err != nil {
			return err
		}
		leg = r.leg(p, subnetID)
		return nil
	})
	return leg, err
}

func (r *Router) leg(p *Port, subnetID string) *RouterInterface {
	leg := &RouterInterface{RouterID: r.ID, ProjectID: r.ProjectID, NetworkID: p.NetworkID, PortID: p.ID, SubnetID: subnetID, Tags: r.Tags}
	for _, ip := range p.FixedIPs {
		leg.SubnetIDs = append(leg.SubnetIDs, ip.SubnetID)
	}
	if subnetID == "" && len(leg.SubnetIDs) > 0 {
		leg.SubnetID = leg.SubnetIDs[0]
	}
	return leg
}

func (s *Service) addSubnet(tx *record.Tx, scope Scope, r *Router, host, subnetID string) (*Port, error) {
	n, network, err := s.visibleSubnet(tx, scope, subnetID)
	if err != nil {
		return nil, err
	}
	if !n.Gateway.IsValid() {
		return nil, badRequest("router", "Subnet for router interface must have a gateway IP")
	}
	if err := s.mayAttach(tx, r, network, n); err != nil {
		return nil, err
	}
	if err := s.charge(tx, r.ProjectID, "port", 1); err != nil {
		return nil, err
	}
	return s.newPort(tx, network, r.ProjectID, PortSpec{DeviceID: &r.ID, DeviceOwner: new(OwnerRouterInterface), HostID: &host,
		FixedIPs: &[]FixedIPSpec{{SubnetID: n.ID, Address: n.Gateway}}})
}

func (s *Service) addPort(tx *record.Tx, scope Scope, r *Router, host, portID string) (*Port, error) {
	p, network, err := s.visiblePort(tx, scope, portID)
	if err != nil {
		return nil, err
	}
	if p.DeviceID != "" {
		return nil, refuse(ErrInUse, "PortInUse", "Unable to complete operation on port %s for network %s. Port already has an attached device %s.", p.ID, p.NetworkID, p.DeviceID)
	}
	if len(p.FixedIPs) == 0 {
		return nil, badRequest("router", "Router port must have at least one fixed IP")
	}
	for _, ip := range p.FixedIPs {
		n, err := s.subnets.Get(tx, ip.SubnetID)
		if err != nil {
			return nil, err
		}
		if err := s.mayAttach(tx, r, network, n); err != nil {
			return nil, err
		}
	}
	owner, off := OwnerRouterInterface, false
	return p, s.changePort(tx, p, PortSpec{DeviceID: &r.ID, DeviceOwner: &owner, HostID: &host, PortSecurityEnabled: &off, SecurityGroups: &[]string{}, AllowedAddressPairs: &[]AddressPair{}})
}

func (s *Service) mayAttach(tx *record.Tx, r *Router, network *Network, n *Subnet) error {
	legs, err := s.routerSubnets(tx, r.ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(legs, func(l Subnet) bool { return l.ID == n.ID }) {
		return badRequest("router", "Router already has a port on subnet %s", n.ID)
	}
	if r.Gateway != nil && r.Gateway.NetworkID == network.ID {
		return badRequest("router", "Network %s is the router's external network", network.ID)
	}
	if r.Gateway != nil {
		outer, err := s.subnetsOf(tx, r.Gateway.NetworkID)
		if err != nil {
			return err
		}
		legs = append(legs, outer...)
	}
	return overlapsLegs(n, legs)
}

// RemoveRouterInterface takes away the router's leg in the subnet, or the one that is the port, or both as one.
func (s *Service) RemoveRouterInterface(ctx context.Context, scope Scope, routerID, subnetID, portID string) (*RouterInterface, error) {
	if subnetID == "" && portID == "" {
		return nil, badRequest("router", "Either subnet_id or port_id must be specified")
	}
	var leg *RouterInterface
	err := s.update(ctx, func(tx *record.Tx) error {
		r, err := s.visibleRouter(tx, scope, routerID)
		if err != nil {
			return err
		}
		p, err := s.findLeg(tx, scope, r, subnetID, portID)
		if err != nil {
			return err
		}
		if err := s.mayDetach(tx, r, p); err != nil {
			return err
		}
		leg = r.leg(p, subnetID)
		return s.dropPort(tx, p)
	})
	return leg, err
}

func (s *Service) findLeg(tx *record.Tx, scope Scope, r *Router, subnetID, portID string) (*Port, error) {
	if portID != "" {
		p, err := s.ports.Get(tx, portID)
		if err != nil || p.DeviceID != r.ID || p.DeviceOwner != OwnerRouterInterface {
			return nil, refuse(ErrNotFound, "RouterInterfaceNotFound", "Router %s does not have an interface with id %s", r.ID, portID)
		}
		if subnetID != "" && !slices.ContainsFunc(p.FixedIPs, func(ip FixedIP) bool { return ip.SubnetID == subnetID }) {
			return nil, refuse(ErrInvalid, "SubnetMismatchForPort", "Subnet on port %s does not match the requested subnet %s.", portID, subnetID)
		}
		return p, nil
	}
	if _, _, err := s.visibleSubnet(tx, scope, subnetID); err != nil {
		return nil, err
	}
	id, err := s.store.Holder(tx, "interface/"+r.ID, subnetID)
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, refuse(ErrNotFound, "RouterInterfaceNotFoundForSubnet", "Router %s has no interface on subnet %s", r.ID, subnetID)
	}
	return s.ports.Get(tx, id)
}

// mayDetach refuses to cut off floating IPs and routes.
func (s *Service) mayDetach(tx *record.Tx, r *Router, p *Port) error {
	floating, err := s.floating.List(tx, record.Query{Where: []record.Condition{record.Eq("router_id", r.ID)}})
	if err != nil {
		return err
	}
	for _, ip := range p.FixedIPs {
		n, err := s.subnets.Get(tx, ip.SubnetID)
		if err != nil {
			return err
		}
		for i := range floating {
			if n.CIDR.Contains(floating[i].FixedAddress) {
				return refuse(ErrInUse, "RouterInterfaceInUseByFloatingIP", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more floating IPs.", n.ID, r.ID)
			}
		}
		for _, route := range r.Routes {
			if n.CIDR.Contains(route.NextHop) {
				return refuse(ErrInUse, "RouterInterfaceInUseByRoute", "Router interface for subnet %s on router %s cannot be deleted, as it is required by one or more routes.", n.ID, r.ID)
			}
		}
	}
	return nil
}
