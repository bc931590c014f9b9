package memlb_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/drivertest"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/stretchr/testify/require"
)

func TestConformance(t *testing.T) {
	drivertest.TestBalancers(t, func(testing.TB) drivertest.Host {
		h := &host{ports: map[string]*network{}}
		h.driver = memlb.New(&memlb.Options{Answers: h.answers})
		return h
	})
}

// host is a simulated host and the networks around it.
type host struct {
	driver *memlb.Driver
	mu     sync.Mutex
	ports  map[string]*network
}

func (h *host) answers(b driver.Balancer, m driver.Member) bool {
	h.mu.Lock()
	n := h.ports[b.Frontend.PortID]
	h.mu.Unlock()
	_, ok := n.serving(netip.AddrPortFrom(m.Address, m.Port))
	return ok
}

func (h *host) Open(testing.TB) driver.Balancers { return h.driver }
func (h *host) Kill(_ testing.TB, id string)     { h.driver.Kill(id) }
func (h *host) Network(testing.TB) drivertest.Network {
	return &network{host: h, servers: map[netip.AddrPort]string{}}
}

func (h *host) HalfMake(t testing.TB, id string) {
	n := h.Network(t)
	require.NoError(t, h.driver.Apply(t.Context(), driver.Balancer{ID: id, Frontend: n.Frontend(t, netip.MustParsePrefix("10.0.0.1/8"))}))
	h.driver.Kill(id)
}

type network struct {
	host    *host
	mu      sync.Mutex
	servers map[netip.AddrPort]string
}

func (n *network) serving(at netip.AddrPort) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name, ok := n.servers[at]
	return name, ok
}

func (n *network) Frontend(_ testing.TB, address netip.Prefix) driver.Frontend {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	id := uuid.NewString()
	n.host.ports[id] = n
	return driver.Frontend{PortID: id, Address: address, Port: 80, ConnectionLimit: -1}
}

func (n *network) Get(ctx context.Context, at netip.AddrPort) (string, error) {
	ids, err := n.host.driver.List(ctx)
	if err != nil {
		return "", err
	}
	for _, id := range ids {
		b, _ := n.host.driver.Balancer(id)
		n.host.mu.Lock()
		mine := n.host.ports[b.Frontend.PortID] == n
		n.host.mu.Unlock()
		if !mine || netip.AddrPortFrom(b.Frontend.Address.Addr(), b.Frontend.Port) != at {
			continue
		}
		member, err := n.host.driver.Choose(id, netip.MustParseAddr("172.24.17.1"))
		if err != nil {
			return "", err
		}
		name, _ := n.serving(netip.AddrPortFrom(member.Address, member.Port))
		return name, nil
	}
	return "", fmt.Errorf("%s: %w", at, memlb.ErrRefused)
}

func (n *network) Serve(t testing.TB, at netip.AddrPort, name string) drivertest.Server {
	s := &server{network: n, at: at, name: name}
	s.Start(t)
	return s
}

type server struct {
	network *network
	at      netip.AddrPort
	name    string
}

func (s *server) Start(testing.TB) {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	s.network.servers[s.at] = s.name
}

func (s *server) Stop(testing.TB) {
	s.network.mu.Lock()
	defer s.network.mu.Unlock()
	delete(s.network.servers, s.at)
}

func TestFaultsAreMetAsOftenAsToldAndHealed(t *testing.T) {
	broken := errors.New("broken")
	faults := inject.New(1)
	d := memlb.New(&memlb.Options{Faults: faults})
	want := driver.Balancer{ID: "a", Frontend: driver.Frontend{Address: netip.MustParsePrefix("10.0.0.1/8"), Port: 80}}
	faults.Add(inject.Fault{Step: "balancer apply", Resource: "a", Times: 2, Err: broken})
	require.ErrorIs(t, d.Apply(t.Context(), want), broken)
	require.ErrorIs(t, d.Apply(t.Context(), want), broken)
	require.NoError(t, d.Apply(t.Context(), want))

	faults.Add(inject.Fault{Step: "balancer status", Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := d.Status(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	faults.Clear()
	_, err = d.Status(t.Context(), "a")
	require.NoError(t, err)
}

func ExampleDriver() {
	d := memlb.New(nil)
	ctx := context.Background()
	err := d.Apply(ctx, driver.Balancer{
		ID:       "pool",
		Frontend: driver.Frontend{Address: netip.MustParsePrefix("172.24.17.4/24"), Port: 80, ConnectionLimit: -1},
		Method:   driver.RoundRobin, Protocol: driver.HTTP,
		Members: []driver.Member{
			{ID: "vm1", Address: netip.MustParseAddr("172.24.17.2"), Port: 80, Weight: 1},
			{ID: "vm2", Address: netip.MustParseAddr("172.24.17.3"), Port: 80, Weight: 1},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 4 {
		member, _ := d.Choose("pool", netip.MustParseAddr("172.24.17.1"))
		fmt.Println(member.ID)
	}
	// Output:
	// vm1
	// vm2
	// vm1
	// vm2
}
