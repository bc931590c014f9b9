//go:build linux

package nftfilter

import (
	"fmt"
	"net"
	"os"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/probe"
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
			return fault.Wrap(ErrInvalid, "%s is not a bridge but %s", name, link.Type())
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
		return &probe.Missing{What: "the kernel's br_netfilter", Why: "guarding ports", How: "modprobe br_netfilter, or a kernel with CONFIG_BRIDGE_NETFILTER", Err: err}
	}
	return nil
}
