package drivertest

import (
	"testing"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

// requireState compares what the fabric lists.
func requireState(t *testing.T, f driver.Fabric, networks []string, ports []string) {
	t.Helper()
	got, err := f.Networks().List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, networks, got)
	got, err = f.Ports().List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, ports, got)
}

func idempotent(t *testing.T, lab FabricLab) {
	f := lab.Fabric(0)
	requireState(t, f, nil, nil)
	in := fabricNetwork(lab, 1)
	tap, ns := secure(fabricPort(lab, in, 2), 2, anyOut), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	for range 3 {
		applyFabric(t, f, in, tap, ns)
		requireState(t, f, []string{in.ID}, []string{tap.ID, ns.ID})
	}
	// A smaller MTU, another segment: the network stays what it is to its ports.
	a, b := lab.Attach(t, 0, tap), lab.Attach(t, 0, ns)
	in.MTU, in.Segment, tap.MTU = 1300, 77, 1300
	applyFabric(t, f, in, tap)
	delivers(t, a, b, frame(2, 3, 80))
	requireState(t, f, []string{in.ID}, []string{tap.ID, ns.ID})
}

func removals(t *testing.T, lab FabricLab) {
	f := lab.Fabric(0)
	in, other := fabricNetwork(lab, 1), fabricNetwork(lab, 2)
	tap, ns, stays := secure(fabricPort(lab, in, 2), 2, anyOut), inNamespace(t, lab, 0, fabricPort(lab, in, 3)), fabricPort(lab, other, 4)
	for range 2 {
		applyFabric(t, f, in, tap, ns)
		applyFabric(t, f, other, stays)
		for range 2 {
			require.NoError(t, f.Ports().Remove(t.Context(), tap.ID))
			requireState(t, f, []string{in.ID, other.ID}, []string{ns.ID, stays.ID})
		}
		require.NoError(t, f.Ports().Remove(t.Context(), ns.ID))
		for range 2 {
			require.NoError(t, f.Networks().Remove(t.Context(), in.ID))
			requireState(t, f, []string{other.ID}, []string{stays.ID})
		}
	}
	require.NoError(t, f.Ports().Remove(t.Context(), "never-seen"))
	require.NoError(t, f.Networks().Remove(t.Context(), "never-seen"))
	requireState(t, f, []string{other.ID}, []string{stays.ID})
}

func restartLosesNothing(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1)
	tap, ns := secure(fabricPort(lab, in, 2), 2, anyOut, tcpIn(80)), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	applyFabric(t, lab.Fabric(0), in, tap, ns)
	guest, peer := lab.Attach(t, 0, tap), lab.Attach(t, 0, ns)
	request := frame(3, 2, 80)
	delivers(t, peer, guest, request)
	// Frames go on while a new driver finds everything as it is. Were one lost, a later one would not be the next.
	sent := make([][]byte, 0, 200)
	for n := range 200 {
		p := request
		p.Flags, p.Sequence = SYN, uint32(n+1)
		sent = append(sent, p.Frame())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, f := range sent {
			peer.Emit(t, f)
		}
	}()
	f := lab.Restart(t, 0)
	requireState(t, f, []string{in.ID}, []string{tap.ID, ns.ID})
	applyFabric(t, f, in, tap, ns)
	<-done
	for n := range sent {
		expectOnly(t, guest, sent[n], sent[n+1:]...)
	}
}

func converges(t *testing.T, lab FabricLab) {
	in := fabricNetwork(lab, 1)
	tap, ns := secure(fabricPort(lab, in, 2), 2, anyOut), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	require.NoError(t, lab.Fabric(0).Networks().Apply(t.Context(), in))
	for _, p := range []driver.Port{tap, ns} {
		lab.Damage(t, 0, p)
	}
	f := lab.Restart(t, 0)
	applyFabric(t, f, in, tap, ns)
	requireState(t, f, []string{in.ID}, []string{tap.ID, ns.ID})
	delivers(t, lab.Attach(t, 0, tap), lab.Attach(t, 0, ns), frame(2, 3, 80))
	// A half-made port that nobody wants is found and removed.
	left := fabricPort(lab, in, 4)
	lab.Damage(t, 0, left)
	ids, err := f.Ports().List(t.Context())
	require.NoError(t, err)
	require.Contains(t, ids, left.ID)
	require.NoError(t, f.Ports().Remove(t.Context(), left.ID))
	requireState(t, f, []string{in.ID}, []string{tap.ID, ns.ID})
}

func physical(t *testing.T, lab FabricLab) {
	f := lab.Fabric(0)
	in := driver.Network{ID: "99999999-aaaa-4000-8000-000000000000", Physical: PhysicalNetwork, MTU: 1500}
	one, two := secure(fabricPort(lab, in, 2), 2, anyOut), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	for range 2 {
		applyFabric(t, f, in, one, two)
		requireState(t, f, []string{in.ID}, []string{one.ID, two.ID})
	}
	a, b := lab.Attach(t, 0, one, fabricAddress(2)), lab.Attach(t, 0, two, fabricAddress(3))
	require.NoError(t, a.Ping(fabricAddress(3).Addr(), in.MTU))
	transferBack(t, a, b, addrPort(3, 80))
	f = lab.Restart(t, 0)
	requireState(t, f, []string{in.ID}, []string{one.ID, two.ID})
	require.NoError(t, f.Ports().Remove(t.Context(), one.ID))
	require.NoError(t, f.Ports().Remove(t.Context(), two.ID))
	for range 2 {
		require.NoError(t, f.Networks().Remove(t.Context(), in.ID))
		requireState(t, f, nil, nil)
	}
}

func refused(t *testing.T, lab FabricLab) {
	f := lab.Fabric(0)
	in := fabricNetwork(lab, 1)
	unknown := fabricPort(lab, in, 2)
	require.Error(t, f.Ports().Apply(t.Context(), unknown), "a port of a network that was not applied")
	nowhere := in
	nowhere.Physical = "nowhere"
	require.Error(t, f.Networks().Apply(t.Context(), nowhere), "a physical network that the host does not have")
	segment := in
	segment.Segment = 0
	require.Error(t, f.Networks().Apply(t.Context(), segment), "neither segment nor physical network")
	requireState(t, f, nil, nil)
	applyFabric(t, f, in)
	for name, spoil := range map[string]func(*driver.Port){
		"device": func(p *driver.Port) { p.Endpoint.Device = "a-name-that-is-too-long" },
		"MAC":    func(p *driver.Port) { p.Endpoint.Namespace = lab.Namespace(t, 0); p.MAC = "nonsense" },
	} {
		bad := fabricPort(lab, in, 3)
		spoil(&bad)
		require.Error(t, f.Ports().Apply(t.Context(), bad), name)
		require.NoError(t, f.Ports().Remove(t.Context(), bad.ID))
	}
	requireState(t, f, []string{in.ID}, nil)
}

func securityChanges(t *testing.T, lab FabricLab) {
	f := lab.Fabric(0)
	in := fabricNetwork(lab, 1)
	open, ns := fabricPort(lab, in, 2), inNamespace(t, lab, 0, fabricPort(lab, in, 3))
	applyFabric(t, f, in, open, ns)
	guest, peer := lab.Attach(t, 0, open), lab.Attach(t, 0, ns)
	delivers(t, peer, guest, frame(3, 2, 22))
	require.NoError(t, f.Ports().Apply(t.Context(), secure(open, 2, tcpIn(80))))
	sentinel := ARP(fabricMAC(3), fabricMAC(3), fabricAddress(3).Addr(), fabricAddress(100).Addr())
	again := frame(3, 2, 22)
	again.SourcePort = 1002
	peer.Emit(t, again.Frame())
	peer.Emit(t, sentinel)
	expectOnly(t, guest, sentinel, again.Frame())
	require.NoError(t, f.Ports().Apply(t.Context(), open))
	delivers(t, peer, guest, again)
}
