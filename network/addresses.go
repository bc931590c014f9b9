package network

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// searchBatch is how many taken values are read at a time while looking for a free one.
const searchBatch = 256

// addressText is an address as a claim: texts of one family sort like addresses.
func addressText(a netip.Addr) string { return hex.EncodeToString(a.AsSlice()) }

func checkCIDR(p netip.Prefix, version int) error {
	switch {
	case !p.IsValid():
		return badRequest("subnet", "a subnet must have a cidr")
	case version != 0 && version != 4 && version != 6:
		return invalid("Invalid input for ip_version. Reason: '%d' is not in [4, 6]", version)
	case version != 0 && (version == 4) != p.Addr().Is4():
		return invalid("cidr '%s' does not match the ip_version '%d'", p, version)
	case p != p.Masked():
		return invalid("Invalid CIDR %s for subnet: it has bits to the right of the network mask, use %s", p, p.Masked())
	case p.Bits() == 0, p.Addr().IsMulticast(), p.Addr().IsLoopback(), p.Addr().Is4() && p.Addr().As4()[0] == 0:
		return invalid("Invalid CIDR %s for subnet", p)
	case p.Addr().Is4() && p.Bits() > 30 && p.Bits() != 31 && p.Bits() != 32:
		return invalid("Invalid CIDR %s for subnet", p)
	}
	return nil
}

// last is the prefix's last address.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// usable says whether a host may have the address: not the network's own, not broadcast (RFC 3021: a /31 has neither).
func (n *Subnet) usable(a netip.Addr) bool {
	if !n.CIDR.Contains(a) {
		return false
	}
	if n.Version() == 6 {
		return a != n.CIDR.Addr() || n.CIDR.Bits() >= 127
	}
	return n.CIDR.Bits() >= 31 || a != n.CIDR.Addr() && a != last(n.CIDR)
}

// defaultPools are all usable addresses but the gateway's.
func defaultPools(p netip.Prefix, gateway netip.Addr) []Pool {
	start, end := p.Addr(), last(p)
	if p.Addr().Is4() && p.Bits() < 31 {
		start, end = start.Next(), end.Prev()
	} else if p.Addr().Is6() && p.Bits() < 127 {
		start = start.Next()
	}
	pools := []Pool{}
	add := func(from, to netip.Addr) {
		if from.IsValid() && to.IsValid() && from.Compare(to) <= 0 {
			pools = append(pools, Pool{from, to})
		}
	}
	if !gateway.IsValid() || gateway.Less(start) || end.Less(gateway) {
		add(start, end)
		return pools
	}
	if start != gateway {
		add(start, gateway.Prev())
	}
	if gateway != end {
		add(gateway.Next(), end)
	}
	return pools
}

// checkPools sorts the pools and refuses those that are outside or overlap.
func checkPools(n *Subnet) error {
	for _, p := range n.Pools {
		switch {
		case !p.Start.IsValid() || !p.End.IsValid() || p.Start.Is4() != p.End.Is4() || p.End.Less(p.Start) || p.Start.Is4() != n.CIDR.Addr().Is4():
			return refuse(ErrInvalid, "InvalidAllocationPool", "The allocation pool %s is not valid.", p)
		case !n.usable(p.Start) || !n.usable(p.End):
			return refuse(ErrInvalid, "OutOfBoundsAllocationPool", "The allocation pool %s spans beyond the subnet cidr %s.", p, n.CIDR)
		}
	}
	slices.SortFunc(n.Pools, func(a, b Pool) int { return a.Start.Compare(b.Start) })
	for i := 1; i < len(n.Pools); i++ {
		if a, b := n.Pools[i-1], n.Pools[i]; b.Start.Compare(a.End) <= 0 {
			return refuse(ErrConflict, "OverlappingAllocationPools", "Found overlapping allocation pools: %s %s for subnet %s.", a, b, n.CIDR)
		}
	}
	return nil
}

func gatewayOutsidePools(n *Subnet) error {
	for _, p := range n.Pools {
		if p.Contains(n.Gateway) {
			return refuse(ErrConflict, "GatewayConflictWithAllocationPools", "Gateway ip %s conflicts with allocation pool %s.", n.Gateway, p)
		}
	}
	return nil
}

// Contains says whether the address is in the pool.
func (p Pool) Contains(a netip.Addr) bool {
	return a.IsValid() && a.Is4() == p.Start.Is4() && p.Start.Compare(a) <= 0 && a.Compare(p.End) <= 0
}

// String is the API's way to name a pool.
func (p Pool) String() string { return p.Start.String() + "-" + p.End.String() }

// freeAddress is the lowest address of the subnet's pools that nobody has. It reads the claims from where the last
// search ended, so it stays quick in a large pool that is nearly full.
func (s *Service) freeAddress(tx *record.Tx, n *Subnet) (netip.Addr, error) {
	hint := s.hint(n.ID)
	found, err := s.searchAddress(tx, n, hint)
	if err == nil && !found.IsValid() && hint != "" {
		found, err = s.searchAddress(tx, n, "")
	}
	if err == nil && found.IsValid() {
		s.setHint(n.ID, addressText(found))
	}
	return found, err
}

func (s *Service) searchAddress(tx *record.Tx, n *Subnet, from string) (netip.Addr, error) {
	for _, pool := range n.Pools {
		if addressText(pool.End) < from {
			continue
		}
		next := pool.Start
		if f, ok := addressFromText(from); ok && next.Less(f) {
			next = f
		}
		found, err := s.searchPool(tx, n.ID, next, pool.End)
		if err != nil || found.IsValid() {
			return found, err
		}
	}
	return netip.Addr{}, nil
}

func (s *Service) searchPool(tx *record.Tx, subnetID string, next, end netip.Addr) (netip.Addr, error) {
	for {
		taken, err := s.store.ClaimedFrom(tx, addressSpace(subnetID), addressText(next), searchBatch)
		if err != nil {
			return netip.Addr{}, err
		}
		for _, t := range taken {
			if t != addressText(next) {
				return next, nil
			}
			if next == end {
				return netip.Addr{}, nil
			}
			next = next.Next()
		}
		if len(taken) < searchBatch {
			return next, nil
		}
	}
}

func addressFromText(t string) (netip.Addr, bool) {
	b, err := hex.DecodeString(t)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}

func (s *Service) hint(subnetID string) string {
	s.hints.Lock()
	defer s.hints.Unlock()
	return s.firstFree[subnetID]
}

func (s *Service) setHint(subnetID, address string) {
	s.hints.Lock()
	defer s.hints.Unlock()
	s.firstFree[subnetID] = address
}

func (s *Service) forgetHint(subnetID string) {
	s.hints.Lock()
	defer s.hints.Unlock()
	delete(s.firstFree, subnetID)
}

// freed lets the next search begin at the address, if it is lower than where it would have begun.
func (s *Service) freed(ip FixedIP) {
	s.hints.Lock()
	defer s.hints.Unlock()
	if t := addressText(ip.Address); t < s.firstFree[ip.SubnetID] {
		s.firstFree[ip.SubnetID] = t
	}
}

// freeMAC draws a MAC of OpenStack's range that the network does not have yet.
func (s *Service) freeMAC(tx *record.Tx, networkID string) (string, error) {
	for range 16 {
		var b [3]byte
		_, _ = rand.Read(b[:]) // never fails
		mac := fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2])
		holder, err := s.store.Holder(tx, "mac/"+networkID, mac)
		if err != nil || holder == "" {
			return mac, err
		}
	}
	return "", refuse(ErrUnavailable, "NetworkMacAddressGenerationFailure", "Unable to generate unique mac on network %s.", networkID)
}

// eui64 is the address that a host with the MAC gives itself (RFC 4291, appendix A).
func eui64(p netip.Prefix, mac string) (netip.Addr, error) {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return netip.Addr{}, invalid("'%s' is not a valid MAC address", mac)
	}
	b := p.Addr().As16()
	copy(b[8:], []byte{hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
	return netip.AddrFrom16(b), nil
}
