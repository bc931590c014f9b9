package network

import (
	"context"
	"errors"
	"net/netip"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

type routerTarget struct{ *Agent }

// List names the routers that this host's agent hosts, and those that are on it.
func (a routerTarget) List(ctx context.Context) ([]string, error) {
	ids, err := a.drivers.Routers.List(ctx)
	if err != nil {
		return nil, err
	}
	hosted, err := a.service.hostedOn(ctx, a.host, AgentL3)
	return append(ids, hosted...), err
}

// Reconcile runs the router, or removes it when it is another host's or gone.
func (a routerTarget) Reconcile(ctx context.Context, id string) error {
	want, err := a.service.routerFor(ctx, a.host, id)
	if err != nil {
		return err
	}
	name, user := driver.RouterNamespace(id), "router "+id
	if want == nil {
		if err := a.drivers.Routers.Remove(ctx, id); err != nil {
			return err
		}
		a.leave(user)
		return a.gone(ctx, name)
	}
	want.MetadataPort = a.options.MetadataPort
	legs := want.Interfaces
	if want.Gateway != nil {
		legs = append(legs[:len(legs):len(legs)], want.Gateway.RouterInterface)
	}
	served := ServedNamespace{Name: name, Kind: NamespaceRouter, ID: id, Networks: map[netip.Prefix]string{}, Metadata: want.MetadataPort != 0}
	var keep []string
	for _, leg := range legs {
		if err := a.enter(ctx, leg.NetworkID, user); err != nil {
			return err
		}
		keep = append(keep, leg.NetworkID)
	}
	for _, leg := range want.Interfaces {
		for _, address := range leg.Addresses {
			served.Networks[address] = leg.NetworkID
		}
	}
	err = a.drivers.Routers.Apply(ctx, *want)
	if reportErr := a.service.reportRouter(ctx, want, a.host, err == nil); err != nil || reportErr != nil {
		return errors.Join(err, reportErr)
	}
	a.leave(user, keep...)
	return a.serving(ctx, served)
}

func (a *Agent) serving(ctx context.Context, ns ServedNamespace) error {
	if a.options.Namespaces == nil {
		return nil
	}
	return a.options.Namespaces.Serving(ctx, ns)
}

func (a *Agent) gone(ctx context.Context, name string) error {
	if a.options.Namespaces == nil {
		return nil
	}
	return a.options.Namespaces.Gone(ctx, name)
}

// hostedOn names what the host's agent of the type hosts.
func (s *Service) hostedOn(ctx context.Context, host, agentType string) ([]string, error) {
	tx := s.store.Read(ctx)
	id, err := s.store.Holder(tx, "agent/"+agentType, host)
	if err != nil || id == "" {
		return nil, err
	}
	bound, err := s.bindings.List(tx, record.Query{Where: []record.Condition{record.Eq("agent_id", id)}})
	return idsOf(bound, func(b *binding) string { return b.ResourceID }), err
}

// routerFor is the router as the host needs to know it, or nil if it is not to run there.
func (s *Service) routerFor(ctx context.Context, host, id string) (*driver.Router, error) {
	tx := s.store.Read(ctx)
	at, err := s.routerHost(tx, id)
	if errors.Is(err, ErrNotFound) || err == nil && at != host {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := s.routers.Get(tx, id)
	if errors.Is(err, ErrNotFound) || err == nil && !r.AdminStateUp {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	want := &driver.Router{ID: id}
	for _, route := range r.Routes {
		want.Routes = append(want.Routes, driver.Route(route))
	}
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("device_id", id), record.In("device_owner", OwnerRouterInterface, OwnerRouterGateway)}, Order: []record.Order{{Column: "created_at"}}})
	if err != nil {
		return nil, err
	}
	for i := range ports {
		leg, subnets, err := s.routerLeg(tx, &ports[i])
		if err != nil {
			return nil, err
		}
		if ports[i].DeviceOwner == OwnerRouterInterface {
			want.Interfaces = append(want.Interfaces, *leg)
		} else if r.Gateway != nil {
			want.Gateway = &driver.Gateway{RouterInterface: *leg, SNAT: r.Gateway.SNAT, NextHops: nextHops(subnets)}
		}
	}
	want.FloatingIPs, err = s.floatingFor(tx, id)
	return want, err
}

func (s *Service) routerLeg(tx *record.Tx, p *Port) (*driver.RouterInterface, []Subnet, error) {
	n, err := s.networks.Get(tx, p.NetworkID)
	if err != nil {
		return nil, nil, err
	}
	leg := &driver.RouterInterface{PortID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, MTU: n.MTU}
	var subnets []Subnet
	for _, ip := range p.FixedIPs {
		subnet, err := s.subnets.Get(tx, ip.SubnetID)
		if err != nil {
			return nil, nil, err
		}
		subnets = append(subnets, *subnet)
		leg.Addresses = append(leg.Addresses, netip.PrefixFrom(ip.Address, subnet.CIDR.Bits()))
	}
	return leg, subnets, nil
}

// nextHops are the first gateways of each family.
func nextHops(subnets []Subnet) []netip.Addr {
	var hops []netip.Addr
	seen := map[int]bool{}
	for i := range subnets {
		n := &subnets[i]
		if n.Gateway.IsValid() && !seen[n.Version()] {
			seen[n.Version()] = true
			hops = append(hops, n.Gateway)
		}
	}
	return hops
}

func (s *Service) floatingFor(tx *record.Tx, routerID string) ([]driver.FloatingIP, error) {
	found, err := s.floating.List(tx, record.Query{Where: []record.Condition{record.Eq("router_id", routerID)}})
	var list []driver.FloatingIP
	for i := range found {
		list = append(list, driver.FloatingIP{ID: found[i].ID, External: found[i].Address, Internal: found[i].FixedAddress})
	}
	return list, err
}

// reportRouter records what an agent observed of a router, its legs and floating IPs.
func (s *Service) reportRouter(ctx context.Context, r *driver.Router, host string, up bool) error {
	status, routerStatus := StatusActive, StatusActive
	if !up {
		status, routerStatus = StatusDown, StatusError
	}
	if err := s.reportRouterStatus(ctx, r.ID, routerStatus); err != nil {
		return err
	}
	legs := r.Interfaces
	if r.Gateway != nil {
		legs = append(legs[:len(legs):len(legs)], r.Gateway.RouterInterface)
	}
	for _, leg := range legs {
		if err := s.reportPort(ctx, leg.PortID, host, status); err != nil {
			return err
		}
	}
	for _, f := range r.FloatingIPs {
		if err := s.reportFloating(ctx, f.ID, r.ID, status); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) reportRouterStatus(ctx context.Context, id, status string) error {
	r, err := s.routers.Get(s.store.Read(ctx), id)
	if err != nil || r.Status == status {
		return ignoreGone(err)
	}
	return ignoreGone(s.update(ctx, func(tx *record.Tx) error {
		_, err := s.routers.Modify(tx, id, func(r *Router) error { r.Status = status; return nil })
		return err
	}))
}

func (s *Service) reportFloating(ctx context.Context, id, routerID, status string) error {
	f, err := s.floating.Get(s.store.Read(ctx), id)
	if err != nil || f.Status == status {
		return ignoreGone(err)
	}
	return ignoreGone(s.update(ctx, func(tx *record.Tx) error {
		f, err := s.floating.Get(tx, id)
		if err != nil || f.RouterID != routerID {
			return err
		}
		f.Status = status
		return s.floating.Update(tx, f)
	}))
}
