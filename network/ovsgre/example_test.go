//go:build linux

package ovsgre_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/nftfilter"
	"github.com/kintoun/kintoun/network/ovsgre"
)

// An automatic choice: Open vSwitch where its datapath is in the kernel, the kernel's bridge otherwise. It needs root,
// so it is only compiled.
func Example() {
	ctx := context.Background()
	filters := nftfilter.New(nil)
	var fabric driver.Fabric
	var err error
	if ovsgre.KernelDatapath() == nil && ovsgre.Probe(ctx, nil) == nil {
		fabric, err = ovsgre.New(ctx, filters, nil)
	} else {
		fabric, err = bridge.New(filters, nil)
	}
	fmt.Println(fabric, err)
}
