package lbaas_test

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/driver"
	"github.com/kintoun/kintoun/lbaas/internal/fakeports"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

var red = lbaas.Scope{ProjectID: "red"}

type cloud struct {
	db      *sql.DB
	ports   *fakeports.Ports
	service *lbaas.Service
	subnet  string
}

func newCloud(t testing.TB, options *lbaas.Options) *cloud {
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c := &cloud{db: db, ports: fakeports.New()}
	c.subnet = c.ports.AddSubnet("red")
	c.service, err = lbaas.New(context.Background(), db, c.ports, options)
	require.NoError(t, err)
	return c
}

// run starts an agent and returns what stops it.
func (c *cloud) run(t testing.TB, host string, d driver.Balancers) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	agent := lbaas.NewAgent(c.service, host, d, &lbaas.AgentOptions{
		PollEvery: 5 * time.Millisecond, StatsEvery: 5 * time.Millisecond, HeartbeatEvery: 10 * time.Millisecond,
	})
	done := make(chan struct{})
	go func() { agent.Run(ctx); close(done) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done }) }
	t.Cleanup(stop)
	return stop
}

func (c *cloud) pool(t testing.TB) *lbaas.Pool {
	pool, err := c.service.CreatePool(context.Background(), red, lbaas.PoolSpec{
		SubnetID: c.subnet, Protocol: driver.HTTP, Method: driver.RoundRobin,
	})
	require.NoError(t, err)
	return pool
}

func (c *cloud) member(t testing.TB, poolID, address string) *lbaas.Member {
	member, err := c.service.CreateMember(context.Background(), red, lbaas.MemberSpec{
		PoolID: poolID, Address: netip.MustParseAddr(address), Port: 80, Weight: 1,
	})
	require.NoError(t, err)
	return member
}

func (c *cloud) vip(t testing.TB, poolID string) *lbaas.VIP {
	vip, err := c.service.CreateVIP(context.Background(), red, vipSpec(c, poolID))
	require.NoError(t, err)
	return vip
}

func vipSpec(c *cloud, poolID string) lbaas.VIPSpec {
	return lbaas.VIPSpec{PoolID: poolID, SubnetID: c.subnet, Protocol: driver.HTTP, ProtocolPort: 80, ConnectionLimit: -1}
}

func (c *cloud) await(t testing.TB, vipID string, status lbaas.Status) *lbaas.VIP {
	t.Helper()
	var vip *lbaas.VIP
	require.Eventually(t, func() bool {
		var err error
		vip, err = c.service.VIP(context.Background(), red, vipID)
		return err == nil && vip.Status == status
	}, patience, time.Millisecond, "virtual address to be %s", status)
	return vip
}

func awaitBalancers(t testing.TB, d driver.Balancers, ids ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		have, err := d.List(context.Background())
		if err != nil || len(have) != len(ids) {
			return false
		}
		for i := range ids {
			if have[i] != ids[i] {
				return false
			}
		}
		return true
	}, patience, time.Millisecond, "balancers %v", ids)
}

func TestAFailureIsReportedWithItsReasonAndHealed(t *testing.T) {
	c := newCloud(t, nil)
	faults := inject.New(1, inject.Fault{Step: "balancer apply", Err: errors.New("no space left on device")})
	d := memlb.New(&memlb.Options{Faults: faults})
	c.run(t, "one", d)
	pool := c.pool(t)
	vip := c.vip(t, pool.ID)
	vip = c.await(t, vip.ID, lbaas.Failed)
	require.Contains(t, vip.StatusDescription, "no space left on device")
	faults.Clear()
	vip = c.await(t, vip.ID, lbaas.Active)
	require.Empty(t, vip.StatusDescription)
	got, err := c.service.Pool(t.Context(), red, pool.ID)
	require.NoError(t, err)
	require.Equal(t, lbaas.Active, got.Status)
}

func TestATransientFailureIsNobodysBusiness(t *testing.T) {
	c := newCloud(t, nil)
	d := memlb.New(&memlb.Options{Faults: inject.New(1, inject.Fault{Step: "balancer apply", Times: 1, Err: errors.New("not yet")})})
	c.run(t, "one", d)
	vip := c.vip(t, c.pool(t).ID)
	require.Eventually(t, func() bool {
		now, err := c.service.VIP(t.Context(), red, vip.ID)
		require.NoError(t, err)
		require.NotEqual(t, lbaas.Failed, now.Status)
		return now.Status == lbaas.Active
	}, patience, time.Millisecond)
}

func TestAnAgentAdoptsWhatRunsAndRemovesLeftovers(t *testing.T) {
	c := newCloud(t, nil)
	d := memlb.New(nil)
	stop := c.run(t, "one", d)
	pool := c.pool(t)
	c.await(t, c.vip(t, pool.ID).ID, lbaas.Active)
	stop()
	before, err := d.Status(t.Context(), pool.ID)
	require.NoError(t, err)
	leftover, _ := d.Balancer(pool.ID)
	leftover.ID = "leftover"
	require.NoError(t, d.Apply(t.Context(), leftover))

	c.run(t, "one", d)
	awaitBalancers(t, d, pool.ID)
	after, err := d.Status(t.Context(), pool.ID)
	require.NoError(t, err)
	require.Equal(t, before.PID, after.PID)
}

func TestAKilledBalancerIsStartedAgain(t *testing.T) {
	c := newCloud(t, nil)
	d := memlb.New(nil)
	c.run(t, "one", d)
	pool := c.pool(t)
	c.await(t, c.vip(t, pool.ID).ID, lbaas.Active)
	before, err := d.Status(t.Context(), pool.ID)
	require.NoError(t, err)
	d.Kill(pool.ID)
	require.Eventually(t, func() bool {
		now, err := d.Status(context.Background(), pool.ID)
		return err == nil && now.PID != 0 && now.PID != before.PID
	}, patience, time.Millisecond)
}

func TestPoolsAreSpreadAndMoveFromADeadHost(t *testing.T) {
	c := newCloud(t, &lbaas.Options{AgentDownTime: 300 * time.Millisecond})
	first, second := memlb.New(nil), memlb.New(nil)
	stop := c.run(t, "one", first)
	c.run(t, "two", second)
	require.Eventually(t, func() bool {
		agents, err := c.service.Agents(context.Background())
		return err == nil && len(agents) == 2
	}, patience, time.Millisecond)
	one, two := c.pool(t), c.pool(t)
	c.vip(t, one.ID)
	c.vip(t, two.ID)
	require.NotEqual(t, one.AgentID, two.AgentID)
	if agent, err := c.service.AgentOfPool(t.Context(), red, one.ID); err != nil || agent.Host != "one" {
		require.NoError(t, err)
		one, two = two, one
	}
	awaitBalancers(t, first, one.ID)
	awaitBalancers(t, second, two.ID)
	stop()
	require.Eventually(t, func() bool { ids, err := second.List(context.Background()); return err == nil && len(ids) == 2 }, patience, time.Millisecond)
	// The dead host comes back, and gives up what has moved.
	c.run(t, "one", first)
	awaitBalancers(t, first)
}

func TestAPoolMadeBeforeThereIsAnAgentFindsOne(t *testing.T) {
	c := newCloud(t, nil)
	pool := c.pool(t)
	vip := c.vip(t, pool.ID)
	_, err := c.service.AgentOfPool(t.Context(), red, pool.ID)
	require.ErrorIs(t, err, lbaas.ErrNotFound)
	c.run(t, "one", memlb.New(nil))
	c.await(t, vip.ID, lbaas.Active)
}

func TestOfManyVIPsForOnePoolOneWinsAndNoPortIsLeft(t *testing.T) {
	c := newCloud(t, nil)
	pool := c.pool(t)
	var wg sync.WaitGroup
	results := make(chan error, 6)
	for range cap(results) {
		wg.Go(func() {
			_, err := c.service.CreateVIP(context.Background(), red, vipSpec(c, pool.ID))
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else {
			require.ErrorIs(t, err, lbaas.ErrConflict)
		}
	}
	require.Equal(t, 1, won)
	require.Equal(t, 1, c.ports.Count())
}

func TestAPortThatCannotBeMadeLeavesNoVIP(t *testing.T) {
	c := newCloud(t, nil)
	pool := c.pool(t)
	broken := errors.New("no address left")
	c.ports.Break(broken)
	_, err := c.service.CreateVIP(t.Context(), red, vipSpec(c, pool.ID))
	require.ErrorIs(t, err, broken)
	vips, err := c.service.VIPs(t.Context(), red, lbaas.Query{})
	require.NoError(t, err)
	require.Empty(t, vips)
	c.ports.Break(nil)
	c.vip(t, pool.ID)
}

func TestCountersAreReported(t *testing.T) {
	c := newCloud(t, nil)
	d := memlb.New(nil)
	c.run(t, "one", d)
	pool := c.pool(t)
	c.member(t, pool.ID, "172.24.17.2")
	c.await(t, c.vip(t, pool.ID).ID, lbaas.Active)
	for range 3 {
		_, err := d.Choose(pool.ID, netip.MustParseAddr("172.24.17.1"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		stats, err := c.service.PoolStats(context.Background(), red, pool.ID)
		return err == nil && stats.TotalConnections == 3
	}, patience, time.Millisecond)
}

func TestWhatIsSwitchedOffIsInactive(t *testing.T) {
	c := newCloud(t, nil)
	d := memlb.New(nil)
	c.run(t, "one", d)
	pool := c.pool(t)
	vip := c.vip(t, pool.ID)
	c.await(t, vip.ID, lbaas.Active)
	off, on := false, true
	_, err := c.service.UpdateVIP(t.Context(), red, vip.ID, lbaas.VIPChange{AdminStateUp: &off})
	require.NoError(t, err)
	c.await(t, vip.ID, lbaas.Inactive)
	b, _ := d.Balancer(pool.ID)
	require.True(t, b.Frontend.Disabled)
	_, err = c.service.UpdatePool(t.Context(), red, pool.ID, lbaas.PoolChange{AdminStateUp: &off})
	require.NoError(t, err)
	awaitBalancers(t, d)
	_, err = c.service.UpdatePool(t.Context(), red, pool.ID, lbaas.PoolChange{AdminStateUp: &on})
	require.NoError(t, err)
	_, err = c.service.UpdateVIP(t.Context(), red, vip.ID, lbaas.VIPChange{AdminStateUp: &on})
	require.NoError(t, err)
	c.await(t, vip.ID, lbaas.Active)
}

func BenchmarkVIPActive(b *testing.B) {
	c := newCloud(b, &lbaas.Options{Quota: func(context.Context, string) (lbaas.Quota, error) {
		return lbaas.Quota{Pools: -1, Members: -1, HealthMonitors: -1, VIPs: -1}, nil
	}})
	c.run(b, "one", memlb.New(nil))
	for b.Loop() {
		pool := c.pool(b)
		spec := vipSpec(c, pool.ID)
		spec.Address = netip.MustParseAddr("172.24.17.2") // the fake network gives none twice by itself
		vip, err := c.service.CreateVIP(b.Context(), red, spec)
		require.NoError(b, err)
		c.await(b, vip.ID, lbaas.Active)
		require.NoError(b, c.service.DeleteVIP(b.Context(), red, vip.ID))
		require.NoError(b, c.service.DeletePool(b.Context(), red, pool.ID))
	}
}
