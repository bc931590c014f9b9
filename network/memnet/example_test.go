package memnet_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

// A network with one port, on a machine in memory.
func Example() {
	ctx := context.Background()
	machine := memnet.NewMachine(nil)
	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
	if err := fabric.Networks().Apply(ctx, driver.Network{ID: "private", Segment: 1, MTU: 1450}); err != nil {
		fmt.Println(err)
	}
	port := driver.Port{ID: "vm1", NetworkID: "private", MAC: "fa:16:3e:00:00:01", MTU: 1450, Endpoint: driver.Endpoint{Device: driver.TapName("vm1")}}
	if err := fabric.Ports().Apply(ctx, port); err != nil {
		fmt.Println(err)
	}
	ports, err := fabric.Ports().List(ctx)
	fmt.Println(ports, err)
	// Output: [vm1] <nil>
}
