package drivertest

import (
	"context"
	"io/fs"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/stretchr/testify/require"
)

func rotationIsStrict(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	s.inTurn(t, 120, 2)
	require.EqualValues(t, 120, s.status(t).Stats.TotalConnections)
}

func applyingAgainIsFree(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	before := s.status(t)
	last := s.get(t)
	for range 10 {
		s.apply(t)
		answer := s.get(t)
		require.NotEqual(t, last, answer, "applying what is already so disturbed the rotation")
		last = answer
	}
	require.Equal(t, before.PID, s.status(t).PID)
}

func deadMember(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	s.want.Monitors = []driver.Monitor{monitor()}
	s.apply(t)
	for _, m := range s.want.Members {
		s.awaitMember(t, m.ID, true)
	}
	s.servers[0].Stop(t)
	s.awaitMember(t, s.want.Members[0].ID, false)
	for range 10 {
		require.Equal(t, "vm2", s.get(t))
	}
	s.servers[0].Start(t)
	s.awaitMember(t, s.want.Members[0].ID, true)
	s.inTurn(t, 20, 2)
}

func membersChange(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	before := s.status(t).PID

	third := s.serve(t, 2)
	s.want.Members = append(s.want.Members, third)
	s.apply(t)
	s.inTurn(t, 60, 3)
	require.Len(t, s.status(t).Members, 3)

	s.want.Members[0].Weight = 0
	s.apply(t)
	s.inTurn(t, 20, 2)
	require.True(t, s.status(t).Members[s.want.Members[0].ID], "a member of weight 0 still answers")

	s.want.Members = s.want.Members[1:]
	s.apply(t)
	s.inTurn(t, 20, 2)
	require.Len(t, s.status(t).Members, 2)

	s.want.Members = nil
	s.apply(t)
	_, err := s.network.Get(t.Context(), virtual80)
	require.Error(t, err)
	require.Empty(t, s.status(t).Members)

	s.want.Members = []driver.Member{third}
	s.apply(t)
	require.Equal(t, "vm3", s.get(t))
	require.Equal(t, before, s.status(t).PID)
}

// updatesLoseNothing changes everything that can change while clients keep asking.
func updatesLoseNothing(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	third := s.serve(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	failures := make(chan error, 4)
	asked := make(chan struct{}, 1)
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.network.Get(ctx, virtual80); err != nil {
					if ctx.Err() == nil {
						failures <- err
					}
					return
				}
				select {
				case asked <- struct{}{}:
				default:
				}
			}
		})
	}
	steps := []func(*driver.Balancer){
		func(b *driver.Balancer) { b.Members = append(b.Members, third) },
		func(b *driver.Balancer) { b.Members[2].Weight = 7 },
		func(b *driver.Balancer) { b.Members = b.Members[1:] },
		func(b *driver.Balancer) { b.Monitors = []driver.Monitor{monitor()} },
		func(b *driver.Balancer) { b.Frontend.ConnectionLimit = 500 },
		func(b *driver.Balancer) { b.Method = driver.LeastConnections },
		func(b *driver.Balancer) { b.Monitors = nil; b.Method = driver.RoundRobin },
	}
	for i, step := range steps {
		step(&s.want)
		s.apply(t)
		// Some requests between two steps.
		for range 20 {
			select {
			case <-asked:
			case err := <-failures:
				require.NoError(t, err, "after step %d", i)
			}
		}
	}
	cancel()
	clients.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
}

func twoNetworks(t *testing.T, host Host) {
	one := newScene(t, host, 2)
	other := &scene{host: host, driver: one.driver, network: host.Network(t)}
	other.servers = []Server{other.network.Serve(t, netip.AddrPortFrom(addresses[0], 80), "elsewhere")}
	other.want = driver.Balancer{
		ID: uuid.NewString(), Frontend: other.network.Frontend(t, virtual), Method: driver.RoundRobin, Protocol: driver.HTTP,
		Members: []driver.Member{{ID: uuid.NewString(), Address: addresses[0], Port: 80, Weight: 1}},
	}
	t.Cleanup(func() { _ = other.driver.Remove(context.Background(), other.want.ID) })
	other.apply(t)
	for range 10 {
		require.Equal(t, "elsewhere", other.get(t))
	}
	one.inTurn(t, 20, 2)
	ids, err := one.driver.List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{one.want.ID, other.want.ID}, ids)
	require.NoError(t, other.driver.Remove(t.Context(), other.want.ID))
	one.inTurn(t, 20, 2)
}

func adoption(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	before := s.status(t).PID
	require.NotZero(t, before)
	last := s.get(t)
	s.driver = host.Open(t)
	ids, err := s.driver.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{s.want.ID}, ids)
	require.Equal(t, before, s.status(t).PID)
	s.apply(t)
	require.Equal(t, before, s.status(t).PID)
	require.NotEqual(t, last, s.get(t), "adoption disturbed the rotation")
}

func killed(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	before := s.status(t).PID
	host.Kill(t, s.want.ID)
	require.Zero(t, s.status(t).PID)
	_, err := s.network.Get(t.Context(), virtual80)
	require.Error(t, err)
	s.apply(t)
	require.NotEqual(t, before, s.status(t).PID)
	s.inTurn(t, 20, 2)
}

func disabled(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	s.want.Members[0].Disabled = true
	s.apply(t)
	for range 6 {
		require.Equal(t, "vm2", s.get(t))
	}
	require.False(t, s.status(t).Members[s.want.Members[0].ID])
	s.want.Members[0].Disabled = false
	s.apply(t)
	s.inTurn(t, 10, 2)

	s.want.Frontend.Disabled = true
	s.apply(t)
	_, err := s.network.Get(t.Context(), virtual80)
	require.Error(t, err)
	s.want.Frontend.Disabled = false
	s.apply(t)
	s.inTurn(t, 10, 2)
}

func persistence(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	s.want.Persistence = &driver.Persistence{Type: "SOURCE_IP"}
	s.apply(t)
	first := s.get(t)
	for range 10 {
		require.Equal(t, first, s.get(t))
	}
	s.want.Persistence = nil
	s.apply(t)
	s.inTurn(t, 10, 2)
	s.want.Method = driver.SourceIP
	s.apply(t)
	first = s.get(t)
	for range 10 {
		require.Equal(t, first, s.get(t))
	}
}

func portChanges(t *testing.T, host Host) {
	s := newScene(t, host, 2)
	address := netip.MustParsePrefix("172.24.17.9/24")
	s.want.Frontend = s.network.Frontend(t, address)
	s.apply(t)
	body, err := s.network.Get(t.Context(), netip.AddrPortFrom(address.Addr(), 80))
	require.NoError(t, err)
	require.Contains(t, names, body)
	_, err = s.network.Get(t.Context(), virtual80)
	require.Error(t, err)
}

func removing(t *testing.T, host Host) {
	s := newScene(t, host, 1)
	require.NoError(t, s.driver.Remove(t.Context(), s.want.ID))
	require.NoError(t, s.driver.Remove(t.Context(), s.want.ID))
	ids, err := s.driver.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
	_, err = s.driver.Status(t.Context(), s.want.ID)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = s.network.Get(t.Context(), virtual80)
	require.Error(t, err)
	s.apply(t)
	require.Equal(t, "vm1", s.get(t))
}

func halfMade(t *testing.T, host Host) {
	s := newScene(t, host, 1)
	require.NoError(t, s.driver.Remove(t.Context(), s.want.ID))
	host.HalfMake(t, s.want.ID)
	ids, err := s.driver.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{s.want.ID}, ids)
	s.apply(t)
	require.Equal(t, "vm1", s.get(t))

	require.NoError(t, s.driver.Remove(t.Context(), s.want.ID))
	host.HalfMake(t, s.want.ID)
	require.NoError(t, s.driver.Remove(t.Context(), s.want.ID))
	ids, err = s.driver.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, ids)
}
