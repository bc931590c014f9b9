package memnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/driver"
)

// DHCPServers is an in-memory [driver.DHCPServers]: it keeps what is wanted, and says by [DHCPServers.Ask] what its servers
// would answer.
type DHCPServers struct {
	ports driver.Ports
	steps steps
	host  *dhcpHost

	mu      sync.Mutex
	closed  bool
	serving map[string]driver.DHCPServer
}

var _ driver.DHCPServers = (*DHCPServers)(nil)

// DHCPOptions tune in-memory DHCP servers; nil and zero values are fine.
type DHCPOptions struct {
	// Adopt makes the driver find the servers of another, as a restarted process does: it serves them when applied.
	Adopt *DHCPServers
	// Faults are what goes wrong on the host of that name; nil is nothing.
	Faults *inject.Set
	Host   string
}

// dhcpHost is what would outlive the process: the port of each network's namespace.
type dhcpHost struct {
	mu    sync.Mutex
	ports map[string]string
}

// NewDHCPServers returns servers whose ports are plugged in through ports.
func NewDHCPServers(ports driver.Ports, options *DHCPOptions) *DHCPServers {
	d := &DHCPServers{ports: ports, host: &dhcpHost{ports: make(map[string]string)}, serving: make(map[string]driver.DHCPServer)}
	if options != nil {
		d.steps = steps{options.Faults, options.Host}
		if options.Adopt != nil {
			d.host = options.Adopt.host
		}
	}
	return d
}

// Apply implements [driver.DHCPServers].
func (d *DHCPServers) Apply(ctx context.Context, want driver.DHCPServer) error {
	if err := d.steps.meet(ctx, "dhcp apply", want.NetworkID); err != nil {
		return err
	}
	if err := checkDHCP(want); err != nil {
		return err
	}
	former := d.host.enter(want.NetworkID)
	err := d.ports.Apply(ctx, driver.Port{
		ID: want.PortID, NetworkID: want.NetworkID, MAC: want.MAC, MTU: want.MTU,
		Endpoint: driver.Endpoint{Namespace: driver.DHCPNamespace(want.NetworkID), Device: driver.TapName(want.PortID)},
	})
	if err != nil {
		return fmt.Errorf("DHCP server of network %s: %w", want.NetworkID, err)
	}
	if former != "" && former != want.PortID {
		if err := d.ports.Remove(ctx, former); err != nil {
			return fmt.Errorf("DHCP server of network %s: %w", want.NetworkID, err)
		}
	}
	d.host.mu.Lock()
	d.host.ports[want.NetworkID] = want.PortID
	d.host.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fault.Wrap(fault.ErrUnavailable, "the driver is closed")
	}
	want.Addresses = slices.Clone(want.Addresses)
	want.Subnets = slices.Clone(want.Subnets)
	want.Leases = slices.Clone(want.Leases)
	d.serving[want.NetworkID] = want
	return nil
}

// enter makes a network's namespace and returns the port that is in it, if any.
func (h *dhcpHost) enter(networkID string) (portID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.ports[networkID]; !ok {
		h.ports[networkID] = ""
	}
	return h.ports[networkID]
}

// Remove implements [driver.DHCPServers].
func (d *DHCPServers) Remove(ctx context.Context, networkID string) error {
	if err := d.steps.meet(ctx, "dhcp remove", networkID); err != nil {
		return err
	}
	d.mu.Lock()
	delete(d.serving, networkID)
	d.mu.Unlock()
	d.host.mu.Lock()
	portID := d.host.ports[networkID]
	d.host.mu.Unlock()
	if portID != "" {
		if err := d.ports.Remove(ctx, portID); err != nil {
			return fmt.Errorf("DHCP server of network %s: %w", networkID, err)
		}
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	delete(d.host.ports, networkID)
	return nil
}

// List implements [driver.DHCPServers].
func (d *DHCPServers) List(ctx context.Context) ([]string, error) {
	if err := d.steps.meet(ctx, "dhcp list", ""); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	ids := make([]string, 0, len(d.host.ports))
	for id := range d.host.ports {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Close ends serving, as the end of the process does.
func (d *DHCPServers) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	clear(d.serving)
	return nil
}

func checkDHCP(want driver.DHCPServer) error {
	bad := func(what string) error {
		return fmt.Errorf("DHCP server of network %q: %s: %w", want.NetworkID, what, ErrInvalid)
	}
	if checkID("network", want.NetworkID) != nil || checkID("port", want.PortID) != nil {
		return bad("identifier")
	}
	if _, err := net.ParseMAC(want.MAC); err != nil {
		return bad("MAC")
	}
	if len(want.Addresses) == 0 && len(want.Subnets) > 0 {
		return bad("no address")
	}
	for _, a := range want.Addresses {
		if !a.IsValid() {
			return bad("address")
		}
	}
	for _, s := range want.Subnets {
		if !s.Prefix.IsValid() {
			return bad("subnet")
		}
	}
	for _, l := range want.Leases {
		if _, err := net.ParseMAC(l.MAC); err != nil || !l.Address.IsValid() {
			return bad("lease")
		}
	}
	return nil
}

// DHCPQuestion is a client's message (RFC 2131). Addresses are left out where they are invalid.
type DHCPQuestion struct {
	// Type is "DISCOVER", "REQUEST", "INFORM", "RELEASE" or "DECLINE".
	Type string
	MAC  string
	// Requested and Server are the options of these names, Client and Relay the fields ciaddr and giaddr.
	Requested, Server, Client, Relay netip.Addr
}

// DHCPReply is a server's message.
type DHCPReply struct {
	// Type is "OFFER", "ACK" or "NAK".
	Type string
	// Address is the client's; invalid in a NAK and in the answer to INFORM.
	Address netip.Addr
	Server  netip.Addr
	// Subnet is what the client is told of its subnet, with the metadata and default routes of option 121.
	Subnet   driver.DHCPSubnet
	MTU      int
	Hostname string
}

// Ask returns what the network's server answers; false is nothing.
func (d *DHCPServers) Ask(networkID string, q DHCPQuestion) (DHCPReply, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	want, ok := d.serving[networkID]
	if !ok || q.Relay.IsValid() {
		return DHCPReply{}, false
	}
	var leases []DHCPReply
	for _, l := range want.Leases {
		if l.MAC != q.MAC {
			continue
		}
		for _, s := range want.Subnets {
			if s.Prefix.Contains(l.Address) {
				leases = append(leases, reply(want, s, l))
				break
			}
		}
	}
	if len(leases) == 0 {
		return DHCPReply{}, false
	}
	return answer(leases, q)
}

func answer(leases []DHCPReply, q DHCPQuestion) (DHCPReply, bool) {
	address := q.Requested
	if q.Client.IsValid() {
		address = q.Client
	}
	chosen := slices.IndexFunc(leases, func(l DHCPReply) bool { return l.Address == address })
	a := leases[max(chosen, 0)]
	switch q.Type {
	case "DISCOVER":
		a.Type = "OFFER"
		return a, true
	case "INFORM":
		a.Type, a.Address, a.Subnet.LeaseSeconds = "ACK", netip.Addr{}, 0
		return a, chosen >= 0
	case "REQUEST":
		ours := slices.ContainsFunc(leases, func(l DHCPReply) bool { return l.Server == q.Server })
		if q.Server.IsValid() && !ours {
			return DHCPReply{}, false
		}
		if chosen < 0 {
			return DHCPReply{Type: "NAK", Server: a.Server}, true
		}
		a.Type = "ACK"
		return a, true
	}
	return DHCPReply{}, false
}

func reply(want driver.DHCPServer, s driver.DHCPSubnet, l driver.Lease) DHCPReply {
	a := DHCPReply{Address: l.Address, MTU: want.MTU, Hostname: l.Hostname, Subnet: s}
	for _, own := range want.Addresses {
		if s.Prefix.Contains(own.Addr()) {
			a.Server = own.Addr()
			break
		}
	}
	a.Subnet.Routes = slices.Clone(s.Routes)
	if want.MetadataAddress.IsValid() {
		a.Subnet.Routes = append(a.Subnet.Routes, driver.Route{Destination: netip.PrefixFrom(want.MetadataAddress, 32), NextHop: a.Server})
	}
	if len(a.Subnet.Routes) > 0 && s.Gateway.IsValid() {
		a.Subnet.Routes = append(a.Subnet.Routes, driver.Route{Destination: netip.PrefixFrom(netip.IPv4Unspecified(), 0), NextHop: s.Gateway})
	}
	return a
}
