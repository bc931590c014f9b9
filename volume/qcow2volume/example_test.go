//go:build linux

package qcow2volume_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/qcow2volume"
)

// A volume and a snapshot of it, of 100 GiB each, and what they take.
func Example() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "volumes")
	must(err)
	defer func() { _ = os.RemoveAll(dir) }()
	volume, snapshot := uuid.NewString(), uuid.NewString()

	volumes, err := qcow2volume.New(ctx, dir, &qcow2volume.Options{Host: "host1"})
	must(err)
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	must(err)
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	must(err)
	all, err := volumes.List(ctx)
	must(err)
	for _, v := range all {
		fmt.Println(v.Kind, v.Bytes>>30, "GiB, takes less than 1 MiB:", v.Used < 1<<20)
	}
	// Output:
	// snapshot 100 GiB, takes less than 1 MiB: true
	// volume 100 GiB, takes less than 1 MiB: true
}

// A volume that is connected, and the socket that a server on this host is given. It is compiled only: it needs qemu-storage-daemon.
func Example_connect() {
	ctx := context.Background()
	dir, volume, snapshot, connection := "/var/lib/kintoun/volumes.qcow2", uuid.NewString(), uuid.NewString(), uuid.NewString()
	if err := qcow2volume.Probe(ctx, dir, nil); err != nil {
		log.Fatal(err)
	}
	volumes, err := qcow2volume.New(ctx, dir, &qcow2volume.Options{Host: "host1"})
	if err != nil {
		log.Fatal(err)
	}
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	if err != nil {
		log.Fatal(err)
	}
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	if err != nil {
		log.Fatal(err)
	}
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(target.NBD.Socket, target.NBD.Export)
}
