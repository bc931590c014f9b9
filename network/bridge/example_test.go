//go:build linux

package bridge_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/nftfilter"
)

// A guarded port for a virtual machine, in a network that two hosts share. It needs root, so it is only compiled.
func Example() {
	ctx := context.Background()
	fabric, err := bridge.New(nftfilter.New(nil), &bridge.Options{LocalAddress: netip.MustParseAddr("10.0.0.1")})
	if err != nil {
		fmt.Println(err)
		return
	}
	network := driver.Network{ID: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Segment: 7, MTU: 1450, Peers: []netip.Addr{netip.MustParseAddr("10.0.0.2")}}
	if err := fabric.Networks().Apply(ctx, network); err != nil {
		fmt.Println(err)
		return
	}
	port := driver.Port{
		ID: "9a0c0305-e82c-4301-8000-3f2504e04f89", NetworkID: network.ID, MAC: "fa:16:3e:00:00:02", MTU: network.MTU,
		Endpoint: driver.Endpoint{Device: driver.TapName("9a0c0305-e82c-4301-8000-3f2504e04f89"), Owner: 64055},
		Security: &driver.Security{
			Allowed: []driver.AddressPair{{Address: netip.MustParsePrefix("172.24.17.2/32")}},
			Rules:   []driver.Rule{{Direction: driver.Egress}, {Direction: driver.Ingress, Protocol: 6, PortMin: 80, PortMax: 80}},
		},
	}
	if err := fabric.Ports().Apply(ctx, port); err != nil {
		fmt.Println(err)
	}
}
