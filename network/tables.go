package network

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// define names the tables, with what they are filtered and sorted by and what is unique.
func (s *Service) define() {
	s.networks = record.Define(s.store, "networks", record.Spec[Network]{
		Key: func(n *Network) string { return n.ID }, Revision: func(n *Network) *int64 { return &n.Revision }, Unindexed: unindexed,
		Event: func(n *Network) record.Event { return n.toldIn("network", n.Status) },
		Columns: columns(func(n *Network) *Meta { return &n.Meta }, map[string]func(*Network) any{
			"admin_state_up": func(n *Network) any { return n.AdminStateUp }, "shared": func(n *Network) any { return n.Shared },
			"shared_with": func(n *Network) any { return joined(n.SharedWith) }, "external": func(n *Network) any { return n.External },
			"is_default": func(n *Network) any { return n.Default }, "mtu": func(n *Network) any { return n.MTU },
			"network_type": func(n *Network) any { return n.Type }, "physical_network": func(n *Network) any { return n.Physical },
			"segment": func(n *Network) any { return int64(n.Segment) }, "status": func(n *Network) any { return n.Status },
			"port_security_enabled": func(n *Network) any { return n.PortSecurityEnabled }, "dns_domain": func(n *Network) any { return n.DNSDomain },
		}),
		Claims: networkClaims,
	})
	s.subnets = record.Define(s.store, "subnets", record.Spec[Subnet]{
		Key: func(n *Subnet) string { return n.ID }, Revision: func(n *Subnet) *int64 { return &n.Revision }, Unindexed: unindexed,
		Event: func(n *Subnet) record.Event { return n.told("subnet") },
		Columns: columns(func(n *Subnet) *Meta { return &n.Meta }, map[string]func(*Subnet) any{
			"network_id": func(n *Subnet) any { return n.NetworkID }, "cidr": func(n *Subnet) any { return n.CIDR.String() },
			"ip_version": func(n *Subnet) any { return n.Version() }, "gateway_ip": func(n *Subnet) any { return text(n.Gateway) },
			"enable_dhcp": func(n *Subnet) any { return n.EnableDHCP }, "ipv6_ra_mode": func(n *Subnet) any { return n.RAMode },
			"ipv6_address_mode": func(n *Subnet) any { return n.AddressMode }, "subnetpool_id": func(n *Subnet) any { return n.SubnetPoolID },
			"service_types": func(n *Subnet) any { return joined(n.ServiceTypes) },
		}),
		Claims: subnetClaims,
	})
	s.ports = record.Define(s.store, "ports", record.Spec[Port]{
		Key: func(p *Port) string { return p.ID }, Revision: func(p *Port) *int64 { return &p.Revision }, Unindexed: unindexed, Host: "host_id",
		Event: func(p *Port) record.Event { return p.toldIn("port", p.Status) },
		Columns: columns(func(p *Port) *Meta { return &p.Meta }, map[string]func(*Port) any{
			"network_id": func(p *Port) any { return p.NetworkID }, "mac_address": func(p *Port) any { return p.MAC },
			"device_id": func(p *Port) any { return p.DeviceID }, "device_owner": func(p *Port) any { return p.DeviceOwner },
			"admin_state_up": func(p *Port) any { return p.AdminStateUp }, "status": func(p *Port) any { return p.Status },
			"host_id": func(p *Port) any { return p.HostID }, "vif_type": func(p *Port) any { return p.VIFType }, "vnic_type": func(p *Port) any { return p.VNICType },
			"port_security_enabled": func(p *Port) any { return p.PortSecurityEnabled }, "dns_name": func(p *Port) any { return p.DNSName },
			"security_groups": func(p *Port) any { return joined(p.SecurityGroups) },
			"fixed_ips":       func(p *Port) any { return joined(fixedIPTexts(p.FixedIPs)) },
		}),
		Claims: portClaims,
	})
	s.routers = record.Define(s.store, "routers", record.Spec[Router]{
		Key: func(r *Router) string { return r.ID }, Revision: func(r *Router) *int64 { return &r.Revision }, Unindexed: unindexed,
		Event: func(r *Router) record.Event { return r.toldIn("router", r.Status) },
		Columns: columns(func(r *Router) *Meta { return &r.Meta }, map[string]func(*Router) any{
			"admin_state_up": func(r *Router) any { return r.AdminStateUp }, "status": func(r *Router) any { return r.Status },
			"gateway_network": func(r *Router) any { return r.gatewayNetwork() },
		}),
	})
	s.floating = record.Define(s.store, "floatingips", record.Spec[FloatingIP]{
		Key: func(f *FloatingIP) string { return f.ID }, Revision: func(f *FloatingIP) *int64 { return &f.Revision }, Unindexed: unindexed,
		Event: func(f *FloatingIP) record.Event { return f.toldIn("floatingip", f.Status) },
		Columns: columns(func(f *FloatingIP) *Meta { return &f.Meta }, map[string]func(*FloatingIP) any{
			"floating_network_id": func(f *FloatingIP) any { return f.NetworkID }, "floating_ip_address": func(f *FloatingIP) any { return text(f.Address) },
			"port_id": func(f *FloatingIP) any { return f.PortID }, "fixed_ip_address": func(f *FloatingIP) any { return text(f.FixedAddress) },
			"router_id": func(f *FloatingIP) any { return f.RouterID }, "status": func(f *FloatingIP) any { return f.Status },
		}),
		Claims: func(f *FloatingIP) []record.Claim {
			if f.PortID == "" {
				return nil
			}
			return []record.Claim{{Space: "floating/" + f.NetworkID + "/" + f.PortID, Value: f.FixedAddress.String()}}
		},
	})
	s.defineGroups()
	s.defineAgents()
	s.defineRest()
}

func networkClaims(n *Network) []record.Claim {
	if n.Physical != "" {
		return []record.Claim{{Space: "physical", Value: n.Physical}}
	}
	return []record.Claim{{Space: "segment/" + n.Type, Value: segmentText(n.Segment)}}
}

func subnetClaims(n *Subnet) []record.Claim {
	return []record.Claim{{Space: "cidr/" + n.NetworkID, Value: n.CIDR.String()}}
}

func portClaims(p *Port) []record.Claim {
	claims := []record.Claim{{Space: "mac/" + p.NetworkID, Value: p.MAC}}
	for _, ip := range p.FixedIPs {
		claims = append(claims, record.Claim{Space: addressSpace(ip.SubnetID), Value: addressText(ip.Address)})
		if p.DeviceOwner == OwnerRouterInterface {
			claims = append(claims, record.Claim{Space: "interface/" + p.DeviceID, Value: ip.SubnetID})
		}
	}
	for _, group := range p.SecurityGroups {
		claims = append(claims, record.Claim{Space: groupSpace(group), Value: p.ID})
	}
	switch p.DeviceOwner {
	case OwnerDHCP:
		claims = append(claims, record.Claim{Space: "dhcp/" + p.NetworkID, Value: p.DeviceID})
	case OwnerRouterGateway:
		claims = append(claims, record.Claim{Space: "gateway", Value: p.DeviceID})
	}
	return claims
}

func (s *Service) defineGroups() {
	s.groups = record.Define(s.store, "security_groups", record.Spec[SecurityGroup]{
		Key: func(g *SecurityGroup) string { return g.ID }, Revision: func(g *SecurityGroup) *int64 { return &g.Revision }, Unindexed: unindexed,
		Event: func(g *SecurityGroup) record.Event { return g.told("security_group") },
		Columns: columns(func(g *SecurityGroup) *Meta { return &g.Meta }, map[string]func(*SecurityGroup) any{
			"stateful": func(g *SecurityGroup) any { return g.Stateful },
		}),
		Claims: func(g *SecurityGroup) []record.Claim {
			if g.Name != defaultGroup {
				return nil
			}
			return []record.Claim{{Space: "default group", Value: g.ProjectID}}
		},
	})
	number := func(n *int) any {
		if n == nil {
			return nil
		}
		return *n
	}
	s.rules = record.Define(s.store, "security_group_rules", record.Spec[SecurityGroupRule]{
		Key: func(r *SecurityGroupRule) string { return r.ID }, Revision: func(r *SecurityGroupRule) *int64 { return &r.Revision }, Unindexed: unindexed,
		Event: func(r *SecurityGroupRule) record.Event { return r.told("security_group_rule") },
		Columns: columns(func(r *SecurityGroupRule) *Meta { return &r.Meta }, map[string]func(*SecurityGroupRule) any{
			"security_group_id": func(r *SecurityGroupRule) any { return r.GroupID }, "direction": func(r *SecurityGroupRule) any { return r.Direction },
			"ethertype": func(r *SecurityGroupRule) any { return r.EtherType }, "protocol": func(r *SecurityGroupRule) any { return r.Protocol },
			"port_range_min": func(r *SecurityGroupRule) any { return number(r.PortMin) }, "port_range_max": func(r *SecurityGroupRule) any { return number(r.PortMax) },
			"remote_group_id": func(r *SecurityGroupRule) any { return r.RemoteGroupID }, "remote_ip_prefix": func(r *SecurityGroupRule) any { return prefixText(r.RemotePrefix) },
		}),
		Claims: func(r *SecurityGroupRule) []record.Claim {
			return []record.Claim{{Space: "rule/" + r.GroupID, Value: r.canonical()}}
		},
	})
}

// sortableTime is a time as a column, of one length so that texts sort like times.
const sortableTime = "2006-01-02T15:04:05.000000Z"

// unindexed are columns that lists are filtered by seldom, or that only name a few values.
var unindexed = []string{
	"description", "tags", "created_at", "updated_at", "admin_state_up", "shared", "shared_with", "external", "is_default", "mtu", "network_type",
	"physical_network", "status", "port_security_enabled", "dns_domain", "ip_version", "gateway_ip", "enable_dhcp", "ipv6_ra_mode", "ipv6_address_mode",
	"service_types", "vif_type", "vnic_type", "dns_name", "security_groups", "fixed_ips", "stateful", "direction", "ethertype", "protocol",
	"port_range_min", "port_range_max", "remote_ip_prefix", "topic", "availability_zone", "heartbeat", "binary_name", "min_prefixlen", "max_prefixlen",
	"default_prefixlen", "kind", "action", "object_type", "target_tenant",
}

// columns are those of all resources and a few more.
func columns[T any](meta func(*T) *Meta, more map[string]func(*T) any) []record.Column[T] {
	list := []record.Column[T]{
		{Name: "project_id", Value: func(r *T) any { return meta(r).ProjectID }},
		{Name: "name", Value: func(r *T) any { return meta(r).Name }},
		{Name: "description", Value: func(r *T) any { return meta(r).Description }},
		{Name: "tags", Value: func(r *T) any { return joined(meta(r).Tags) }},
		{Name: "created_at", Value: func(r *T) any { return meta(r).CreatedAt.Format(sortableTime) }},
		{Name: "updated_at", Value: func(r *T) any { return meta(r).UpdatedAt.Format(sortableTime) }},
	}
	// In the same order each time, so that the layout is seen to be the same.
	for _, name := range slices.Sorted(maps.Keys(more)) {
		list = append(list, record.Column[T]{Name: name, Value: more[name]})
	}
	return list
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func fixedIPTexts(list []FixedIP) []string {
	var texts []string
	for _, ip := range list {
		texts = append(texts, "ip="+ip.Address.String(), "subnet="+ip.SubnetID)
	}
	return texts
}

func segmentText(n uint32) string {
	t := strconv.FormatUint(uint64(n), 10)
	return strings.Repeat("0", 10-len(t)) + t
}

func addressSpace(subnetID string) string { return "address/" + subnetID }

// groupSpace has the ports of a security group: by it they are found among all.
func groupSpace(groupID string) string { return "group/" + groupID }
