//go:build linux

package netnsrouter

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/kintoun/kintoun/network/internal/hostnet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// sysctls of every router (Documentation/networking/ip-sysctl.rst). Answers to ARP come only from the device that
// has the address, a packet's source has to lie where it came from, and hosts are not told of shorter ways, which a
// server's port would not let pass.
var sysctls = [][2]string{
	{"ipv4/ip_forward", "1"},
	{"ipv4/conf/all/rp_filter", "1"},
	{"ipv4/conf/all/arp_ignore", "1"},
	{"ipv4/conf/all/arp_announce", "2"},
	{"ipv4/conf/all/promote_secondaries", "1"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/conf/all/accept_redirects", "0"},
}

var sysctls6 = [][2]string{
	{"ipv6/conf/all/forwarding", "1"},
	{"ipv6/conf/default/accept_ra", "0"},
}

func (p *plan) setSysctls() error {
	all := sysctls
	if p.ipv6 {
		all = append(all[:len(all):len(all)], sysctls6...)
	}
	for _, s := range all {
		path := "/proc/sys/net/" + s[0]
		have, err := os.ReadFile(path)
		if err == nil && string(bytes.TrimSpace(have)) == s[1] {
			continue
		}
		if err == nil {
			err = os.WriteFile(path, []byte(s[1]), 0o644)
		}
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", s[0], err)
		}
	}
	return nil
}

// setAddresses gives every leg its addresses, in order, and takes away others. Connections through a floating IP
// that is taken away, or that was given to another server (moved), end with it.
func (p *plan) setAddresses(h *netlink.Handle, devices map[string]netlink.Link, moved []netip.Addr) error {
	have, err := hostnet.Addresses(h, nil)
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	type place struct {
		index  int
		prefix netip.Prefix
	}
	present := make(map[place]bool, len(have))
	for _, a := range have {
		if prefix, ok := hostnet.ToPrefix(a.IPNet); ok && (prefix.Addr().Is4() || !prefix.Addr().IsLinkLocalUnicast()) {
			present[place{a.LinkIndex, prefix}] = true
		}
	}
	unused := make(map[int]string)
	var added []claim
	for _, leg := range p.legs {
		link := devices[leg.device]
		if link == nil {
			return fmt.Errorf("port %s: the fabric made no device %s", leg.PortID, leg.device)
		}
		if link.Attrs().Flags&net.FlagUp == 0 {
			if err := h.LinkSetUp(link); err != nil {
				return fmt.Errorf("set %s up: %w", leg.device, err)
			}
		}
		index := link.Attrs().Index
		unused[index] = leg.device
		for _, prefix := range leg.addresses {
			at := place{index, prefix}
			if !present[at] {
				if err := h.AddrReplace(link, toAddr(prefix)); err != nil {
					return fmt.Errorf("address %s on %s: %w", prefix, leg.device, err)
				}
				added = append(added, claim{link, prefix.Addr()})
			}
			delete(present, at)
		}
	}
	if err := announce(added); err != nil {
		return err
	}
	for at := range present {
		if unused[at.index] == p.outer && p.outer != "" {
			moved = append(moved, at.prefix.Addr())
		}
	}
	if err := forget(h, moved); err != nil {
		return err
	}
	for at := range present {
		if device := unused[at.index]; device != "" {
			err := h.AddrDel(devices[device], toAddr(at.prefix))
			if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("take %s from %s: %w", at.prefix, device, err)
			}
		}
	}
	return nil
}

func toAddr(prefix netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: hostnet.ToIPNet(prefix)}
	if prefix.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// translated matches the connections that were translated to or from given external addresses.
type translated map[netip.Addr]bool

func (t translated) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	in, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	out, _ := netip.AddrFromSlice(flow.Reverse.DstIP)
	return t[in.Unmap()] || t[out.Unmap()]
}

// forget ends the translated connections of external addresses.
func forget(h *netlink.Handle, external []netip.Addr) error {
	if len(external) == 0 {
		return nil
	}
	match := make(translated, len(external))
	for _, a := range external {
		match[a] = true
	}
	_, err := hostnet.Read(func() (uint, error) {
		return h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, match)
	})
	if err != nil {
		return fmt.Errorf("end connections of %v: %w", external, err)
	}
	return nil
}

// setRoutes makes the static routes those of the plan. One that the kernel refuses does not keep back the others.
func (p *plan) setRoutes(h *netlink.Handle, devices map[string]netlink.Link) []error {
	families := []int{netlink.FAMILY_V4}
	if p.ipv6 {
		families = append(families, netlink.FAMILY_V6)
	}
	have := make(map[netip.Prefix]netlink.Route)
	filter := &netlink.Route{Protocol: unix.RTPROT_STATIC, Table: unix.RT_TABLE_MAIN}
	for _, family := range families {
		routes, err := hostnet.Read(func() ([]netlink.Route, error) {
			return h.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		})
		if err != nil {
			return []error{fmt.Errorf("list routes: %w", err)}
		}
		for _, r := range routes {
			if prefix, ok := hostnet.ToPrefix(r.Dst); ok {
				have[prefix] = r
			}
		}
	}
	// Of two routes to one destination the later counts: an explicit default route replaces the gateway's.
	want := make(map[netip.Prefix]route, len(p.routes))
	for _, r := range p.routes {
		want[r.destination] = r
	}
	var errs []error
	for destination, r := range want {
		present, ok := have[destination]
		delete(have, destination)
		if ok && present.Gw.Equal(r.nextHop.AsSlice()) && (r.device == "" || present.LinkIndex == devices[r.device].Attrs().Index) {
			continue
		}
		add := &netlink.Route{Dst: hostnet.ToIPNet(destination), Gw: r.nextHop.AsSlice(), Protocol: unix.RTPROT_STATIC}
		if r.device != "" {
			add.LinkIndex = devices[r.device].Attrs().Index
			add.SetFlag(netlink.FLAG_ONLINK)
		}
		if err := h.RouteReplace(add); err != nil {
			errs = append(errs, fmt.Errorf("route to %s by %s: %w", destination, r.nextHop, err))
		}
	}
	for destination, r := range have {
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route to %s: %w", destination, err))
		}
	}
	return errs
}
