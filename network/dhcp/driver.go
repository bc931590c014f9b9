//go:build linux

// Package dhcp serves DHCPv4 (RFC 2131) to the ports of networks, from within this process: one socket and one goroutine
// per network, the socket opened in the network's namespace "qdhcp-ID", on the device of the server's own port.
//
// Addresses belong to MACs: a client gets the one that is its port's, and one with an unknown MAC gets no answer. Nothing is
// remembered about clients, so that a restarted process has nothing to restore: Apply finds the namespace and its device,
// listens again, and leases go on. [Driver.Close] stops serving and leaves the host as it is.
//
// The host needs Linux with network namespaces, and the caller CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_NET_BIND_SERVICE.
// Errors of bad input are [ErrInvalid]; others are the kernel's, wrapped with what failed. A [Driver] is safe for
// concurrent use on different networks.
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
