//go:build linux

package lab_test

import (
	"os"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func TestLabHasNothingButALoopback(t *testing.T) {
	labtest.Require(t)
	links, err := netlink.LinkList()
	require.NoError(t, err)
	for _, link := range links {
		// Kernels may give every namespace fallback tunnel devices (sit0, tunl0), down and without addresses.
		if link.Attrs().Name != "lo" {
			require.Zero(t, link.Attrs().Flags&1, "%s is up", link.Attrs().Name)
		}
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	require.NoError(t, err)
	require.Empty(t, routes)
	names, err := netns.List()
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestNamespacesComeAndGo(t *testing.T) {
	labtest.Require(t)
	require.NoError(t, netns.Create("red"))
	require.NoError(t, netns.Create("red"))
	require.True(t, netns.Exists("red"))
	require.NoError(t, netns.Do("red", func() error {
		_, err := netlink.LinkByName("lo")
		return err
	}))
	require.NoError(t, netns.Delete("red"))
	require.NoError(t, netns.Delete("red"))
	require.False(t, netns.Exists("red"))
	require.Error(t, netns.Do("red", func() error { return nil }))
}
