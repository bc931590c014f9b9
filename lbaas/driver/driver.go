// Package driver is the contract between the load balancer domain and a host that runs balancers: [Balancers], and the
// plain values that it takes.
//
// Apply makes the host match what is wanted and is free when it already does; Remove is happy when the balancer is
// already gone; List says what exists, so that a restarted agent re-adopts what runs and finds leftovers:
//
//	d := memlb.New(nil)
//	err := d.Apply(ctx, driver.Balancer{
//		ID:       "pool",
//		Frontend: driver.Frontend{Address: netip.MustParsePrefix("172.24.17.4/24"), Port: 80, ConnectionLimit: -1},
//		Method:   driver.RoundRobin, Protocol: driver.HTTP,
//	})
//
// A [Plugger] gives a driver the devices of its balancers' ports. Package haproxy is a driver for real balancers,
// package memlb one in memory, and package drivertest the suite that both pass.
//
// The package needs nothing but the standard library, and does nothing: it is types.
//
// Errors: Status of a balancer that is not there is fs.ErrNotExist; others are the driver's own, and agents write their
// text into statuses. All methods are safe for concurrent use on different balancers; calls of Apply and Remove for one
// are made one after the other. A driver does not rely on its own memory: after a kill, a new value over the same host
// finds everything by List.
package driver

import (
	"context"
	"net/netip"
	"time"
)

// Balancers runs load balancers on one host.
type Balancers interface {
	// Apply makes the balancer run as wanted, without losing a request of one that runs.
	Apply(ctx context.Context, want Balancer) error
	// Remove ends the balancer and unplugs its device. One that is not there is no error.
	Remove(ctx context.Context, id string) error
	// List names, in no order, every balancer that Remove has something to do for.
	List(ctx context.Context) ([]string, error)
	// Status tells what the balancer sees of itself and its members. An error that wraps fs.ErrNotExist says that there is no such balancer.
	Status(ctx context.Context, id string) (Status, error)
}

// Plugger gives a balancer its place in a network: a device in the balancer's namespace, without addresses.
// A driver calls it; whoever owns the network provides it: where package network does, by its Agent's Plug and Unplug.
type Plugger interface {
	// Plug makes device exist inside the existing namespace, connected to the port's network.
	Plug(ctx context.Context, portID, namespace, device string) error
	// Unplug takes the port's device away. One that is not there is no error.
	Unplug(ctx context.Context, portID string) error
}

// Balancer is one virtual address and port, spread over members.
type Balancer struct {
	// ID is the pool's identifier; namespace and files are named after it.
	ID       string
	Frontend Frontend
	Method   Method
	Protocol Protocol
	Members  []Member
	Monitors []Monitor
	// Persistence keeps a client with one member; nil for none.
	Persistence *Persistence
}

// Frontend is where clients come in.
type Frontend struct {
	PortID string
	MAC    string
	MTU    int
	// Address is the virtual address with its subnet's prefix length.
	Address netip.Prefix
	// Gateway is the subnet's default router; invalid for none.
	Gateway netip.Addr
	Port    uint16
	// ConnectionLimit bounds the concurrent connections; zero or negative is no limit.
	ConnectionLimit int
	// Disabled refuses clients.
	Disabled bool
}

// Method is how a member is chosen.
type Method string

// The methods.
const (
	RoundRobin       Method = "ROUND_ROBIN"
	LeastConnections Method = "LEAST_CONNECTIONS"
	SourceIP         Method = "SOURCE_IP"
)

// Protocol is what is balanced.
type Protocol string

// The protocols.
const (
	HTTP  Protocol = "HTTP"
	HTTPS Protocol = "HTTPS"
	TCP   Protocol = "TCP"
)

// Member is a server behind a balancer.
type Member struct {
	ID      string
	Address netip.Addr
	Port    uint16
	// Weight is 0 to 256; 0 takes no new connections.
	Weight int
	// Disabled takes the member out.
	Disabled bool
}

// Monitor finds out which members answer.
type Monitor struct {
	ID string
	// Type is PING, TCP, HTTP or HTTPS.
	Type       string
	Delay      time.Duration
	Timeout    time.Duration
	MaxRetries int
	HTTPMethod string
	URLPath    string
	// ExpectedCodes is a code, a list "200, 202" or a range "200-204".
	ExpectedCodes string
}

// Persistence keeps a client with one member.
type Persistence struct {
	// Type is SOURCE_IP, HTTP_COOKIE or APP_COOKIE.
	Type       string
	CookieName string
}

// Status is a balancer as it is.
type Status struct {
	// PID is the balancer's process, zero where it has none.
	PID int
	// Members maps a member's identifier to whether it answers its monitors; a member that nobody monitors is up.
	Members map[string]bool
	Stats   Stats
}

// Stats are counters since the balancer started.
type Stats struct {
	BytesIn, BytesOut                   uint64
	ActiveConnections, TotalConnections uint64
}
