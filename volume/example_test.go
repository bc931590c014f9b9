package volume_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/volume"
	"github.com/kintoun/kintoun/volume/memvolume"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	service, err := volume.New(ctx, db, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	agent := volume.NewAgent(service, volume.Backend{Host: "host1", Name: "memory"}, memvolume.New(memvolume.NewPool(64<<30), nil), nil)
	stopped := make(chan error, 1)
	go func() { stopped <- agent.Run(ctx) }()
	fmt.Println(agent.Settle(ctx))

	const serverID = "6f1d8a3c-53f0-4e0e-8c5e-2b8f3b0a9d11" // of a server that somebody runs there
	demo := volume.Scope{ProjectID: "demo", UserID: "alice"}
	v, err := service.CreateVolume(ctx, demo, volume.VolumeSpec{Name: "data", SizeGiB: 10})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Status)
	v, err = service.Await(ctx, demo, v.ID, func(v *volume.Volume) bool { return v.Status != volume.Creating })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Status, v.Host)
	a, err := service.CreateAttachment(ctx, demo, volume.AttachmentSpec{
		VolumeID: v.ID, ServerID: serverID, Connector: &volume.Connector{Host: "host1"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	disk := a.Target // how host1 reaches the volume
	fmt.Println(a.Status, disk.Bytes)

	cancel()
	fmt.Println(<-stopped, db.Close())
	// Output:
	// <nil>
	// creating
	// available host1@memory#memory
	// attaching 10737418240
	// <nil> <nil>
}
