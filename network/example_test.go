package network_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/memnet"
)

// A network with a subnet and a server's port, on one host whose kernel is played by memory.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close() }()
	service, err := network.New(ctx, db, nil)
	if err != nil {
		panic(err)
	}

	machine := memnet.NewMachine(nil)
	fabric := memnet.NewFabric(machine, memnet.NewFilters(machine))
	agent := network.NewAgent(service, "one", network.Drivers{
		Fabric: fabric, Routers: memnet.NewRouters(fabric.Ports(), nil), DHCP: memnet.NewDHCPServers(fabric.Ports(), nil),
	}, nil)
	done := make(chan error)
	go func() { done <- agent.Run(ctx) }()

	demo := network.Scope{ProjectID: "demo"}
	private, err := service.CreateNetwork(ctx, demo, network.NetworkSpec{Name: new("private")})
	if err != nil {
		panic(err)
	}
	if _, err := service.CreateSubnet(ctx, demo, network.SubnetSpec{NetworkID: private.ID, CIDR: netip.MustParsePrefix("192.0.2.0/24")}); err != nil {
		panic(err)
	}
	port, err := service.CreatePort(ctx, network.System, network.PortSpec{ProjectID: "demo", NetworkID: private.ID, DeviceOwner: new("compute:nova")})
	if err != nil {
		panic(err)
	}
	if _, err := agent.Plug(ctx, port.ID, driver.Endpoint{Device: driver.TapName(port.ID)}); err != nil {
		panic(err)
	}
	port, err = service.WaitPort(ctx, port.ID, network.StatusActive)
	fmt.Println(port.FixedIPs[0].Address, port.Status, port.HostID, err)

	cancel()
	fmt.Println(<-done)
	// Output:
	// 192.0.2.3 ACTIVE one <nil>
	// <nil>
}
