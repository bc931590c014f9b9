package converge_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type thing struct {
	ID, Host string
	Revision int64
}

func things(t *testing.T) (*record.Store, func(id, host string)) {
	t.Helper()
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := record.Open(t.Context(), db, "test")
	require.NoError(t, err)
	table := record.Define(store, "things", record.Spec[thing]{
		Key: func(r *thing) string { return r.ID }, Revision: func(r *thing) *int64 { return &r.Revision }, Host: "host",
		Columns: []record.Column[thing]{{Name: "host", Value: func(r *thing) any { return r.Host }}},
	})
	require.NoError(t, store.Migrate(t.Context()))
	return store, func(id, host string) {
		require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
			if host == "" {
				return tx.Announce("news", id)
			}
			return table.Insert(tx, &thing{ID: id, Host: host})
		}))
	}
}

func TestChangesReachTheHostsThatTheyConcern(t *testing.T) {
	store, write := things(t)
	forgotten := 0
	hub := converge.NewHub(store, func(_ context.Context, c record.Change) ([]string, bool) {
		return []string{"b"}, c.ID == "for all"
	}, func() { forgotten++ })
	var mu sync.Mutex
	heard := map[string][]string{}
	follow := func(host string) func() {
		leave, err := hub.Follower(host, nil).Follow(t.Context(), func(c record.Change) {
			mu.Lock()
			defer mu.Unlock()
			heard[host] = append(heard[host], c.ID)
		}, func() { t.Error("nothing was missed") })
		require.NoError(t, err)
		return leave
	}
	require.NoError(t, hub.CatchUp(t.Context()), "nobody follows")
	leaveA, leaveB := follow("a"), follow("b")
	write("1", "a")
	write("2", "b")
	write("for b", "")
	write("for all", "")
	write("3", "nobody's")
	require.NoError(t, hub.Settle(t.Context()))
	mu.Lock()
	require.Equal(t, map[string][]string{"a": {"1", "for all"}, "b": {"2", "for b", "for all"}}, heard)
	mu.Unlock()
	leaveA()
	write("4", "a")
	leaveB()
	require.Equal(t, 1, forgotten, "once for all followers, when the hub began")
	leave := follow("a") // a hub whose last follower left begins anew
	write("5", "a")
	require.NoError(t, hub.CatchUp(t.Context()))
	leave()
	require.Equal(t, []string{"1", "for all", "5"}, heard["a"])
}

func TestAFollowerThatCannotBeginSaysSo(t *testing.T) {
	store, _ := things(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	follower := converge.NewHub(store, nil, nil).Follower("a", nil)
	if leave, err := follower.Follow(ctx, func(record.Change) {}, func() {}); err == nil {
		leave() // it had begun before it looked
	} else {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestTurnsAreTaken(t *testing.T) {
	var turn converge.Turn
	start := time.Unix(1000, 0)
	require.True(t, turn.Mine(start, 10))
	require.False(t, turn.Mine(start.Add(9), 10))
	require.True(t, turn.Mine(start.Add(10), 10))
}
