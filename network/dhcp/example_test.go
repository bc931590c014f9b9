//go:build linux

package dhcp_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/network/dhcp"
	"github.com/kintoun/kintoun/network/driver"
)

// A server for one network and one client. It needs root, and a fabric to plug its port into.
func Example() {
	var fabric driver.Fabric // of package bridge or ovsgre
	servers := dhcp.New(fabric.Ports(), nil)
	defer func() { _ = servers.Close() }()
	err := servers.Apply(context.Background(), driver.DHCPServer{
		NetworkID: "private", PortID: "9a1b2c3d-0000-4000-8000-000000000001", MAC: "fa:16:3e:00:00:03", MTU: 1450,
		Addresses: []netip.Prefix{netip.MustParsePrefix("172.24.17.1/24")},
		Subnets: []driver.DHCPSubnet{{
			Prefix: netip.MustParsePrefix("172.24.17.0/24"), Gateway: netip.MustParseAddr("172.24.17.254"), LeaseSeconds: 86400,
		}},
		Leases:          []driver.Lease{{MAC: "fa:16:3e:00:00:0a", Address: netip.MustParseAddr("172.24.17.2"), Hostname: "vm1"}},
		MetadataAddress: netip.MustParseAddr("169.254.169.254"),
	})
	fmt.Println(err)
}
