//go:build linux

package nftfilter_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/nftfilter"
)

// Guards a device that is, or will be, on a Linux bridge: it may claim one address, send anything, and be pinged. It
// needs root, so it is only compiled.
func Example() {
	err := nftfilter.New(nil).Apply(context.Background(), driver.Filter{
		PortID: "vm1", Device: "tap0", Bridge: "br0", MAC: "fa:16:3e:00:00:02",
		Security: driver.Security{
			Allowed: []driver.AddressPair{{Address: netip.MustParsePrefix("172.24.17.2/32")}},
			Rules:   []driver.Rule{{Direction: driver.Egress}, {Direction: driver.Ingress, Protocol: 1}},
		},
	})
	fmt.Println(err)
}
