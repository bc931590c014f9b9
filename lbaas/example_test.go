package lbaas_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/internal/fakeports"
	"github.com/kintoun/kintoun/lbaas/memlb"
)

// A pool with a virtual address, on a host whose HAProxy is played by memory.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	// A stand-in for what an embedder's program adapts: its networks.
	ports := fakeports.New()
	demo := lbaas.Scope{ProjectID: "demo"}
	subnet := ports.AddSubnet(demo.ProjectID)
	service, err := lbaas.New(ctx, db, ports, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	balancers := memlb.New(nil)
	agent := lbaas.NewAgent(service, "one", balancers, nil)
	stopped := make(chan struct{})
	go func() { agent.Run(ctx); close(stopped) }()

	pool, err := service.CreatePool(ctx, demo, lbaas.PoolSpec{SubnetID: subnet, Protocol: "HTTP", Method: "ROUND_ROBIN"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, server := range []string{"172.24.17.2", "172.24.17.3"} {
		if _, err := service.CreateMember(ctx, demo, lbaas.MemberSpec{PoolID: pool.ID, Address: netip.MustParseAddr(server), Port: 80, Weight: 1}); err != nil {
			fmt.Println(err)
			return
		}
	}
	vip, err := service.CreateVIP(ctx, demo, lbaas.VIPSpec{PoolID: pool.ID, SubnetID: subnet, Protocol: "HTTP", ProtocolPort: 80, ConnectionLimit: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for event, err := range service.Watch(ctx, 0) {
		if err != nil || event.Type == "vip" && event.ID == vip.ID && event.Status == string(lbaas.Active) {
			fmt.Println(event.Status, err)
			break
		}
	}
	requests := map[string]int{}
	for range 10 {
		server, err := balancers.Choose(pool.ID, netip.MustParseAddr("172.24.17.9"))
		if err != nil {
			fmt.Println(err)
		}
		requests[server.Address.String()]++
	}
	fmt.Println(requests)

	cancel()
	<-stopped
	// Output:
	// ACTIVE <nil>
	// map[172.24.17.2:5 172.24.17.3:5]
}
