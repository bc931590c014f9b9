//go:build linux

// Package portlab makes hosts and stations of real devices for the conformance suites of package drivertest: network
// namespaces inside a lab (internal/lab), joined by a bridge where tunnels need one. It is only for tests.
package portlab

import (
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
)

// Underlay is the device by which a host reaches the others.
const Underlay = "under0"

// names counts namespaces, which have one name space for all of a test program.
var names atomic.Int64

// Namespace makes a network namespace that goes with the test.
func Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("lab%d", names.Add(1))
	require.NoError(t, netns.Create(name))
	t.Cleanup(func() { _ = netns.Delete(name) })
	return name
}

// Address is where host i is on the underlay.
func Address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)}) }

// Hosts makes n namespaces that play hosts, which reach each other by [Underlay].
func Hosts(t testing.TB, n int) []string {
	t.Helper()
	middle := Namespace(t)
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = Namespace(t)
		join(t, middle, hosts[i], fmt.Sprintf("host%d", i), netip.PrefixFrom(Address(i), 24))
	}
	return hosts
}

// join plugs a host into the bridge of the middle.
func join(t testing.TB, middle, host, port string, address netip.Prefix) {
	t.Helper()
	ns, err := vnetns.GetFromName(host)
	require.NoError(t, err)
	defer func() { _ = ns.Close() }()
	require.NoError(t, netns.Do(middle, func() error {
		bridge := ensureBridge("underlay")
		if bridge == nil {
			return fmt.Errorf("no bridge")
		}
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index}, PeerName: Underlay, PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		return netlink.LinkSetUp(pair)
	}))
	require.NoError(t, netns.Do(host, func() error { return addAddress(Underlay, address) }))
}

func ensureBridge(name string) netlink.Link {
	snooping := false
	_ = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}, MulticastSnooping: &snooping})
	l, err := netlink.LinkByName(name)
	if err != nil || netlink.LinkSetUp(l) != nil {
		return nil
	}
	return l
}

func addAddress(device string, address netip.Prefix) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	ip, err := netlink.ParseIPNet(address.String())
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, &netlink.Addr{IPNet: ip}); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// Forward has the calling thread's namespace route.
func Forward() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) }

// awaitCarrier returns when the kernel has noticed that a device's other end is there; a bridge forwards from then on.
func awaitCarrier(t testing.TB, namespace, device string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return netns.Do(namespace, func() error {
			l, err := netlink.LinkByName(device)
			if err == nil && l.Attrs().OperState != netlink.OperUp {
				err = fmt.Errorf("device %s is %s", device, l.Attrs().OperState)
			}
			return err
		}) == nil
	}, 10*time.Second, time.Millisecond)
}
