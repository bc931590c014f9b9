//go:build linux

package netnsrouter_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/netnsrouter"
)

// A router between a private network and an external one, with a floating IP. It needs root, and a fabric to plug its legs into.
func Example() {
	var fabric driver.Fabric // of package bridge or ovsgre
	routers := netnsrouter.New(fabric.Ports(), nil)
	err := routers.Apply(context.Background(), driver.Router{
		ID: "8f6d7a52-3f0c-4d2e-9a35-5b1d0a0f6c11",
		Interfaces: []driver.RouterInterface{{
			PortID: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", NetworkID: "private", MAC: "fa:16:3e:00:00:01", MTU: 1450,
			Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.254/24")},
		}},
		Gateway: &driver.Gateway{
			RouterInterface: driver.RouterInterface{
				PortID: "7d1a3c44-9f7b-4b0e-8d52-1c2e3f4a5b6c", NetworkID: "public", MAC: "fa:16:3e:00:00:02", MTU: 1500,
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
			},
			NextHops: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, SNAT: true,
		},
		FloatingIPs: []driver.FloatingIP{{External: netip.MustParseAddr("10.0.0.50"), Internal: netip.MustParseAddr("172.24.17.2")}},
	})
	fmt.Println(err)
}
