//go:build linux

// Package dhcp serves DHCPv4 (RFC 2131, options of RFC 2132 and 3442) to the ports of networks, from within this
// process: one socket and one goroutine per network, the socket opened in the network's namespace "qdhcp-ID", on the
// device of the server's own port. It is a [driver.DHCPServers].
//
//	servers := dhcp.New(fabric.Ports(), nil)
//	defer func() { _ = servers.Close() }()
//	err := servers.Apply(context.Background(), driver.DHCPServer{
//		NetworkID: "private", PortID: "9a1b2c3d-0000-4000-8000-000000000001", MAC: "fa:16:3e:00:00:03", MTU: 1450,
//		Leases:          []driver.Lease{{MAC: "fa:16:3e:00:00:0a", Address: netip.MustParseAddr("172.24.17.2"), Hostname: "vm1"}},
//	})
//
// Addresses belong to MACs: a client gets the one that is its port's, and one with an unknown MAC gets no answer.
// Nothing is remembered about clients.
//
// # What it needs
//
// Linux with network namespaces, and CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_NET_BIND_SERVICE and, before Linux 5.7,
// CAP_NET_RAW, as root has; [Probe] opens a socket and names what is missing. The server's own port is plugged in by a
// fabric ([driver.Ports]), which has needs of its own.
//
// # What it does not do
//
// There are no pools of addresses, no DHCPv6, no relays and no DNS: names of servers are only told. It knows nobody's
// lease: a client that comes back gets the same address because the port has it.
//
// # Errors
//
// [ErrInvalid] is a server that cannot exist, [ErrUnavailable] a driver that was closed, and what Probe finds missing
// (a [probe.Missing], found with errors.As); others are the kernel's, wrapped with what failed. What goes wrong while
// serving is logged ([Options.Log]).
//
// # Concurrency
//
// A [Driver] is safe for concurrent use on different networks. It holds a goroutine for each.
//
// # When the process ends
//
// Serving ends with it; leases go on for as long as they are, and the namespace, its device and addresses stay. The
// next process's Apply finds them and listens again. [Driver.Close] stops serving and leaves the host as it is.
package dhcp

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/internal/hostnet"
)

var (
	// ErrInvalid is a server that cannot exist: no address, a lease without a MAC.
	ErrInvalid = fault.ErrInvalid
	// ErrUnavailable is a driver that was closed.
	ErrUnavailable = fault.ErrUnavailable
)

// Options tune a driver; nil is fine.
type Options struct {
	// Log receives what goes wrong while serving; nil discards it.
	Log *slog.Logger
}

// Driver implements [driver.DHCPServers].
type Driver struct {
	ports driver.Ports
	log   *slog.Logger

	mu      sync.Mutex
	closed  bool
	serving map[string]*server
}

var _ driver.DHCPServers = (*Driver)(nil)

// New returns a driver that plugs the servers' ports in through ports.
func New(ports driver.Ports, options *Options) *Driver {
	d := &Driver{ports: ports, log: slog.New(slog.DiscardHandler), serving: make(map[string]*server)}
	if options != nil && options.Log != nil {
		d.log = options.Log
	}
	return d
}

// Apply makes the network's server exist and serve as wanted.
func (d *Driver) Apply(ctx context.Context, want driver.DHCPServer) error {
	if err := hostnet.CheckID("network", want.NetworkID); err != nil {
		return err
	}
	config, err := newConfig(want)
	if err != nil {
		return err
	}
	if err := d.apply(ctx, want, config); err != nil {
		return fmt.Errorf("DHCP server of network %s: %w", want.NetworkID, err)
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, want driver.DHCPServer, config *config) error {
	namespace, device := driver.DHCPNamespace(want.NetworkID), driver.TapName(want.PortID)
	if err := netns.Create(namespace); err != nil {
		return err
	}
	err := d.ports.Apply(ctx, driver.Port{
		ID: want.PortID, NetworkID: want.NetworkID, MAC: want.MAC, MTU: want.MTU,
		Endpoint: driver.Endpoint{Namespace: namespace, Device: device},
	})
	if err != nil {
		return err
	}
	index, extra, err := configure(namespace, device, want)
	if err != nil {
		return err
	}
	if err := d.unplug(ctx, namespace, extra); err != nil {
		return err
	}
	return d.serve(want.NetworkID, place{namespace: namespace, device: device, index: index}, config)
}

// serve gives a running server its new configuration, or starts one where none runs on that device.
func (d *Driver) serve(networkID string, at place, config *config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fault.Wrap(ErrUnavailable, "the driver is closed")
	}
	if running := d.serving[networkID]; running != nil {
		if running.place == at && running.alive() {
			running.config.Store(config)
			return nil
		}
		running.stop()
		delete(d.serving, networkID)
	}
	s, err := start(at, config, d.log.With("network", networkID))
	if err != nil {
		return err
	}
	d.serving[networkID] = s
	return nil
}

func (d *Driver) unplug(ctx context.Context, namespace string, devices []string) error {
	return hostnet.Unplug(ctx, d.ports, namespace, devices, driver.TapName)
}

// Remove stops the network's server, unplugs its port and deletes its namespace.
func (d *Driver) Remove(ctx context.Context, networkID string) error {
	if err := hostnet.CheckID("network", networkID); err != nil {
		return err
	}
	d.mu.Lock()
	if running := d.serving[networkID]; running != nil {
		running.stop()
		delete(d.serving, networkID)
	}
	d.mu.Unlock()
	namespace := driver.DHCPNamespace(networkID)
	if netns.Exists(namespace) {
		devices, err := taps(namespace)
		if err == nil {
			err = d.unplug(ctx, namespace, devices)
		}
		if err != nil {
			return fmt.Errorf("DHCP server of network %s: %w", networkID, err)
		}
	}
	return netns.Delete(namespace)
}

// List names the networks that have a server's namespace on this host, whether or not this process serves them yet.
func (d *Driver) List(context.Context) ([]string, error) {
	return hostnet.Identifiers(driver.DHCPNamespace(""))
}

// Close stops serving. Namespaces, devices and addresses stay; Apply fails from now on.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for id, s := range d.serving {
		s.stop()
		delete(d.serving, id)
	}
	return nil
}

func invalid(format string, args ...any) error { return fault.Wrap(fault.ErrInvalid, format, args...) }
