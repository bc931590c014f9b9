//go:build linux

package portlab

import (
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

// PhysicalBridge is the host's bridge that is [drivertest.PhysicalNetwork].
const PhysicalBridge = "br-public"

// OpenFabric returns the fabric of a host: a namespace, its address on the underlay, and filters for its ports.
type OpenFabric func(t testing.TB, namespace string, local netip.Addr, filters driver.Filters) driver.Fabric

// FabricLab is a [drivertest.FabricLab] of namespaces.
type FabricLab struct {
	hosts   []string
	mtu     int
	open    OpenFabric
	fabrics []driver.Fabric
}

// NewFabricLab makes hosts, whose fabrics open returns. The largest MTU over a tunnel is mtu.
func NewFabricLab(t testing.TB, hosts, mtu int, open OpenFabric) *FabricLab {
	t.Helper()
	lab := &FabricLab{hosts: Hosts(t, hosts), mtu: mtu, open: open, fabrics: make([]driver.Fabric, hosts)}
	for host := range hosts {
		lab.Restart(t, host)
	}
	return lab
}

// Fabric is the host's.
func (l *FabricLab) Fabric(host int) driver.Fabric { return l.fabrics[host] }

// Restart opens it anew.
func (l *FabricLab) Restart(t testing.TB, host int) driver.Fabric {
	t.Helper()
	namespace := l.hosts[host]
	l.fabrics[host] = l.open(t, namespace, Address(host), nftfilter.New(&nftfilter.Options{Namespace: namespace}))
	return l.fabrics[host]
}

// Address is the host's on the underlay.
func (l *FabricLab) Address(host int) netip.Addr { return Address(host) }

// Namespace makes one.
func (l *FabricLab) Namespace(t testing.TB, _ int) string { return Namespace(t) }

// MTU is the largest over a tunnel.
func (l *FabricLab) MTU() int { return l.mtu }

// Attach stands in the port's namespace, or behind its tap.
func (l *FabricLab) Attach(t testing.TB, host int, port driver.Port, addresses ...netip.Prefix) drivertest.TalkingGuest {
	t.Helper()
	if port.Endpoint.Namespace != "" {
		s := NewStation(t, port.Endpoint.Namespace, port.Endpoint.Device, addresses...)
		awaitCarrier(t, l.hosts[host], link.HostDevice(port))
		return s
	}
	guest := TapGuest(t, l.hosts[host], port.Endpoint.Device, port.MAC, port.MTU)
	s := NewStation(t, guest, "eth0", addresses...)
	awaitCarrier(t, l.hosts[host], link.HostDevice(port))
	return s
}

// Damage makes the port's device, with its alias and a wrong MTU, plugged into nothing.
func (l *FabricLab) Damage(t testing.TB, host int, port driver.Port) {
	t.Helper()
	require.NoError(t, link.Host{Namespace: l.hosts[host]}.EnsureDevice(port))
	require.NoError(t, netns.Do(l.hosts[host], func() error {
		device, err := netlink.LinkByName(link.HostDevice(port))
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(device, 1280)
	}))
}
