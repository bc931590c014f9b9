//go:build linux || darwin

package qmp_test

import (
	"context"
	"fmt"

	"github.com/digitalocean/go-qemu/qmp/raw"
	"github.com/kintoun/kintoun/compute/qemu/qmp"
)

// It needs a QEMU that was started with -qmp unix:/run/vm1/qmp,server=on, so it is only compiled.
func Example() {
	ctx := context.Background()
	client, err := qmp.Dial(ctx, "/run/vm1/qmp")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Disconnect() }()
	status, err := raw.NewMonitor(client.With(ctx)).QueryStatus()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(status.Status)
}
