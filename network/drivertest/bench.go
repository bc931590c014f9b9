package drivertest

import (
	"net/netip"
	"testing"

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
			for b.Loop() {
				require.NoError(b, f.Ports().Apply(b.Context(), p))
				b.StopTimer()
				require.NoError(b, f.Ports().Remove(b.Context(), p.ID))
				b.StartTimer()
			}
		})
		b.Run(name+"/Unchanged", func(b *testing.B) {
			require.NoError(b, f.Ports().Apply(b.Context(), p))
			for b.Loop() {
				require.NoError(b, f.Ports().Apply(b.Context(), p))
			}
		})
		b.Run(name+"/Remove", func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				require.NoError(b, f.Ports().Apply(b.Context(), p))
				b.StartTimer()
				require.NoError(b, f.Ports().Remove(b.Context(), p.ID))
			}
		})
	}
}
