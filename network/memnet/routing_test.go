package memnet_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/kintoun/kintoun/network/memnet"
	"github.com/stretchr/testify/require"
)

// plugs is a fabric that only counts, and fails after so many ports; negative is never.
type plugs struct {
	mu    *sync.Mutex
	ports map[string]driver.Port
	steps int
}

func newPlugs() *plugs {
	return &plugs{mu: new(sync.Mutex), ports: make(map[string]driver.Port), steps: -1}
}

func (p *plugs) interrupted(steps int) *plugs { return &plugs{mu: p.mu, ports: p.ports, steps: steps} }

var errInterrupted = errors.New("interrupted")

func (p *plugs) Apply(_ context.Context, want driver.Port) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steps == 0 {
		return errInterrupted
	}
	p.steps--
	p.ports[want.ID] = want
	return nil
}

func (p *plugs) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ports, id)
	return nil
}

func (p *plugs) List(context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id := range p.ports {
		ids = append(ids, id)
	}
	return ids, nil
}

func (p *plugs) plugged(t testing.TB) []string {
	ids, err := p.List(t.Context())
	require.NoError(t, err)
	return ids
}

// world is stations around in-memory routers.
type world struct {
	routers  *memnet.Routers
	stations []*station
	// listeners are the names of those who listen on routers' own ports.
	listeners map[memnet.Arrival]string
}

type station struct {
	world     *world
	name      string
	networkID string
	address   netip.Prefix
	gateway   netip.Addr
	ports     []uint16
}

var errNoAnswer = errors.New("no answer")

// reach returns who answers a packet, and whom it sees as its sender.
func (s *station) reach(to netip.Addr, port uint16) (name string, caller netip.Addr, err error) {
	hop := s.gateway
	if s.address.Contains(to) {
		hop = to
	}
	a, ok := s.world.routers.Trace(s.networkID, hop, memnet.Flow{Source: s.address.Addr(), Destination: to, Port: port})
	if !ok {
		return "", netip.Addr{}, errNoAnswer
	}
	if a.RouterID != "" {
		name, ok := s.world.listeners[memnet.Arrival{RouterID: a.RouterID, Flow: memnet.Flow{Port: a.Flow.Port}}]
		if port != 0 && !ok {
			return "", netip.Addr{}, errNoAnswer
		}
		return name, a.Flow.Source, nil
	}
	for _, other := range s.world.stations {
		if other.networkID == a.NetworkID && other.address.Addr() == a.Flow.Destination && (port == 0 || slices.Contains(other.ports, a.Flow.Port)) {
			return other.name, a.Flow.Source, nil
		}
	}
	return "", netip.Addr{}, errNoAnswer
}

func (s *station) Ping(_ context.Context, to netip.Addr) error {
	_, _, err := s.reach(to, 0)
	return err
}

func (s *station) Listen(_ testing.TB, port uint16) { s.ports = append(s.ports, port) }

func (s *station) Dial(_ context.Context, to netip.AddrPort) (drivertest.Conn, error) {
	name, caller, err := s.reach(to.Addr(), to.Port())
	return &routedConn{from: s, to: to, name: name, caller: caller}, err
}

type routedConn struct {
	from   *station
	to     netip.AddrPort
	name   string
	caller netip.Addr
}

// Ask answers for as long as the connection's packets go where its first one went.
func (c *routedConn) Ask(context.Context) (string, netip.Addr, error) {
	name, caller, err := c.from.reach(c.to.Addr(), c.to.Port())
	if err == nil && (name != c.name || caller != c.caller) {
		err = errNoAnswer
	}
	return name, caller, err
}

func (c *routedConn) Close() error { return nil }

func TestRouters(t *testing.T) {
	drivertest.TestRouters(t, func(testing.TB) drivertest.RouterHost {
		fabric := newPlugs()
		w := &world{routers: memnet.NewRouters(fabric, nil), listeners: make(map[memnet.Arrival]string)}
		return drivertest.RouterHost{
			Routers: w.routers,
			Restarted: func(testing.TB) driver.Routers {
				return memnet.NewRouters(fabric, &memnet.RouterOptions{Adopt: w.routers})
			},
			Interrupted: func(_ testing.TB, legs int) driver.Routers {
				return memnet.NewRouters(fabric.interrupted(legs), &memnet.RouterOptions{Adopt: w.routers})
			},
			Join: func(_ testing.TB, name, networkID string, address netip.Prefix, gateway netip.Addr) drivertest.Station {
				s := &station{world: w, name: name, networkID: networkID, address: address, gateway: gateway}
				w.stations = append(w.stations, s)
				return s
			},
			Listen: func(_ testing.TB, name, routerID string, port uint16) {
				w.listeners[memnet.Arrival{RouterID: routerID, Flow: memnet.Flow{Port: port}}] = name
			},
			Plugged: fabric.plugged,
		}
	})
}

// dhcpClient asks an in-memory server what it would answer.
type dhcpClient struct {
	servers   func() *memnet.DHCPServers
	networkID string
	mac       string
}

func (c dhcpClient) Send(_ context.Context, m drivertest.DHCPMessage) (drivertest.DHCPAnswer, error) {
	r, ok := c.servers().Ask(c.networkID, memnet.DHCPQuestion{
		Type: m.Type, MAC: c.mac, Requested: m.Requested, Server: m.Server, Client: m.Client, Relay: m.Relay,
	})
	if !ok {
		return drivertest.DHCPAnswer{}, errNoAnswer
	}
	a := drivertest.DHCPAnswer{
		Type: r.Type, Address: r.Address, Server: r.Server, DNS: r.Subnet.DNS, Routes: r.Subnet.Routes, MTU: r.MTU,
		LeaseSeconds: r.Subnet.LeaseSeconds, Domain: r.Subnet.Domain, Hostname: r.Hostname, PrefixLength: max(r.Subnet.Prefix.Bits(), 0),
	}
	if r.Subnet.Gateway.IsValid() {
		a.Routers = []netip.Addr{r.Subnet.Gateway}
	}
	return a, nil
}

func TestDHCPServers(t *testing.T) {
	drivertest.TestDHCPServers(t, func(testing.TB) drivertest.DHCPHost {
		fabric := newPlugs()
		running := memnet.NewDHCPServers(fabric, nil)
		return drivertest.DHCPHost{
			Servers: running,
			Restarted: func(t testing.TB) driver.DHCPServers {
				require.NoError(t, running.Close())
				running = memnet.NewDHCPServers(fabric, &memnet.DHCPOptions{Adopt: running})
				return running
			},
			Interrupted: func(testing.TB) driver.DHCPServers {
				return memnet.NewDHCPServers(fabric.interrupted(0), &memnet.DHCPOptions{Adopt: running})
			},
			Client: func(_ testing.TB, _, networkID, mac string) drivertest.DHCPClient {
				return dhcpClient{servers: func() *memnet.DHCPServers { return running }, networkID: networkID, mac: mac}
			},
			Plugged: fabric.plugged,
		}
	})
}

func TestRoutersAndDHCPServersFailToOrder(t *testing.T) {
	broken := errors.New("broken")
	faults := inject.New(1, inject.Fault{Step: "router apply", Resource: "a", Err: broken, Times: 1})
	routers := memnet.NewRouters(newPlugs(), &memnet.RouterOptions{Faults: faults})
	require.ErrorIs(t, routers.Apply(t.Context(), driver.Router{ID: "a"}), broken)
	require.NoError(t, routers.Apply(t.Context(), driver.Router{ID: "a"}))
	faults.Add(inject.Fault{Step: "router list", Err: broken})
	_, err := routers.List(t.Context())
	require.ErrorIs(t, err, broken)
	slow := memnet.NewDHCPServers(newPlugs(), &memnet.DHCPOptions{Faults: inject.New(1, inject.Fault{Step: "dhcp remove", Delay: time.Hour})})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, slow.Remove(ctx, "n"), context.Canceled)
}
