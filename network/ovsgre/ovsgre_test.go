//go:build linux

package ovsgre_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/portlab"
	"github.com/kintoun/kintoun/network/ovsgre"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func() int {
		code := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}))
}

// greMTU is what an underlay of 1500 bytes leaves: 14 of Ethernet, 8 of GRE with a key, 20 of IPv4.
const greMTU = 1458

func requireSwitch(t testing.TB) {
	t.Helper()
	labtest.Require(t)
	labtest.RequireProgram(t, "ping", "iputils-ping")
	labtest.RequireProgram(t, "ovs-vswitchd", "openvswitch-switch")
}

func newLab(t testing.TB, hosts int) drivertest.FabricLab {
	requireSwitch(t)
	dir, err := os.MkdirTemp("/tmp", "ovs")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	open := map[string]*ovsgre.Fabric{}
	return portlab.NewFabricLab(t, hosts, greMTU, func(t testing.TB, namespace string, local netip.Addr, filters driver.Filters) driver.Fabric {
		if last := open[namespace]; last != nil {
			require.NoError(t, last.Close())
		} else {
			t.Cleanup(func() { require.NoError(t, open[namespace].Teardown(context.Background())) })
		}
		f, err := ovsgre.New(t.Context(), filters, &ovsgre.Options{
			Namespace: namespace, RunDir: filepath.Join(dir, namespace), LocalAddress: local, Underlay: portlab.Underlay,
			Physical: map[string]string{drivertest.PhysicalNetwork: portlab.PhysicalBridge},
		})
		require.NoError(t, err)
		open[namespace] = f
		return f
	})
}

func TestConformance(t *testing.T) { drivertest.TestFabric(t, newLab) }

func BenchmarkFabricOpenVSwitch(b *testing.B) { drivertest.BenchmarkFabric(b, newLab) }
