package memcompute_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/memcompute"
)

func Example() {
	ctx := context.Background()
	host := memcompute.NewHost()
	servers := memcompute.New(host, nil)
	err := servers.Apply(ctx, driver.Server{ID: "f2a4", Name: "vm1", VCPUs: 1, MemoryMiB: 128, Running: true, Boots: 1})
	fmt.Println(err)

	_ = host.Crash("f2a4", "out of memory")
	all, _ := servers.List(ctx)
	fmt.Println(all[0].State, all[0].Reason)
	// Output:
	// <nil>
	// crashed out of memory
}
