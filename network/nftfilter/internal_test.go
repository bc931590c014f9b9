//go:build linux

package nftfilter

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSpansAreDisjointAndHoldWhatThePrefixesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A few high bits only, so that prefixes meet.
		prefixes := rapid.SliceOf(rapid.Custom(func(t *rapid.T) netip.Prefix {
			a := netip.AddrFrom4([4]byte{rapid.SampledFrom([]byte{0, 1, 10, 255}).Draw(t, "a"), 0, 0, rapid.SampledFrom([]byte{0, 1, 254, 255}).Draw(t, "d")})
			return netip.PrefixFrom(a, rapid.IntRange(0, 32).Draw(t, "bits"))
		})).Draw(t, "prefixes")
		ranges := spans(prefixes)
		for i, r := range ranges {
			require.LessOrEqual(t, r.first.Compare(r.last), 0)
			if i > 0 {
				require.Negative(t, ranges[i-1].last.Next().Compare(r.first), "ranges %d and %d touch", i-1, i)
			}
		}
		probe := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "probe")))
		inside := slices.ContainsFunc(ranges, func(r span) bool { return r.first.Compare(probe) <= 0 && probe.Compare(r.last) <= 0 })
		require.Equal(t, contains(prefixes, probe), inside)
	})
}

func FuzzParseFlow(f *testing.F) {
	address := func(kind uint16, a string) netlink.Attribute {
		return netlink.Attribute{Type: kind, Data: netip.MustParseAddr(a).AsSlice()}
	}
	nest := func(kind uint16, inner ...netlink.Attribute) netlink.Attribute {
		data, err := netlink.MarshalAttributes(inner)
		require.NoError(f, err)
		return netlink.Attribute{Type: kind | netlink.Nested, Data: data}
	}
	whole := nest(attrTupleOriginal,
		nest(attrTupleIP, address(attrIPv4Source, "172.24.17.2"), address(attrIPv4Destination, "172.24.17.3")),
		nest(attrTupleProtocol, netlink.Attribute{Type: attrProtocolNumber, Data: []byte{6}}, netlink.Attribute{Type: attrPortDestination, Data: big16(80)}))
	data, err := netlink.MarshalAttributes([]netlink.Attribute{whole, {Type: attrZone, Data: big16(20000)}})
	require.NoError(f, err)
	fl, err := parseFlow(append([]byte{2, 0, 0, 0}, data...))
	require.NoError(f, err)
	require.Equal(f, netip.MustParseAddr("172.24.17.3"), fl.destination)
	require.Equal(f, uint16(80), fl.port)
	require.Equal(f, uint16(20000), fl.zone)
	f.Add(append([]byte{2, 0, 0, 0}, data...))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, data []byte) {
		if fl, err := parseFlow(data); err == nil {
			judge(fl, driver.Filter{MAC: "fa:16:3e:00:00:01", Security: driver.Security{Rules: []driver.Rule{{Direction: driver.Ingress}}}})
		}
	})
}

// A process that is killed after it changed the rules has not judged the connections yet: the next Apply does.
func TestAKilledApplyIsFinishedByTheNext(t *testing.T) {
	labtest.Require(t)
	require.NoError(t, netns.Create("killed"))
	t.Cleanup(func() { require.NoError(t, netns.Delete("killed")) })
	host := link.Host{Namespace: "killed"}
	require.NoError(t, host.EnsureBridge("br1", link.NetworkAlias("n"), 1500))
	require.NoError(t, host.EnsureBridge("br2", link.NetworkAlias("m"), 1500))
	f := New(&Options{Namespace: "killed"})
	want := driver.Filter{PortID: "p", Device: "tap1", Bridge: "br1", MAC: "fa:16:3e:00:00:01"}
	require.NoError(t, f.Apply(t.Context(), want))
	k, err := f.open()
	require.NoError(t, err)
	defer k.close()
	k.writeRecord("p", record{device: "tap1", bridge: "br1", digest: "pending"})
	require.NoError(t, k.conn.Flush())
	require.NoError(t, f.Apply(t.Context(), want))
	last, err := k.record("p")
	require.NoError(t, err)
	require.Equal(t, &record{device: "tap1", bridge: "br1", digest: digest(want)}, last)
	// A port that moves to another device and bridge leaves nothing behind.
	want.Device, want.Bridge = "tap2", "br2"
	require.NoError(t, f.Apply(t.Context(), want))
	require.NoError(t, f.Remove(t.Context(), "p"))
	for _, s := range []*nftables.Set{k.sources, k.senders, k.receivers, k.hosts, k.zones} {
		elements, err := k.conn.GetSetElements(s)
		require.NoError(t, err)
		require.Empty(t, elements, s.Name)
	}
}
