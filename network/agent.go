package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/network/driver"
)

// Drivers are what a host's agent works with. Without Routers or DHCP the host has no L3 or DHCP agent.
type Drivers struct {
	Fabric  driver.Fabric
	Routers driver.Routers
	DHCP    driver.DHCPServers
}

// AgentOptions are optional.
type AgentOptions struct {
	// TunnelAddress is where other hosts reach this one's tunnels. Without it no network spans hosts.
	TunnelAddress netip.Addr
	// TapOwner is the numeric user that may open servers' tap devices.
	TapOwner int
	// MetadataPort is where routers redirect metadata requests to, inside their namespaces; zero is nowhere.
	MetadataPort uint16
	// MetadataAddress is served beside DHCP where no router serves it; invalid for none.
	MetadataAddress netip.Addr
	// Namespaces hears which namespaces serve which networks; nil is nobody.
	Namespaces Namespaces
	// ReportInterval is the time between heartbeats; 30 s by default.
	ReportInterval time.Duration
	// Resync is how often everything is looked at again, changed or not; 5 minutes by default.
	Resync time.Duration
	// Lease is how long DHCP clients may keep addresses without asking again; a day by default.
	Lease time.Duration
	// Log hears of failures; nil discards them.
	Log *slog.Logger
}

// Namespaces hears of namespaces in which something can be offered to a network's servers, such as a metadata proxy.
// An error makes the agent try again later.
type Namespaces interface {
	// Serving is called each time that a namespace was made to match. It may be called again without a change.
	Serving(ctx context.Context, ns ServedNamespace) error
	// Gone is called when a namespace of that name is there no more, even if it never was.
	Gone(ctx context.Context, name string) error
}

// Kinds of namespaces.
const (
	NamespaceRouter = "router"
	NamespaceDHCP   = "dhcp"
)

// ServedNamespace is a router's or a DHCP server's namespace.
type ServedNamespace struct {
	// Name is the namespace's: "qrouter-…", "qdhcp-…".
	Name string
	// Kind is [NamespaceRouter] or [NamespaceDHCP]; ID is the router's or the network's.
	Kind, ID string
	// Networks are the networks served, by the namespace's own address there with the subnet's prefix length.
	Networks map[netip.Prefix]string
	// Metadata says that the drivers were asked to send metadata requests there.
	Metadata bool
}

// Agent makes one host match what the service wants of it. Create it with [NewAgent].
type Agent struct {
	service *Service
	host    string
	drivers Drivers
	options AgentOptions

	networks, ports, routers, dhcp *converge.Loop

	networkLock, portLock keyed

	follower *converge.Follower

	mu        sync.Mutex
	endpoints map[string]driver.Endpoint // of plugged ports
	unplugged map[string]bool            // ports that were unplugged and may not come back by themselves
	users     map[string]map[string]bool // what stands in a network on this host: network: user
	infra     map[string]bool            // ports that the drivers of routers and DHCP servers plug
	ids       []string                   // as which agents this one registered
}

// NewAgent returns an agent for the host of that name. It does nothing until [Agent.Run].
func NewAgent(service *Service, host string, drivers Drivers, options *AgentOptions) *Agent {
	a := &Agent{service: service, host: host, drivers: drivers, endpoints: map[string]driver.Endpoint{}, unplugged: map[string]bool{},
		users: map[string]map[string]bool{}, infra: map[string]bool{}}
	if options != nil {
		a.options = *options
	}
	if a.options.ReportInterval <= 0 {
		a.options.ReportInterval = 30 * time.Second
	}
	if a.options.Resync <= 0 {
		a.options.Resync = 5 * time.Minute
	}
	if a.options.Lease <= 0 {
		a.options.Lease = 24 * time.Hour
	}
	if a.options.Log == nil {
		a.options.Log = slog.New(slog.DiscardHandler)
	}
	a.networks = a.loop("network", networkTarget{a})
	a.ports = a.loop("port", portTarget{a})
	if drivers.Routers != nil {
		a.routers = a.loop("router", routerTarget{a})
	}
	if drivers.DHCP != nil {
		a.dhcp = a.loop("DHCP server", dhcpTarget{a})
	}
	a.follower = service.hub.Follower(host, a.settleLoops)
	return a
}

func (a *Agent) loop(what string, target converge.Target) *converge.Loop {
	return converge.New(target, &converge.Options{Resync: a.options.Resync, OnError: func(id string, err error, failures int) {
		a.options.Log.Warn("cannot make the host match", "what", what, "id", id, "failures", failures, "error", err)
	}})
}

// loops are in the order in which one may give work to those behind it.
func (a *Agent) loops() []*converge.Loop {
	var all []*converge.Loop
	if a.routers != nil {
		all = append(all, a.routers)
	}
	if a.dhcp != nil {
		all = append(all, a.dhcp)
	}
	return append(all, a.ports, a.networks)
}

// Run registers the host's agents, adopts what runs, and keeps the host as wanted until ctx ends. What runs goes on
// after that. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	if _, err := a.introduce(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("register the agents of host %q: %w", a.host, err)
	}
	leave, err := a.follower.Follow(ctx, func(c record.Change) { a.changed(ctx, c) }, func() { a.missed(ctx) })
	if err != nil {
		return err
	}
	defer leave()
	var wg sync.WaitGroup
	for _, loop := range a.loops() {
		wg.Go(func() { loop.Run(ctx) })
	}
	wg.Go(func() { converge.Every(ctx, a.options.ReportInterval, a.beat) })
	wg.Wait()
	return nil
}

// Started waits until the agent hears of everything that is wanted of its host, or fails with ctx's error.
func (a *Agent) Started(ctx context.Context) error { return a.follower.Following(ctx) }

// changed asks for everything that a change concerns to be looked at.
func (a *Agent) changed(ctx context.Context, c record.Change) {
	switch c.Kind {
	case a.service.networks.Kind():
		a.networks.Enqueue(c.ID)
		a.enqueueDHCP(c.ID)
	case a.service.presence.Kind():
		networkID, _, _ := strings.Cut(c.ID, "/")
		a.networks.Enqueue(networkID)
	case a.service.ports.Kind():
		a.ports.Enqueue(c.ID)
	case a.service.groups.Kind():
		a.enqueueGroup(ctx, c.ID)
	case changedMembers:
		a.enqueueReferring(ctx, c.ID)
	case a.service.routers.Kind(), changedRouter:
		a.enqueueRouter(c.ID)
	case changedDHCP:
		a.enqueueDHCP(c.ID)
	case a.service.bindings.Kind():
		_, resource, _ := strings.Cut(c.ID, "/")
		a.enqueueDHCP(resource)
		a.enqueueRouter(resource)
	case changedTunnels:
		a.enqueueShared(ctx, c.ID)
	}
}

func (a *Agent) enqueueRouter(id string) {
	if a.routers != nil {
		a.routers.Enqueue(id)
	}
}

func (a *Agent) enqueueDHCP(networkID string) {
	if a.dhcp != nil {
		a.dhcp.Enqueue(networkID)
	}
}

// missed looks at everything.
func (a *Agent) missed(ctx context.Context) {
	var err error
	for _, t := range []struct {
		loop   *converge.Loop
		target converge.Target
	}{{a.networks, networkTarget{a}}, {a.ports, portTarget{a}}, {a.routers, routerTarget{a}}, {a.dhcp, dhcpTarget{a}}} {
		if t.loop == nil {
			continue
		}
		ids, listErr := t.target.List(ctx)
		err = errors.Join(err, listErr)
		t.loop.Enqueue(ids...)
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Warn("cannot look at everything", "error", err)
	}
}

// Settle returns when the host matches everything that was wanted when it was called, or with ctx's error.
func (a *Agent) Settle(ctx context.Context) error {
	return a.service.still(ctx, func(ctx context.Context) error {
		if err := a.follower.CatchUp(ctx); err != nil {
			return err
		}
		return a.settleLoops(ctx)
	})
}

func (a *Agent) settleLoops(ctx context.Context) error {
	for _, loop := range a.loops() {
		if err := loop.Settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Settle returns when every host whose agent runs in this process matches everything that was wanted when it was called,
// or with ctx's error.
func (s *Service) Settle(ctx context.Context) error { return s.still(ctx, s.hub.Settle) }

// still calls settle until nothing is written meanwhile: agents give one another work.
func (s *Service) still(ctx context.Context, settle func(context.Context) error) error {
	for {
		head, err := s.store.Head(ctx)
		if err != nil {
			return err
		}
		if err := settle(ctx); err != nil {
			return err
		}
		if now, err := s.store.Head(ctx); err != nil || now == head {
			return err
		}
	}
}

// keyed is a lock per identifier.
type keyed struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	mu    sync.Mutex
	users int
}

// lock waits for the identifier's lock and returns what frees it.
func (k *keyed) lock(id string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyLock{}
	}
	l := k.held[id]
	if l == nil {
		l = &keyLock{}
		k.held[id] = l
	}
	l.users++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, id)
		}
	}
}
