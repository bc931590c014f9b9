// Package drivertest is the conformance suite that every driver of the load balancer contract (package lbaas/driver)
// passes.
//
// A driver's test gives [TestBalancers] a [Host], which is the driver's surroundings: networks to balance in, and a way
// to do to a balancer what accidents do:
//
//	func TestConformance(t *testing.T) {
//		drivertest.TestBalancers(t, func(testing.TB) drivertest.Host {
//			h := &host{ports: map[string]*network{}}
//			h.driver = memlb.New(&memlb.Options{Answers: h.answers})
//			return h
//		})
//	}
//
// The suite sends real requests: the rotation is strict, dead members are dropped and taken back, no request is lost by
// an update, a killed balancer comes back, a driver that is opened anew disturbs nothing.
//
// It needs testify, and of the host what the driver needs; a driver whose Probe fails should skip the test and say why.
// It does not measure, and does not cover TCP, HTTPS or cookies. It waits at most 20 s for what has to happen. Errors
// are test failures, with the name of the part; the driver is used concurrently, the suite itself is not for concurrent
// use.
package drivertest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/stretchr/testify/require"
)

// Host is where balancers run.
type Host interface {
	// Open returns a driver for the host, as a program that was just started would have it.
	Open(t testing.TB) driver.Balancers
	// Network makes a network apart from all others, with a client in it. Two networks may use the same addresses.
	Network(t testing.TB) Network
	// Kill ends a balancer's process behind the driver's back.
	Kill(t testing.TB, id string)
	// HalfMake leaves what a driver leaves of a balancer when it is killed in the middle of Apply.
	HalfMake(t testing.TB, id string)
}

// Network is a place for balancers, servers and clients.
type Network interface {
	// Frontend is a new port with the address, as the network's owner would describe it to a balancer; it listens on port 80.
	Frontend(t testing.TB, address netip.Prefix) driver.Frontend
	// Serve starts an HTTP server that answers every request with its name.
	Serve(t testing.TB, at netip.AddrPort, name string) Server
	// Get makes one HTTP request on a connection of its own and returns the body of an answer 200.
	Get(ctx context.Context, at netip.AddrPort) (string, error)
}

// Server is an HTTP server in a network.
type Server interface {
	Stop(t testing.TB)
	Start(t testing.TB)
}

// patience bounds every wait for something that has to happen.
const patience = 20 * time.Second

var (
	virtual   = netip.MustParsePrefix("172.24.17.4/24")
	virtual80 = netip.AddrPortFrom(virtual.Addr(), 80)
	addresses = []netip.Addr{
		netip.MustParseAddr("172.24.17.2"), netip.MustParseAddr("172.24.17.3"), netip.MustParseAddr("172.24.17.5"),
	}
)

// TestBalancers holds a driver to the contract. Factory makes a new host for each part.
func TestBalancers(t *testing.T, factory func(t testing.TB) Host) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Host)
	}{
		{"the rotation is strict", rotationIsStrict},
		{"applying again is free", applyingAgainIsFree},
		{"a dead member is dropped and taken back", deadMember},
		{"members change without a restart", membersChange},
		{"no request is lost by an update", updatesLoseNothing},
		{"two networks with the same addresses", twoNetworks},
		{"a new driver adopts what runs", adoption},
		{"a killed balancer is restarted", killed},
		{"what is disabled takes nothing", disabled},
		{"a client stays with its member", persistence},
		{"the virtual address moves to another port", portChanges},
		{"removing", removing},
		{"what was half made is finished, or removed", halfMade},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, factory(t)) })
	}
}

// scene is one balancer with servers behind it.
type scene struct {
	host    Host
	driver  driver.Balancers
	network Network
	want    driver.Balancer
	servers []Server
}

// newScene starts servers vm1, vm2, … and a balancer over them.
func newScene(t *testing.T, host Host, servers int) *scene {
	s := &scene{host: host, driver: host.Open(t), network: host.Network(t)}
	s.want = driver.Balancer{
		ID: uuid.NewString(), Frontend: s.network.Frontend(t, virtual), Method: driver.RoundRobin, Protocol: driver.HTTP,
	}
	for i := range servers {
		s.want.Members = append(s.want.Members, s.serve(t, i))
	}
	t.Cleanup(func() { _ = s.driver.Remove(context.Background(), s.want.ID) })
	s.apply(t)
	return s
}

var names = []string{"vm1", "vm2", "vm3"}

func (s *scene) serve(t *testing.T, i int) driver.Member {
	s.servers = append(s.servers, s.network.Serve(t, netip.AddrPortFrom(addresses[i], 80), names[i]))
	return driver.Member{ID: uuid.NewString(), Address: addresses[i], Port: 80, Weight: 1}
}

func (s *scene) apply(t *testing.T) {
	t.Helper()
	require.NoError(t, s.driver.Apply(t.Context(), s.want))
}

func (s *scene) get(t *testing.T) string {
	t.Helper()
	body, err := s.network.Get(t.Context(), virtual80)
	require.NoError(t, err)
	return body
}

func (s *scene) status(t *testing.T) driver.Status {
	t.Helper()
	status, err := s.driver.Status(t.Context(), s.want.ID)
	require.NoError(t, err)
	return status
}

// monitor is a quick HTTP monitor.
func monitor() driver.Monitor {
	return driver.Monitor{
		ID: uuid.NewString(), Type: "HTTP", Delay: 50 * time.Millisecond, Timeout: time.Second, MaxRetries: 2,
		HTTPMethod: "GET", URLPath: "/", ExpectedCodes: "200",
	}
}

// awaitMember waits until the balancer says that the member answers, or not.
func (s *scene) awaitMember(t *testing.T, id string, up bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, err := s.driver.Status(t.Context(), s.want.ID)
		now, known := status.Members[id]
		return err == nil && known && now == up
	}, patience, 10*time.Millisecond)
}

// inTurn asks n times and wants the answer to be another one each time, of the given number of names.
func (s *scene) inTurn(t *testing.T, n, names int) {
	t.Helper()
	var answers []string
	for range n {
		answers = append(answers, s.get(t))
	}
	seen := map[string]bool{}
	for i, answer := range answers {
		seen[answer] = true
		if i >= names {
			require.Equal(t, answers[i-names], answer, "answer %d of %v", i, answers)
		}
	}
	require.Len(t, seen, names)
}
