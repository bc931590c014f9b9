//go:build linux

// Command twotenants gives two tenants the same addresses, and shows that each reaches its own. A tenant has a client in
// one network, a server in another and a router between them; there is no control plane and no database.
//
// It needs root, bridges and namespaces in the kernel, and ip(8). All that it makes is in network namespaces of its own,
// and goes with them: this machine's networks are not touched.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/netnsrouter"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "twotenants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	const host = "twotenants" // the namespace that plays the host
	fabric, err := bridge.New(nil, &bridge.Options{Namespace: host})
	if err != nil {
		return err
	}
	routers := netnsrouter.New(fabric.Ports(), nil)
	tenants := []string{"red", "blue"}
	for _, name := range []string{host, "red-client", "red-server", "blue-client", "blue-server"} {
		if err := ip(ctx, "netns add "+name); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ip(ctx, "netns delete "+name)) }()
	}
	for i, tenant := range tenants {
		router := driver.Router{ID: tenant}
		for n, guest := range []string{tenant + "-client", tenant + "-server"} {
			network := driver.Network{ID: uuid.NewString(), Segment: uint32(10*i + n + 1), MTU: 1500}
			port := driver.Port{ID: uuid.NewString(), NetworkID: network.ID, MAC: mac(n, 2), MTU: network.MTU, Endpoint: driver.Endpoint{Namespace: guest, Device: "eth0"}}
			if err := errors.Join(fabric.Networks().Apply(ctx, network), fabric.Ports().Apply(ctx, port), address(ctx, guest, n)); err != nil {
				return err
			}
			router.Interfaces = append(router.Interfaces, driver.RouterInterface{
				PortID: uuid.NewString(), NetworkID: network.ID, MAC: mac(n, 1), MTU: network.MTU,
				Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.1/24", n))},
			})
		}
		defer func() { err = errors.Join(err, routers.Remove(ctx, router.ID)) }()
		if err := routers.Apply(ctx, router); err != nil {
			return err
		}
		stop, err := serve(tenant+"-server", "10.0.1.2:80", tenant)
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, tenant := range tenants {
		answer, err := ask(ctx, tenant+"-client", "http://10.0.1.2/")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s's client at 10.0.0.2 asks 10.0.1.2 and hears: %s\n", tenant, answer)
	}
	return nil
}
