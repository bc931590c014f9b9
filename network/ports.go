package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// PortSpec is what to create or change; nil is the default, or unchanged.
type PortSpec struct {
	ProjectID         string
	NetworkID         string
	Name, Description *string
	// MAC is for admins and the network's owner.
	MAC                   *string
	DeviceID, DeviceOwner *string
	AdminStateUp          *bool
	// FixedIPs are the addresses: nil takes one of each family, an empty list none.
	FixedIPs *[]FixedIPSpec
	// SecurityGroups are identifiers; nil is the project's default group.
	SecurityGroups      *[]string
	PortSecurityEnabled *bool
	AllowedAddressPairs *[]AddressPair
	// HostID, VIFType and Profile are for admins.
	HostID      *string
	VNICType    *string
	Profile     *map[string]any
	DNSName     *string
	DHCPOptions *[]DHCPOption
}

func (p *Port) ofRouter() bool {
	return p.DeviceOwner == OwnerRouterInterface || p.DeviceOwner == OwnerRouterGateway
}

// infrastructure ports belong to the cloud: nothing guards them and no group is theirs.
func infrastructure(owner string) bool { return strings.HasPrefix(owner, "network:") }

// CreatePort makes a port with addresses in its network.
func (s *Service) CreatePort(ctx context.Context, scope Scope, spec PortSpec) (*Port, error) {
	project, err := scope.owner(spec.ProjectID, "create_port")
	if err != nil {
		return nil, err
	}
	var made *Port
	err = s.update(ctx, func(tx *record.Tx) error {
		network, err := s.visibleNetwork(tx, scope, spec.NetworkID)
		if err != nil {
			return err
		}
		if err := scope.mayPort(network, &spec, "create_port"); err != nil {
			return err
		}
		if err := s.charge(tx, project, "port", 1); err != nil {
			return err
		}
		made, err = s.newPort(tx, network, project, spec)
		return err
	})
	return made, err
}

// mayPort is the policy for what a port's spec says.
func (scope Scope) mayPort(n *Network, spec *PortSpec, rule string) error {
	if scope.Admin {
		return nil
	}
	if !n.usableBy(scope) {
		return forbidden(rule)
	}
	owner := scope.owns(&n.Meta)
	switch {
	case spec.HostID != nil:
		return forbidden(rule + ":binding:host_id")
	case spec.Profile != nil:
		return forbidden(rule + ":binding:profile")
	case spec.DeviceOwner != nil && infrastructure(*spec.DeviceOwner) && !owner:
		return forbidden(rule + ":device_owner")
	case owner:
		return nil
	case spec.MAC != nil:
		return forbidden(rule + ":mac_address")
	case spec.PortSecurityEnabled != nil:
		return forbidden(rule + ":port_security_enabled")
	case spec.AllowedAddressPairs != nil && len(*spec.AllowedAddressPairs) > 0:
		return forbidden(rule + ":allowed_address_pairs")
	case spec.FixedIPs != nil && slices.ContainsFunc(*spec.FixedIPs, func(ip FixedIPSpec) bool { return ip.Address.IsValid() }):
		return forbidden(rule + ":fixed_ips:ip_address")
	}
	return nil
}

// newPort makes a port without asking who wants it.
func (s *Service) newPort(tx *record.Tx, network *Network, project string, spec PortSpec) (*Port, error) {
	p := &Port{Meta: s.newMeta(project, spec.Name, spec.Description), NetworkID: network.ID, AdminStateUp: true, Status: StatusDown,
		VNICType: "normal", Profile: map[string]any{}, PortSecurityEnabled: network.PortSecurityEnabled,
		SecurityGroups: []string{}, AllowedAddressPairs: []AddressPair{}, DHCPOptions: []DHCPOption{}}
	set(&p.DeviceID, spec.DeviceID)
	set(&p.DeviceOwner, spec.DeviceOwner)
	if infrastructure(p.DeviceOwner) {
		p.PortSecurityEnabled = false
	}
	if err := s.chooseMAC(tx, p, spec.MAC); err != nil {
		return nil, err
	}
	if err := s.assign(tx, p, spec.FixedIPs, nil); err != nil {
		return nil, err
	}
	if err := p.change(&spec); err != nil {
		return nil, err
	}
	if spec.SecurityGroups == nil && p.PortSecurityEnabled && project != "" {
		id, err := s.defaultGroupID(tx, project)
		if err != nil {
			return nil, err
		}
		p.SecurityGroups = []string{id}
	}
	if err := s.checkGuard(tx, p, &spec); err != nil {
		return nil, err
	}
	if err := s.ports.Insert(tx, p); err != nil {
		return nil, err
	}
	return p, s.portChanged(tx, nil, p)
}

func (s *Service) chooseMAC(tx *record.Tx, p *Port, wanted *string) (err error) {
	if wanted == nil || *wanted == "" {
		p.MAC, err = s.freeMAC(tx, p.NetworkID)
		return err
	}
	hw, err := net.ParseMAC(*wanted)
	if err != nil || len(hw) != 6 || hw[0]&1 != 0 {
		return invalid("'%s' is not a valid MAC address", *wanted)
	}
	if hw.String() == p.MAC {
		return nil
	}
	p.MAC = hw.String()
	holder, err := s.store.Holder(tx, "mac/"+p.NetworkID, p.MAC)
	if err == nil && holder != "" {
		err = refuse(ErrInUse, "MacAddressInUse", "Unable to complete operation for network %s. The mac address %s is in use.", p.NetworkID, p.MAC)
	}
	return err
}

// change applies what a spec may change at any time, but addresses.
func (p *Port) change(spec *PortSpec) error {
	set(&p.DeviceID, spec.DeviceID)
	set(&p.DeviceOwner, spec.DeviceOwner)
	set(&p.AdminStateUp, spec.AdminStateUp)
	set(&p.PortSecurityEnabled, spec.PortSecurityEnabled)
	set(&p.DNSName, spec.DNSName)
	set(&p.HostID, spec.HostID)
	set(&p.DHCPOptions, spec.DHCPOptions)
	if spec.Profile != nil && *spec.Profile != nil {
		p.Profile = *spec.Profile
	}
	if spec.VNICType != nil && *spec.VNICType != "normal" {
		return invalid("binding:vnic_type '%s' is not supported", *spec.VNICType)
	}
	if spec.SecurityGroups != nil {
		p.SecurityGroups = slices.Compact(slices.Sorted(slices.Values(*spec.SecurityGroups)))
		if p.SecurityGroups == nil {
			p.SecurityGroups = []string{}
		}
	}
	p.VIFType = "unbound"
	if p.HostID != "" {
		p.VIFType = "tap"
	}
	return p.changePairs(spec.AllowedAddressPairs)
}

func (p *Port) changePairs(pairs *[]AddressPair) error {
	if pairs == nil {
		return nil
	}
	p.AllowedAddressPairs = []AddressPair{}
	for _, pair := range *pairs {
		if pair.MAC != "" {
			hw, err := net.ParseMAC(pair.MAC)
			if err != nil || len(hw) != 6 {
				return invalid("'%s' is not a valid MAC address", pair.MAC)
			}
			pair.MAC = hw.String()
		}
		if slices.Contains(p.AllowedAddressPairs, pair) {
			return refuse(ErrInvalid, "DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address %s ip_address %s.", pair.MAC, pair.Address)
		}
		p.AllowedAddressPairs = append(p.AllowedAddressPairs, pair)
	}
	return nil
}

// checkGuard refuses groups and pairs on a port that nothing guards, and groups that are not there.
func (s *Service) checkGuard(tx *record.Tx, p *Port, spec *PortSpec) error {
	if !p.PortSecurityEnabled {
		if len(p.SecurityGroups) > 0 {
			return refuse(ErrConflict, "PortSecurityAndIPRequiredForSecurityGroups", "Port security must be enabled and port must have an IP address in order to use security groups.")
		}
		if len(p.AllowedAddressPairs) > 0 {
			return refuse(ErrConflict, "AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.")
		}
		return nil
	}
	if spec.SecurityGroups == nil {
		return nil
	}
	for _, id := range p.SecurityGroups {
		if _, err := s.ownGroup(tx, Scope{ProjectID: p.ProjectID, Admin: p.ProjectID == ""}, id); err != nil {
			return err
		}
	}
	return nil
}

// UpdatePort changes a port that the scope owns, or whose network it owns.
func (s *Service) UpdatePort(ctx context.Context, scope Scope, id string, spec PortSpec) (*Port, error) {
	var changed *Port
	err := s.update(ctx, func(tx *record.Tx) error {
		p, network, err := s.visiblePort(tx, scope, id)
		if err != nil {
			return err
		}
		if err := scope.mayPort(network, &spec, "update_port"); err != nil {
			return err
		}
		changed = p
		return s.changePort(tx, p, spec)
	})
	return changed, err
}

func (s *Service) changePort(tx *record.Tx, p *Port, spec PortSpec) error {
	before := *p
	p.update(s.now(), spec.Name, spec.Description)
	if spec.MAC != nil && *spec.MAC != "" {
		if err := s.chooseMAC(tx, p, spec.MAC); err != nil {
			return err
		}
		if p.MAC != before.MAC && p.HostID != "" {
			return refuse(ErrInUse, "PortBound", "Unable to complete operation on port %s, port is already bound, port type: %s, old_mac %s, new_mac %s.", p.ID, p.VIFType, before.MAC, p.MAC)
		}
	}
	if err := p.change(&spec); err != nil {
		return err
	}
	if spec.FixedIPs != nil {
		if err := s.assign(tx, p, spec.FixedIPs, before.FixedIPs); err != nil {
			return err
		}
	}
	if spec.PortSecurityEnabled != nil && !p.PortSecurityEnabled && before.PortSecurityEnabled && spec.SecurityGroups == nil && len(p.SecurityGroups) > 0 {
		return refuse(ErrConflict, "PortSecurityPortHasSecurityGroup", "Port has security group associated. Cannot disable port security or IP address until security group is removed.")
	}
	if err := s.checkGuard(tx, p, &spec); err != nil {
		return err
	}
	return s.savePort(tx, &before, p)
}

// savePort writes a changed port.
func (s *Service) savePort(tx *record.Tx, before, p *Port) error {
	if before.HostID != p.HostID || before.AdminStateUp && !p.AdminStateUp {
		p.Status = StatusDown
	}
	if err := s.ports.Update(tx, p); err != nil {
		return err
	}
	return s.portChanged(tx, before, p)
}

// DeletePort removes a port. Those of routers go with their routers.
func (s *Service) DeletePort(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		p, _, err := s.visiblePort(tx, scope, id)
		if err != nil {
			return err
		}
		switch {
		case p.DeviceOwner == OwnerFloatingIP, p.ofRouter() && p.DeviceID != "":
			return refuse(ErrInUse, "ServicePortInUse", "Port %s cannot be deleted directly via the port API: has device owner %s.", id, p.DeviceOwner)
		}
		return s.dropPort(tx, p)
	})
}

func (s *Service) dropPort(tx *record.Tx, p *Port) error {
	if err := s.ports.Delete(tx, p.ID); err != nil {
		return err
	}
	return s.portChanged(tx, p, nil)
}

// Port returns a port that the scope can see.
func (s *Service) Port(ctx context.Context, scope Scope, id string) (*Port, error) {
	p, _, err := s.visiblePort(s.store.Read(ctx), scope, id)
	return p, err
}

// Ports lists ports: the scope's own and those in its networks.
func (s *Service) Ports(ctx context.Context, scope Scope, q Query) ([]Port, error) {
	if scope.Admin {
		return list(ctx, s, s.ports, portAttributes, q)
	}
	own, err := s.networks.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("project_id", scope.ProjectID)}})
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(own))
	for i := range own {
		ids[i] = own[i].ID
	}
	return list(ctx, s, s.ports, portAttributes, q, record.Any(record.Eq("project_id", scope.ProjectID), record.In("network_id", ids...)))
}

// PortByAddress finds the port with the fixed address in the network: what a metadata proxy asks.
func (s *Service) PortByAddress(ctx context.Context, networkID string, address netip.Addr) (*Port, error) {
	tx := s.store.Read(ctx)
	subnets, err := s.subnetsOf(tx, networkID)
	if err != nil {
		return nil, err
	}
	for i := range subnets {
		if !subnets[i].CIDR.Contains(address) {
			continue
		}
		id, err := s.store.Holder(tx, addressSpace(subnets[i].ID), addressText(address))
		if err != nil {
			return nil, err
		}
		if id != "" {
			return s.ports.Get(tx, id)
		}
	}
	return nil, fmt.Errorf("port with address %s in network %q: %w", address, networkID, ErrNotFound)
}

// PortsOf lists the ports of a device: a server, a router.
func (s *Service) PortsOf(ctx context.Context, deviceID string) ([]Port, error) {
	return s.ports.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("device_id", deviceID)}, Order: []record.Order{{Column: "created_at"}}})
}

func (s *Service) visiblePort(tx *record.Tx, scope Scope, id string) (*Port, *Network, error) {
	p, err := s.ports.Get(tx, id)
	var network *Network
	if err == nil {
		network, err = s.networks.Get(tx, p.NetworkID)
	}
	if err == nil && !scope.owns(&p.Meta) && !scope.owns(&network.Meta) {
		err = fmt.Errorf("port %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, nil, notFound(err, "PortNotFound", "Port %s", id)
	}
	return p, network, nil
}
