// Command tenants routes for two tenants with the same addresses. It needs root and network namespaces to play in.
package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"github.com/kintoun/kintoun/network/bridge"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/netnsrouter"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ip(format string, args ...any) error {
	command := fmt.Sprintf(format, args...)
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, err, out)
	}
	return nil
}

func run(ctx context.Context) error {
	fabric, err := bridge.New(nil, nil)
	if err != nil {
		return err
	}
	routers := netnsrouter.New(fabric.Ports(), nil)
	for tenant := 1; tenant <= 2; tenant++ {
		if err := add(ctx, fabric, routers, tenant); err != nil {
			return err
		}
		if err := ip("netns exec guest%d-1 ping -c1 -W5 10.0.2.10", tenant); err != nil {
			return err
		}
	}
	return nil
}

// add gives a tenant two networks with a guest in each, and a router between them.
func add(ctx context.Context, fabric driver.Fabric, routers driver.Routers, tenant int) error {
	id := func(kind, n int) string {
		return fmt.Sprintf("%d%d%d00000-0000-4000-8000-000000000000", tenant, kind, n)
	}
	router := driver.Router{ID: id(1, 0)}
	for n := 1; n <= 2; n++ {
		network := driver.Network{ID: id(2, n), Segment: uint32(10*tenant + n), MTU: 1450}
		if err := fabric.Networks().Apply(ctx, network); err != nil {
			return err
		}
		router.Interfaces = append(router.Interfaces, driver.RouterInterface{
			PortID: id(3, n), NetworkID: network.ID, MAC: fmt.Sprintf("fa:16:3e:00:%02x:%02x", tenant, n), MTU: network.MTU,
			Addresses: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.%d.1/24", n))},
		})
		guest, device := fmt.Sprintf("guest%d-%d", tenant, n), driver.TapName(id(4, n))
		if err := ip("netns add %s", guest); err != nil {
			return err
		}
		err := fabric.Ports().Apply(ctx, driver.Port{
			ID: id(4, n), NetworkID: network.ID, MAC: fmt.Sprintf("fa:16:3e:01:%02x:%02x", tenant, n), MTU: network.MTU,
			Endpoint: driver.Endpoint{Namespace: guest, Device: device},
		})
		if err != nil {
			return err
		}
		if err := ip("-n %s address add 10.0.%d.10/24 dev %s", guest, n, device); err != nil {
			return err
		}
		if err := ip("-n %s link set %s up", guest, device); err != nil {
			return err
		}
		if err := ip("-n %s route add default via 10.0.%d.1", guest, n); err != nil {
			return err
		}
	}
	return routers.Apply(ctx, router)
}
