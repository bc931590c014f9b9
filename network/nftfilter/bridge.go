//go:build linux

package nftfilter

import (
	"context"
	"fmt"
	"net"
	"os"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// callBridge has br_netfilter hand the bridge's IP packets to the IP hooks. It is set on the bridge itself and not
// by the namespace's sysctl net.bridge.bridge-nf-call-iptables, so that the host's other bridges stay as they are.
// It returns the bridge's MAC.
func (f *Filters) callBridge(name string) (mac net.HardwareAddr, err error) {
	err = netns.Do(f.namespace, func() error {
		if err := bridgeNetfilter(); err != nil {
			return err
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", name, err)
		}
		if link.Type() != "bridge" {
			return fault.Wrap(fault.ErrInvalid, "%s is not a bridge but %s", name, link.Type())
		}
		request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
		message := nl.NewIfInfomsg(unix.AF_UNSPEC)
		message.Index = int32(link.Attrs().Index)
		request.AddData(message)
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
		data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
		data.AddRtAttr(nl.IFLA_BR_NF_CALL_IPTABLES, nl.Uint8Attr(1))
		data.AddRtAttr(nl.IFLA_BR_NF_CALL_IP6TABLES, nl.Uint8Attr(1))
		request.AddData(info)
		if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			return fmt.Errorf("bridge %s: call the IP hooks: %w", name, err)
		}
		mac = link.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

// bridgeNetfilter says whether br_netfilter is there.
func bridgeNetfilter() error {
	if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
		return fault.Wrap(fault.ErrUnavailable, "the packet filter needs the kernel's br_netfilter: modprobe br_netfilter")
	}
	return nil
}

// Probe says what the kernel lacks for filters, and how to get it; nil if nothing. It tries them in a network
// namespace of its own that it throws away, so it changes nothing.
func Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return link.Scratch(probe)
}

func probe() error {
	if err := bridgeNetfilter(); err != nil {
		return err
	}
	k, err := New(nil).open()
	if err != nil {
		return needs(err, "nf_tables")
	}
	defer k.close()
	return k.ensureBase()
}
