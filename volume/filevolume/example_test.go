//go:build linux

package filevolume_test

import (
	"context"
	"fmt"
	"log"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/filevolume"
)

// A volume, a snapshot of it, and the file that a server is given. It is compiled only: it needs root.
func Example() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	dir, volume, snapshot, connection := "/var/lib/kintoun/volumes", uuid.NewString(), uuid.NewString(), uuid.NewString()
	options := &filevolume.Options{BackingFile: dir + ".xfs", BackingBytes: 4 << 30}
	must(filevolume.Probe(ctx, dir, options))
	volumes, err := filevolume.New(ctx, dir, options)
	must(err)
	err = volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 100 << 30})
	must(err)
	err = volumes.ApplySnapshots(ctx, driver.Snapshot{ID: snapshot, VolumeID: volume})
	must(err)
	target, err := volumes.Connect(ctx, driver.Connection{ID: connection, VolumeID: volume, Host: "host1"})
	must(err)
	fmt.Println(target.Path)
}
