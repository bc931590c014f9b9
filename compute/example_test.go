package compute_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/internal/sqlitedb"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Stand-ins for what an embedder's program adapts: its images and networks.
	images, networks := computetest.NewImages(), computetest.NewNetworks()
	networks.Add("private", "demo")
	imageID := computetest.ImageID

	service, err := compute.New(ctx, db, images, networks, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	agent := compute.NewAgent(service, "host1", memcompute.New(memcompute.NewHost(), nil), networks, images, &compute.AgentOptions{
		Resources: compute.Resources{VCPUs: 2, MemoryMiB: 4096, DiskGiB: 50},
	})
	stopped := make(chan error, 1)
	go func() { stopped <- agent.Run(ctx) }()
	fmt.Println(agent.Settle(ctx), service.EnsureFlavors(ctx, compute.DefaultFlavors()...))

	demo := compute.Scope{ProjectID: "demo", UserID: "alice"}
	servers, err := service.CreateServers(ctx, demo, compute.ServerSpec{Name: "vm1", FlavorID: "1", ImageID: imageID})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(servers[0].Status())
	server, err := service.Await(ctx, demo, servers[0].ID, func(v *compute.Server) bool { return v.VMState != compute.Building })
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.Status(), server.Host)

	cancel()
	fmt.Println(<-stopped, db.Close())
	// Output:
	// <nil> <nil>
	// BUILD
	// ACTIVE host1
	// <nil> <nil>
}
