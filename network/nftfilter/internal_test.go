//go:build linux

package nftfilter

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/nftables"
	"github.com/kintoun/kintoun/internal/lab/labtest"
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
	f.Fuzz(func(t *testing.T, data []byte) {
		if fl, err := parseFlow(data); err == nil {
			judge(fl, driver.Filter{MAC: "fa:16:3e:00:00:01", Security: driver.Security{Rules: []driver.Rule{{Direction: driver.Ingress}}}})
		}
	})
}

// A process that is killed after it changed the rules has not judged the connections yet: the next Apply does.
func TestAKilledApplyIsFinishedByTheNext(t *testing.T) {
	labtest.Require(t)
	require.NoError(t, link.Scratch(func() error {
		host := link.Host{}
		if err := host.EnsureBridge("br1", link.NetworkAlias("n"), 1500); err != nil {
			return err
		}
		f := New(nil)
		want := driver.Filter{PortID: "p", Device: "tap1", Bridge: "br1", MAC: "fa:16:3e:00:00:01"}
		if err := f.Apply(t.Context(), want); err != nil {
			return err
		}
		k, err := f.open()
		if err != nil {
			return err
		}
		defer k.close()
		k.writeRecord("p", record{device: "tap1", bridge: "br1", digest: "pending"})
		if err := k.conn.Flush(); err != nil {
			return err
		}
		if err := f.Apply(t.Context(), want); err != nil {
			return err
		}
		last, err := k.record("p")
		require.Equal(t, &record{device: "tap1", bridge: "br1", digest: digest(want)}, last)
		if err != nil {
			return err
		}
		// A port that moves to another device and bridge leaves nothing behind.
		if err := host.EnsureBridge("br2", link.NetworkAlias("m"), 1500); err != nil {
			return err
		}
		want.Device, want.Bridge = "tap2", "br2"
		if err := f.Apply(t.Context(), want); err != nil {
			return err
		}
		if err := f.Remove(t.Context(), "p"); err != nil {
			return err
		}
		for _, s := range []*nftables.Set{k.sources, k.senders, k.receivers, k.hosts, k.zones} {
			elements, err := k.conn.GetSetElements(s)
			require.NoError(t, err)
			require.Empty(t, elements, s.Name)
		}
		return nil
	}))
}
