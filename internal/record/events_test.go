package record_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// openPublic is open with ports that the world hears of; size 0 is a port that is being deleted.
func openPublic(t testing.TB, db *sql.DB) (*record.Store, *record.Table[port]) {
	t.Helper()
	store, err := record.Open(t.Context(), db, "network")
	require.NoError(t, err)
	spec := portSpec
	spec.Event = func(p *port) record.Event {
		e := record.Event{Type: "port", Project: p.Project, Status: "DOWN", Gone: p.Size < 0}
		if p.Up {
			e.Status = "ACTIVE"
		}
		if p.Name == "secret" {
			return record.Event{}
		}
		return e
	}
	ports := record.Define(store, "ports", spec)
	require.NoError(t, store.Migrate(t.Context()))
	return store, ports
}

func memory(t testing.TB) *sql.DB {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// take returns the next events after a number.
func take(t testing.TB, store *record.Store, after int64, n int) []event.Event {
	t.Helper()
	var list []event.Event
	for e, err := range store.Events(t.Context(), after) {
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), e.Time, time.Minute)
		e.Time = time.Time{}
		if list = append(list, e); len(list) == n {
			break
		}
	}
	return list
}

func TestEventsTellOfPublicRecordsUntilTheirEnd(t *testing.T) {
	store, ports := openPublic(t, memory(t))
	insert(t, store, ports, port{ID: "hidden", Name: "secret"})
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		p := port{ID: "a", Project: "red", Address: "10.0.0.1"}
		if err := ports.Insert(tx, &p); err != nil {
			return err
		}
		if err := tx.Announce("router_parts", "r"); err != nil {
			return err
		}
		p.Up = true
		if err := ports.Update(tx, &p); err != nil {
			return err
		}
		if _, err := ports.Touch(tx, "a", func(p *port) error { p.Size = 7; return nil }); err != nil {
			return err
		}
		return ports.Delete(tx, "a")
	}))
	insert(t, store, ports, port{ID: "b", Address: "10.0.0.1"})
	want := []event.Event{
		{Seq: 2, Domain: "network", Type: "port", ID: "a", Action: event.Created, ProjectID: "red", Status: "DOWN"},
		{Seq: 4, Domain: "network", Type: "port", ID: "a", Action: event.Updated, ProjectID: "red", Status: "ACTIVE"},
		{Seq: 5, Domain: "network", Type: "port", ID: "a", Action: event.Deleted, ProjectID: "red", Status: "ACTIVE"},
		{Seq: 6, Domain: "network", Type: "port", ID: "b", Action: event.Created, Status: "DOWN"},
	}
	require.Equal(t, want, take(t, store, 0, 4))
	require.Equal(t, want[2:], take(t, store, 4, 2))
	require.Equal(t, want, take(t, store, -1, 4))
}

func TestARecordThatOutlivesItsResourceIsDeletedOnce(t *testing.T) {
	store, ports := openPublic(t, memory(t))
	insert(t, store, ports, port{ID: "a"})
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		_, err := ports.Modify(tx, "a", func(p *port) error { p.Size = -1; return nil })
		return err
	}))
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error { return ports.Delete(tx, "a") }))
	insert(t, store, ports, port{ID: "b"})
	list := take(t, store, 1, 2)
	require.Equal(t, event.Deleted, list[0].Action)
	require.Equal(t, "b", list[1].ID)
}

func TestTouchKeepsLateWritersOutAndTellsNobody(t *testing.T) {
	store, ports := openPublic(t, memory(t))
	insert(t, store, ports, port{ID: "a"})
	late, err := ports.Get(store.Read(t.Context()), "a")
	require.NoError(t, err)
	before, err := store.Head(t.Context())
	require.NoError(t, err)
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		_, err := ports.Touch(tx, "a", func(p *port) error { p.Size = 9; return nil })
		return err
	}))
	after, err := store.Head(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.ErrorIs(t, store.Update(t.Context(), func(tx *record.Tx) error { return ports.Update(tx, late) }), record.ErrStale)
	n, err := ports.Count(store.Read(t.Context()), record.Eq("size", 9))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestEventsThatAreGoneAreSaid(t *testing.T) {
	db := memory(t)
	store, ports := openPublic(t, db)
	const writes = 10_100
	_, err := db.ExecContext(t.Context(), "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10100) "+
		"INSERT INTO network_changes (kind, id, op, type) SELECT 'ports', 'busy', 'updated', 'port' FROM n")
	require.NoError(t, err)
	require.NoError(t, store.Compact(t.Context()))
	for _, after := range []int64{1, writes + 1} {
		n := 0
		for e, err := range store.Events(t.Context(), after) {
			n++
			require.Zero(t, e)
			require.ErrorIs(t, err, event.ErrCompacted)
			var gone *event.CompactedError
			require.ErrorAs(t, err, &gone)
			require.Equal(t, event.CompactedError{Domain: "network", After: after, Last: writes}, *gone)
		}
		require.Equal(t, 1, n)
	}
	insert(t, store, ports, port{ID: "next"})
	require.Equal(t, "next", take(t, store, writes, 1)[0].ID)
}

func TestFeedsOfOlderDatabasesGetEvents(t *testing.T) {
	db := memory(t)
	_, err := db.ExecContext(t.Context(), "CREATE TABLE network_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL, op TEXT NOT NULL)")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO network_changes (kind, id, op) VALUES ('ports', 'old', 'created')")
	require.NoError(t, err)
	store, ports := openPublic(t, db)
	insert(t, store, ports, port{ID: "new"})
	got := take(t, store, 0, 1)[0]
	require.Equal(t, "new", got.ID)
	require.EqualValues(t, 2, got.Seq)
	_, ports = openPublic(t, db)
	insert(t, store, ports, port{ID: "newer"})
	require.Equal(t, "newer", take(t, store, 2, 1)[0].ID)
}

// BenchmarkInsertPublic is BenchmarkInsert with events to tell.
func BenchmarkInsertPublic(b *testing.B) {
	store, ports := openPublic(b, memory(b))
	for i := 0; b.Loop(); i++ {
		id := time.Duration(i).String()
		insert(b, store, ports, port{ID: id, Address: id, Project: "5f7c3f3a1b9d4a0c8e2d6b4f1a9c7e5d"})
	}
}
