package memnet

import (
	"net/netip"
	"slices"

	"github.com/kintoun/kintoun/network/driver"
)

// Flow is the first packet of a connection, as routers see it.
type Flow struct {
	Source, Destination netip.Addr
	// Port is the TCP port that it goes to; zero is ICMP.
	Port uint16
}

// Arrival is where a packet has come.
type Arrival struct {
	// RouterID is the router that the packet is for, or empty where it is for a host in NetworkID.
	RouterID  string
	NetworkID string
	// Flow has the addresses and the port that the packet arrives with.
	Flow Flow
}

var (
	metadataAddress = netip.AddrFrom4([4]byte{169, 254, 169, 254})
	linkLocalRange  = netip.PrefixFrom(metadataAddress, 16).Masked()
)

// hopLimit is how many routers a packet passes at most (RFC 1700's default time to live).
const hopLimit = 64

// Trace follows a packet that somebody in a network hands to the neighbour with the address hop: a router of this
// driver, or the packet's destination itself. It returns false for a packet that is lost on the way.
func (r *Routers) Trace(networkID string, hop netip.Addr, f Flow) (Arrival, bool) {
	r.host.mu.Lock()
	defer r.host.mu.Unlock()
	for range hopLimit {
		at, leg, ok := r.host.neighbour(networkID, hop)
		if !ok {
			return Arrival{NetworkID: networkID, Flow: f}, hop == f.Destination
		}
		step, ok := at.config.forward(leg, f)
		if !ok {
			return Arrival{}, false
		}
		if step.local {
			return Arrival{RouterID: at.config.ID, NetworkID: networkID, Flow: step.flow}, true
		}
		networkID, hop, f = step.networkID, step.hop, step.flow
	}
	return Arrival{}, false
}

// configured is a router's wish with what can be computed from it.
type configured struct{ driver.Router }

type neighbour struct{ config configured }

// neighbour finds the router that answers for an address in a network, and the leg that it does so with.
func (h *routerHost) neighbour(networkID string, hop netip.Addr) (neighbour, routerLeg, bool) {
	for _, id := range h.ids() {
		config := configured{h.routers[id].config}
		for _, leg := range legs(config.Router) {
			if leg.NetworkID == networkID && (has(leg.Addresses, hop) || leg.outer && config.inner(hop).IsValid()) {
				return neighbour{config}, leg, true
			}
		}
	}
	return neighbour{}, routerLeg{}, false
}

func has(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr() == a })
}

// inner is the address behind a floating IP, or invalid.
func (c configured) inner(external netip.Addr) netip.Addr {
	for _, f := range c.FloatingIPs {
		if f.External == external {
			return f.Internal
		}
	}
	return netip.Addr{}
}

// external is the lowest floating IP of an inner address, or invalid.
func (c configured) external(inner netip.Addr) netip.Addr {
	var lowest netip.Addr
	for _, f := range c.FloatingIPs {
		if f.Internal == inner && (!lowest.IsValid() || f.External.Less(lowest)) {
			lowest = f.External
		}
	}
	return lowest
}

// hiding is the gateway's first IPv4 address, or invalid.
func (c configured) hiding() netip.Addr {
	if c.Gateway != nil {
		for _, a := range c.Gateway.Addresses {
			if a.Addr().Is4() {
				return a.Addr()
			}
		}
	}
	return netip.Addr{}
}

// step is what a router does with a packet: keep it (local), or hand it to a neighbour.
type step struct {
	local     bool
	networkID string
	hop       netip.Addr
	flow      Flow
}

func (c configured) forward(in routerLeg, f Flow) (step, bool) {
	if !in.outer && c.MetadataPort != 0 && f.Destination == metadataAddress && f.Port == 80 {
		f.Port = c.MetadataPort
		return step{local: true, flow: f}, true
	}
	inner := c.inner(f.Destination)
	if inner.IsValid() {
		f.Destination = inner
	}
	for _, leg := range legs(c.Router) {
		if has(leg.Addresses, f.Destination) {
			return step{local: true, flow: f}, f.Port == 0 || f.Port != c.MetadataPort
		}
	}
	if linkLocalRange.Contains(f.Destination) || linkLocalRange.Contains(f.Source) {
		return step{}, false
	}
	out, hop, ok := c.route(f.Destination)
	if !ok {
		return step{}, false
	}
	f.Source = c.source(in, out, f.Source, inner.IsValid())
	return step{networkID: out.NetworkID, hop: hop, flow: f}, true
}

// source is the address that a packet leaves with.
func (c configured) source(in, out routerLeg, source netip.Addr, translated bool) netip.Addr {
	if !out.outer && (in.outer || !translated) {
		return source
	}
	if external := c.external(source); external.IsValid() {
		return external
	}
	if hiding := c.hiding(); hiding.IsValid() && (!out.outer || c.Gateway.SNAT) {
		return hiding
	}
	return source
}

// route finds the leg and the next hop towards an address: the longest prefix counts, of equal ones the latest.
func (c configured) route(to netip.Addr) (out routerLeg, hop netip.Addr, ok bool) {
	longest := -1
	consider := func(p netip.Prefix, leg routerLeg, next netip.Addr) {
		if p.Contains(to) && p.Bits() >= longest {
			longest, out, hop, ok = p.Bits(), leg, next, true
		}
	}
	all := legs(c.Router)
	for _, leg := range all {
		if leg.outer {
			for _, next := range c.Gateway.NextHops {
				consider(netip.PrefixFrom(next, 0), leg, next)
			}
		}
	}
	for _, r := range c.Routes {
		for _, leg := range all {
			if slices.ContainsFunc(leg.Addresses, func(p netip.Prefix) bool { return p.Contains(r.NextHop) }) {
				consider(r.Destination, leg, r.NextHop)
			}
		}
	}
	for _, leg := range all {
		for _, p := range leg.Addresses {
			consider(p, leg, to)
		}
	}
	return out, hop, ok
}
