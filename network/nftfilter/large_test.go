//go:build linux

package nftfilter_test

import (
	"net/netip"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/stretchr/testify/require"
)

// A transaction has to hold a port's whole guard, however long: its answers must fit the socket's buffer.
func TestAThousandRulesAreOneTransaction(t *testing.T) {
	labtest.Require(t)
	host := link.Host{Namespace: portlab.Namespace(t)}
	require.NoError(t, host.EnsureBridge("br1", link.NetworkAlias("n"), 1500))
	f := nftfilter.New(&nftfilter.Options{Namespace: host.Namespace})
	want := driver.Filter{PortID: "p", Device: "tap1", Bridge: "br1", MAC: "fa:16:3e:00:00:01"}
	for n := range 1000 {
		want.Security.Rules = append(want.Security.Rules, driver.Rule{
			Direction: driver.Ingress, Protocol: 6, PortMin: uint16(n + 1), PortMax: uint16(n + 1),
			Remotes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.24.17.2/32")},
		})
	}
	require.NoError(t, f.Apply(t.Context(), want))
	require.NoError(t, f.Apply(t.Context(), want))
	require.NoError(t, f.Remove(t.Context(), "p"))
}
