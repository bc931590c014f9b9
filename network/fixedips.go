package network

import (
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// FixedIPSpec asks for an address: this one, or any of this subnet.
type FixedIPSpec struct {
	SubnetID string
	Address  netip.Addr
}

// maxFixedIPs is how many addresses a port may have, as Neutron's max_fixed_ips_per_port was by default, times two.
const maxFixedIPs = 10

// assign gives the port its addresses: those asked for, or (nil) one of each family and all automatic ones.
// Addresses that the port has already, keep, stay.
func (s *Service) assign(tx *record.Tx, p *Port, asked *[]FixedIPSpec, keep []FixedIP) error {
	subnets, err := s.subnetsOf(tx, p.NetworkID)
	if err != nil {
		return err
	}
	if asked == nil {
		return s.assignAny(tx, p, subnets)
	}
	if len(*asked) > maxFixedIPs {
		return invalid("Exceeded maximum amount of fixed ips per port")
	}
	p.FixedIPs = []FixedIP{}
	// First those that name an address, so that a free one is not one of them.
	var open []*Subnet
	for _, want := range *asked {
		n, err := subnetFor(subnets, p, want)
		if err != nil {
			return err
		}
		if !want.Address.IsValid() && !n.automatic() {
			open = append(open, n)
			continue
		}
		if err := s.assignExact(tx, p, n, want.Address, keep); err != nil {
			return err
		}
	}
	for _, n := range open {
		if err := s.assignFree(tx, p, n, keep); err != nil {
			return err
		}
	}
	return s.assignAutomatic(p, subnets)
}

// subnetFor finds the subnet that a wish means.
func subnetFor(subnets []Subnet, p *Port, want FixedIPSpec) (*Subnet, error) {
	if want.SubnetID == "" {
		if !want.Address.IsValid() {
			return nil, invalid("IP allocation requires subnet_id or ip_address")
		}
		for i := range subnets {
			if subnets[i].CIDR.Contains(want.Address) {
				return &subnets[i], nil
			}
		}
		return nil, refuse(ErrInvalid, "InvalidIpForNetwork", "IP address %s is not a valid IP for any of the subnets on the specified network.", want.Address)
	}
	i := slices.IndexFunc(subnets, func(n Subnet) bool { return n.ID == want.SubnetID })
	if i < 0 {
		return nil, invalid("Failed to create port on network %s, because fixed_ips included invalid subnet %s", p.NetworkID, want.SubnetID)
	}
	return &subnets[i], nil
}

func (s *Service) assignExact(tx *record.Tx, p *Port, n *Subnet, address netip.Addr, keep []FixedIP) error {
	own := netip.Addr{}
	if n.automatic() && !p.ofRouter() {
		var err error
		if own, err = eui64(n.CIDR, p.MAC); err != nil {
			return err
		}
	}
	if !address.IsValid() {
		address = own
		if !address.IsValid() { // a router's port in an automatic subnet
			return s.assignFree(tx, p, n, keep)
		}
	}
	if !n.usable(address) {
		return refuse(ErrInvalid, "InvalidIpForSubnet", "IP address %s is not a valid IP for the specified subnet.", address)
	}
	if own.IsValid() && own != address {
		return refuse(ErrInvalid, "AllocationOnAutoAddressSubnet", "IPv6 address %s cannot be directly assigned to a port on subnet %s as the subnet is configured for automatic addresses", address, n.ID)
	}
	ip := FixedIP{n.ID, address}
	if slices.Contains(p.FixedIPs, ip) {
		return invalid("Duplicate IP address '%s'", address)
	}
	if !slices.Contains(keep, ip) {
		holder, err := s.store.Holder(tx, addressSpace(n.ID), addressText(address))
		if err != nil {
			return err
		}
		if holder != "" && holder != p.ID {
			return refuse(ErrConflict, "IpAddressAlreadyAllocated", "IP address %s already allocated in subnet %s", address, n.ID)
		}
	}
	p.FixedIPs = append(p.FixedIPs, ip)
	return nil
}

// assignFree takes a free address of the subnet; one that the port has there already is kept.
func (s *Service) assignFree(tx *record.Tx, p *Port, n *Subnet, keep []FixedIP) error {
	for _, ip := range keep {
		if ip.SubnetID == n.ID && !slices.Contains(p.FixedIPs, ip) {
			p.FixedIPs = append(p.FixedIPs, ip)
			return nil
		}
	}
	address, err := s.freeAddressBeside(tx, n, p.FixedIPs)
	if err != nil {
		return err
	}
	if !address.IsValid() {
		return exhausted(p.NetworkID)
	}
	p.FixedIPs = append(p.FixedIPs, FixedIP{n.ID, address})
	return nil
}

// freeAddressBeside is freeAddress where the port that is being made has addresses that no claim holds yet.
func (s *Service) freeAddressBeside(tx *record.Tx, n *Subnet, own []FixedIP) (netip.Addr, error) {
	address, err := s.freeAddress(tx, n)
	for err == nil && address.IsValid() && slices.Contains(own, FixedIP{n.ID, address}) {
		address, err = s.searchAddress(tx, n, addressText(address.Next()))
	}
	return address, err
}

func exhausted(networkID string) error {
	return refuse(ErrExhausted, "IpAddressGenerationFailure", "No more IP addresses available on network %s.", networkID)
}

// assignAny takes an address of each family from the first subnet that has one.
func (s *Service) assignAny(tx *record.Tx, p *Port, subnets []Subnet) error {
	p.FixedIPs = []FixedIP{}
	for _, version := range []int{4, 6} {
		full, done := false, false
		for i := range subnets {
			n := &subnets[i]
			if n.Version() != version || n.automatic() && !p.ofRouter() || !n.serves(p.DeviceOwner) || done {
				continue
			}
			address, err := s.freeAddress(tx, n)
			if err != nil {
				return err
			}
			full = true
			if address.IsValid() {
				p.FixedIPs = append(p.FixedIPs, FixedIP{n.ID, address})
				done = true
			}
		}
		if full && !done {
			return exhausted(p.NetworkID)
		}
	}
	return s.assignAutomatic(p, subnets)
}

// serves says whether the subnet gives addresses to ports of that owner.
func (n *Subnet) serves(owner string) bool {
	return len(n.ServiceTypes) == 0 || slices.Contains(n.ServiceTypes, owner)
}

// assignAutomatic adds the addresses that a host gives itself.
func (s *Service) assignAutomatic(p *Port, subnets []Subnet) error {
	if p.ofRouter() || p.DeviceOwner == OwnerDHCP || p.DeviceOwner == OwnerFloatingIP {
		return nil
	}
	for i := range subnets {
		n := &subnets[i]
		if !n.automatic() || slices.ContainsFunc(p.FixedIPs, func(ip FixedIP) bool { return ip.SubnetID == n.ID }) {
			continue
		}
		address, err := eui64(n.CIDR, p.MAC)
		if err != nil {
			return err
		}
		p.FixedIPs = append(p.FixedIPs, FixedIP{n.ID, address})
	}
	return nil
}
