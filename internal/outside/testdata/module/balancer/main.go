// Command balancer spreads requests over the servers that its arguments name. It needs root, HAProxy and a bridge.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/haproxy"
)

func main() {
	bridge := flag.String("bridge", "br0", "the bridge")
	address := flag.String("address", "192.0.2.10/24", "the virtual address with its prefix length")
	dir := flag.String("dir", os.TempDir(), "where the balancer's files are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready := func() { fmt.Println("ready") }
	if err := run(ctx, *dir, *bridge, *address, flag.Args(), ready); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run balances until ctx ends.
func run(ctx context.Context, dir, bridge, address string, members []string, ready func()) (err error) {
	want := driver.Balancer{
		ID: "outside", Method: driver.RoundRobin, Protocol: driver.HTTP,
		Monitors: []driver.Monitor{{ID: "m", Type: "TCP", Delay: time.Second, Timeout: time.Second, MaxRetries: 1}},
	}
	want.Frontend.PortID, want.Frontend.Port = "outside-port", 80
	if want.Frontend.Address, err = netip.ParsePrefix(address); err != nil {
		return err
	}
	for i, m := range members {
		a, err := netip.ParseAddrPort(m)
		if err != nil {
			return err
		}
		want.Members = append(want.Members, driver.Member{ID: fmt.Sprint("m", i), Address: a.Addr(), Port: a.Port(), Weight: 1})
	}
	options := &haproxy.Options{Dir: dir}
	if err := haproxy.Probe(ctx, options); err != nil {
		return err
	}
	d, err := haproxy.New(haproxy.OnBridge(bridge), options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Remove(context.WithoutCancel(ctx), want.ID)) }()
	if err := d.Apply(ctx, want); err != nil {
		return err
	}
	ready()
	<-ctx.Done()
	status, err := d.Status(context.WithoutCancel(ctx), want.ID)
	fmt.Println(status.Stats.TotalConnections, "connections", status.Members)
	return err
}
