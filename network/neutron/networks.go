package neutron

import (
	"context"
	"net/netip"
	"time"

	"github.com/kintoun/kintoun/network"
)

// common shows what all resources have.
func common(m *network.Meta) object {
	tags := m.Tags
	if tags == nil {
		tags = []string{}
	}
	return object{
		"id": m.ID, "name": m.Name, "description": m.Description, "tenant_id": m.ProjectID, "project_id": m.ProjectID, "tags": tags,
		"created_at": m.CreatedAt.Format(time.RFC3339), "updated_at": m.UpdatedAt.Format(time.RFC3339), "revision_number": m.Revision,
	}
}

// with adds to a view.
func with(view, more object) object {
	for name, v := range more {
		view[name] = v
	}
	return view
}

// orNull is the text, or null where there is none.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func address(a netip.Addr) any {
	if !a.IsValid() {
		return nil
	}
	return a.String()
}

func addresses(list []netip.Addr) []string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.String()
	}
	return texts
}

func routes(list []network.Route) []object {
	return each(list, func(r *network.Route) object {
		return object{"destination": r.Destination.String(), "nexthop": r.NextHop.String()}
	})
}

func fixedIPs(list []network.FixedIP) []object {
	return each(list, func(ip *network.FixedIP) object {
		return object{"subnet_id": ip.SubnetID, "ip_address": ip.Address.String()}
	})
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *api) networks() *resource[network.Network, network.NetworkSpec] {
	type S = network.NetworkSpec
	return &resource[network.Network, S]{
		path: "networks", plural: "networks", singular: "network",
		fields: fields[S]{
			"name":                      strict(parseText, func(s *S) **string { return &s.Name }),
			"description":               strict(parseText, func(s *S) **string { return &s.Description }),
			"admin_state_up":            plain(parseBool, func(s *S) **bool { return &s.AdminStateUp }),
			"shared":                    plain(parseBool, func(s *S) **bool { return &s.Shared }),
			"router:external":           plain(parseBool, func(s *S) **bool { return &s.External }),
			"is_default":                plain(parseBool, func(s *S) **bool { return &s.Default }),
			"port_security_enabled":     plain(parseBool, func(s *S) **bool { return &s.PortSecurityEnabled }),
			"mtu":                       plain(parseInt, func(s *S) **int { return &s.MTU }),
			"provider:network_type":     plain(parseText, func(s *S) **string { return &s.Type }),
			"provider:physical_network": plain(parseText, func(s *S) **string { return &s.Physical }),
			"provider:segmentation_id":  plain(parseSegment, func(s *S) **uint32 { return &s.Segment }),
			"availability_zone_hints":   atCreation(plain(parseList(parseText), func(s *S) **[]string { return &s.ZoneHints })),
			"dns_domain":                plain(parseText, func(s *S) **string { return &s.DNSDomain }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("status", "subnets", "availability_zones", "ipv4_address_scope", "ipv6_address_scope", "l2_adjacency"),
		create: a.service.CreateNetwork, update: a.service.UpdateNetwork, remove: a.service.DeleteNetwork, get: a.service.Network, list: a.service.Networks,
		view: a.showNetworks,
	}
}

func (a *api) showNetworks(ctx context.Context, scope network.Scope, list []network.Network) ([]object, error) {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	subnets, err := a.service.SubnetIDs(ctx, ids...)
	if err != nil {
		return nil, err
	}
	hosted, err := a.service.Hosted(ctx, ids...)
	if err != nil {
		return nil, err
	}
	return each(list, func(n *network.Network) object {
		view := with(common(&n.Meta), object{
			"admin_state_up": n.AdminStateUp, "status": n.Status, "shared": n.SharedTo(scope.ProjectID), "router:external": n.External, "is_default": n.Default,
			"port_security_enabled": n.PortSecurityEnabled, "mtu": n.MTU, "subnets": notNil(subnets[n.ID]), "availability_zone_hints": notNil(n.ZoneHints),
			"availability_zones": a.zones(hosted[n.ID]), "ipv4_address_scope": nil, "ipv6_address_scope": nil, "dns_domain": n.DNSDomain,
		})
		if scope.Admin {
			view["provider:network_type"], view["provider:physical_network"], view["provider:segmentation_id"] = n.Type, orNull(n.Physical), nil
			if n.Segment != 0 {
				view["provider:segmentation_id"] = n.Segment
			}
		}
		return view
	}), nil
}

func (a *api) zones(hosted bool) []string {
	if !hosted {
		return []string{}
	}
	return []string{a.service.Zone()}
}

func (a *api) subnets() *resource[network.Subnet, network.SubnetSpec] {
	type S = network.SubnetSpec
	return &resource[network.Subnet, S]{
		path: "subnets", plural: "subnets", singular: "subnet", required: []string{"network_id", "ip_version"},
		fields: fields[S]{
			"name":              strict(parseText, func(s *S) **string { return &s.Name }),
			"description":       strict(parseText, func(s *S) **string { return &s.Description }),
			"network_id":        once(parseText, func(s *S) *string { return &s.NetworkID }),
			"cidr":              once(parseCIDR, func(s *S) *netip.Prefix { return &s.CIDR }),
			"ip_version":        once(parseInt, func(s *S) *int { return &s.Version }),
			"subnetpool_id":     once(parseText, func(s *S) *string { return &s.SubnetPoolID }),
			"prefixlen":         once(parseInt, func(s *S) *int { return &s.PrefixLength }),
			"gateway_ip":        nullable(parseAddress, func(s *S) **netip.Addr { return &s.Gateway }),
			"allocation_pools":  plain(parseList(parsePool), func(s *S) **[]network.Pool { return &s.Pools }),
			"dns_nameservers":   nullable(distinct(parseList(parseAddress)), func(s *S) **[]netip.Addr { return &s.DNS }),
			"host_routes":       nullable(distinct(parseList(parseRoute)), func(s *S) **[]network.Route { return &s.HostRoutes }),
			"enable_dhcp":       plain(parseBool, func(s *S) **bool { return &s.EnableDHCP }),
			"ipv6_ra_mode":      atCreation(plain(parseText, func(s *S) **string { return &s.RAMode })),
			"ipv6_address_mode": atCreation(plain(parseText, func(s *S) **string { return &s.AddressMode })),
			"service_types":     plain(parseList(parseText), func(s *S) **[]string { return &s.ServiceTypes }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown(),
		create: a.service.CreateSubnet, update: a.service.UpdateSubnet, remove: a.service.DeleteSubnet, get: a.service.Subnet, list: a.service.Subnets,
		view: func(_ context.Context, _ network.Scope, list []network.Subnet) ([]object, error) {
			return each(list, showSubnet), nil
		},
	}
}

func showSubnet(n *network.Subnet) object {
	return with(common(&n.Meta), object{
		"network_id": n.NetworkID, "cidr": n.CIDR.String(), "ip_version": n.Version(), "gateway_ip": address(n.Gateway), "enable_dhcp": n.EnableDHCP,
		"allocation_pools": each(n.Pools, func(p *network.Pool) object { return object{"start": p.Start.String(), "end": p.End.String()} }),
		"dns_nameservers":  addresses(n.DNS), "host_routes": routes(n.HostRoutes), "ipv6_ra_mode": orNull(n.RAMode), "ipv6_address_mode": orNull(n.AddressMode),
		"service_types": notNil(n.ServiceTypes), "subnetpool_id": orNull(n.SubnetPoolID),
	})
}

func (a *api) subnetPools() *resource[network.SubnetPool, network.SubnetPoolSpec] {
	type S = network.SubnetPoolSpec
	return &resource[network.SubnetPool, S]{
		path: "subnetpools", plural: "subnetpools", singular: "subnetpool", required: []string{"name", "prefixes"},
		fields: fields[S]{
			"name":              strict(parseText, func(s *S) **string { return &s.Name }),
			"description":       strict(parseText, func(s *S) **string { return &s.Description }),
			"prefixes":          strict(parseList(parseCIDR), func(s *S) **[]netip.Prefix { return &s.Prefixes }),
			"default_prefixlen": plain(parseInt, func(s *S) **int { return &s.DefaultLength }),
			"min_prefixlen":     plain(parseInt, func(s *S) **int { return &s.MinLength }),
			"max_prefixlen":     plain(parseInt, func(s *S) **int { return &s.MaxLength }),
			"default_quota":     plain(parseInt, func(s *S) **int { return &s.Quota }),
			"shared":            atCreation(plain(parseBool, func(s *S) **bool { return &s.Shared })),
			"is_default":        plain(parseBool, func(s *S) **bool { return &s.Default }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("ip_version"),
		create: a.service.CreateSubnetPool, update: a.service.UpdateSubnetPool, remove: a.service.DeleteSubnetPool, get: a.service.SubnetPool, list: a.service.SubnetPools,
		view: func(_ context.Context, _ network.Scope, list []network.SubnetPool) ([]object, error) {
			return each(list, func(p *network.SubnetPool) object {
				prefixes := make([]string, len(p.Prefixes))
				for i, prefix := range p.Prefixes {
					prefixes[i] = prefix.String()
				}
				return with(common(&p.Meta), object{"prefixes": prefixes, "default_prefixlen": p.DefaultLength, "min_prefixlen": p.MinLength, "max_prefixlen": p.MaxLength,
					"default_quota": p.Quota, "shared": p.Shared, "is_default": p.Default, "ip_version": p.Version(), "address_scope_id": nil})
			}), nil
		},
	}
}
