package network

import (
	"context"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

// portFor is the port as its host needs to know it.
func (s *Service) portFor(ctx context.Context, p *Port, endpoint driver.Endpoint) (*driver.Port, error) {
	tx := s.store.Read(ctx)
	n, err := s.networks.Get(tx, p.NetworkID)
	if err != nil {
		return nil, err
	}
	want := &driver.Port{ID: p.ID, NetworkID: p.NetworkID, MAC: p.MAC, MTU: n.MTU, Endpoint: endpoint}
	switch {
	case !p.AdminStateUp || !n.AdminStateUp:
		want.Security = &driver.Security{} // nothing passes
	case p.PortSecurityEnabled:
		want.Security, err = s.security(tx, p)
	}
	return want, err
}

// security resolves the port's groups to addresses.
func (s *Service) security(tx *record.Tx, p *Port) (*driver.Security, error) {
	sec := &driver.Security{Allowed: allowed(p), Rules: always()}
	if len(p.SecurityGroups) == 0 {
		return sec, nil
	}
	rules, err := s.rules.List(tx, record.Query{Where: []record.Condition{record.In("security_group_id", p.SecurityGroups...)}})
	if err != nil {
		return nil, err
	}
	resolved := map[string][]netip.Prefix{}
	for i := range rules {
		r, err := driverRule(&rules[i])
		if err != nil {
			return nil, err
		}
		if group := rules[i].RemoteGroupID; group != "" {
			if resolved[group] == nil {
				if resolved[group], err = s.memberAddresses(tx, group); err != nil {
					return nil, err
				}
			}
			r.Remotes = slices.DeleteFunc(slices.Clone(resolved[group]), func(a netip.Prefix) bool { return a.Addr().Is6() != r.IPv6 })
		}
		sec.Rules = append(sec.Rules, r)
	}
	return sec, nil
}

// allowed are the addresses that the port may send from: its own, its pairs', and the link-local one of its MAC.
func allowed(p *Port) []driver.AddressPair {
	var list []driver.AddressPair
	for _, ip := range p.FixedIPs {
		list = append(list, driver.AddressPair{MAC: p.MAC, Address: netip.PrefixFrom(ip.Address, ip.Address.BitLen())})
	}
	if local, err := eui64(netip.MustParsePrefix("fe80::/64"), p.MAC); err == nil {
		list = append(list, driver.AddressPair{MAC: p.MAC, Address: netip.PrefixFrom(local, 128)})
	}
	for _, pair := range p.AllowedAddressPairs {
		mac := pair.MAC
		if mac == "" {
			mac = p.MAC
		}
		list = append(list, driver.AddressPair{MAC: mac, Address: pair.Address})
	}
	return list
}

// always is what every port may do whatever its groups say, as in Neutron: ask for and get its own configuration,
// by DHCP and by IPv6 neighbour discovery (RFC 4861).
func always() []driver.Rule {
	const udp, bootps, bootpc = 17, 67, 68
	rules := []driver.Rule{
		{Direction: driver.Egress, Protocol: udp, PortMin: bootps, PortMax: bootps},
		{Direction: driver.Ingress, Protocol: udp, PortMin: bootpc, PortMax: bootpc},
	}
	const solicitRouter, advertiseRouter, solicitNeighbour, advertiseNeighbour = 133, 134, 135, 136
	for _, t := range []uint8{solicitRouter, solicitNeighbour, advertiseNeighbour} {
		rules = append(rules, driver.Rule{Direction: driver.Egress, IPv6: true, Protocol: protocolICMPv6, ICMPType: &t})
	}
	for _, t := range []uint8{advertiseRouter, solicitNeighbour, advertiseNeighbour} {
		rules = append(rules, driver.Rule{Direction: driver.Ingress, IPv6: true, Protocol: protocolICMPv6, ICMPType: &t})
	}
	return rules
}

func driverRule(r *SecurityGroupRule) (driver.Rule, error) {
	protocol, err := r.protocolNumber()
	if err != nil {
		return driver.Rule{}, err
	}
	d := driver.Rule{Direction: driver.Direction(r.Direction), IPv6: r.EtherType == "IPv6", Protocol: protocol}
	if protocol == protocolICMP || protocol == protocolICMPv6 {
		d.ICMPType, d.ICMPCode = small(r.PortMin), small(r.PortMax)
	} else if r.PortMin != nil && r.PortMax != nil {
		d.PortMin, d.PortMax = uint16(*r.PortMin), uint16(*r.PortMax)
	}
	if r.RemotePrefix.IsValid() && r.RemotePrefix.Bits() > 0 {
		d.Remotes = []netip.Prefix{r.RemotePrefix}
	}
	return d, nil
}

func small(n *int) *uint8 {
	if n == nil {
		return nil
	}
	return new(uint8(*n))
}
