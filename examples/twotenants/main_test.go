//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

func TestEachReachesItsOwn(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "ip", "iproute2")
	for range 2 { // it leaves nothing that would be in its own way
		var out strings.Builder
		require.NoError(t, run(t.Context(), &out))
		require.Equal(t, `red's client at 10.0.0.2 asks 10.0.1.2 and hears: I am red's server, and you are 10.0.0.2
blue's client at 10.0.0.2 asks 10.0.1.2 and hears: I am blue's server, and you are 10.0.0.2
`, regexp.MustCompile(`2:\d+\n`).ReplaceAllString(out.String(), "2\n"))
		left, err := filepath.Glob(netns.Path("*"))
		require.NoError(t, err)
		require.Empty(t, left)
		links, err := netlink.LinkList()
		require.NoError(t, err)
		require.Len(t, links, 1, "only lo was there: %v", links)
	}
}

func TestWhatIsInTheWayIsNamed(t *testing.T) {
	labtest.Require(t)
	labtest.RequireProgram(t, "ip", "iproute2")
	require.NoError(t, netns.Create("blue-client"))
	t.Cleanup(func() { require.NoError(t, netns.Delete("blue-client")) })
	require.ErrorContains(t, run(t.Context(), &strings.Builder{}), "blue-client")
	left, err := netns.List()
	require.NoError(t, err)
	require.Equal(t, []string{"blue-client"}, left, "what it did not make stays, what it made goes")
}
