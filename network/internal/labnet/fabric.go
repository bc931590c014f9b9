//go:build linux

// Package labnet is a small real network for tests inside a lab (package internal/lab): a Linux bridge for every
// network, ports on it that satisfy [driver.Ports], and stations, which are hosts that ping, listen and dial.
package labnet

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strings"
	"sync/atomic"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Fabric implements [driver.Ports] with one Linux bridge per network. It holds no state of its own.
type Fabric struct {
	// steps left before Apply fails, as if the process had been killed there; negative: never.
	steps atomic.Int64
}

// ErrInterrupted is what an interrupted fabric answers.
var ErrInterrupted = errors.New("interrupted")

// New returns a fabric over the calling namespace.
func New() *Fabric { return Interrupted(-1) }

// Interrupted returns a fabric whose Apply fails after so many ports.
func Interrupted(steps int) *Fabric {
	f := &Fabric{}
	f.steps.Store(int64(steps))
	// Bridged frames are not this host's business to filter or track.
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0o644)
	return f
}

func deviceName(prefix, id string) string {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(id))
	return fmt.Sprintf("%s%011x", prefix, sum.Sum64()&(1<<44-1))
}

// Bridge is the name of a network's bridge, which exists after the call.
func (f *Fabric) Bridge(networkID string) (string, error) {
	name := deviceName("br-", networkID)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500, Flags: net.FlagUp}}
	if err := netlink.LinkAdd(bridge); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", fmt.Errorf("bridge of network %s: %w", networkID, err)
	}
	return name, nil
}

// Apply plugs a port in; only endpoints in namespaces are known here.
func (f *Fabric) Apply(_ context.Context, want driver.Port) error {
	if f.steps.Load() == 0 {
		return ErrInterrupted
	}
	f.steps.Add(-1)
	bridge, err := f.Bridge(want.NetworkID)
	if err != nil {
		return err
	}
	name := deviceName("p-", want.ID)
	if _, err := netlink.LinkByName(name); err != nil {
		if err := f.add(name, want); err != nil {
			return fmt.Errorf("port %s: %w", want.ID, err)
		}
	}
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetAlias(link, want.ID); err != nil {
		return err
	}
	if err := netlink.LinkSetMaster(link, master); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func (f *Fabric) add(name string, want driver.Port) error {
	mac, err := net.ParseMAC(want.MAC)
	if err != nil {
		return err
	}
	ns, err := vnetns.GetFromName(want.Endpoint.Namespace)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	mtu := want.MTU
	if mtu == 0 {
		mtu = 1500
	}
	return netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu},
		PeerName:  want.Endpoint.Device, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(ns),
	})
}

// Remove unplugs a port.
func (f *Fabric) Remove(_ context.Context, id string) error {
	link, err := netlink.LinkByName(deviceName("p-", id))
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// List names the ports that are plugged in.
func (f *Fabric) List(context.Context) ([]string, error) {
	links, err := links()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, link := range links {
		if strings.HasPrefix(link.Attrs().Name, "p-") {
			ids = append(ids, link.Attrs().Alias)
		}
	}
	return ids, nil
}

// Clear deletes every bridge, port and namespace: the end of a test.
func Clear() error {
	links, err := links()
	if err != nil {
		return err
	}
	for _, link := range links {
		if name := link.Attrs().Name; strings.HasPrefix(name, "br-") || strings.HasPrefix(name, "p-") {
			// A port may go by itself meanwhile, with its namespace.
			_ = netlink.LinkDel(link)
		}
	}
	names, err := netns.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := netns.Delete(name); err != nil {
			return err
		}
	}
	return nil
}

func links() ([]netlink.Link, error) { return hostnet.Read(netlink.LinkList) }
