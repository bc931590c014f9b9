package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/network/driver"
)

// Routers is an in-memory [driver.Routers]: it keeps what is wanted, and says by [Routers.Trace] where its routers
// would take a packet and with which addresses.
type Routers struct {
	ports driver.Ports
	steps steps
	host  *routerHost
}

var _ driver.Routers = (*Routers)(nil)

// RouterOptions tune in-memory routers; nil and zero values are fine.
type RouterOptions struct {
	// Adopt makes the driver find the routers of another, as a restarted process does.
	Adopt *Routers
	// Faults are what goes wrong on the host of that name; nil is nothing.
	Faults *inject.Set
	Host   string
}

// routerHost is what would be in the kernel.
type routerHost struct {
	mu      sync.Mutex
	routers map[string]*router
}

type router struct {
	// plugged are the ports of legs.
	plugged map[string]bool
	config  driver.Router
}

// NewRouters returns routers whose legs are plugged in through ports.
func NewRouters(ports driver.Ports, options *RouterOptions) *Routers {
	r := &Routers{ports: ports, host: &routerHost{routers: make(map[string]*router)}}
	if options != nil {
		r.steps = steps{options.Faults, options.Host}
		if options.Adopt != nil {
			r.host = options.Adopt.host
		}
	}
	return r
}

// Apply implements [driver.Routers].
func (r *Routers) Apply(ctx context.Context, want driver.Router) error {
	if err := r.steps.meet(ctx, "router apply", want.ID); err != nil {
		return err
	}
	if err := checkRouter(want); err != nil {
		return err
	}
	made := r.host.enter(want.ID)
	wanted := make(map[string]bool)
	for _, leg := range legs(want) {
		wanted[leg.PortID] = true
		err := r.ports.Apply(ctx, driver.Port{
			ID: leg.PortID, NetworkID: leg.NetworkID, MAC: leg.MAC, MTU: leg.MTU,
			Endpoint: driver.Endpoint{Namespace: driver.RouterNamespace(want.ID), Device: leg.device},
		})
		if err != nil {
			return fmt.Errorf("router %s: %w", want.ID, err)
		}
		r.host.plug(made, leg.PortID)
	}
	r.host.mu.Lock()
	made.config = clone(want)
	r.host.mu.Unlock()
	return r.unplug(ctx, made, wanted)
}

func (h *routerHost) enter(id string) *router {
	h.mu.Lock()
	defer h.mu.Unlock()
	made := h.routers[id]
	if made == nil {
		made = &router{plugged: make(map[string]bool)}
		h.routers[id] = made
	}
	return made
}

func (h *routerHost) plug(made *router, portID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	made.plugged[portID] = true
}

// unplug removes the ports of a router but those to keep.
func (r *Routers) unplug(ctx context.Context, made *router, keep map[string]bool) error {
	r.host.mu.Lock()
	var gone []string
	for id := range made.plugged {
		if !keep[id] {
			gone = append(gone, id)
		}
	}
	r.host.mu.Unlock()
	for _, id := range gone {
		if err := r.ports.Remove(ctx, id); err != nil {
			return err
		}
		r.host.mu.Lock()
		delete(made.plugged, id)
		r.host.mu.Unlock()
	}
	return nil
}

// Remove implements [driver.Routers].
func (r *Routers) Remove(ctx context.Context, id string) error {
	if err := r.steps.meet(ctx, "router remove", id); err != nil {
		return err
	}
	r.host.mu.Lock()
	made := r.host.routers[id]
	r.host.mu.Unlock()
	if made == nil {
		return nil
	}
	if err := r.unplug(ctx, made, nil); err != nil {
		return fmt.Errorf("router %s: %w", id, err)
	}
	r.host.mu.Lock()
	defer r.host.mu.Unlock()
	delete(r.host.routers, id)
	return nil
}

// List implements [driver.Routers].
func (r *Routers) List(ctx context.Context) ([]string, error) {
	if err := r.steps.meet(ctx, "router list", ""); err != nil {
		return nil, err
	}
	r.host.mu.Lock()
	defer r.host.mu.Unlock()
	return r.host.ids(), nil
}

func (h *routerHost) ids() []string {
	ids := make([]string, 0, len(h.routers))
	for id := range h.routers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// routerLeg is an interface or the gateway.
type routerLeg struct {
	driver.RouterInterface
	device string
	outer  bool
}

func legs(want driver.Router) []routerLeg {
	var all []routerLeg
	for _, i := range want.Interfaces {
		all = append(all, routerLeg{RouterInterface: i, device: driver.RouterPortName(i.PortID)})
	}
	if want.Gateway != nil {
		g := want.Gateway.RouterInterface
		all = append(all, routerLeg{RouterInterface: g, device: driver.GatewayPortName(g.PortID), outer: true})
	}
	return all
}

func clone(want driver.Router) driver.Router {
	copyLeg := func(leg *driver.RouterInterface) { leg.Addresses = slices.Clone(leg.Addresses) }
	want.Interfaces = slices.Clone(want.Interfaces)
	for i := range want.Interfaces {
		copyLeg(&want.Interfaces[i])
	}
	if want.Gateway != nil {
		gateway := *want.Gateway
		copyLeg(&gateway.RouterInterface)
		gateway.NextHops = slices.Clone(gateway.NextHops)
		want.Gateway = &gateway
	}
	want.FloatingIPs = slices.Clone(want.FloatingIPs)
	want.Routes = slices.Clone(want.Routes)
	return want
}

// checkID refuses what could not be part of a file's name, as real drivers do.
func checkID(what, id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") {
		return fmt.Errorf("%s %q: %w", what, id, ErrInvalid)
	}
	return nil
}

func checkRouter(want driver.Router) error {
	if err := checkID("router", want.ID); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, leg := range legs(want) {
		_, err := net.ParseMAC(leg.MAC)
		if err != nil || checkID("port", leg.PortID) != nil || seen[leg.device] {
			return fmt.Errorf("router %s: port %q with MAC %q: %w", want.ID, leg.PortID, leg.MAC, ErrInvalid)
		}
		seen[leg.device] = true
		for _, a := range leg.Addresses {
			if !a.IsValid() {
				return fmt.Errorf("router %s: port %s: address: %w", want.ID, leg.PortID, ErrInvalid)
			}
		}
	}
	external := make(map[netip.Addr]bool)
	for _, f := range want.FloatingIPs {
		if want.Gateway == nil || !f.External.Is4() || !f.Internal.Is4() || external[f.External] {
			return fmt.Errorf("router %s: floating IP %s: %w", want.ID, f.External, ErrInvalid)
		}
		external[f.External] = true
	}
	for _, route := range want.Routes {
		if !route.Destination.IsValid() || !route.NextHop.IsValid() {
			return fmt.Errorf("router %s: route to %s: %w", want.ID, route.Destination, ErrInvalid)
		}
	}
	return nil
}
