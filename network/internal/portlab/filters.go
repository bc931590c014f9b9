//go:build linux

package portlab

import (
	"testing"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
)

// FilterLab is a [drivertest.FilterLab] of one host.
type FilterLab struct {
	namespace string
	open      func(namespace string) driver.Filters
	filters   driver.Filters
}

// NewFilterLab makes a host, whose filters open returns.
func NewFilterLab(t testing.TB, open func(namespace string) driver.Filters) *FilterLab {
	t.Helper()
	lab := &FilterLab{namespace: Namespace(t), open: open}
	lab.Restart()
	return lab
}

// Filters are the host's.
func (l *FilterLab) Filters() driver.Filters { return l.filters }

// Restart opens them anew.
func (l *FilterLab) Restart() driver.Filters {
	l.filters = l.open(l.namespace)
	return l.filters
}

// Plug makes a veth pair between the bridge and a station.
func (l *FilterLab) Plug(t testing.TB, bridge, device string) drivertest.Guest {
	t.Helper()
	station := Namespace(t)
	ns, err := vnetns.GetFromName(station)
	require.NoError(t, err)
	defer func() { _ = ns.Close() }()
	require.NoError(t, netns.Do(l.namespace, func() error {
		master := ensureBridge(bridge)
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: device, MasterIndex: master.Attrs().Index}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		return netlink.LinkSetUp(pair)
	}))
	s := NewStation(t, station, "eth0")
	awaitCarrier(t, l.namespace, device)
	return s
}
