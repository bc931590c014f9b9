//go:build linux

// Package hostnet holds what the network drivers for Linux namespaces share.
package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attempts at reading a list that the kernel changes meanwhile.
const attempts = 50

// Read reads a list from the kernel, again where the list changed while it was read.
func Read[T any](list func() (T, error)) (result T, err error) {
	for range attempts {
		if result, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return result, err
}

// Links lists the devices of the handle's namespace.
func Links(h *netlink.Handle) ([]netlink.Link, error) { return Read(h.LinkList) }

// Addresses lists the addresses of one device, or of all where link is nil.
func Addresses(h *netlink.Handle, link netlink.Link) ([]netlink.Addr, error) {
	return Read(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_ALL) })
}

// Unplug removes the ports that have one of the given devices in a namespace. A device's name holds only the start of
// its port's identifier, so the fabric is asked which ports there are; names says what devices a port may have. A device that no port
// claims, which a process that was killed may have left, is deleted.
func Unplug(ctx context.Context, ports driver.Ports, namespace string, devices []string, names ...func(portID string) string) error {
	if len(devices) == 0 {
		return nil
	}
	ids, err := ports.List(ctx)
	if err != nil {
		return err
	}
	gone := make(map[string]bool, len(devices))
	for _, device := range devices {
		gone[device] = true
	}
	for _, id := range ids {
		for _, name := range names {
			if gone[name(id)] {
				if err := ports.Remove(ctx, id); err != nil {
					return err
				}
				break
			}
		}
	}
	return deleteDevices(namespace, gone)
}

func deleteDevices(namespace string, names map[string]bool) error {
	h, err := nl.Handle(namespace)
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := Links(h)
	if err != nil {
		return err
	}
	for _, link := range links {
		if names[link.Attrs().Name] {
			if err := h.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				return fmt.Errorf("delete device %s in %s: %w", link.Attrs().Name, namespace, err)
			}
		}
	}
	return nil
}

// ToIPNet is prefix with all bits of its address, as netlink has addresses.
func ToIPNet(prefix netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
}

// ToPrefix is the reverse of [ToIPNet]; false where n is none.
func ToPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), ones), ok
}

// CheckID refuses identifiers that could not be part of a file's name; what says whose it is.
func CheckID(what, id string) error {
	if id == "" || len(id) > 200 || strings.ContainsAny(id, "/\x00") {
		return fault.Wrap(fault.ErrInvalid, "%s: %q is no identifier", what, id)
	}
	return nil
}

// Devices names the interfaces of a namespace that are wanted.
func Devices(namespace string, wanted func(name string) bool) ([]string, error) {
	h, err := nl.Handle(namespace)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := Links(h)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, link := range links {
		if name := link.Attrs().Name; wanted(name) {
			found = append(found, name)
		}
	}
	return found, nil
}

// Identifiers are what follows the prefix in the names of this host's namespaces.
func Identifiers(prefix string) ([]string, error) {
	names, err := netns.List()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, prefix); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
