//go:build linux

package netnsrouter_test

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/lab"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/internal/labnet"
	"github.com/kintoun/kintoun/network/netnsrouter"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m.Run)) }

// station is a labnet station as the suite wants it.
type station struct {
	*labnet.Station
	name string
}

func (s station) Listen(t testing.TB, port uint16) { listen(t, s.Namespace, s.name, port) }

func (s station) Dial(ctx context.Context, to netip.AddrPort) (drivertest.Conn, error) {
	return s.Station.Dial(ctx, to)
}

func listen(t testing.TB, namespace, name string, port uint16) {
	stop, err := labnet.Listen(namespace, name, port)
	require.NoError(t, err)
	t.Cleanup(stop)
}

func host(t testing.TB) drivertest.RouterHost {
	labtest.Require(t)
	t.Cleanup(func() { require.NoError(t, labnet.Clear()) })
	fabric := labnet.New()
	return drivertest.RouterHost{
		Routers:   netnsrouter.New(fabric, nil),
		Restarted: func(testing.TB) driver.Routers { return netnsrouter.New(fabric, nil) },
		Interrupted: func(_ testing.TB, legs int) driver.Routers {
			return netnsrouter.New(labnet.Interrupted(legs), nil)
		},
		Join: func(t testing.TB, name, networkID string, address netip.Prefix, gateway netip.Addr) drivertest.Station {
			s, err := labnet.Join(t.Context(), fabric, name, networkID, address, gateway)
			require.NoError(t, err)
			return station{s, name}
		},
		Listen: func(t testing.TB, name, routerID string, port uint16) {
			listen(t, driver.RouterNamespace(routerID), name, port)
		},
		Plugged: func(t testing.TB) []string {
			ids, err := fabric.List(t.Context())
			require.NoError(t, err)
			var routers []string
			for _, id := range ids {
				if !strings.HasPrefix(id, "station-") {
					routers = append(routers, id)
				}
			}
			return routers
		},
	}
}

func TestConformance(t *testing.T) {
	labtest.Require(t)
	drivertest.TestRouters(t, host)
}

func BenchmarkRouters(b *testing.B) {
	labtest.Require(b)
	drivertest.BenchmarkRouters(b, host)
}
