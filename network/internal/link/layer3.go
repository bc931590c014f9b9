//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Layer3 is a device's IPv4 addresses, and the routes by it that somebody made (the kernel makes the others itself).
type Layer3 struct {
	Addresses []netip.Prefix `json:"addresses"`
	Routes    []Route        `json:"routes"`
}

// Route is one in the main table.
type Route struct {
	// Destination is 0.0.0.0/0 for the default route.
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway"`
	Metric      int          `json:"metric"`
}

// Has says whether the address is among them.
func (l Layer3) Has(address netip.Addr) bool {
	return slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return p.Addr() == address })
}

// ReadLayer3 returns what a device has.
func (h Host) ReadLayer3(device string) (Layer3, error) {
	var result Layer3
	err := h.Do(func(handle *netlink.Handle) error {
		l, err := handle.LinkByName(device)
		if err != nil {
			return fmt.Errorf("device %s: %w", device, err)
		}
		addresses, err := handle.AddrList(l, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("addresses of %s: %w", device, err)
		}
		for _, a := range addresses {
			if p, ok := prefixOf(a.IPNet); ok {
				result.Addresses = append(result.Addresses, p)
			}
		}
		routes, err := handle.RouteList(l, netlink.FAMILY_V4)
		if err != nil {
			return fmt.Errorf("routes of %s: %w", device, err)
		}
		for _, r := range routes {
			destination, ok := prefixOf(r.Dst)
			gateway, _ := netip.AddrFromSlice(r.Gw.To4())
			if r.Dst == nil {
				destination, ok = netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
			}
			if ok && r.Protocol != unix.RTPROT_KERNEL {
				result.Routes = append(result.Routes, Route{Destination: destination, Gateway: gateway, Metric: r.Priority})
			}
		}
		return nil
	})
	return result, err
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP.To4())
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(address, ones), ok
}

// MoveLayer3 takes the addresses from one device, if it has them, and gives them and the routes to another.
func (h Host) MoveLayer3(want Layer3, from, to string) error {
	return h.Do(func(handle *netlink.Handle) error {
		source, err := handle.LinkByName(from)
		if err != nil {
			return fmt.Errorf("device %s: %w", from, err)
		}
		target, err := handle.LinkByName(to)
		if err != nil {
			return fmt.Errorf("device %s: %w", to, err)
		}
		for _, l := range []netlink.Link{source, target} {
			if err := up(handle, l); err != nil {
				return err
			}
		}
		for _, p := range want.Addresses {
			address := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}}
			if err := handle.AddrDel(source, address); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("take %s from %s: %w", p, from, err)
			}
			if err := handle.AddrReplace(target, address); err != nil {
				return fmt.Errorf("give %s to %s: %w", p, to, err)
			}
			if err := announce(target.Attrs().Index, target.Attrs().HardwareAddr, p.Addr()); err != nil {
				return err
			}
		}
		for _, r := range want.Routes {
			route := &netlink.Route{LinkIndex: target.Attrs().Index, Priority: r.Metric, Gw: r.Gateway.AsSlice(),
				Dst: &net.IPNet{IP: r.Destination.Addr().AsSlice(), Mask: net.CIDRMask(r.Destination.Bits(), 32)}}
			if err := handle.RouteReplace(route); err != nil {
				return fmt.Errorf("route to %s by %s: %w", r.Destination, to, err)
			}
		}
		return nil
	})
}
