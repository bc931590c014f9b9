//go:build linux

package link

import (
	"fmt"
	"net"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// HostDevice is the name that a port has in the host: the tap itself, or the outer end of its veth pair, which
// bears the tap's name too, as operators expect to see it on a bridge.
func HostDevice(want driver.Port) string {
	if want.Endpoint.Namespace == "" {
		return want.Endpoint.Device
	}
	return driver.TapName(want.ID)
}

// EnsureDevice makes the port's device, and leaves it unplugged if it is new.
func (h Host) EnsureDevice(want driver.Port) error {
	if name := want.Endpoint.Device; name == "" || len(name) > 15 {
		return fault.Wrap(fault.ErrInvalid, "port %s: device name %q must have 1 to 15 bytes", want.ID, name)
	}
	if want.Endpoint.Namespace != "" {
		return h.ensureVeth(want)
	}
	return h.Do(func(handle *netlink.Handle) error { return ensureTap(handle, want) })
}

// ensureTap makes a tap device that outlives its maker, with virtio headers so that guests can send large segments.
func ensureTap(handle *netlink.Handle, want driver.Port) error {
	name, alias := want.Endpoint.Device, PortAlias(want.ID)
	l, err := find(handle, name)
	if err != nil {
		return err
	}
	if l != nil {
		tap, ok := l.(*netlink.Tuntap)
		if !ok {
			return fault.Wrap(fault.ErrConflict, "device %s is no tap but a %s", name, l.Type())
		}
		if err := label(handle, l, alias); err != nil {
			return err
		}
		if tap.Owner == uint32(want.Endpoint.Owner) {
			return settle(handle, l, want.MTU)
		}
		// A new owner means a new guest: the old one's descriptor must not go on reading.
		if err := remove(handle, l); err != nil {
			return err
		}
	}
	return makeTap(handle, want)
}

// makeTap has the device persist only when all else about it is right: a process killed before leaves none.
func makeTap(handle *netlink.Handle, want driver.Port) error {
	name := want.Endpoint.Device
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fault.Wrap(fault.ErrUnavailable, "tap devices need root and the kernel's tun: open /dev/net/tun: %v", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("make tap %s: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, want.Endpoint.Owner); err != nil {
		return fmt.Errorf("tap %s: set owner %d: %w", name, want.Endpoint.Owner, err)
	}
	l, err := handle.LinkByName(name)
	if err != nil {
		return fmt.Errorf("tap %s: %w", name, err)
	}
	if err := label(handle, l, PortAlias(want.ID)); err != nil {
		return err
	}
	silence(handle, l)
	if err := settle(handle, l, want.MTU); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("tap %s: make it persist: %w", name, err)
	}
	return nil
}

// ensureVeth makes a pair with one end in the host and the other in the endpoint's namespace.
func (h Host) ensureVeth(want driver.Port) error {
	ns, err := vnetns.GetFromName(want.Endpoint.Namespace)
	if err != nil {
		return fmt.Errorf("network namespace %s of port %s: %w", want.Endpoint.Namespace, want.ID, err)
	}
	defer func() { _ = ns.Close() }()
	mac, err := net.ParseMAC(want.MAC)
	if err != nil {
		return fault.Wrap(fault.ErrInvalid, "port %s: MAC %q: %v", want.ID, want.MAC, err)
	}
	var outer netlink.Link
	err = h.Do(func(handle *netlink.Handle) error {
		var err error
		outer, err = ensurePair(handle, want, mac, ns)
		if err != nil {
			return err
		}
		return settle(handle, outer, want.MTU)
	})
	if err != nil {
		return err
	}
	return netns.Do(want.Endpoint.Namespace, func() error { return settleInner(want, mac) })
}

// ensurePair returns the outer end.
func ensurePair(handle *netlink.Handle, want driver.Port, mac net.HardwareAddr, ns vnetns.NsHandle) (netlink.Link, error) {
	name, alias := HostDevice(want), PortAlias(want.ID)
	l, err := find(handle, name)
	if err != nil {
		return nil, err
	}
	if l != nil {
		if err := label(handle, l, alias); err != nil {
			return nil, err
		}
		if l.Type() == "veth" && innerIs(ns, want.Endpoint.Device, l) {
			return l, nil
		}
		if err := remove(handle, l); err != nil {
			return nil, err
		}
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: want.MTU},
		PeerName:  want.Endpoint.Device, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(want.MTU),
	}
	if err := handle.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make veth pair %s and %s in %s: %w", name, want.Endpoint.Device, want.Endpoint.Namespace, err)
	}
	if l, err = handle.LinkByName(name); err != nil {
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	silence(handle, l)
	return l, label(handle, l, alias)
}

// innerIs says whether the namespace's device is the other end of outer.
func innerIs(ns vnetns.NsHandle, device string, outer netlink.Link) bool {
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer handle.Close()
	inner, err := handle.LinkByName(device)
	return err == nil && inner.Type() == "veth" && inner.Attrs().ParentIndex == outer.Attrs().Index &&
		inner.Attrs().Index == outer.Attrs().ParentIndex
}

func settleInner(want driver.Port, mac net.HardwareAddr) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer handle.Close()
	l, err := handle.LinkByName(want.Endpoint.Device)
	if err != nil {
		return fmt.Errorf("device %s in %s: %w", want.Endpoint.Device, want.Endpoint.Namespace, err)
	}
	if l.Attrs().HardwareAddr.String() != mac.String() {
		if err := handle.LinkSetHardwareAddr(l, mac); err != nil {
			return fmt.Errorf("device %s: set MAC %s: %w", want.Endpoint.Device, mac, err)
		}
	}
	return settle(handle, l, want.MTU)
}

// Plug puts the device into the bridge.
func (h Host) Plug(device, bridge string) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := handle.LinkByName(device)
		if err != nil {
			return fmt.Errorf("device %s: %w", device, err)
		}
		master, err := handle.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", bridge, err)
		}
		if l.Attrs().MasterIndex == master.Attrs().Index {
			return nil
		}
		if err := handle.LinkSetMaster(l, master); err != nil {
			return fmt.Errorf("plug %s into %s: %w", device, bridge, err)
		}
		return nil
	})
}

// Ports lists the ports that have any device.
func (h Host) Ports() ([]string, error) { return h.identifiers(portAlias) }

// RemovePort removes every device of the port.
func (h Host) RemovePort(id string) error {
	return h.Do(func(handle *netlink.Handle) error {
		// Its usual name first: that is cheaper than to list all devices.
		if l, err := find(handle, driver.TapName(id)); err == nil && l != nil && l.Attrs().Alias == PortAlias(id) {
			if err := remove(handle, l); err != nil {
				return err
			}
		}
		links, err := list(handle)
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Attrs().Alias == PortAlias(id) {
				if err := remove(handle, l); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
