//go:build linux

package ovsgre_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/kintoun/kintoun/network/ovsgre"
	"github.com/stretchr/testify/require"
)

// tunnel is two hosts with a station each in one network.
type tunnel struct {
	dirs     [2]string
	fabrics  [2]*ovsgre.Fabric
	options  [2]*ovsgre.Options
	stations [2]*portlab.Station
}

func newTunnel(t *testing.T) *tunnel {
	requireSwitch(t)
	dir, err := os.MkdirTemp("/tmp", "ovs")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tn := &tunnel{}
	for i, namespace := range portlab.Hosts(t, 2) {
		tn.dirs[i] = filepath.Join(dir, namespace)
		tn.options[i] = &ovsgre.Options{Namespace: namespace, RunDir: tn.dirs[i], LocalAddress: portlab.Address(i), Underlay: portlab.Underlay}
		tn.open(t, i)
		t.Cleanup(func() { require.NoError(t, tn.fabrics[i].Teardown(context.Background())) })
		in := driver.Network{ID: "net", Segment: 7, MTU: greMTU, Peers: []netip.Addr{portlab.Address(1 - i)}}
		require.NoError(t, tn.fabrics[i].Networks().Apply(t.Context(), in))
		id, inner := []string{"one", "two"}[i], portlab.Namespace(t)
		p := driver.Port{ID: id, NetworkID: "net", MAC: "fa:16:3e:00:00:0" + string(rune('1'+i)), MTU: greMTU, Endpoint: driver.Endpoint{Namespace: inner, Device: "tap" + id}}
		require.NoError(t, tn.fabrics[i].Ports().Apply(t.Context(), p))
		tn.stations[i] = portlab.NewStation(t, inner, "tap"+id, netip.PrefixFrom(stationAddress(i), 24))
	}
	return tn
}

func stationAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{172, 24, 17, byte(i + 1)}) }

func (tn *tunnel) open(t *testing.T, i int) {
	t.Helper()
	f, err := ovsgre.New(t.Context(), nil, tn.options[i])
	require.NoError(t, err)
	tn.fabrics[i] = f
}

// kill ends a daemon of host 0 without warning.
func (tn *tunnel) kill(t *testing.T, name string) {
	t.Helper()
	p, err := process.Find(filepath.Join(tn.dirs[0], name))
	require.NoError(t, err)
	require.NotNil(t, p)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	require.NoError(t, p.Wait(t.Context()))
}

func (tn *tunnel) requireTalk(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return tn.stations[0].Ping(stationAddress(1), 1000) == nil }, 30*time.Second, 10*time.Millisecond)
}

func TestASwitchThatIsKilledComesBackWithItsFlows(t *testing.T) {
	tn := newTunnel(t)
	tn.requireTalk(t)
	tn.kill(t, "switch")
	tn.requireTalk(t)
	tn.kill(t, "db")
	tn.kill(t, "switch")
	tn.requireTalk(t)
}

func TestAFabricThatWasAwayPutsTheSwitchRight(t *testing.T) {
	tn := newTunnel(t)
	require.NoError(t, tn.fabrics[0].Close())
	// Nobody looks after them now: they go on, and when they are killed they stay so until somebody does.
	tn.requireTalk(t)
	tn.kill(t, "switch")
	tn.open(t, 0)
	tn.requireTalk(t)
	ids, err := tn.fabrics[0].Networks().List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"net"}, ids)
}

func TestAnAppliedFabricIsFoundByTheNextWithoutChange(t *testing.T) {
	tn := newTunnel(t)
	before, err := process.Find(filepath.Join(tn.dirs[0], "switch"))
	require.NoError(t, err)
	require.NoError(t, tn.fabrics[0].Close())
	tn.open(t, 0)
	after, err := process.Find(filepath.Join(tn.dirs[0], "switch"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	tn.requireTalk(t)
}

func TestTeardownGivesTheUnderlayItsAddressBack(t *testing.T) {
	tn := newTunnel(t)
	tn.requireTalk(t)
	for i, f := range tn.fabrics {
		for _, id := range []string{"one", "two"} {
			require.NoError(t, f.Ports().Remove(t.Context(), id))
		}
		require.NoError(t, f.Teardown(t.Context()))
		p, err := process.Find(filepath.Join(tn.dirs[i], "switch"))
		require.NoError(t, err)
		require.Nil(t, p)
	}
	// The test's end tears all of it down once more, which is no error.
	underlay := portlab.NewStation(t, tn.options[0].Namespace, portlab.Underlay)
	require.NoError(t, underlay.Ping(portlab.Address(1), 1500))
}

func TestBadOptionsAreRefused(t *testing.T) {
	for name, opts := range map[string]*ovsgre.Options{
		"a run directory too long for sockets": {RunDir: "/" + string(make([]byte, 100))},
		"a relative run directory":             {RunDir: "run"},
		"an address that is not IPv4":          {RunDir: "/tmp/x", LocalAddress: netip.MustParseAddr("fd00::1")},
		"a bridge without a name":              {RunDir: "/tmp/x", Physical: map[string]string{"public": ""}},
	} {
		_, err := ovsgre.New(t.Context(), nil, opts)
		require.ErrorIs(t, err, ovsgre.ErrInvalid, name)
	}
}
