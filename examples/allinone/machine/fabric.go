package machine

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/kintoun/kintoun/network/ovsgre"
	"github.com/vishvananda/netlink"
)

// MTUs of projects' networks, over an underlay of 1500 bytes.
const (
	greMTU   = 1458
	vxlanMTU = 1450
)

// fabric is a driver.Fabric that this program also ends.
type fabric interface {
	driver.Fabric
	Close() error
	// purge undoes what the fabric keeps beside ports and networks.
	purge(ctx context.Context) error
}

// newFabric prepares the layer 2 that the options ask for, and the external bridge.
func newFabric(ctx context.Context, o *Options) (fabric, error) {
	if err := externalBridge(o); err != nil {
		return nil, err
	}
	physical := map[string]string{cloud.PhysicalNetwork: o.ExternalBridge}
	filters := nftfilter.New(nil)
	switch o.fabricKind() {
	case "openvswitch":
		underlay, err := deviceOf(o)
		if err != nil {
			return nil, err
		}
		f, err := ovsgre.New(ctx, filters, &ovsgre.Options{RunDir: o.RunDir + "/ovs", LocalAddress: o.TunnelAddress, Underlay: underlay, Physical: physical})
		if err != nil {
			return nil, err
		}
		return openVSwitch{f}, nil
	case "bridge":
		f, err := bridge.New(filters, &bridge.Options{LocalAddress: o.TunnelAddress, Physical: physical})
		if err != nil {
			return nil, err
		}
		return kernelBridge{f}, nil
	}
	return nil, fmt.Errorf("fabric %q: choose openvswitch, bridge or auto", o.Fabric)
}

// fabricKind decides what "auto" means here: Open vSwitch in user space is ten times slower than the kernel's bridge.
func (o *Options) fabricKind() string {
	if o.Fabric != "auto" {
		return o.Fabric
	}
	if ovsgre.KernelDatapath() == nil {
		return "openvswitch"
	}
	return "bridge"
}

// Tunnel is the type and MTU of projects' networks.
func (o *Options) Tunnel() (kind string, mtu int) {
	if o.fabricKind() == "openvswitch" {
		return "gre", greMTU
	}
	return "vxlan", vxlanMTU
}

type openVSwitch struct{ *ovsgre.Fabric }

func (f openVSwitch) purge(ctx context.Context) error { return f.Teardown(ctx) }

type kernelBridge struct{ *bridge.Fabric }

func (kernelBridge) Close() error                { return nil }
func (kernelBridge) purge(context.Context) error { return nil }

// externalBridge makes the bridge and gives it this host's own address there.
func externalBridge(o *Options) error {
	if !o.ExternalAddress.IsValid() {
		return nil
	}
	link, err := netlink.LinkByName(o.ExternalBridge)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		attributes := netlink.NewLinkAttrs()
		attributes.Name = o.ExternalBridge
		link = &netlink.Bridge{LinkAttrs: attributes}
		err = netlink.LinkAdd(link)
	}
	if err != nil {
		return fmt.Errorf("external bridge %s: %w", o.ExternalBridge, err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: o.ExternalAddress.Addr().AsSlice(), Mask: net.CIDRMask(o.ExternalAddress.Bits(), o.ExternalAddress.Addr().BitLen())}}
	if err := netlink.AddrReplace(link, address); err != nil {
		return fmt.Errorf("address %s of %s: %w", o.ExternalAddress, o.ExternalBridge, err)
	}
	return netlink.LinkSetUp(link)
}

// deleteBridge removes the external bridge, unless it has ports of somebody else's.
func deleteBridge(name string) error {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Attrs().MasterIndex == link.Attrs().Index {
			return nil
		}
	}
	return netlink.LinkDel(link)
}

// deviceOf is the device that has the tunnel address.
func deviceOf(o *Options) (string, error) {
	if !o.TunnelAddress.IsValid() {
		return "", nil
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return "", err
	}
	for _, a := range all {
		if a.IP.Equal(o.TunnelAddress.AsSlice()) {
			link, err := netlink.LinkByIndex(a.LinkIndex)
			if err != nil {
				return "", err
			}
			return link.Attrs().Name, nil
		}
	}
	return "", fmt.Errorf("no device has the tunnel address %s: give it to one, or choose another with -tunnel-address", o.TunnelAddress)
}
