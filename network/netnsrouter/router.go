//go:build linux

// Package netnsrouter runs routers in network namespaces of the Linux kernel: "qrouter-ID" with a leg "qr-…" in each
// inner network and "qg-…" in the external one, address translation by nftables, and nothing else: no process belongs
// to a router. It is a [driver.Routers].
//
//	routers := netnsrouter.New(fabric.Ports(), nil)
//	err := routers.Apply(context.Background(), driver.Router{
//		ID: "8f6d7a52-3f0c-4d2e-9a35-5b1d0a0f6c11",
//		Gateway: &driver.Gateway{
//			NextHops: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, SNAT: true,
//		},
//		FloatingIPs: []driver.FloatingIP{{External: netip.MustParseAddr("10.0.0.50"), Internal: netip.MustParseAddr("172.24.17.2")}},
//	})
//
// A whole program: examples/twotenants, two tenants with the same addresses.
//
// # What it needs
//
// Linux 5.7 or later with nf_tables (table family ip, NAT, connection tracking), a writable /proc/sys/net, and
// CAP_NET_ADMIN and CAP_SYS_ADMIN; [Probe] makes a router without legs and names what is missing. The legs are plugged
// in by a fabric ([driver.Ports]), which has needs of its own. Nothing is executed: everything goes through netlink and
// /proc/sys.
//
// # What it does not do
//
// As in OpenStack Networking, routing is not firewalled: whoever has a route to an inner network through the router's
// gateway address reaches it. Without such a route an inner server is reached from outside by its floating IP only.
// IPv6 is forwarded and never translated; there are no router advertisements, no routing protocols, and no second
// router that takes over.
//
// # Errors
//
// [ErrInvalid] is a router that cannot exist, [ErrUnavailable] what Probe finds missing (a [probe.Missing], found with
// errors.As); others are the kernel's, wrapped with what failed. An error of Apply leaves the router partly changed;
// applying it again goes on from there.
//
// # Concurrency
//
// A [Driver] is safe for concurrent use on different routers, and starts no goroutines that stay.
//
// # When the process ends
//
// Routing goes on. The kernel is the only state: Apply reads it and changes the difference, firewall rules in one
// transaction, so that a driver of a restarted program takes over what runs without disturbing a connection, and
// finishes what a killed one began.
package netnsrouter

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrInvalid is a router that cannot exist: an address that is none, two legs with one port.
	ErrInvalid = fault.ErrInvalid
	// ErrUnavailable is what [Probe] finds missing.
	ErrUnavailable = fault.ErrUnavailable
)

// Options tune a driver. There are none yet; nil is fine.
type Options struct{}

// Driver implements [driver.Routers].
type Driver struct {
	ports driver.Ports
}

var _ driver.Routers = (*Driver)(nil)

// New returns a driver that plugs the routers' legs in through ports.
func New(ports driver.Ports, _ *Options) *Driver {
	return &Driver{ports: ports}
}

// Apply makes the router exist as wanted. An error leaves it partly changed; applying it again goes on from there.
func (d *Driver) Apply(ctx context.Context, want driver.Router) error {
	p, err := newPlan(want)
	if err != nil {
		return err
	}
	if err := d.apply(ctx, p); err != nil {
		return fmt.Errorf("router %s: %w", want.ID, err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, p *plan) error {
	if err := netns.Create(p.namespace); err != nil {
		return err
	}
	// Before there are devices: those take over the namespace's defaults.
	if err := netns.Do(p.namespace, p.setSysctls); err != nil {
		return err
	}
	for _, leg := range p.legs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.ports.Apply(ctx, p.port(leg)); err != nil {
			return err
		}
	}
	var extra []string
	err := netns.Do(p.namespace, func() error {
		var err error
		extra, err = p.configure()
		return err
	})
	if err != nil {
		return err
	}
	return d.unplug(ctx, p.namespace, extra)
}

// unplug removes the ports of legs that are not wanted any more.
func (d *Driver) unplug(ctx context.Context, namespace string, devices []string) error {
	return hostnet.Unplug(ctx, d.ports, namespace, devices, driver.RouterPortName, driver.GatewayPortName)
}

// Remove unplugs the router's legs and deletes its namespace.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := hostnet.CheckID("router", id); err != nil {
		return err
	}
	namespace := driver.RouterNamespace(id)
	if netns.Exists(namespace) {
		devices, err := legDevices(namespace)
		if err != nil {
			return fmt.Errorf("router %s: %w", id, err)
		}
		if err := d.unplug(ctx, namespace, devices); err != nil {
			return fmt.Errorf("router %s: %w", id, err)
		}
	}
	return netns.Delete(namespace)
}

func legDevices(namespace string) ([]string, error) { return hostnet.Devices(namespace, isLeg) }

// List names the routers on this host.
func (d *Driver) List(context.Context) ([]string, error) {
	return hostnet.Identifiers(driver.RouterNamespace(""))
}

// configure brings the namespace that the calling thread is in to the plan, and returns the legs that are too many.
//
// Translation comes before addresses: a floating IP that the kernel answers for must never mean the router itself.
func (p *plan) configure() (extra []string, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := hostnet.Links(h)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	devices := make(map[string]netlink.Link, len(links))
	for _, link := range links {
		devices[link.Attrs().Name] = link
		if name := link.Attrs().Name; isLeg(name) && !p.wants(name) {
			extra = append(extra, name)
		}
	}
	moved, err := p.translate()
	if err != nil {
		return nil, fmt.Errorf("translation: %w", err)
	}
	if err := p.setAddresses(h, devices, moved); err != nil {
		return nil, err
	}
	return extra, errors.Join(p.setRoutes(h, devices)...)
}
