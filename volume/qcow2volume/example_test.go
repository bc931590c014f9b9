//go:build linux

package qcow2volume_test

import (
	"context"
	"fmt"
	"log"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/qcow2volume"
)

// A volume, a snapshot of it, and the socket that a server on this host is given.
func Example() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	dir, volume, snapshot, connection := "/var/lib/kintoun/volumes", uuid.NewString(), uuid.NewString(), uuid.NewString()
	must(qcow2volume.Probe(ctx, dir, nil))
	volumes, err := qcow2volume.New(ctx, dir, &qcow2volume.Options{Host: "host1"})
	must(err)
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	must(err)
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	must(err)
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
	must(err)
	fmt.Println(target.NBD.Socket, target.NBD.Export)
}
