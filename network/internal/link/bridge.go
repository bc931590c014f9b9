//go:build linux

package link

import (
	"fmt"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/vishvananda/netlink"
)

// EnsureBridge makes a bridge that belongs to the port or network that alias names (see [PortAlias], [NetworkAlias]).
func (h Host) EnsureBridge(name, alias string, mtu int) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := makeBridge(handle, name, alias, mtu)
		if err != nil {
			return err
		}
		if err := label(handle, l, alias); err != nil {
			return err
		}
		return settle(handle, l, mtu)
	})
}

// makeBridge returns the bridge of that name, made with that alias if there is none.
func makeBridge(handle *netlink.Handle, name, alias string, mtu int) (netlink.Link, error) {
	l, err := find(handle, name)
	if err != nil {
		return nil, err
	}
	if l == nil {
		// Without a querier a snooping bridge would lose multicast, neighbour discovery among it.
		snooping := false
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}, MulticastSnooping: &snooping}
		if err := handle.LinkAdd(bridge); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", name, err)
		}
		if l, err = handle.LinkByName(name); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", name, err)
		}
		silence(handle, l)
		if err := pin(handle, l); err != nil {
			return nil, err
		}
		if err := label(handle, l, alias); err != nil {
			return nil, err
		}
	}
	if l.Type() != "bridge" {
		return nil, fault.Wrap(fault.ErrConflict, "device %s is no bridge but a %s", name, l.Type())
	}
	return l, nil
}

// pin keeps a bridge's MAC as it is: the kernel would take the lowest of its ports', and change it under the host's own
// addresses as ports come and go.
func pin(handle *netlink.Handle, bridge netlink.Link) error {
	if err := handle.LinkSetHardwareAddr(bridge, bridge.Attrs().HardwareAddr); err != nil {
		return fmt.Errorf("bridge %s: keep its MAC: %w", bridge.Attrs().Name, err)
	}
	return nil
}

// EnsurePhysical makes the host's bridge name serve a physical network; it makes the bridge when there is none.
func (h Host) EnsurePhysical(name, networkID string) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := makeBridge(handle, name, madeAlias+networkID, 0)
		if err != nil {
			return err
		}
		if l.Attrs().Alias != madeAlias+networkID && l.Attrs().Alias != networkAlias+networkID {
			if err := pin(handle, l); err != nil {
				return err
			}
			if err := label(handle, l, networkAlias+networkID); err != nil {
				return err
			}
		}
		return up(handle, l)
	})
}

// NetworkBridge finds the bridge whose alias names the network, which probably is the one called likely; empty if
// there is none.
func (h Host) NetworkBridge(likely, networkID string) (string, error) {
	var name string
	err := h.Do(func(handle *netlink.Handle) error {
		l, err := find(handle, likely)
		if err == nil && (l == nil || l.Attrs().Alias != networkAlias+networkID) {
			l, err = networkBridge(handle, networkID)
		}
		if l != nil {
			name = l.Attrs().Name
		}
		return err
	})
	return name, err
}

func networkBridge(handle *netlink.Handle, networkID string) (netlink.Link, error) {
	links, err := list(handle)
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		alias := l.Attrs().Alias
		if l.Type() == "bridge" && (alias == networkAlias+networkID || alias == madeAlias+networkID) {
			return l, nil
		}
	}
	return nil, nil
}

// RemovePhysical takes the network off the host's bridge. The bridge itself goes only if it was made here and
// nothing else uses it: no device is plugged in and it has no IPv4 address.
func (h Host) RemovePhysical(networkID string) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := networkBridge(handle, networkID)
		if err != nil || l == nil {
			return err
		}
		if strings.HasPrefix(l.Attrs().Alias, madeAlias) {
			idle, err := unused(handle, l)
			if err != nil {
				return err
			}
			if idle {
				return remove(handle, l)
			}
		}
		if err := handle.LinkSetAlias(l, ""); err != nil {
			return fmt.Errorf("device %s: clear alias: %w", l.Attrs().Name, err)
		}
		return nil
	})
}

func unused(handle *netlink.Handle, bridge netlink.Link) (bool, error) {
	addresses, err := handle.AddrList(bridge, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", bridge.Attrs().Name, err)
	}
	links, err := list(handle)
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			return false, nil
		}
	}
	return len(addresses) == 0, nil
}

// Networks lists the networks that have a bridge of their own or a physical one.
func (h Host) Networks() ([]string, error) { return h.identifiers(networkAlias, madeAlias) }

// DeviceName is the prefix and as much of the identifier as operators know: prefixXXXXXXXX-XX, 14 bytes.
func DeviceName(prefix, id string) string {
	name := prefix + id
	return name[:min(len(name), 14)]
}

// NetworkAlias is the alias of what belongs to a network.
func NetworkAlias(id string) string { return networkAlias + id }

// PortAlias is the alias of what belongs to a port.
func PortAlias(id string) string { return portAlias + id }

// RemoveOwned removes the devices of those names that have that alias; others, and none, are left as they are.
func (h Host) RemoveOwned(alias string, names ...string) error {
	return h.Do(func(handle *netlink.Handle) error {
		for _, name := range names {
			l, err := find(handle, name)
			if err != nil {
				return err
			}
			if l == nil || l.Attrs().Alias != alias {
				continue
			}
			if err := remove(handle, l); err != nil {
				return err
			}
		}
		return nil
	})
}
