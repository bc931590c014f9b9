package drivertest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

func addrPort(n int, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(fabricAddress(n).Addr(), port)
}

// BenchmarkFabric measures what users wait for: to plug a port, to find it as wanted, and to remove it.
func BenchmarkFabric(b *testing.B, factory func(t testing.TB, hosts int) FabricLab) {
	lab := factory(b, 1)
	f := lab.Fabric(0)
	in := fabricNetwork(lab, 1)
	applyFabric(b, f, in)
	tap := secure(fabricPort(lab, in, 2), 2, anyOut, pingIn, tcpIn(22), tcpIn(80))
	ns := inNamespace(b, lab, 0, fabricPort(lab, in, 3))
	for name, p := range map[string]driver.Port{"GuardedTap": tap, "Namespace": ns} {
		b.Run(name+"/Plug", func(b *testing.B) {
			// Its own clock: to stop the benchmark's costs more than an in-memory fabric does.
			var plug, remove time.Duration
			for b.Loop() {
				start := time.Now()
				require.NoError(b, f.Ports().Apply(b.Context(), p))
				plugged := time.Now()
				require.NoError(b, f.Ports().Remove(b.Context(), p.ID))
				plug, remove = plug+plugged.Sub(start), remove+time.Since(plugged)
			}
			b.ReportMetric(float64(plug.Nanoseconds())/float64(b.N), "ns-plug/op")
			b.ReportMetric(float64(remove.Nanoseconds())/float64(b.N), "ns-remove/op")
		})
		b.Run(name+"/Unchanged", func(b *testing.B) {
			require.NoError(b, f.Ports().Apply(b.Context(), p))
			for b.Loop() {
				require.NoError(b, f.Ports().Apply(b.Context(), p))
			}
		})
	}
}
