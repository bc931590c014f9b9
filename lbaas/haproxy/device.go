//go:build linux

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// deviceName is the device of a port as operators of OpenStack know it: tapXXXXXXXX-XX.
func deviceName(portID string) string {
	name := "tap" + portID
	return name[:min(len(name), 14)]
}

// plug gives the balancer its namespace, and in it a device with the virtual address.
func (d *Driver) plug(ctx context.Context, f files, want driver.Balancer) error {
	port := want.Frontend.PortID
	if old, err := f.pluggedPort(); err != nil {
		return err
	} else if old != "" && old != port {
		if err := d.unplug(ctx, f); err != nil {
			return err
		}
	}
	if err := netns.Create(Namespace(want.ID)); err != nil {
		return err
	}
	// Before the device: what is plugged in must be known to whoever removes it.
	if err := replaceFile(f.port(), port); err != nil {
		return err
	}
	if err := d.plugger.Plug(ctx, port, Namespace(want.ID), deviceName(port)); err != nil {
		return fmt.Errorf("plug port %s: %w", port, err)
	}
	if err := configureDevice(Namespace(want.ID), deviceName(port), want.Frontend); err != nil {
		return fmt.Errorf("device %s: %w", deviceName(port), err)
	}
	return nil
}

// unplug gives back the port that the balancer has.
func (d *Driver) unplug(ctx context.Context, f files) error {
	port, err := f.pluggedPort()
	if err != nil || port == "" {
		return err
	}
	if err := d.plugger.Unplug(ctx, port); err != nil {
		return fmt.Errorf("unplug port %s: %w", port, err)
	}
	return os.Remove(f.port())
}

func (f files) pluggedPort() (string, error) {
	data, err := os.ReadFile(f.port())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

// configureDevice makes the device be up with the address and the route, and no other address of its scope.
func configureDevice(namespace, device string, frontend driver.Frontend) error {
	h, err := nl.Handle(namespace)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(device)
	if err != nil {
		return err
	}
	if err := configureLink(h, link, namespace, frontend); err != nil {
		return err
	}
	if err := configureAddress(h, link, frontend); err != nil {
		return err
	}
	return configureRoute(h, link, frontend)
}

func configureLink(h *netlink.Handle, link netlink.Link, namespace string, frontend driver.Frontend) error {
	attrs := link.Attrs()
	if frontend.MAC != "" && !strings.EqualFold(attrs.HardwareAddr.String(), frontend.MAC) {
		mac, err := net.ParseMAC(frontend.MAC)
		if err != nil {
			return err
		}
		if err := h.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("MAC address: %w", err)
		}
	}
	if frontend.MTU > 0 && attrs.MTU != frontend.MTU {
		if err := h.LinkSetMTU(link, frontend.MTU); err != nil {
			return fmt.Errorf("MTU %d: %w", frontend.MTU, err)
		}
	}
	if attrs.Flags&net.FlagUp != 0 {
		return nil
	}
	// Neighbours may know the address at another place: have the kernel announce it. Where it cannot, they find out
	// in their own time.
	_ = netns.Do(namespace, func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", attrs.Name, "arp_notify"), []byte("1"), 0o644)
	})
	return h.LinkSetUp(link)
}

func configureAddress(h *netlink.Handle, link netlink.Link, frontend driver.Frontend) error {
	want := frontend.Address
	want6 := want.Addr().Is6() && !want.Addr().Is4In6()
	existing, err := h.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	found := false
	for _, a := range existing {
		ones, _ := a.Mask.Size()
		switch {
		case a.IP.Equal(want.Addr().AsSlice()) && ones == want.Bits():
			found = true
		case a.IP.To4() == nil && a.Scope == int(netlink.SCOPE_LINK):
			// The kernel's own link-local address.
		default:
			if err := h.AddrDel(link, &a); err != nil {
				return fmt.Errorf("remove address %s: %w", a.IPNet, err)
			}
		}
	}
	if found {
		return nil
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP: want.Addr().Unmap().AsSlice(), Mask: net.CIDRMask(want.Bits(), want.Addr().BitLen()),
	}}
	if want6 {
		// Nobody else has the address, and HAProxy could not listen on it before that was probed.
		addr.Flags = unix.IFA_F_NODAD
	} else if want.Bits() < 31 {
		addr.Broadcast = broadcast(addr.IPNet)
	}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", want, err)
	}
	return nil
}

// broadcast is the last address of a subnet.
func broadcast(n *net.IPNet) net.IP {
	ip := make(net.IP, len(n.IP))
	for i := range ip {
		ip[i] = n.IP[i] | ^n.Mask[i]
	}
	return ip
}

func configureRoute(h *netlink.Handle, link netlink.Link, frontend driver.Frontend) error {
	family, everywhere := netlink.FAMILY_V4, &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if frontend.Address.Addr().Is6() {
		family, everywhere = netlink.FAMILY_V6, &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	routes, err := h.RouteList(link, family)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Gw == nil {
			continue
		}
		if frontend.Gateway.IsValid() && r.Gw.Equal(frontend.Gateway.AsSlice()) {
			return nil
		}
		if err := h.RouteDel(&r); err != nil {
			return fmt.Errorf("remove route by %s: %w", r.Gw, err)
		}
	}
	if !frontend.Gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere, Gw: frontend.Gateway.AsSlice()}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("default route by %s: %w", frontend.Gateway, err)
	}
	return nil
}
