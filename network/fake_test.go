package network_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/stretchr/testify/require"
)

func open(t testing.TB, options *network.Options) *network.Service {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := network.New(context.Background(), db, options)
	require.NoError(t, err)
	return s
}

// openAlone is open for tests on a fake clock: with one connection nobody sleeps in SQLite while another waits for its lock,
// which a fake clock could not end.
func openAlone(t testing.TB) *network.Service {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := network.New(context.Background(), db, nil)
	require.NoError(t, err)
	return s
}

// fake keeps what it is given, as one kind of driver.
type fake[T any] struct {
	mu      sync.Mutex
	key     func(T) string
	applied map[string]T
	applies map[string]int
	fail    map[string]error
}

func newFake[T any](key func(T) string) *fake[T] {
	return &fake[T]{key: key, applied: map[string]T{}, applies: map[string]int{}, fail: map[string]error{}}
}

func (f *fake[T]) Apply(_ context.Context, want T) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applies[f.key(want)]++
	if err := f.fail[f.key(want)]; err != nil {
		return err
	}
	f.applied[f.key(want)] = want
	return nil
}

func (f *fake[T]) Remove(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.applied, id)
	return nil
}

func (f *fake[T]) List(context.Context) ([]string, error) { return f.ids(), nil }

func (f *fake[T]) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.applied))
}

func (f *fake[T]) get(t testing.TB, id string) T {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Contains(t, f.applied, id)
	return f.applied[id]
}

func (f *fake[T]) count(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applies[id]
}

func (f *fake[T]) setFail(id string, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.fail, id)
	if text != "" {
		f.fail[id] = errors.New(text)
	}
}

// host is a host of fakes; what is on it outlives its agent.
type host struct {
	networks *fake[driver.Network]
	ports    *fake[driver.Port]
	routers  *fake[driver.Router]
	dhcp     *fake[driver.DHCPServer]
}

func newHost() *host {
	return &host{
		networks: newFake(func(n driver.Network) string { return n.ID }), ports: newFake(func(p driver.Port) string { return p.ID }),
		routers: newFake(func(r driver.Router) string { return r.ID }), dhcp: newFake(func(d driver.DHCPServer) string { return d.NetworkID }),
	}
}

func (h *host) Kind() string              { return "openvswitch" }
func (h *host) Networks() driver.Networks { return h.networks }
func (h *host) Ports() driver.Ports       { return h.ports }

// run starts an agent; stop ends it and waits.
func (h *host) run(t testing.TB, s *network.Service, name string, options *network.AgentOptions) (a *network.Agent, stop func()) {
	t.Helper()
	a = network.NewAgent(s, name, network.Drivers{Fabric: h, Routers: h.routers, DHCP: h.dhcp}, options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return a, stop
}
