package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// RouterSpec is what to create or change; nil is the default, or unchanged.
type RouterSpec struct {
	ProjectID         string
	Name, Description *string
	AdminStateUp      *bool
	// Gateway with an empty NetworkID takes the gateway away.
	Gateway   *GatewaySpec
	Routes    *[]Route
	ZoneHints *[]string
}

// GatewaySpec asks for a way to an external network.
type GatewaySpec struct {
	NetworkID string
	// SNAT and FixedIPs are for admins; SNAT is on by default, and any free address is taken.
	SNAT     *bool
	FixedIPs *[]FixedIPSpec
}

func (r *Router) gatewayNetwork() string {
	if r.Gateway == nil {
		return ""
	}
	return r.Gateway.NetworkID
}

// CreateRouter makes a router.
func (s *Service) CreateRouter(ctx context.Context, scope Scope, spec RouterSpec) (*Router, error) {
	project, err := scope.owner(spec.ProjectID, "create_router")
	if err != nil {
		return nil, err
	}
	var made *Router
	err = s.update(ctx, func(tx *record.Tx) error {
		if err := s.charge(tx, project, "router", 1); err != nil {
			return err
		}
		r := &Router{Meta: s.newMeta(project, spec.Name, spec.Description), AdminStateUp: true, Status: StatusActive, Routes: []Route{}, ZoneHints: []string{}}
		set(&r.ZoneHints, spec.ZoneHints)
		if err := s.changeRouter(tx, scope, r, &spec); err != nil {
			return err
		}
		made = r
		if err := s.routers.Insert(tx, r); err != nil {
			return err
		}
		return s.scheduleRouter(tx, r.ID)
	})
	return made, err
}

func (s *Service) changeRouter(tx *record.Tx, scope Scope, r *Router, spec *RouterSpec) error {
	set(&r.AdminStateUp, spec.AdminStateUp)
	if spec.Gateway != nil {
		if err := s.setGateway(tx, scope, r, spec.Gateway); err != nil {
			return err
		}
	}
	if spec.Routes != nil {
		return s.setRoutes(tx, r, *spec.Routes)
	}
	return nil
}

// UpdateRouter changes a router.
func (s *Service) UpdateRouter(ctx context.Context, scope Scope, id string, spec RouterSpec) (*Router, error) {
	var changed *Router
	err := s.update(ctx, func(tx *record.Tx) error {
		r, err := s.visibleRouter(tx, scope, id)
		if err != nil {
			return err
		}
		r.update(s.now(), spec.Name, spec.Description)
		if err := s.changeRouter(tx, scope, r, &spec); err != nil {
			return err
		}
		changed = r
		if err := s.routers.Update(tx, r); err != nil {
			return err
		}
		return s.scheduleRouter(tx, r.ID)
	})
	return changed, err
}

func (s *Service) setGateway(tx *record.Tx, scope Scope, r *Router, spec *GatewaySpec) error {
	if !scope.Admin && (spec.SNAT != nil || spec.FixedIPs != nil && len(*spec.FixedIPs) > 0) {
		return forbidden("update_router:external_gateway_info")
	}
	if r.Gateway != nil && r.Gateway.NetworkID == spec.NetworkID {
		return s.changeGateway(tx, r, spec)
	}
	if err := s.dropGateway(tx, r); err != nil || spec.NetworkID == "" {
		return err
	}
	network, err := s.visibleNetwork(tx, scope, spec.NetworkID)
	if err != nil {
		return err
	}
	if !network.External {
		return badRequest("router", "Network %s is not an external network", network.ID)
	}
	host, err := s.routerHost(tx, r.ID)
	if err != nil {
		return err
	}
	p, err := s.newPort(tx, network, "", PortSpec{DeviceID: &r.ID, DeviceOwner: new(OwnerRouterGateway), FixedIPs: nonEmpty(spec.FixedIPs), HostID: &host})
	if err != nil {
		return err
	}
	if len(p.FixedIPs) == 0 {
		return badRequest("router", "No IPs assigned to the gateway port")
	}
	r.Gateway = &Gateway{NetworkID: network.ID, PortID: p.ID, FixedIPs: p.FixedIPs, SNAT: true}
	set(&r.Gateway.SNAT, spec.SNAT)
	return s.gatewayOverlaps(tx, r)
}

func nonEmpty(list *[]FixedIPSpec) *[]FixedIPSpec {
	if list == nil || len(*list) == 0 {
		return nil
	}
	return list
}

func (s *Service) changeGateway(tx *record.Tx, r *Router, spec *GatewaySpec) error {
	set(&r.Gateway.SNAT, spec.SNAT)
	if spec.FixedIPs == nil || len(*spec.FixedIPs) == 0 {
		return nil
	}
	p, err := s.ports.Get(tx, r.Gateway.PortID)
	if err != nil {
		return err
	}
	if err := s.changePort(tx, p, PortSpec{FixedIPs: spec.FixedIPs}); err != nil {
		return err
	}
	r.Gateway.FixedIPs = p.FixedIPs
	return nil
}

func (s *Service) gatewayOverlaps(tx *record.Tx, r *Router) error {
	legs, err := s.routerSubnets(tx, r.ID)
	if err != nil {
		return err
	}
	outer, err := s.subnetsOf(tx, r.Gateway.NetworkID)
	if err != nil {
		return err
	}
	for i := range outer {
		if err := overlapsLegs(&outer[i], legs); err != nil {
			return err
		}
	}
	return nil
}

func overlapsLegs(n *Subnet, legs []Subnet) error {
	for i := range legs {
		if legs[i].ID != n.ID && legs[i].CIDR.Overlaps(n.CIDR) {
			return badRequest("router", "Cidr %s of subnet %s overlaps with cidr %s of subnet %s", n.CIDR, n.ID, legs[i].CIDR, legs[i].ID)
		}
	}
	return nil
}

func (s *Service) dropGateway(tx *record.Tx, r *Router) error {
	if r.Gateway == nil {
		return nil
	}
	used, err := s.floating.Count(tx, record.Eq("router_id", r.ID), record.Eq("floating_network_id", r.Gateway.NetworkID))
	if err != nil {
		return err
	}
	if used > 0 {
		return refuse(ErrInUse, "RouterExternalGatewayInUseByFloatingIp", "Gateway cannot be updated for router %s, since a gateway to external network %s is required by one or more floating IPs.", r.ID, r.Gateway.NetworkID)
	}
	p, err := s.ports.Get(tx, r.Gateway.PortID)
	if err != nil {
		return err
	}
	r.Gateway = nil
	return s.dropPort(tx, p)
}

func (s *Service) setRoutes(tx *record.Tx, r *Router, routes []Route) error {
	if len(routes) > 30 {
		return refuse(ErrInvalid, "RoutesExhausted", "Unable to complete operation for %s. The number of routes exceeds the maximum 30.", r.ID)
	}
	legs, err := s.routerSubnets(tx, r.ID)
	if err != nil {
		return err
	}
	if r.Gateway != nil {
		outer, err := s.subnetsOf(tx, r.Gateway.NetworkID)
		if err != nil {
			return err
		}
		legs = append(legs, outer...)
	}
	seen := map[Route]bool{}
	for _, route := range routes {
		reachable := slices.ContainsFunc(legs, func(n Subnet) bool { return n.CIDR.Contains(route.NextHop) })
		switch {
		case !route.Destination.IsValid() || route.Destination != route.Destination.Masked():
			return invalid("'%s' is not a valid destination", route.Destination)
		case seen[route]:
			return invalid("Duplicate items in the list: '%s via %s'", route.Destination, route.NextHop)
		case !reachable:
			return refuse(ErrInvalid, "InvalidRoutes", "Invalid format for routes: %s via %s, the nexthop is not connected with router.", route.Destination, route.NextHop)
		}
		seen[route] = true
	}
	r.Routes = slices.Clone(routes)
	return nil
}

// DeleteRouter removes a router without interfaces, and its gateway.
func (s *Service) DeleteRouter(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		r, err := s.visibleRouter(tx, scope, id)
		if err != nil {
			return err
		}
		legs, err := s.ports.Count(tx, record.Eq("device_id", id), record.Eq("device_owner", OwnerRouterInterface))
		if err != nil {
			return err
		}
		if legs > 0 {
			return refuse(ErrInUse, "RouterInUse", "Router %s still has ports.", id)
		}
		if err := s.dropGateway(tx, r); err != nil {
			return err
		}
		if err := s.unbindAll(tx, id); err != nil {
			return err
		}
		return s.routers.Delete(tx, id)
	})
}

// Router returns a router that the scope can see.
func (s *Service) Router(ctx context.Context, scope Scope, id string) (*Router, error) {
	return s.visibleRouter(s.store.Read(ctx), scope, id)
}

// Routers lists the scope's routers.
func (s *Service) Routers(ctx context.Context, scope Scope, q Query) ([]Router, error) {
	return list(ctx, s, s.routers, routerAttributes, q, ownedBy(scope)...)
}

func ownedBy(scope Scope) []record.Condition {
	if scope.Admin {
		return nil
	}
	return []record.Condition{record.Eq("project_id", scope.ProjectID)}
}

func (s *Service) visibleRouter(tx *record.Tx, scope Scope, id string) (*Router, error) {
	r, err := s.routers.Get(tx, id)
	if err == nil && !scope.owns(&r.Meta) {
		err = fmt.Errorf("router %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, notFound(err, "RouterNotFound", "Router %s", id)
	}
	return r, nil
}

// routerSubnets are those that the router has interfaces in.
func (s *Service) routerSubnets(tx *record.Tx, routerID string) ([]Subnet, error) {
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("device_id", routerID), record.Eq("device_owner", OwnerRouterInterface)}})
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range ports {
		for _, ip := range ports[i].FixedIPs {
			ids = append(ids, ip.SubnetID)
		}
	}
	return s.subnets.List(tx, record.Query{Where: []record.Condition{record.In("id", ids...)}})
}
