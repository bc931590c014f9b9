package lbaas_test

import (
	"testing"

	"github.com/kintoun/kintoun/lbaas"
	"github.com/kintoun/kintoun/lbaas/memlb"
	"github.com/stretchr/testify/require"
)

func TestWatchTellsOfResourcesUntilTheyAreGone(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "h1", memlb.New(nil))
	pool := c.pool(t)
	member := c.member(t, pool.ID, "10.0.0.5")
	vip := c.vip(t, pool.ID)
	c.await(t, vip.ID, lbaas.Active)
	require.NoError(t, c.service.DeleteVIP(t.Context(), red, vip.ID))
	require.NoError(t, c.service.DeleteMember(t.Context(), red, member.ID))
	require.NoError(t, c.service.DeletePool(t.Context(), red, pool.ID))
	seen := map[string]bool{}
	for e, err := range c.service.Watch(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "lbaas", e.Domain)
		require.Equal(t, e.Type != "agent", e.ProjectID == "red")
		seen[e.Type+" "+string(e.Action)+" "+e.Status] = true
		if e.ID == pool.ID && e.Action == "deleted" {
			break
		}
	}
	for _, want := range []string{"agent created ", "pool created PENDING_CREATE", "pool updated ACTIVE", "member created PENDING_CREATE", "vip updated ACTIVE", "vip deleted ACTIVE"} {
		require.Contains(t, seen, want)
	}
}

func TestSignsOfLifeAreNoEvents(t *testing.T) {
	c := newCloud(t, nil)
	c.run(t, "h1", memlb.New(nil))
	heard := func() lbaas.AgentInfo {
		all, err := c.service.Agents(t.Context())
		require.NoError(t, err)
		if len(all) == 0 {
			return lbaas.AgentInfo{}
		}
		return all[0]
	}
	require.Eventually(t, func() bool { return heard().Alive }, patience, 1)
	before, err := c.service.LastEvent(t.Context())
	require.NoError(t, err)
	was := heard().HeartbeatAt
	require.Eventually(t, func() bool { return heard().HeartbeatAt.After(was) }, patience, 1)
	after, err := c.service.LastEvent(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}
