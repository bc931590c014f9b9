package memnet_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

// Where would a packet to a floating IP go?
func ExampleRouters_Trace() {
	routers := memnet.NewRouters(newPlugs(), nil)
	err := routers.Apply(context.Background(), driver.Router{
		ID: "r",
		Interfaces: []driver.RouterInterface{{
			PortID: "in", NetworkID: "private", MAC: "fa:16:3e:00:00:01", Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.254/24")},
		}},
		Gateway: &driver.Gateway{RouterInterface: driver.RouterInterface{
			PortID: "out", NetworkID: "public", MAC: "fa:16:3e:00:00:02", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")},
		}},
		FloatingIPs: []driver.FloatingIP{{External: netip.MustParseAddr("10.0.0.50"), Internal: netip.MustParseAddr("172.24.17.2")}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	floating := netip.MustParseAddr("10.0.0.50")
	at, ok := routers.Trace("public", floating, memnet.Flow{Source: netip.MustParseAddr("10.0.0.1"), Destination: floating, Port: 80})
	fmt.Println(at.NetworkID, at.Flow.Destination, ok)
	// Output: private 172.24.17.2 true
}
