//go:build linux

package netnsrouter

import (
	"net"
	"net/netip"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
)

// metadataAddress is where servers ask who they are.
var metadataAddress = netip.AddrFrom4([4]byte{169, 254, 169, 254})

const (
	innerPrefix = "qr-"
	outerPrefix = "qg-"
)

func isLeg(device string) bool {
	return strings.HasPrefix(device, innerPrefix) || strings.HasPrefix(device, outerPrefix)
}

// plan is a router's wish, checked, in the kernel's terms.
type plan struct {
	namespace string
	legs      []leg
	// outer is the gateway's device, or empty.
	outer string
	// hide is the address that inner networks are hidden behind; hairpin is the one that inner callers of a
	// floating IP are given. Both may be invalid: none.
	hide, hairpin netip.Addr
	// floating maps external to inner addresses.
	floating map[netip.Addr]netip.Addr
	routes   []route
	metadata uint16
	ipv6     bool
}

type leg struct {
	driver.RouterInterface
	device string
	// addresses are the leg's own and, on the gateway's leg, the floating ones.
	addresses []netip.Prefix
}

type route struct {
	destination netip.Prefix
	nextHop     netip.Addr
	// device is set where the next hop may lie outside the device's own subnets.
	device string
}

func invalid(format string, args ...any) error { return fault.Wrap(fault.ErrInvalid, format, args...) }

func newPlan(want driver.Router) (*plan, error) {
	if err := hostnet.CheckID("router", want.ID); err != nil {
		return nil, err
	}
	p := &plan{
		namespace: driver.RouterNamespace(want.ID),
		floating:  make(map[netip.Addr]netip.Addr, len(want.FloatingIPs)),
		metadata:  want.MetadataPort,
	}
	for _, wanted := range want.Interfaces {
		if err := p.addLeg(want.ID, wanted, driver.RouterPortName(wanted.PortID)); err != nil {
			return nil, err
		}
	}
	if err := p.addGateway(want); err != nil {
		return nil, err
	}
	for _, r := range want.Routes {
		if !r.Destination.IsValid() || !r.NextHop.IsValid() || r.Destination.Addr().Is4() != r.NextHop.Is4() {
			return nil, invalid("router %s: route to %s by %s", want.ID, r.Destination, r.NextHop)
		}
		p.routes = append(p.routes, route{destination: r.Destination.Masked(), nextHop: r.NextHop})
	}
	return p, nil
}

func (p *plan) addLeg(router string, wanted driver.RouterInterface, device string) error {
	if err := hostnet.CheckID("router "+router+": port", wanted.PortID); err != nil {
		return err
	}
	if _, err := net.ParseMAC(wanted.MAC); err != nil {
		return invalid("router %s: port %s: MAC address %q", router, wanted.PortID, wanted.MAC)
	}
	if p.wants(device) {
		return invalid("router %s: port %s: another port has the device name %s", router, wanted.PortID, device)
	}
	for _, a := range wanted.Addresses {
		if !a.IsValid() || a.Addr().Is4In6() || a.Addr().Zone() != "" {
			return invalid("router %s: port %s: address %q", router, wanted.PortID, a)
		}
		p.ipv6 = p.ipv6 || a.Addr().Is6()
	}
	addresses := append([]netip.Prefix(nil), wanted.Addresses...)
	p.legs = append(p.legs, leg{RouterInterface: wanted, device: device, addresses: addresses})
	return nil
}

func (p *plan) addGateway(want driver.Router) error {
	if want.Gateway == nil {
		if len(want.FloatingIPs) > 0 {
			return invalid("router %s: floating IPs without a gateway", want.ID)
		}
		return nil
	}
	p.outer = driver.GatewayPortName(want.Gateway.PortID)
	if err := p.addLeg(want.ID, want.Gateway.RouterInterface, p.outer); err != nil {
		return err
	}
	outer := &p.legs[len(p.legs)-1]
	for _, a := range outer.Addresses {
		if a.Addr().Is4() {
			p.hairpin = a.Addr()
			break
		}
	}
	if want.Gateway.SNAT {
		p.hide = p.hairpin
	}
	for _, hop := range want.Gateway.NextHops {
		if !hop.IsValid() || hop.Is4In6() {
			return invalid("router %s: next hop %q", want.ID, hop)
		}
		everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if hop.Is6() {
			everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		p.routes = append(p.routes, route{destination: everywhere, nextHop: hop, device: p.outer})
	}
	for _, f := range want.FloatingIPs {
		if !f.External.Is4() || !f.Internal.Is4() {
			return invalid("router %s: floating IP %s: %s to %s is not IPv4", want.ID, f.ID, f.External, f.Internal)
		}
		if _, taken := p.floating[f.External]; taken {
			return invalid("router %s: floating IP %s: %s is there twice", want.ID, f.ID, f.External)
		}
		p.floating[f.External] = f.Internal
		if !hasAddress(outer.Addresses, f.External) {
			outer.addresses = append(outer.addresses, netip.PrefixFrom(f.External, 32))
		}
	}
	return nil
}

func hasAddress(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, p := range prefixes {
		if p.Addr() == address {
			return true
		}
	}
	return false
}

func (p *plan) wants(device string) bool {
	for _, l := range p.legs {
		if l.device == device {
			return true
		}
	}
	return false
}

// port is the leg as the fabric is to plug it in.
func (p *plan) port(l leg) driver.Port {
	return driver.Port{
		ID: l.PortID, NetworkID: l.NetworkID, MAC: l.MAC, MTU: l.MTU,
		Endpoint: driver.Endpoint{Namespace: p.namespace, Device: l.device},
	}
}
