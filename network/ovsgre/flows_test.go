//go:build linux

package ovsgre

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/stretchr/testify/require"
)

func newSwitch(t testing.TB) *Fabric {
	t.Helper()
	labtest.Require(t)
	labtest.RequireProgram(t, "ovs-vswitchd", "openvswitch-switch")
	dir, err := os.MkdirTemp("/tmp", "ovs")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	f, err := New(t.Context(), nil, &Options{Namespace: portlab.Hosts(t, 1)[0], RunDir: filepath.Join(dir, "run")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Teardown(context.Background())) })
	return f
}

func peers(count int) []netip.Addr {
	list := make([]netip.Addr, count)
	for i := range list {
		list[i] = netip.AddrFrom4([4]byte{172, 24, byte(i >> 8), byte(i)})
	}
	return list
}

// written is what the flows are, as ovs-ofctl(8) writes them.
func written(records ...networkRecord) string {
	text := `
add table=0,priority=1,in_port=1 actions=resubmit(,2)
add table=0,priority=1,in_port=2 actions=resubmit(,4)
add table=0,priority=0 actions=drop
add table=2,priority=0,dl_dst=00:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,20)
add table=2,priority=0,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=resubmit(,22)
add table=4,priority=0 actions=drop
add table=10,priority=1 actions=learn(table=20,hard_timeout=300,priority=1,NXM_OF_VLAN_TCI[0..11],` +
		`NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],` +
		`load:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],output:NXM_OF_IN_PORT[]),output:1
add table=20,priority=0 actions=resubmit(,22)
add table=22,priority=0 actions=drop
`
	for _, r := range records {
		text += fmt.Sprintf("add cookie=%d,table=4,priority=1,tun_id=%d actions=mod_vlan_vid:%d,resubmit(,10)\n", r.Tag, r.Segment, r.Tag)
		if len(r.Peers) == 0 {
			continue
		}
		text += fmt.Sprintf("add cookie=%d,table=22,priority=1,dl_vlan=%d actions=strip_vlan,set_field:%d->tun_id", r.Tag, r.Tag, r.Segment)
		for _, peer := range r.Peers {
			text += fmt.Sprintf(",set_field:%s->tun_dst,output:2", peer)
		}
		text += "\n"
	}
	return text
}

// bundle runs ovs-ofctl on flows as it writes them.
func bundle(t testing.TB, f *Fabric, bridge, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ovs-ofctl", "--bundle", "-O", "OpenFlow14", "add-flows", f.daemons.management(bridge), "-")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}

func dump(t testing.TB, f *Fabric, bridge string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", f.daemons.management(bridge)).CombinedOutput()
	require.NoError(t, err, string(out))
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return lines
}

func TestTheSwitchHasExactlyTheFlowsThatAreWritten(t *testing.T) {
	f := newSwitch(t)
	const reference = integrationBridge
	requireWritten := func(records ...networkRecord) {
		t.Helper()
		bundle(t, f, reference, "delete\n"+written(records...))
		want := dump(t, f, reference)
		require.Len(t, want, strings.Count(written(records...), "add "))
		require.Equal(t, want, dump(t, f, tunnelBridge))
	}
	push := func(change flowChange) {
		t.Helper()
		require.NoError(t, f.daemons.push(t.Context(), change))
	}
	requireWritten()
	alone := networkRecord{Tag: 1, Segment: 7}
	pair := networkRecord{Tag: 0x0fe, Segment: 1<<32 - 1, Peers: peers(1)}
	many := networkRecord{Tag: maxTag, Segment: 9, Peers: peers(300)}
	all := baseFlows()
	for _, r := range []networkRecord{alone, pair, many} {
		push(r.flows())
		all.append(r.flows())
	}
	requireWritten(alone, pair, many)
	push(all)
	requireWritten(alone, pair, many)

	many.Segment, many.Peers = 10, peers(2)
	push(many.flows())
	requireWritten(alone, pair, many)

	// What was learned goes with its own network only: the last 8 bits of these tags are the same.
	bundle(t, f, tunnelBridge, "add table=20,priority=1,vlan_tci=0x00fe/0x0fff,dl_dst=fa:16:3e:00:00:02 actions=output:2\n")
	push(many.withdrawal())
	require.Len(t, dump(t, f, tunnelBridge), 9+1+2+1)
	push(pair.withdrawal())
	requireWritten(alone)
	bundle(t, f, tunnelBridge, "add table=4,priority=5,tun_id=5 actions=drop\n")
	push(baseFlows())
	requireWritten(alone)
}

// toGroup is an action that the switch refuses: there is no such group.
type toGroup struct{}

func (toGroup) MarshalText() ([]byte, error) { return []byte("group:77"), nil }
func (toGroup) GoString() string             { return "toGroup{}" }

func TestABundleThatFailsChangesNothing(t *testing.T) {
	f := newSwitch(t)
	before := dump(t, f, tunnelBridge)
	for name, change := range map[string]struct {
		bad ovs.Action
		err string
	}{
		"a value that the library refuses": {ovs.ModVLANVID(5000), "VLAN VID"},
		"a flow that the switch refuses":   {toGroup{}, "OFPBAC_BAD_OUT_GROUP"},
	} {
		flows := networkRecord{Tag: 1, Segment: 7, Peers: peers(1)}.flows()
		flows.delete = append(flows.delete, &ovs.MatchFlow{Table: inputTable})
		flows.add = append(flows.add, &ovs.Flow{Table: inputTable, Priority: 9, Actions: []ovs.Action{change.bad}})
		require.ErrorContains(t, f.daemons.push(t.Context(), flows), change.err, name)
		require.Equal(t, before, dump(t, f, tunnelBridge), name)
	}
}

func TestAPushEndsWithItsContext(t *testing.T) {
	labtest.RequireProgram(t, "ovs-ofctl", "openvswitch-common")
	d := &daemons{runDir: t.TempDir()}
	require.ErrorContains(t, d.push(t.Context(), baseFlows()), "ovs-ofctl")

	// A switch that takes the connection and says nothing.
	silent, err := net.Listen("unix", strings.TrimPrefix(d.management(tunnelBridge), "unix:"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := silent.Accept()
		cancel()
		accepted <- conn
	}()
	require.ErrorIs(t, d.push(ctx, baseFlows()), context.Canceled)
	require.NoError(t, silent.Close())
	if conn := <-accepted; conn != nil {
		require.NoError(t, conn.Close())
	}

	t.Setenv("PATH", "")
	require.ErrorIs(t, d.push(t.Context(), baseFlows()), ErrUnavailable)
}

func BenchmarkPush(b *testing.B) {
	f := newSwitch(b)
	for _, networks := range []int{1, 1000} {
		b.Run(fmt.Sprintf("networks=%d", networks), func(b *testing.B) {
			for b.Loop() {
				flows := baseFlows()
				for n := range networks {
					flows.append(networkRecord{Tag: n + 1, Segment: uint32(n + 1), Peers: peers(10)}.flows())
				}
				require.NoError(b, f.daemons.push(b.Context(), flows))
			}
		})
	}
}
