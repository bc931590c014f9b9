//go:build linux

// Command balancer is a load balancer from Go with no control plane: HAProxy in a network namespace of its own, with an
// address on a bridge of this host, in front of servers that are somewhere behind that bridge.
//
//	balancer -bridge br0 -address 192.0.2.10/24 192.0.2.21:8080 192.0.2.22:8080
//
// It needs root, HAProxy and the bridge, and touches nothing else: the balancer is gone when the program is told to end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/haproxy"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "balancer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("balancer", flag.ContinueOnError)
	bridge := flags.String("bridge", "", "the Linux `bridge` to be on")
	dir := flags.String("dir", "/run/balancer", "where HAProxy's files are kept")
	want := driver.Balancer{
		ID: "web", Method: driver.RoundRobin, Protocol: driver.HTTP, Frontend: driver.Frontend{PortID: "web-vip", Port: 80},
		Monitors: []driver.Monitor{{ID: "alive", Type: "HTTP", Delay: time.Second, Timeout: time.Second, MaxRetries: 2, HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200"}},
	}
	flags.TextVar(&want.Frontend.Address, "address", netip.Prefix{}, "the balancer's `address/length`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, server := range flags.Args() {
		at, err := netip.ParseAddrPort(server)
		if err != nil {
			return fmt.Errorf("server %q: %w", server, err)
		}
		want.Members = append(want.Members, driver.Member{ID: fmt.Sprintf("server%d", len(want.Members)+1), Address: at.Addr(), Port: at.Port(), Weight: 1})
	}
	balancers, err := haproxy.New(haproxy.OnBridge(*bridge), &haproxy.Options{Dir: *dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, balancers.Remove(context.WithoutCancel(ctx), want.ID)) }()
	// Apply it again, with other servers, whenever what is wanted has changed: it does what is left to do.
	if err := balancers.Apply(ctx, want); err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s is answered by %d servers\n", want.Frontend.Address.Addr(), len(want.Members))
	<-ctx.Done()
	status, err := balancers.Status(context.WithoutCancel(ctx), want.ID)
	fmt.Fprintf(out, "%d connections, servers that are up: %v\n", status.Stats.TotalConnections, status.Members)
	return err
}
