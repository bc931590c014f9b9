//go:build linux

package qemu_test

import (
	"context"
	"fmt"
	"log"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/compute/qemu"
)

// One server from an image, its console, and its end. It is compiled only: it needs QEMU and an image.
func Example() {
	ctx := context.Background()
	servers, err := qemu.New(ctx, &qemu.Options{Dir: "/var/lib/kintoun/compute"})
	if err != nil {
		log.Fatal(err)
	}
	for _, missing := range servers.Advice() {
		log.Print(missing)
	}
	want := driver.Server{
		ID: "8d1c7c3e-52f5-4a0f-9a4b-3c1f4ad2f1b0", Name: "vm1", VCPUs: 1, MemoryMiB: 512, Running: true, Boots: 1,
		Root: driver.Disk{Base: "/var/lib/kintoun/images/debian.qcow2", Format: "qcow2", SizeGiB: 10},
		NICs: []driver.NIC{{MAC: "fa:16:3e:00:00:01", MTU: 1450, Device: "tap3f2504e0-4f"}},
	}
	if err := servers.Apply(ctx, want); err != nil {
		log.Fatal(err)
	}
	console, err := servers.ConsoleLog(ctx, want.ID, 10)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", console)
	if err := servers.Remove(ctx, want.ID); err != nil {
		log.Fatal(err)
	}
}
