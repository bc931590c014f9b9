//go:build linux

package dhcp

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
)

// defaultLease is for subnets that say nothing, as OpenStack's own default.
const defaultLease = 24 * time.Hour

// forever is the lease time without an end (RFC 2131 section 3.3).
const forever = 0xffffffff * time.Second

// config is what a server answers from. It never changes once made.
type config struct {
	leases map[mac][]lease
}

type mac [6]byte

type lease struct {
	address  netip.Addr
	hostname string
	subnet   *subnet
}

// subnet is what all clients of one subnet are told.
type subnet struct {
	prefix netip.Prefix
	// server identifies the server to clients of the subnet.
	server  net.IP
	options []dhcpv4.Option
	// timing options are for those who get an address, not for those who have one by other means.
	timing []dhcpv4.Option
}

func newConfig(want driver.DHCPServer) (*config, error) {
	if err := hostnet.CheckID("DHCP server: port", want.PortID); err != nil {
		return nil, err
	}
	if _, err := net.ParseMAC(want.MAC); err != nil {
		return nil, invalid("DHCP server of network %s: MAC address %q", want.NetworkID, want.MAC)
	}
	for _, a := range want.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() || a.Addr().Zone() != "" {
			return nil, invalid("DHCP server of network %s: address %q", want.NetworkID, a)
		}
	}
	var subnets []*subnet
	for _, s := range want.Subnets {
		if !s.Prefix.IsValid() {
			return nil, invalid("DHCP server of network %s: subnet %q", want.NetworkID, s.Prefix)
		}
		if !s.Prefix.Addr().Is4() {
			continue
		}
		made, err := newSubnet(want, s)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, made)
	}
	c := &config{leases: make(map[mac][]lease, len(want.Leases))}
	for _, l := range want.Leases {
		hardware, err := net.ParseMAC(l.MAC)
		if err != nil || len(hardware) != 6 || !l.Address.IsValid() {
			return nil, invalid("DHCP server of network %s: lease of %q to %q", want.NetworkID, l.Address, l.MAC)
		}
		// An address of a subnet without DHCP is no business of ours.
		for _, s := range subnets {
			if s.prefix.Contains(l.Address) {
				key := mac(hardware)
				c.leases[key] = append(c.leases[key], lease{address: l.Address, hostname: l.Hostname, subnet: s})
				break
			}
		}
	}
	return c, nil
}

func newSubnet(want driver.DHCPServer, s driver.DHCPSubnet) (*subnet, error) {
	server, ok := serverAddress(want.Addresses, s.Prefix)
	if !ok {
		return nil, invalid("DHCP server of network %s: it has no IPv4 address for subnet %s", want.NetworkID, s.Prefix)
	}
	made := &subnet{prefix: s.Prefix.Masked(), server: server.AsSlice()}
	mask := net.CIDRMask(s.Prefix.Bits(), 32)
	made.options = append(made.options, dhcpv4.OptSubnetMask(mask))
	if s.Prefix.Bits() < 31 {
		broadcast := made.prefix.Addr().As4()
		for i := range broadcast {
			broadcast[i] |= ^mask[i]
		}
		made.options = append(made.options, dhcpv4.OptBroadcastAddress(broadcast[:]))
	}
	if s.Gateway.Is4() {
		made.options = append(made.options, dhcpv4.OptRouter(s.Gateway.AsSlice()))
	}
	var resolvers []net.IP
	for _, dns := range s.DNS {
		if dns.Is4() {
			resolvers = append(resolvers, dns.AsSlice())
		}
	}
	if len(resolvers) > 0 {
		made.options = append(made.options, dhcpv4.OptDNS(resolvers...))
	}
	if s.Domain != "" {
		made.options = append(made.options, dhcpv4.OptDomainName(s.Domain))
	}
	if want.MTU > 0 && want.MTU < 1<<16 {
		made.options = append(made.options, dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{byte(want.MTU >> 8), byte(want.MTU)}))
	}
	if routes := classlessRoutes(want.MetadataAddress, server, s); len(routes) > 0 {
		made.options = append(made.options, dhcpv4.OptClasslessStaticRoute(routes...))
	}
	made.timing = timing(s.LeaseSeconds)
	return made, nil
}

// serverAddress is the server's own address in the subnet, or else any that it has.
func serverAddress(addresses []netip.Prefix, subnet netip.Prefix) (found netip.Addr, ok bool) {
	for _, a := range addresses {
		if !a.Addr().Is4() {
			continue
		}
		if subnet.Contains(a.Addr()) {
			return a.Addr(), true
		}
		if !ok {
			found, ok = a.Addr(), true
		}
	}
	return found, ok
}

// classlessRoutes are for option 121 (RFC 3442). A client that understands it ignores the router option,
// so the default route has to be among them.
func classlessRoutes(metadata, server netip.Addr, s driver.DHCPSubnet) dhcpv4.Routes {
	var routes dhcpv4.Routes
	add := func(destination netip.Prefix, hop netip.Addr) {
		routes = append(routes, &dhcpv4.Route{Dest: hostnet.ToIPNet(destination), Router: hop.AsSlice()})
	}
	for _, r := range s.Routes {
		if r.Destination.IsValid() && r.Destination.Addr().Is4() && r.NextHop.Is4() {
			add(r.Destination.Masked(), r.NextHop)
		}
	}
	if metadata.Is4() {
		add(netip.PrefixFrom(metadata, 32), server)
	}
	if len(routes) > 0 && s.Gateway.Is4() {
		add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), s.Gateway)
	}
	return routes
}

func timing(seconds uint32) []dhcpv4.Option {
	length := time.Duration(seconds) * time.Second
	if length == 0 {
		length = defaultLease
	}
	options := []dhcpv4.Option{dhcpv4.OptIPAddressLeaseTime(length)}
	if length == forever {
		return options
	}
	return append(options, dhcpv4.OptRenewTimeValue(length/2), dhcpv4.OptRebindingTimeValue(length/8*7))
}
