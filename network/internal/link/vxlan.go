//go:build linux

package link

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VXLAN is a tunnel device that joins a bridge to its like on other hosts.
type VXLAN struct {
	Name, Alias, Bridge string
	Identifier          uint32
	Local               netip.Addr
	Port                uint16
	MTU                 int
	// Peers are the other hosts' addresses.
	Peers []netip.Addr
}

// EnsureVXLAN makes the tunnel and plugs it into its bridge.
func (h Host) EnsureVXLAN(want VXLAN) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := makeTunnel(handle, want)
		if err != nil {
			return err
		}
		if err := ensurePeers(handle, l, want.Peers); err != nil {
			return err
		}
		bridge, err := handle.LinkByName(want.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", want.Bridge, err)
		}
		if l.Attrs().MasterIndex != bridge.Attrs().Index {
			if err := handle.LinkSetMaster(l, bridge); err != nil {
				return fmt.Errorf("plug %s into %s: %w", want.Name, want.Bridge, err)
			}
		}
		return settle(handle, l, want.MTU)
	})
}

func makeTunnel(handle *netlink.Handle, want VXLAN) (netlink.Link, error) {
	l, err := find(handle, want.Name)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if err := label(handle, l, want.Alias); err != nil {
			return nil, err
		}
		if has, ok := l.(*netlink.Vxlan); ok && has.VxlanId == int(want.Identifier) && has.Port == int(want.Port) && has.SrcAddr.Equal(want.Local.AsSlice()) {
			return l, nil
		}
		if err := remove(handle, l); err != nil {
			return nil, err
		}
	}
	tunnel := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: want.Name, MTU: want.MTU},
		VxlanId:   int(want.Identifier), SrcAddr: want.Local.AsSlice(), Port: int(want.Port), Learning: true,
	}
	if err := handle.LinkAdd(tunnel); errors.Is(err, unix.EEXIST) {
		return nil, fault.Wrap(fault.ErrConflict, "another device has VXLAN identifier %d and port %d", want.Identifier, want.Port)
	} else if err != nil {
		return nil, fmt.Errorf("make VXLAN device %s: %w", want.Name, err)
	}
	if l, err = handle.LinkByName(want.Name); err != nil {
		return nil, fmt.Errorf("device %s: %w", want.Name, err)
	}
	silence(handle, l)
	return l, label(handle, l, want.Alias)
}

// ensurePeers has the tunnel flood to the peers and to nobody else, and forgets the MACs learned from others.
func ensurePeers(handle *netlink.Handle, tunnel netlink.Link, peers []netip.Addr) error {
	name := tunnel.Attrs().Name
	entries, err := handle.NeighList(tunnel.Attrs().Index, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("forwarding entries of %s: %w", name, err)
	}
	flooded := map[netip.Addr]bool{}
	for _, entry := range entries {
		peer, ok := netip.AddrFromSlice(entry.IP)
		if !ok {
			continue
		}
		if peer = peer.Unmap(); slices.Contains(peers, peer) {
			flooded[peer] = flooded[peer] || isFlood(entry)
			continue
		}
		entry.Family, entry.Flags = unix.AF_BRIDGE, netlink.NTF_SELF
		if err := handle.NeighDel(&entry); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("%s: forget peer %s: %w", name, peer, err)
		}
	}
	for _, peer := range peers {
		if flooded[peer] {
			continue
		}
		entry := netlink.Neigh{
			LinkIndex: tunnel.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
			State: netlink.NUD_PERMANENT | netlink.NUD_NOARP, HardwareAddr: make(net.HardwareAddr, 6), IP: peer.AsSlice(),
		}
		if err := handle.NeighAppend(&entry); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("%s: flood to peer %s: %w", name, peer, err)
		}
	}
	return nil
}

// isFlood says whether the entry is for the all-zero MAC: where frames for everybody go.
func isFlood(entry netlink.Neigh) bool {
	return !slices.ContainsFunc(entry.HardwareAddr, func(b byte) bool { return b != 0 })
}
