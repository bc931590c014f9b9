package record_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

type port struct {
	ID       string
	Name     string
	Project  string
	Up       bool
	Size     int64
	Address  string
	Revision int64
}

var portSpec = record.Spec[port]{
	Key:      func(p *port) string { return p.ID },
	Revision: func(p *port) *int64 { return &p.Revision },
	Columns: []record.Column[port]{
		{"name", func(p *port) any { return p.Name }},
		{"project", func(p *port) any {
			if p.Project == "" {
				return nil
			}
			return p.Project
		}},
		{"up", func(p *port) any { return p.Up }},
		{"size", func(p *port) any { return p.Size }},
	},
	Claims: func(p *port) []record.Claim {
		if p.Address == "" {
			return nil
		}
		return []record.Claim{{Space: "address", Value: p.Address}}
	},
}

func open(t testing.TB) (*record.Store, *record.Table[port], *sql.DB) {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := record.Open(context.Background(), db, "network")
	require.NoError(t, err)
	ports := record.Define(store, "ports", portSpec)
	require.NoError(t, store.Migrate(context.Background()))
	require.NoError(t, store.Migrate(context.Background()))
	return store, ports, db
}

func insert(t testing.TB, s *record.Store, table *record.Table[port], list ...port) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), func(tx *record.Tx) error {
		for i := range list {
			if err := table.Insert(tx, &list[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestRevisionsKeepLateWritersOut(t *testing.T) {
	store, ports, _ := open(t)
	insert(t, store, ports, port{ID: "a", Name: "one"})
	first, err := ports.Get(store.Read(t.Context()), "a")
	require.NoError(t, err)
	require.EqualValues(t, 1, first.Revision)
	second := *first
	update := func(p *port) error {
		return store.Update(t.Context(), func(tx *record.Tx) error { return ports.Update(tx, p) })
	}
	require.NoError(t, update(first))
	require.EqualValues(t, 2, first.Revision)
	err = update(&second)
	require.ErrorIs(t, err, record.ErrStale)
	require.ErrorIs(t, err, fault.ErrConflict)
	require.EqualValues(t, 1, second.Revision)
}

func TestClaimsAreUniqueAndFreed(t *testing.T) {
	store, ports, _ := open(t)
	insert(t, store, ports, port{ID: "a", Address: "10.0.0.2"})
	taken := func(p port) error {
		return store.Update(t.Context(), func(tx *record.Tx) error { return ports.Insert(tx, &p) })
	}
	require.ErrorIs(t, taken(port{ID: "b", Address: "10.0.0.2"}), record.ErrDuplicate)
	require.ErrorIs(t, taken(port{ID: "a"}), record.ErrDuplicate)
	_, err := ports.Get(store.Read(t.Context()), "b")
	require.ErrorIs(t, err, fault.ErrNotFound)
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		_, err := ports.Modify(tx, "a", func(p *port) error { p.Address = "10.0.0.3"; return nil })
		return err
	}))
	require.NoError(t, taken(port{ID: "b", Address: "10.0.0.2"}))
	from, err := store.ClaimedFrom(store.Read(t.Context()), "address", "10.0.0.25", 5)
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.3"}, from)
	holder, err := store.Holder(store.Read(t.Context()), "address", "10.0.0.3")
	require.NoError(t, err)
	require.Equal(t, "a", holder)
	all, err := store.ClaimedFrom(store.Read(t.Context()), "address", "", 5)
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.2", "10.0.0.3"}, all)
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error { return ports.Delete(tx, "b") }))
	require.NoError(t, taken(port{ID: "c", Address: "10.0.0.2"}))
}

func TestListsFilterSortAndPageInTheDatabase(t *testing.T) {
	store, ports, _ := open(t)
	for i := range 10 {
		p := port{ID: fmt.Sprintf("p%d", i), Name: fmt.Sprintf("n%d", i/3), Size: int64(100 - i), Up: i%2 == 0}
		if i%4 != 0 {
			p.Project = "red"
		}
		insert(t, store, ports, p)
	}
	ids := func(q record.Query) []string {
		list, err := ports.List(store.Read(t.Context()), q)
		require.NoError(t, err)
		var ids []string
		for _, p := range list {
			ids = append(ids, p.ID)
		}
		return ids
	}
	require.Equal(t, []string{"p0", "p4", "p8"}, ids(record.Query{Where: []record.Condition{record.Eq("project", nil)}}))
	require.Equal(t, []string{"p0", "p2", "p4", "p6", "p8"}, ids(record.Query{Where: []record.Condition{record.Eq("up", true)}}))
	require.Equal(t, []string{"p1", "p9"}, ids(record.Query{Where: []record.Condition{record.In("id", "p1", "p9", "px")}}))
	require.Equal(t, []string{"p0", "p4", "p8"}, ids(record.Query{Where: []record.Condition{record.Not(record.Eq("project", "red"))}}))
	require.Empty(t, ids(record.Query{Where: []record.Condition{record.In[string]("id")}}))
	require.Equal(t, []string{"p0", "p9"}, ids(record.Query{Where: []record.Condition{record.Any(record.Eq("size", 100), record.Lt("size", 92))}}))
	for _, order := range [][]record.Order{{{Column: "name", Descending: true}}, {{Column: "project"}, {Column: "size"}}, {{Column: "project", Descending: true}}} {
		whole := ids(record.Query{Order: order})
		require.Len(t, whole, 10)
		var paged []string
		after := ""
		for {
			page := ids(record.Query{Order: order, After: after, Limit: 3})
			if len(page) == 0 {
				break
			}
			paged, after = append(paged, page...), page[len(page)-1]
		}
		require.Equal(t, whole, paged)
	}
	_, err := ports.List(store.Read(t.Context()), record.Query{Order: []record.Order{{Column: "address; DROP TABLE network_ports"}}})
	require.ErrorIs(t, err, fault.ErrInvalid)
	_, err = ports.List(store.Read(t.Context()), record.Query{After: "nobody"})
	require.ErrorIs(t, err, fault.ErrInvalid)
	n, err := ports.Count(store.Read(t.Context()), record.Contains("name", "n_"))
	require.NoError(t, err)
	require.Zero(t, n)
	sum, err := ports.Sum(store.Read(t.Context()), "size", record.In("id", "p0", "p9"))
	require.NoError(t, err)
	require.EqualValues(t, 100+91, sum)
	sum, err = ports.Sum(store.Read(t.Context()), "size", record.Eq("id", "none"))
	require.NoError(t, err)
	require.Zero(t, sum)
}

func TestWatchSeesEveryChangeOnceAndInOrder(t *testing.T) {
	store, ports, _ := open(t)
	insert(t, store, ports, port{ID: "before"})
	head, err := store.Head(t.Context())
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		for i := range 20 {
			p := port{ID: fmt.Sprint(i)}
			if err := store.Update(context.Background(), func(tx *record.Tx) error { return ports.Insert(tx, &p) }); err != nil {
				done <- err
				return
			}
			_ = store.Update(context.Background(), func(tx *record.Tx) error {
				if err := ports.Delete(tx, p.ID); err != nil {
					return err
				}
				return errors.New("changed my mind")
			})
		}
		done <- nil
	}()
	i := 0
	for change, err := range store.Watch(t.Context(), head) {
		require.NoError(t, err)
		require.Equal(t, record.Change{Seq: change.Seq, Time: change.Time, Kind: "ports", ID: fmt.Sprint(i), Op: record.Created, Everywhere: true}, change)
		if i++; i == 20 {
			break
		}
	}
	require.NoError(t, <-done)
}

func TestOldChangesAreForgotten(t *testing.T) {
	store, ports, db := open(t)
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		p := port{ID: "busy"}
		if err := ports.Insert(tx, &p); err != nil {
			return err
		}
		for range 10_100 {
			if err := ports.Update(tx, &p); err != nil {
				return err
			}
		}
		return nil
	}))
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM network_changes").Scan(&n))
	require.Equal(t, 10_000, n)
	for _, err := range store.Watch(t.Context(), 1) {
		require.ErrorIs(t, err, record.ErrCompacted)
	}
}

func TestManyWritersLoseNothing(t *testing.T) {
	store, ports, _ := open(t)
	insert(t, store, ports, port{ID: "counter"})
	var wg sync.WaitGroup
	failures := make(chan error, 8)
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if err := store.Update(context.Background(), func(tx *record.Tx) error {
					_, err := ports.Modify(tx, "counter", func(p *port) error { p.Size++; return nil })
					return err
				}); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	require.NoError(t, <-failures)
	p, err := ports.Get(store.Read(t.Context()), "counter")
	require.NoError(t, err)
	require.EqualValues(t, 80, p.Size)
}

func TestNewColumnsAreFilledForOldRecords(t *testing.T) {
	_, _, db := open(t)
	store, err := record.Open(t.Context(), db, "network")
	require.NoError(t, err)
	spec := portSpec
	ports := record.Define(store, "ports", spec)
	insert(t, store, ports, port{ID: "old", Address: "10.0.0.9"})

	newer, err := record.Open(t.Context(), db, "network")
	require.NoError(t, err)
	spec.Columns = append(spec.Columns[:len(spec.Columns):len(spec.Columns)], record.Column[port]{Name: "address", Value: func(p *port) any { return p.Address }})
	ports = record.Define(newer, "ports", spec)
	require.NoError(t, newer.Migrate(t.Context()))
	n, err := ports.Count(newer.Read(t.Context()), record.Eq("address", "10.0.0.9"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func BenchmarkInsert(b *testing.B) {
	store, ports, _ := open(b)
	for i := 0; b.Loop(); i++ {
		insert(b, store, ports, port{ID: fmt.Sprint(i), Address: fmt.Sprint(i)})
	}
}

func BenchmarkGet(b *testing.B) {
	store, ports, _ := open(b)
	insert(b, store, ports, port{ID: "a"})
	for b.Loop() {
		_, err := ports.Get(store.Read(b.Context()), "a")
		require.NoError(b, err)
	}
}
