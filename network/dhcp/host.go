//go:build linux

package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// taps are the devices of ports in a namespace.
func taps(namespace string) ([]string, error) {
	return hostnet.Devices(namespace, func(name string) bool { return strings.HasPrefix(name, driver.TapName("")) })
}

// configure gives the server's device its addresses and the namespace its default route, which its own clients
// (an operator's ping, the metadata proxy) take. It returns the device's index and the other taps that are there.
func configure(namespace, device string, want driver.DHCPServer) (index int, extra []string, err error) {
	extra, err = taps(namespace)
	if err != nil {
		return 0, nil, err
	}
	extra = slices.DeleteFunc(extra, func(name string) bool { return name == device })
	h, err := nl.Handle(namespace)
	if err != nil {
		return 0, nil, err
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		return 0, nil, fmt.Errorf("port %s: device %s: %w", want.PortID, device, err)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(link); err != nil {
			return 0, nil, fmt.Errorf("set %s up: %w", device, err)
		}
	}
	addresses := want.Addresses
	if want.MetadataAddress.IsValid() {
		own := netip.PrefixFrom(want.MetadataAddress, want.MetadataAddress.BitLen())
		addresses = append(addresses[:len(addresses):len(addresses)], own)
	}
	if err := setAddresses(h, link, addresses); err != nil {
		return 0, nil, err
	}
	return link.Attrs().Index, extra, setDefaultRoute(h, link, want.Subnets)
}

func setAddresses(h *netlink.Handle, link netlink.Link, want []netip.Prefix) error {
	have, err := hostnet.Addresses(h, link)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	present := make(map[netip.Prefix]netlink.Addr, len(have))
	for _, a := range have {
		if prefix, ok := hostnet.ToPrefix(a.IPNet); ok && (prefix.Addr().Is4() || !prefix.Addr().IsLinkLocalUnicast()) {
			present[prefix] = a
		}
	}
	for _, prefix := range want {
		if _, ok := present[prefix]; !ok {
			if err := h.AddrReplace(link, &netlink.Addr{IPNet: hostnet.ToIPNet(prefix)}); err != nil {
				return fmt.Errorf("address %s: %w", prefix, err)
			}
		}
		delete(present, prefix)
	}
	for prefix, a := range present {
		if err := h.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("take away address %s: %w", prefix, err)
		}
	}
	return nil
}

func setDefaultRoute(h *netlink.Handle, link netlink.Link, subnets []driver.DHCPSubnet) error {
	everywhere := hostnet.ToIPNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	for _, s := range subnets {
		if s.Gateway.Is4() {
			route := &netlink.Route{Dst: everywhere, Gw: s.Gateway.AsSlice(), LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_STATIC}
			route.SetFlag(netlink.FLAG_ONLINK)
			if err := h.RouteReplace(route); err != nil {
				return fmt.Errorf("default route by %s: %w", s.Gateway, err)
			}
			return nil
		}
	}
	if err := h.RouteDel(&netlink.Route{Dst: everywhere}); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove default route: %w", err)
	}
	return nil
}
