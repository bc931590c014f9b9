package neutron

import (
	"context"
	"encoding/json"
	"net/netip"

	"github.com/kintoun/kintoun/network"
)

func (a *api) ports() *resource[network.Port, network.PortSpec] {
	type S = network.PortSpec
	return &resource[network.Port, S]{
		path: "ports", plural: "ports", singular: "port", required: []string{"network_id"},
		fields: fields[S]{
			"name":                  strict(parseText, func(s *S) **string { return &s.Name }),
			"description":           strict(parseText, func(s *S) **string { return &s.Description }),
			"network_id":            once(parseText, func(s *S) *string { return &s.NetworkID }),
			"mac_address":           plain(parseText, func(s *S) **string { return &s.MAC }),
			"device_id":             nullable(parseText, func(s *S) **string { return &s.DeviceID }),
			"device_owner":          nullable(parseText, func(s *S) **string { return &s.DeviceOwner }),
			"admin_state_up":        plain(parseBool, func(s *S) **bool { return &s.AdminStateUp }),
			"fixed_ips":             plain(parseList(parseFixedIP), func(s *S) **[]network.FixedIPSpec { return &s.FixedIPs }),
			"security_groups":       plain(parseList(parseText), func(s *S) **[]string { return &s.SecurityGroups }),
			"port_security_enabled": plain(parseBool, func(s *S) **bool { return &s.PortSecurityEnabled }),
			"allowed_address_pairs": nullable(parseList(parsePair), func(s *S) **[]network.AddressPair { return &s.AllowedAddressPairs }),
			"binding:host_id":       nullable(parseText, func(s *S) **string { return &s.HostID }),
			"binding:profile":       nullable(parseObject, func(s *S) **map[string]any { return &s.Profile }),
			"binding:vnic_type":     plain(parseText, func(s *S) **string { return &s.VNICType }),
			"dns_name":              plain(parseText, func(s *S) **string { return &s.DNSName }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("status", "binding:vif_type", "binding:vif_details", "dns_assignment"),
		create: a.service.CreatePort, update: a.service.UpdatePort, remove: a.service.DeletePort, get: a.service.Port, list: a.service.Ports,
		view: func(_ context.Context, scope network.Scope, list []network.Port) ([]object, error) {
			return each(list, func(p *network.Port) object { return showPort(scope, p) }), nil
		},
	}
}

func showPort(scope network.Scope, p *network.Port) object {
	view := with(common(&p.Meta), object{
		"network_id": p.NetworkID, "mac_address": p.MAC, "device_id": p.DeviceID, "device_owner": p.DeviceOwner, "admin_state_up": p.AdminStateUp,
		"status": p.Status, "fixed_ips": fixedIPs(p.FixedIPs), "security_groups": notNil(p.SecurityGroups), "port_security_enabled": p.PortSecurityEnabled,
		"binding:vnic_type": p.VNICType, "dns_name": p.DNSName,
		"allowed_address_pairs": each(p.AllowedAddressPairs, func(pair *network.AddressPair) object {
			mac := pair.MAC
			if mac == "" {
				mac = p.MAC
			}
			text := pair.Address.String()
			if pair.Address.IsSingleIP() {
				text = pair.Address.Addr().String()
			}
			return object{"ip_address": text, "mac_address": mac}
		}),
		"dns_assignment": each(p.FixedIPs, func(ip *network.FixedIP) object {
			name := p.Hostname(ip.Address)
			return object{"ip_address": ip.Address.String(), "hostname": name, "fqdn": name + ".openstacklocal."}
		}),
	})
	if scope.Admin {
		details := object{}
		if p.HostID != "" {
			details = object{"port_filter": true, "connectivity": "l2"}
		}
		view["binding:host_id"], view["binding:profile"], view["binding:vif_type"], view["binding:vif_details"] = p.HostID, p.Profile, p.VIFType, details
	}
	return view
}

func (a *api) floatingIPs() *resource[network.FloatingIP, network.FloatingIPSpec] {
	type S = network.FloatingIPSpec
	fixed := once(parseAddress, func(s *S) *netip.Addr { return &s.FixedAddress })
	fixed.put = true
	return &resource[network.FloatingIP, S]{
		path: "floatingips", plural: "floatingips", singular: "floatingip", required: []string{"floating_network_id"},
		fields: fields[S]{
			"description":         strict(parseText, func(s *S) **string { return &s.Description }),
			"floating_network_id": once(parseText, func(s *S) *string { return &s.NetworkID }),
			"floating_ip_address": once(parseAddress, func(s *S) *netip.Addr { return &s.Address }),
			"subnet_id":           once(parseText, func(s *S) *string { return &s.SubnetID }),
			"port_id":             nullable(parseText, func(s *S) **string { return &s.PortID }),
			"fixed_ip_address":    fixed,
			"dns_name":            plain(parseText, func(s *S) **string { return &s.DNSName }),
			"dns_domain":          plain(parseText, func(s *S) **string { return &s.DNSDomain }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("status", "router_id", "port_details"),
		create: a.service.CreateFloatingIP, update: a.service.UpdateFloatingIP, remove: a.service.DeleteFloatingIP, get: a.service.FloatingIP, list: a.service.FloatingIPs,
		view: a.showFloatingIPs,
	}
}

func (a *api) showFloatingIPs(ctx context.Context, _ network.Scope, list []network.FloatingIP) ([]object, error) {
	var ids []string
	for i := range list {
		if list[i].PortID != "" {
			ids = append(ids, list[i].PortID)
		}
	}
	details := map[string]object{}
	if len(ids) > 0 {
		ports, err := a.service.Ports(ctx, network.System, network.Eq("id", ids...))
		if err != nil {
			return nil, err
		}
		for i := range ports {
			p := &ports[i]
			details[p.ID] = object{"name": p.Name, "network_id": p.NetworkID, "mac_address": p.MAC, "admin_state_up": p.AdminStateUp, "status": p.Status,
				"device_id": p.DeviceID, "device_owner": p.DeviceOwner}
		}
	}
	return each(list, func(f *network.FloatingIP) object {
		view := with(common(&f.Meta), object{
			"floating_network_id": f.NetworkID, "floating_ip_address": f.Address.String(), "port_id": orNull(f.PortID), "fixed_ip_address": address(f.FixedAddress),
			"router_id": orNull(f.RouterID), "status": f.Status, "dns_name": f.DNSName, "dns_domain": f.DNSDomain, "port_details": nil,
		})
		delete(view, "name")
		if d, ok := details[f.PortID]; ok {
			view["port_details"] = d
		}
		return view
	}), nil
}

func (a *api) groups() *resource[network.SecurityGroup, network.SecurityGroupSpec] {
	type S = network.SecurityGroupSpec
	return &resource[network.SecurityGroup, S]{
		path: "security-groups", plural: "security_groups", singular: "security_group", required: []string{"name"},
		fields: fields[S]{
			"name":        strict(parseText, func(s *S) **string { return &s.Name }),
			"description": strict(parseText, func(s *S) **string { return &s.Description }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown("security_group_rules"),
		create: a.service.CreateSecurityGroup, update: a.service.UpdateSecurityGroup, remove: a.service.DeleteSecurityGroup, get: a.service.SecurityGroup, list: a.service.SecurityGroups,
		view: func(_ context.Context, _ network.Scope, list []network.SecurityGroup) ([]object, error) {
			return each(list, func(g *network.SecurityGroup) object {
				return with(common(&g.Meta), object{"security_group_rules": each(g.Rules, showRule)})
			}), nil
		},
	}
}

func (a *api) rules() *resource[network.SecurityGroupRule, network.SecurityGroupRuleSpec] {
	type S = network.SecurityGroupRuleSpec
	return &resource[network.SecurityGroupRule, S]{
		path: "security-group-rules", plural: "security_group_rules", singular: "security_group_rule", required: []string{"security_group_id", "direction"},
		fields: fields[S]{
			"description":       atCreation(plain(parseText, func(s *S) **string { return &s.Description })),
			"security_group_id": once(parseText, func(s *S) *string { return &s.GroupID }),
			"direction":         once(parseText, func(s *S) *string { return &s.Direction }),
			"ethertype":         once(parseText, func(s *S) *string { return &s.EtherType }),
			"protocol":          once(parseWord, func(s *S) *string { return &s.Protocol }),
			"port_range_min":    atCreation(plain(parseInt, func(s *S) **int { return &s.PortMin })),
			"port_range_max":    atCreation(plain(parseInt, func(s *S) **int { return &s.PortMax })),
			"remote_group_id":   once(parseText, func(s *S) *string { return &s.RemoteGroupID }),
			"remote_ip_prefix":  once(parsePrefixOrNothing, func(s *S) *netip.Prefix { return &s.RemotePrefix }),
		}.project(func(s *S) *string { return &s.ProjectID }).shown(),
		create: a.service.CreateSecurityGroupRule, remove: a.service.DeleteSecurityGroupRule, get: a.service.SecurityGroupRule, list: a.service.SecurityGroupRules,
		view: func(_ context.Context, _ network.Scope, list []network.SecurityGroupRule) ([]object, error) {
			return each(list, showRule), nil
		},
	}
}

// parsePrefixOrNothing takes an empty text for no prefix.
func parsePrefixOrNothing(data json.RawMessage) (netip.Prefix, error) {
	if s, err := parseText(data); err == nil && s == "" {
		return netip.Prefix{}, nil
	}
	return parseRange(data)
}

func showRule(r *network.SecurityGroupRule) object {
	prefix := ""
	if r.RemotePrefix.IsValid() {
		prefix = r.RemotePrefix.String()
	}
	view := with(common(&r.Meta), object{
		"security_group_id": r.GroupID, "direction": r.Direction, "ethertype": r.EtherType, "protocol": orNull(r.Protocol),
		"port_range_min": r.PortMin, "port_range_max": r.PortMax, "remote_group_id": orNull(r.RemoteGroupID), "remote_ip_prefix": orNull(prefix),
	})
	delete(view, "name")
	return view
}
