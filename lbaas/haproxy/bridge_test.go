//go:build linux

package haproxy_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/lbaas/haproxy"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestOnBridge(t *testing.T) {
	labtest.Require(t)
	const namespace, port, device = "qlbaas-bridged", "bridged-port", "eth0"
	require.NoError(t, netns.Create(namespace))
	t.Cleanup(func() { require.NoError(t, netns.Delete(namespace)) })
	plugger := haproxy.OnBridge("lan")
	require.ErrorIs(t, plugger.Plug(t.Context(), port, namespace, device), haproxy.ErrUnavailable, "there is no bridge")

	require.NoError(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan", MTU: 1400}}))
	bridge, err := netlink.LinkByName("lan")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, netlink.LinkDel(bridge)) })
	plugged := func() netlink.Link {
		require.NoError(t, plugger.Plug(t.Context(), port, namespace, device))
		outer, err := netlink.LinkByName("tap" + port[:11])
		require.NoError(t, err)
		require.Equal(t, bridge.Attrs().Index, outer.Attrs().MasterIndex)
		return outer
	}
	first := plugged()
	inside, err := nl.Handle(namespace)
	require.NoError(t, err)
	defer inside.Close()
	inner, err := inside.LinkByName(device)
	require.NoError(t, err)
	require.Equal(t, 1400, inner.Attrs().MTU)

	// Somebody took it out of the bridge: it is put back, and stays the same.
	require.NoError(t, netlink.LinkSetNoMaster(first))
	require.Equal(t, first.Attrs().Index, plugged().Attrs().Index)

	for range 2 {
		require.NoError(t, plugger.Unplug(t.Context(), port))
		_, err = netlink.LinkByName("tap" + port[:11])
		require.ErrorAs(t, err, new(netlink.LinkNotFoundError))
	}
}
