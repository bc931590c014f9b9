//go:build linux

package haproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/vishvananda/netlink"
)

// OnBridge is a plugger for a host without a network service: balancers are plugged by veth pairs into the Linux bridge
// of that name, which must be there, in the process's network namespace. A balancer with a frontend's MAC empty has
// one that the kernel chose.
func OnBridge(bridge string) driver.Plugger { return onBridge(bridge) }

type onBridge string

// Plug makes a veth pair, or puts the outer end of the one that is there back into the bridge.
func (b onBridge) Plug(_ context.Context, portID, namespace, device string) error {
	bridge, err := netlink.LinkByName(string(b))
	if err != nil {
		return fault.Wrap(ErrUnavailable, "bridge %s: %v", string(b), err)
	}
	inside, err := nl.Handle(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	if _, err := inside.LinkByName(device); err == nil {
		return b.replug(portID, bridge)
	}
	target, err := os.Open(netns.Path(namespace))
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: deviceName(portID), MasterIndex: bridge.Attrs().Index, MTU: bridge.Attrs().MTU, Flags: net.FlagUp},
		PeerName:  device, PeerNamespace: netlink.NsFd(int(target.Fd())),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("plug into bridge %s: %w", string(b), err)
	}
	return nil
}

func (b onBridge) replug(portID string, bridge netlink.Link) error {
	outer, err := netlink.LinkByName(deviceName(portID))
	if err == nil && outer.Attrs().MasterIndex != bridge.Attrs().Index {
		err = netlink.LinkSetMaster(outer, bridge)
	}
	if err == nil {
		err = netlink.LinkSetUp(outer)
	}
	return err
}

// Unplug deletes the veth pair.
func (b onBridge) Unplug(_ context.Context, portID string) error {
	outer, err := netlink.LinkByName(deviceName(portID))
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(outer)
}
