package compute

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/fault"
)

func (s *Service) planGroups(ctx context.Context, scope Scope, names []string) ([]string, error) {
	if names == nil {
		return nil, nil
	}
	groups, err := s.networks.SecurityGroups(ctx, scope, distinct(names))
	if err != nil {
		return nil, asInvalid(err)
	}
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	return distinct(ids), nil
}

// planNetworks checks the cards that were asked for; for none it finds the project's only network.
func (s *Service) planNetworks(ctx context.Context, scope Scope, spec ServerSpec) ([]NetworkRequest, error) {
	if spec.Networks == nil {
		return s.onlyNetwork(ctx, scope, spec.NeedNetwork)
	}
	for i := range spec.Networks {
		r := &spec.Networks[i]
		if r.PortID != "" {
			if err := s.planPort(ctx, scope, spec, r); err != nil {
				return nil, err
			}
			continue
		}
		n, err := s.networks.Network(ctx, scope, r.NetworkID)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, fault.Wrap(ErrInvalid, "Network %s could not be found.", r.NetworkID)
		case err != nil:
			return nil, err
		case n.External && !scope.Admin:
			return nil, fault.Wrap(ErrForbidden, "It is not allowed to create an interface on external network %s", n.ID)
		case n.Subnets == 0:
			return nil, fault.Wrap(ErrInvalid, "Network %s requires a subnet in order to boot instances on.", n.ID)
		case r.FixedIP.IsValid() && spec.MaxCount > 1:
			return nil, fault.Wrap(ErrInvalid, "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified.")
		}
	}
	return spec.Networks, nil
}

func (s *Service) onlyNetwork(ctx context.Context, scope Scope, needed bool) ([]NetworkRequest, error) {
	available, err := s.networks.Networks(ctx, scope)
	if err != nil {
		return nil, err
	}
	var usable []Network
	for _, n := range available {
		if !n.External && n.Subnets > 0 {
			usable = append(usable, n)
		}
	}
	switch {
	case len(usable) == 0 && needed:
		return nil, fault.Wrap(ErrInvalid, "Unable to automatically allocate a network for project %s", scope.ProjectID)
	case len(usable) == 0:
		return nil, nil
	case len(usable) == 1:
		return []NetworkRequest{{NetworkID: usable[0].ID}}, nil
	}
	return nil, fault.Wrap(ErrConflict, "Multiple possible networks found, use a Network ID to be more specific.")
}

func (s *Service) planPort(ctx context.Context, scope Scope, spec ServerSpec, r *NetworkRequest) error {
	port, err := s.networks.Port(ctx, scope, r.PortID)
	switch {
	case errors.Is(err, ErrNotFound):
		return fault.Wrap(ErrInvalid, "Port id %s could not be found.", r.PortID)
	case err != nil:
		return err
	case spec.MaxCount > 1:
		return fault.Wrap(ErrInvalid, "Failed to launch instances: Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one with different ports.")
	case port.ServerID != "":
		return fault.Wrap(ErrConflict, "Port %s is still in use.", r.PortID)
	case len(port.FixedIPs) == 0:
		return fault.Wrap(ErrInvalid, "Port %s requires a FixedIP in order to be used.", r.PortID)
	}
	r.NetworkID = port.NetworkID
	return nil
}

// network gives a new server its ports. On failure dropPorts finds those made so far.
func (s *Service) network(ctx context.Context, v *Server, p *plan) error {
	binding := Binding{ServerID: v.ID, Host: v.Host, Zone: v.Zone}
	if binding.Zone == "" {
		binding.Zone = DefaultZone
	}
	var ports []AttachedPort
	for _, r := range p.networks {
		if r.PortID != "" {
			if err := s.networks.BindPort(ctx, r.PortID, binding); err != nil {
				return err
			}
			ports = append(ports, AttachedPort{ID: r.PortID, Tag: r.Tag})
			continue
		}
		id, err := s.networks.CreatePort(ctx, PortSpec{
			ProjectID: v.ProjectID, NetworkID: r.NetworkID, Name: v.Hostname, FixedIP: r.FixedIP,
			SecurityGroups: p.groups, Binding: binding,
		})
		if err != nil {
			return portFault(err, r)
		}
		ports = append(ports, AttachedPort{ID: id, Owned: true, Tag: r.Tag})
	}
	v.Ports = ports
	return nil
}

func portFault(err error, r NetworkRequest) error {
	switch {
	case errors.Is(err, ErrExhausted):
		return fault.Wrap(ErrInvalid, "No fixed IP addresses available for network: %s", r.NetworkID)
	case errors.Is(err, ErrConflict) && r.FixedIP.IsValid():
		return fault.Wrap(ErrInvalid, "Fixed IP address %s is already in use.", r.FixedIP)
	case errors.Is(err, ErrQuota):
		return fault.Wrap(ErrQuota, "Maximum number of ports exceeded")
	}
	return asInvalid(err)
}

// dropPorts deletes the ports that were made for the server and gives the others back. A creation that was cut
// short has not written down what it made: then every port that the user did not name is one of those.
func (s *Service) dropPorts(ctx context.Context, v *Server) error {
	owned := map[string]bool{}
	for _, p := range v.Ports {
		owned[p.ID] = p.Owned
	}
	ports, err := s.networks.ServerPorts(ctx, []string{v.ID})
	if err != nil {
		return err
	}
	var failures []error
	for _, p := range ports[v.ID] {
		mine, listed := owned[p.ID]
		if mine || !listed && !v.Networked {
			failures = append(failures, s.networks.DeletePort(ctx, p.ID))
			continue
		}
		if err := s.networks.BindPort(ctx, p.ID, Binding{}); !errors.Is(err, ErrNotFound) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// Ports returns the ports of the given servers, by server, in the order of each server's cards.
func (s *Service) Ports(ctx context.Context, servers []Server) (map[string][]Port, error) {
	ids := make([]string, len(servers))
	for i := range servers {
		ids[i] = servers[i].ID
	}
	if len(ids) == 0 {
		return nil, nil
	}
	return s.networks.ServerPorts(ctx, ids)
}

// ChangeSecurityGroup adds a group, by name or identifier, to all of a server's ports, or takes it away.
func (s *Service) ChangeSecurityGroup(ctx context.Context, scope Scope, id, group string, add bool) error {
	v, err := s.Server(ctx, scope, id)
	if err != nil {
		return err
	}
	if err := v.mayChange(scope); err != nil {
		return err
	}
	found, err := s.networks.SecurityGroups(ctx, scope, []string{group})
	if err != nil {
		return err
	}
	ports, err := s.networks.ServerPorts(ctx, []string{id})
	if err != nil {
		return err
	}
	changed := false
	for _, p := range ports[id] {
		var ids []string
		has := false
		for _, g := range p.SecurityGroups {
			has = has || g.ID == found[0].ID
			if g.ID != found[0].ID {
				ids = append(ids, g.ID)
			}
		}
		if has == add {
			continue
		}
		if add {
			ids = append(ids, found[0].ID)
		}
		if err := s.networks.SetPortSecurityGroups(ctx, p.ID, ids); err != nil {
			return err
		}
		changed = true
	}
	if !changed && !add {
		return fault.Wrap(ErrNotFound, "Security group %s not associated with the instance %s", group, id)
	}
	return nil
}
