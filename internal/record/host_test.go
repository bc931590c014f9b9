package record_test

import (
	"testing"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/stretchr/testify/require"
)

func TestChangesSayWhoseTheyAre(t *testing.T) {
	store, err := record.Open(t.Context(), memory(t), "network")
	require.NoError(t, err)
	spec := portSpec
	spec.Host = "name"
	ports := record.Define(store, "ports", spec)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		p := port{ID: "p"}
		require.NoError(t, ports.Insert(tx, &p))
		for _, host := range []string{"one", "one", "two", ""} {
			p.Name = host
			require.NoError(t, ports.Update(tx, &p))
		}
		p.Name = "three"
		require.NoError(t, ports.Update(tx, &p))
		require.NoError(t, ports.Delete(tx, "p"))
		return tx.Announce("parts", "p")
	}))
	want := []string{"created ", "updated one", "updated one", "updated one", "updated two", "updated two", "updated ", "updated three", "deleted three", "updated everywhere"}
	var got []string
	for c, err := range store.Watch(t.Context(), 0) {
		require.NoError(t, err)
		host := c.Host
		if c.Everywhere {
			host = "everywhere"
		}
		if got = append(got, string(c.Op)+" "+host); len(got) == len(want) {
			break
		}
	}
	require.Equal(t, want, got, "a record that moves is told to both hosts")
}

func TestReportsAreToldToTheWorldAndNotToTheHost(t *testing.T) {
	store, err := record.Open(t.Context(), memory(t), "network")
	require.NoError(t, err)
	spec := portSpec
	spec.Host = "name"
	ports := record.Define(store, "ports", spec)
	quiet := portSpec
	quiet.Quiet = true
	diaries := record.Define(store, "diaries", quiet)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Update(t.Context(), func(tx *record.Tx) error {
		p := port{ID: "p", Name: "one", Size: 1}
		require.NoError(t, ports.Insert(tx, &p))
		p.Size = 2
		require.NoError(t, ports.Report(tx, &p))
		require.NoError(t, diaries.Insert(tx, &port{ID: "d"}))
		return ports.Update(tx, &p)
	}))
	var hosts []string
	for c, err := range store.Watch(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "ports", c.Kind)
		require.False(t, c.Everywhere)
		if hosts = append(hosts, c.Host); len(hosts) == 3 {
			break
		}
	}
	require.Equal(t, []string{"one", "", "one"}, hosts)
	n, err := ports.Count(store.Read(t.Context()), record.Eq("size", 2), record.Eq("name", "one"))
	require.NoError(t, err)
	require.Equal(t, 1, n, "what changed is found by its new value, the rest by its old one")
}

func TestRecordsAreFoundByWhatTheyClaim(t *testing.T) {
	store, ports, _ := open(t)
	insert(t, store, ports, port{ID: "a", Name: "x", Address: "1"}, port{ID: "b", Name: "y"}, port{ID: "c", Name: "x", Address: "2"})
	tx := store.Read(t.Context())
	ids, err := ports.Texts(tx, "id", record.Claiming("address", "other"))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "c"}, ids)
	names, err := ports.Texts(tx, "name", record.Claiming("address"))
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, names)
	ids, err = ports.Texts(tx, "id", record.Claiming())
	require.NoError(t, err)
	require.Empty(t, ids)
}

func TestPagesOfAnIndexGoOnWhereTheyEnded(t *testing.T) {
	store, err := record.Open(t.Context(), memory(t), "network")
	require.NoError(t, err)
	spec := portSpec
	spec.Indexes = [][]string{{"up", "size"}}
	ports := record.Define(store, "ports", spec)
	require.NoError(t, store.Migrate(t.Context()))
	insert(t, store, ports, port{ID: "a", Size: 1}, port{ID: "b", Size: 2}, port{ID: "c", Size: 2}, port{ID: "d", Size: 3})
	for descending, want := range map[bool]string{false: "abcd", true: "dbca"} {
		var got string
		q := record.Query{Order: []record.Order{{Column: "size", Descending: descending}}, Limit: 1}
		for range 4 {
			page, err := ports.List(store.Read(t.Context()), q)
			require.NoError(t, err)
			require.Len(t, page, 1)
			q.After = page[0].ID
			got += q.After
		}
		require.Equal(t, want, got)
	}
}
