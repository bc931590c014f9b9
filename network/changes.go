package network

import (
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// presence says that a host has ports in a network, so that agents know whom to reach.
type presence struct {
	NetworkID, Host string
	Revision        int64
}

func presenceID(networkID, host string) string { return networkID + "/" + host }

// portChanged tells agents what a port's change means for others, and frees floating IPs of addresses that are gone.
func (s *Service) portChanged(tx *record.Tx, before, after *Port) error {
	port := after
	if port == nil {
		port = before
	}
	if err := s.syncPresence(tx, before, after); err != nil {
		return err
	}
	if before == nil || after == nil || before.MAC != after.MAC || before.DNSName != after.DNSName || !slices.Equal(before.FixedIPs, after.FixedIPs) ||
		before.DeviceOwner != after.DeviceOwner {
		if err := tx.Announce(changedDHCP, port.NetworkID); err != nil {
			return err
		}
	}
	for _, p := range []*Port{before, after} {
		if p != nil && p.ofRouter() {
			if err := s.announceRouter(tx, p); err != nil {
				return err
			}
		}
	}
	if err := s.announceMembers(tx, before, after); err != nil {
		return err
	}
	return s.addressesGone(tx, before, after)
}

// announceRouter tells who runs the router, and the DHCP server whether its network is still isolated.
func (s *Service) announceRouter(tx *record.Tx, p *Port) error {
	if err := tx.Announce(changedRouter, p.DeviceID); err != nil {
		return err
	}
	return tx.Announce(changedDHCP, p.NetworkID)
}

// syncPresence notes on which hosts the port's network is.
func (s *Service) syncPresence(tx *record.Tx, before, after *Port) error {
	was, is := before.host(), after.host()
	if was == is {
		return nil
	}
	if is != "" {
		known, err := s.presence.Count(tx, record.Eq("id", presenceID(after.NetworkID, is)))
		if err == nil && known == 0 {
			err = s.presence.Insert(tx, &presence{NetworkID: after.NetworkID, Host: is})
		}
		if err != nil {
			return err
		}
	}
	if was == "" {
		return nil
	}
	others, err := s.ports.Count(tx, record.Eq("network_id", before.NetworkID), record.Eq("host_id", was))
	if err != nil || others > 0 {
		return err
	}
	return ignoreGone(s.presence.Delete(tx, presenceID(before.NetworkID, was)))
}

// host is where the port is; empty for a port that is nowhere, or not at all.
func (p *Port) host() string {
	if p == nil {
		return ""
	}
	return p.HostID
}

// announceMembers names the groups whose members' addresses changed.
func (s *Service) announceMembers(tx *record.Tx, before, after *Port) error {
	was, is := members(before), members(after)
	for _, group := range slices.Compact(slices.Sorted(slices.Values(append(groupsOf(before), groupsOf(after)...)))) {
		if slices.Equal(was[group], is[group]) {
			continue
		}
		if refer, err := s.rules.Count(tx, record.Eq("remote_group_id", group)); err != nil || refer == 0 {
			if err != nil {
				return err
			}
			continue // whoever makes the first rule that does is told with the rule
		}
		if err := tx.Announce(changedMembers, group); err != nil {
			return err
		}
	}
	return nil
}

func groupsOf(p *Port) []string {
	if p == nil {
		return nil
	}
	return slices.Clone(p.SecurityGroups)
}

// members are the addresses that a port adds to each of its groups.
func members(p *Port) map[string][]string {
	m := map[string][]string{}
	if p == nil {
		return m
	}
	for _, g := range p.SecurityGroups {
		for _, prefix := range p.addresses() {
			m[g] = append(m[g], prefix.String())
		}
	}
	return m
}

// addressesGone takes floating IPs off addresses that the port no longer has.
func (s *Service) addressesGone(tx *record.Tx, before, after *Port) error {
	if before == nil {
		return nil
	}
	for _, ip := range before.FixedIPs {
		if after != nil && slices.Contains(after.FixedIPs, ip) {
			continue
		}
		s.freed(ip)
		on, err := s.floating.List(tx, record.Query{Where: []record.Condition{record.Eq("port_id", before.ID), record.Eq("fixed_ip_address", ip.Address.String())}})
		if err != nil {
			return err
		}
		for i := range on {
			if err := s.disassociate(tx, &on[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// addresses are what a port may send from, and what others may mean when they name its groups.
func (p *Port) addresses() []netip.Prefix {
	var list []netip.Prefix
	for _, ip := range p.FixedIPs {
		list = append(list, netip.PrefixFrom(ip.Address, ip.Address.BitLen()))
	}
	for _, pair := range p.AllowedAddressPairs {
		list = append(list, pair.Address)
	}
	return list
}
