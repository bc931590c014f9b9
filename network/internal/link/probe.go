//go:build linux

package link

import (
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/probe"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the kinds of devices are for.
var purposes = map[string]string{
	"bridge": "networks",
	"veth":   "ports of routers and DHCP servers",
	"vxlan":  "tunnels between hosts",
	"tun":    "ports of virtual machines",
}

// Probe makes one device of each kind ("bridge", "veth", "vxlan", "tun") in a network namespace that is thrown away, and
// names those that cannot be made.
func Probe(kinds ...string) error {
	return netns.Scratch(func() error {
		var errs []error
		for _, kind := range kinds {
			if err := makeDevice(kind); err != nil {
				errs = append(errs, missingKind(kind, err))
			}
		}
		return errors.Join(errs...)
	})
}

func makeDevice(kind string) error {
	attrs := netlink.LinkAttrs{Name: "probe-" + kind}
	switch kind {
	case "bridge":
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	case "veth":
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "probe-peer"})
	case "vxlan":
		return netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 1, Port: 4789})
	case "tun":
		return probeTap(attrs.Name)
	}
	return fmt.Errorf("no kind of device is called %q", kind)
}

// probeTap makes a tap device that ends with its descriptor.
func probeTap(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	return errors.Join(err, unix.Close(fd))
}

func missingKind(kind string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return netns.MissingCapability("CAP_NET_ADMIN", "network devices", err)
	}
	how := "modprobe " + kind + ", or a kernel with CONFIG_" + map[string]string{"bridge": "BRIDGE", "veth": "VETH", "vxlan": "VXLAN", "tun": "TUN"}[kind]
	if kind == "tun" {
		how += "; in a container, give it the device /dev/net/tun"
	}
	return &probe.Missing{What: "the kernel's " + kind + " devices", Why: purposes[kind], How: how, Err: err}
}
