//go:build linux

// Package link makes the devices that fabrics share: bridges, tap devices and veth pairs, in the network namespace that
// plays the host. A device's full identifier, of which its name has room for a part, is in its alias (ip-link(8)), so
// that the kernel alone knows what exists.
//
// Every function makes things as wanted, is cheap when they already are, and goes on where a killed process stopped.
// Functions are safe for concurrent use on different devices.
package link

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Kinds of things that aliases name.
const (
	portAlias    = "kintoun:port:"
	networkAlias = "kintoun:network:"
	// A physical network's bridge that was made here, and goes with its network.
	madeAlias = "kintoun:made-for-network:"
)

// A Host is the network namespace that plays the host.
type Host struct {
	// Namespace is its name; empty is the process's own.
	Namespace string
}

// Do runs fn on a thread inside the host, with a netlink connection there. fn must not start goroutines.
func (h Host) Do(fn func(*netlink.Handle) error) error {
	return netns.Do(h.Namespace, func() error {
		handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		defer handle.Close()
		return fn(handle)
	})
}

// find returns the device of that name, or nil.
func find(handle *netlink.Handle, name string) (netlink.Link, error) {
	l, err := handle.LinkByName(name)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	return l, nil
}

func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}

// list returns all devices.
func list(handle *netlink.Handle) ([]netlink.Link, error) {
	for {
		links, err := handle.LinkList()
		// The kernel says when devices came or went meanwhile, and the list may miss some.
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list devices: %w", err)
		}
		return links, nil
	}
}

func remove(handle *netlink.Handle, l netlink.Link) error {
	if err := handle.LinkDel(l); err != nil && !missing(err) {
		return fmt.Errorf("remove device %s: %w", l.Attrs().Name, err)
	}
	return nil
}

// settle gives a device its MTU and brings it up, without addresses of the host's own.
func settle(handle *netlink.Handle, l netlink.Link, mtu int) error {
	if mtu > 0 && l.Attrs().MTU != mtu {
		if err := handle.LinkSetMTU(l, mtu); err != nil {
			return fmt.Errorf("device %s: set MTU %d: %w", l.Attrs().Name, mtu, err)
		}
	}
	return up(handle, l)
}

func up(handle *netlink.Handle, l netlink.Link) error {
	if l.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	if err := handle.LinkSetUp(l); err != nil {
		return fmt.Errorf("device %s: bring up: %w", l.Attrs().Name, err)
	}
	return nil
}

// silence keeps the host from taking a link-local address on the device, by which guests could reach it. Where the
// kernel has no IPv6 there is none to take.
func silence(handle *netlink.Handle, l netlink.Link) {
	const addrGenModeNone = 1
	_ = handle.LinkSetIP6AddrGenMode(l, addrGenModeNone)
}

// label writes the device's full identifier; it fails when the device is somebody else's. The kernel takes no alias
// with a device's creation: one that is left without by a killed process is known by its name, when it is made again.
func label(handle *netlink.Handle, l netlink.Link, alias string) error {
	switch current := l.Attrs().Alias; {
	case current == alias:
		return nil
	case current != "":
		return fault.Wrap(fault.ErrConflict, "device %s belongs to %q, not to %q", l.Attrs().Name, current, alias)
	}
	if err := handle.LinkSetAlias(l, alias); err != nil {
		return fmt.Errorf("device %s: set alias: %w", l.Attrs().Name, err)
	}
	l.Attrs().Alias = alias
	return nil
}

// identifiers collects what follows the prefix in the aliases of all devices, each once.
func (h Host) identifiers(prefixes ...string) ([]string, error) {
	var ids []string
	err := h.Do(func(handle *netlink.Handle) error {
		links, err := list(handle)
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, l := range links {
			for _, prefix := range prefixes {
				if id, ok := strings.CutPrefix(l.Attrs().Alias, prefix); ok && !seen[id] {
					seen[id] = true
					ids = append(ids, id)
				}
			}
		}
		return nil
	})
	return ids, err
}
