package network

import (
	"context"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// NetworkSpec is what to create or change; nil is the default, or unchanged.
type NetworkSpec struct {
	// ProjectID is the owner's; empty is the scope's. It cannot be changed.
	ProjectID           string
	Name, Description   *string
	AdminStateUp        *bool
	Shared              *bool
	External            *bool
	Default             *bool
	PortSecurityEnabled *bool
	MTU                 *int
	// Type, Physical and Segment are for admins, at creation only.
	Type, Physical *string
	Segment        *uint32
	ZoneHints      *[]string
	DNSDomain      *string
}

func (n *NetworkSpec) forAdmins() string {
	switch {
	case n.Shared != nil && *n.Shared:
		return "shared"
	case n.External != nil && *n.External:
		return "router:external"
	case n.Default != nil && *n.Default:
		return "is_default"
	case n.Type != nil:
		return "provider:network_type"
	case n.Physical != nil:
		return "provider:physical_network"
	case n.Segment != nil:
		return "provider:segmentation_id"
	}
	return ""
}

// CreateNetwork makes a network. Its segment is chosen unless an admin does.
func (s *Service) CreateNetwork(ctx context.Context, scope Scope, spec NetworkSpec) (*Network, error) {
	project, err := scope.owner(spec.ProjectID, "create_network")
	if err != nil {
		return nil, err
	}
	if a := spec.forAdmins(); a != "" && !scope.Admin {
		return nil, forbidden("create_network:" + a)
	}
	var made *Network
	err = s.update(ctx, func(tx *record.Tx) error {
		if err := s.charge(tx, project, "network", 1); err != nil {
			return err
		}
		n := &Network{Meta: s.newMeta(project, spec.Name, spec.Description), AdminStateUp: true, PortSecurityEnabled: true, Status: StatusActive, ZoneHints: []string{}}
		set(&n.ZoneHints, spec.ZoneHints)
		if err := s.provide(tx, n, &spec); err != nil {
			return err
		}
		if err := s.changeNetwork(n, &spec); err != nil {
			return err
		}
		if err := s.ensureDefaultGroup(tx, project); err != nil {
			return err
		}
		made = n
		return s.networks.Insert(tx, n)
	})
	return made, err
}

// provide settles the network's type and segment.
func (s *Service) provide(tx *record.Tx, n *Network, spec *NetworkSpec) error {
	n.Type = s.options.TunnelType
	set(&n.Type, spec.Type)
	set(&n.Physical, spec.Physical)
	n.MTU = s.options.MTU
	switch n.Type {
	case "flat":
		return s.provideFlat(tx, n, spec)
	case s.options.TunnelType:
	default:
		return invalid("network_type value '%s' not supported", n.Type)
	}
	if n.Physical != "" {
		return invalid("provider:physical_network specified for %s network", n.Type)
	}
	if spec.Segment == nil {
		segment, err := s.freeSegment(tx, n.Type)
		n.Segment = segment
		return err
	}
	n.Segment = *spec.Segment
	if n.Segment == 0 || n.Segment > 1<<24-1 {
		return invalid("segmentation_id %d is not between 1 and %d", n.Segment, 1<<24-1)
	}
	holder, err := s.store.Holder(tx, "segment/"+n.Type, segmentText(n.Segment))
	if err == nil && holder != "" {
		err = refuse(ErrConflict, "TunnelIdInUse", "Unable to create the network. The tunnel ID %d is in use.", n.Segment)
	}
	return err
}

func (s *Service) provideFlat(tx *record.Tx, n *Network, spec *NetworkSpec) error {
	n.MTU = s.options.PhysicalMTU
	switch {
	case n.Physical == "":
		return invalid("physical_network required for flat provider network")
	case spec.Segment != nil:
		return invalid("segmentation_id prohibited for flat provider network")
	case s.options.PhysicalNetworks != nil && !slices.Contains(s.options.PhysicalNetworks, n.Physical):
		return invalid("physical_network '%s' unknown for flat provider network", n.Physical)
	}
	holder, err := s.store.Holder(tx, "physical", n.Physical)
	if err == nil && holder != "" {
		err = refuse(ErrConflict, "FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use.", n.Physical)
	}
	return err
}

func (s *Service) freeSegment(tx *record.Tx, networkType string) (uint32, error) {
	next := s.options.FirstSegment
	for {
		taken, err := s.store.ClaimedFrom(tx, "segment/"+networkType, segmentText(next), searchBatch)
		if err != nil {
			return 0, err
		}
		for _, t := range taken {
			if t != segmentText(next) {
				break
			}
			next++
		}
		if next > s.options.LastSegment {
			return 0, refuse(ErrUnavailable, "NoNetworkAvailable", "Unable to create the network. No tenant network is available for allocation.")
		}
		if len(taken) < searchBatch || taken[len(taken)-1] >= segmentText(next) {
			return next, nil
		}
	}
}

// changeNetwork applies what a spec may change at any time.
func (s *Service) changeNetwork(n *Network, spec *NetworkSpec) error {
	set(&n.AdminStateUp, spec.AdminStateUp)
	set(&n.Shared, spec.Shared)
	set(&n.External, spec.External)
	set(&n.Default, spec.Default)
	set(&n.PortSecurityEnabled, spec.PortSecurityEnabled)
	set(&n.DNSDomain, spec.DNSDomain)
	if spec.MTU != nil && *spec.MTU != 0 {
		most := s.options.MTU
		if n.Physical != "" {
			most = s.options.PhysicalMTU
		}
		if *spec.MTU < 68 || *spec.MTU > most {
			return invalid("Requested MTU is out of bounds, it must be between 68 and %d", most)
		}
		n.MTU = *spec.MTU
	}
	return nil
}

// UpdateNetwork changes a network of the scope's project.
func (s *Service) UpdateNetwork(ctx context.Context, scope Scope, id string, spec NetworkSpec) (*Network, error) {
	var changed *Network
	err := s.update(ctx, func(tx *record.Tx) error {
		n, err := s.ownNetwork(tx, scope, id, "update_network")
		if err != nil {
			return err
		}
		if a := spec.forAdmins(); a != "" && !scope.Admin {
			return forbidden("update_network:" + a)
		}
		if spec.Type != nil || spec.Physical != nil || spec.Segment != nil {
			return invalid("Plugin does not support updating provider attributes")
		}
		if err := s.mayUnshare(tx, n, &spec); err != nil {
			return err
		}
		before := *n
		n.update(s.now(), spec.Name, spec.Description)
		if err := s.changeNetwork(n, &spec); err != nil {
			return err
		}
		changed = n
		if n.MTU != before.MTU || n.AdminStateUp != before.AdminStateUp {
			if err := s.announcePorts(tx, n.ID); err != nil {
				return err
			}
		}
		return s.networks.Update(tx, n)
	})
	return changed, err
}

// mayUnshare refuses to take a network away from those who use it.
func (s *Service) mayUnshare(tx *record.Tx, n *Network, spec *NetworkSpec) error {
	if n.External && spec.External != nil && !*spec.External {
		used, err := s.ports.Count(tx, record.Eq("network_id", n.ID), record.In("device_owner", OwnerRouterGateway, OwnerFloatingIP))
		if err != nil {
			return err
		}
		if used > 0 {
			return refuse(ErrInUse, "ExternalNetworkInUse", "External network %s cannot be updated to be made non-external, since it has existing gateway ports.", n.ID)
		}
	}
	if n.Shared && spec.Shared != nil && !*spec.Shared {
		used, err := s.ports.Count(tx, record.Eq("network_id", n.ID), record.Ne("project_id", n.ProjectID), record.Ne("project_id", ""))
		if err != nil {
			return err
		}
		if used > 0 {
			return refuse(ErrInUse, "InvalidSharedSetting", "Unable to reconfigure sharing settings for network %s. Multiple tenants are using it.", n.ID)
		}
	}
	return nil
}

// announcePorts makes everything that stands in a network look again.
func (s *Service) announcePorts(tx *record.Tx, networkID string) error {
	if err := tx.Announce(changedDHCP, networkID); err != nil {
		return err
	}
	ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", networkID), record.Ne("host_id", "")}})
	if err != nil {
		return err
	}
	for i := range ports {
		kind, id := s.ports.Kind(), ports[i].ID
		if ports[i].ofRouter() {
			kind, id = changedRouter, ports[i].DeviceID
		}
		if err := tx.Announce(kind, id); err != nil {
			return err
		}
	}
	return nil
}

// DeleteNetwork removes a network with its subnets, and floating IPs of it that no port has. Other ports than DHCP
// servers' are in its way.
func (s *Service) DeleteNetwork(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		n, err := s.ownNetwork(tx, scope, id, "delete_network")
		if err != nil {
			return err
		}
		if err := s.dropUnusedFloatingIPs(tx, id); err != nil {
			return err
		}
		ports, err := s.ports.List(tx, record.Query{Where: []record.Condition{record.Eq("network_id", id)}})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(ports, func(p Port) bool { return p.DeviceOwner != OwnerDHCP }) {
			return refuse(ErrInUse, "NetworkInUse", "Unable to complete operation on network %s. There are one or more ports still in use on the network.", id)
		}
		for i := range ports {
			if err := s.dropPort(tx, &ports[i]); err != nil {
				return err
			}
		}
		return s.dropNetwork(tx, n)
	})
}

func (s *Service) dropNetwork(tx *record.Tx, n *Network) error {
	subnets, err := s.subnetsOf(tx, n.ID)
	if err != nil {
		return err
	}
	for i := range subnets {
		if err := s.subnets.Delete(tx, subnets[i].ID); err != nil {
			return err
		}
	}
	if err := s.unbindAll(tx, n.ID); err != nil {
		return err
	}
	if err := s.dropPolicies(tx, n.ID); err != nil {
		return err
	}
	if err := tx.Announce(changedDHCP, n.ID); err != nil {
		return err
	}
	return s.networks.Delete(tx, n.ID)
}

// Network returns a network that the scope can see.
func (s *Service) Network(ctx context.Context, scope Scope, id string) (*Network, error) {
	return s.visibleNetwork(s.store.Read(ctx), scope, id)
}

// Networks lists networks: the scope's own, shared and external ones.
func (s *Service) Networks(ctx context.Context, scope Scope, q Query) ([]Network, error) {
	return list(ctx, s, s.networks, networkAttributes, q, networkVisibility(scope)...)
}

func networkVisibility(scope Scope) []record.Condition {
	if scope.Admin {
		return nil
	}
	return []record.Condition{record.Any(record.Eq("project_id", scope.ProjectID), record.Eq("shared", true), record.Eq("external", true),
		record.Contains("shared_with", ","+scope.ProjectID+","))}
}

func (n *Network) visibleTo(scope Scope) bool { return n.usableBy(scope) || n.External }

// usableBy says whether the scope may have ports and subnets' details.
func (n *Network) usableBy(scope Scope) bool {
	return scope.owns(&n.Meta) || n.Shared || slices.Contains(n.SharedWith, scope.ProjectID)
}

func (s *Service) visibleNetwork(tx *record.Tx, scope Scope, id string) (*Network, error) {
	n, err := s.networks.Get(tx, id)
	if err == nil && !n.visibleTo(scope) {
		err = fmt.Errorf("network %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, notFound(err, "NetworkNotFound", "Network %s", id)
	}
	return n, nil
}

func (s *Service) ownNetwork(tx *record.Tx, scope Scope, id, rule string) (*Network, error) {
	n, err := s.visibleNetwork(tx, scope, id)
	if err == nil && !scope.owns(&n.Meta) {
		err = forbidden(rule)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}
