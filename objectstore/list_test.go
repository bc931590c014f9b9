package objectstore_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// page is what a list should be, by the simplest means.
func page(names []string, l objectstore.Listing) (want []string, truncated bool) {
	names = slices.Clone(names)
	slices.Sort(names)
	if l.Reverse {
		slices.Reverse(names)
		l.Marker, l.EndMarker = l.EndMarker, l.Marker
	}
	begin := l.Marker
	if l.Reverse {
		begin = l.EndMarker
	}
	want = []string{}
	for _, name := range names {
		if !strings.HasPrefix(name, l.Prefix) || l.Marker != "" && name <= l.Marker || l.EndMarker != "" && name >= l.EndMarker {
			continue
		}
		if i := strings.Index(name[len(l.Prefix):], l.Delimiter); l.Delimiter != "" && i >= 0 {
			prefix := name[:len(l.Prefix)+i+len(l.Delimiter)]
			if name = "<" + prefix + ">"; prefix == begin || len(want) > 0 && want[len(want)-1] == name {
				continue
			}
		}
		want = append(want, name)
	}
	if len(want) > l.Limit {
		return want[:l.Limit], true
	}
	return want, false
}

func TestListsAreWhatTheyShouldBe(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.container("c0", nil) // its names are next in the order of keys
	names := []string{"a", "a/", "a/b", "a/c", "a/c/d", "b", "b//", "b//c", "é", "é/x", "ab", "aé", "a/\ud7ff", "a/\U0010ffff", "\U0010ffff", "\U0010ffff/x"}
	for i := range 300 {
		names = append(names, "many/"+strings.Repeat("x", i))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, name := range names {
		h.put(in("c", name), "")
	}
	h.put(in("c0", "other"), "")
	rapid.Check(t, func(r *rapid.T) {
		some := rapid.SampledFrom(append([]string{"", "a", "many", "many/", "z", "é", "\U0010ffff", "a/", "b/"}, names[:20]...))
		l := objectstore.Listing{
			Prefix: some.Draw(r, "prefix"), Delimiter: rapid.SampledFrom([]string{"", "/", "c", "//", "é"}).Draw(r, "delimiter"),
			Marker: some.Draw(r, "marker"), EndMarker: some.Draw(r, "end"), Limit: rapid.IntRange(1, 400).Draw(r, "limit"), Reverse: rapid.Bool().Draw(r, "reverse"),
		}
		want, truncated := page(names, l)
		require.Equal(r, want, h.names("c", l))
		list, err := h.Objects(h.ctx(), owner, in("c", ""), l)
		require.NoError(r, err)
		require.Equal(r, truncated, list.Truncated)
	})
}

func TestVersionsAreListedPageByPage(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.put(in("c", "b"), "null")
	_, err := h.UpdateContainer(t.Context(), owner, in("c", ""), func(s *objectstore.Settings) error { s.Versioning = objectstore.VersioningEnabled; return nil })
	require.NoError(t, err)
	for _, name := range []string{"a", "b", "b", "a/x", "b/1", "b/2", "c"} {
		h.put(in("c", name), name)
	}
	_, err = h.Delete(t.Context(), owner, in("c", "a"), objectstore.DeleteSpec{})
	require.NoError(t, err)
	type row struct {
		name            string
		current, marker bool
	}
	want := []row{{"a", true, true}, {"a", false, false}, {"a/x", true, false}, {"b", true, false}, {"b", false, false}, {"b", false, false}, {"b/1", true, false}, {"b/2", true, false}, {"c", true, false}}
	for limit := 1; limit < 11; limit++ {
		var got []row
		l := objectstore.Listing{Limit: limit}
		for {
			list, err := h.Versions(t.Context(), owner, in("c", ""), l)
			require.NoError(t, err)
			require.LessOrEqual(t, len(list.Entries), limit)
			for _, e := range list.Entries {
				got = append(got, row{e.Name, e.Current, e.DeleteMarker})
				if l.Marker, l.VersionMarker = e.Name, e.Version; e.Version == "" {
					l.VersionMarker = "null"
				}
			}
			if !list.Truncated {
				break
			}
		}
		require.Equal(t, want, got, "limit %d", limit)
	}
	list, err := h.Versions(t.Context(), owner, in("c", ""), objectstore.Listing{Delimiter: "/"})
	require.NoError(t, err)
	require.Len(t, list.Entries, 8)
	require.Equal(t, "b/", list.Entries[6].Prefix)
	list, err = h.Versions(t.Context(), owner, in("c", ""), objectstore.Listing{Marker: "a", VersionMarker: "null"})
	require.NoError(t, err)
	require.Len(t, list.Entries, 9, "the version without a version is gone: what may have been behind it is listed")
	_, err = h.Versions(t.Context(), owner, in("c", ""), objectstore.Listing{Marker: "a", VersionMarker: "x"})
	require.ErrorIs(t, err, objectstore.ErrInvalid)
}
