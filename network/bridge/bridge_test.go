//go:build linux

package bridge_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// vxlanMTU is what an underlay of 1500 bytes leaves: 14 of Ethernet, 8 of VXLAN, 8 of UDP, 20 of IPv4.
const vxlanMTU = 1450

func newLab(t testing.TB, hosts int) drivertest.FabricLab {
	labtest.Require(t)
	labtest.RequireProgram(t, "ping", "iputils-ping")
	return portlab.NewFabricLab(t, hosts, vxlanMTU, func(t testing.TB, namespace string, local netip.Addr, filters driver.Filters) driver.Fabric {
		f, err := bridge.New(filters, &bridge.Options{
			Namespace: namespace, LocalAddress: local, Physical: map[string]string{drivertest.PhysicalNetwork: portlab.PhysicalBridge},
		})
		require.NoError(t, err)
		return f
	})
}

func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }

func BenchmarkFabricBridge(b *testing.B) { drivertest.BenchmarkFabric(b, newLab) }

func TestAPortForANamespaceThatIsNotThereIsRefused(t *testing.T) {
	f := newLab(t, 1).Fabric(0)
	in := driver.Network{ID: "11111111-aaaa", Segment: 1, MTU: vxlanMTU}
	require.NoError(t, f.Networks().Apply(t.Context(), in))
	port := driver.Port{ID: "p", NetworkID: in.ID, MAC: "fa:16:3e:00:00:01", MTU: vxlanMTU, Endpoint: driver.Endpoint{Namespace: "nowhere", Device: "tapp"}}
	require.Error(t, f.Ports().Apply(t.Context(), port))
	ids, err := f.Ports().List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}
