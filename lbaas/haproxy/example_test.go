//go:build linux

package haproxy_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/haproxy"
)

// A balancer without any of the rest, no database and no API, on a bridge of the host. It needs root, so it is only
// compiled; examples/balancer is a whole program.
func Example() {
	balancers, err := haproxy.New(haproxy.OnBridge("br0"), &haproxy.Options{Dir: "/var/lib/mycloud"})
	if err != nil {
		fmt.Println(err)
		return
	}
	want := driver.Balancer{
		ID: "3341c179-43a9-4337-8427-2d490d06ffec",
		Frontend: driver.Frontend{
			PortID: "f212b520-d314-481b-9110-eb2ad24e374a", Address: netip.MustParsePrefix("172.24.17.4/24"),
			Gateway: netip.MustParseAddr("172.24.17.254"), Port: 80,
		},
		Method: driver.RoundRobin, Protocol: driver.HTTP,
		Members: []driver.Member{
			{ID: "vm1", Address: netip.MustParseAddr("172.24.17.2"), Port: 80, Weight: 1},
			{ID: "vm2", Address: netip.MustParseAddr("172.24.17.3"), Port: 80, Weight: 1},
		},
		Monitors: []driver.Monitor{{
			ID: "alive", Type: "HTTP", Delay: 3 * time.Second, Timeout: 3 * time.Second, MaxRetries: 3,
			HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200",
		}},
	}
	// Again and again, for whatever is wanted now: it is free when nothing changed.
	if err := balancers.Apply(context.Background(), want); err != nil {
		fmt.Println(err)
	}
}
