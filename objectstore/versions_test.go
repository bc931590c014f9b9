package objectstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func (h *house) versioning(container string, state objectstore.VersioningState) {
	h.t.Helper()
	_, err := h.UpdateContainer(h.ctx(), owner, in(container, ""), func(s *objectstore.Settings) error { s.Versioning = state; return nil })
	require.NoError(h.t, err)
}

func (h *house) remove(path objectstore.Path, spec objectstore.DeleteSpec) *objectstore.Deleted {
	h.t.Helper()
	d, err := h.Delete(h.ctx(), owner, path, spec)
	require.NoError(h.t, err)
	return d
}

// history is an object's versions: "new* old marker", the current one with a star.
func (h *house) history(path objectstore.Path) string {
	h.t.Helper()
	list, err := h.Versions(h.ctx(), owner, in(path.Container, ""), objectstore.Listing{Prefix: path.Object})
	require.NoError(h.t, err)
	var words []string
	for _, e := range list.Entries {
		word := "marker"
		if !e.DeleteMarker {
			word, err = h.read(owner, path, objectstore.OpenSpec{Version: e.Version, NullVersion: e.Version == ""})
			require.NoError(h.t, err)
		}
		if e.Version == "" {
			word += "(null)"
		}
		if e.Current {
			word += "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestVersioning(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	o := in("c", "o")
	h.put(o, "0")
	h.versioning("c", objectstore.VersioningEnabled)
	one := h.put(o, "1")
	two := h.put(o, "2")
	require.Equal(t, "2* 1 0(null)", h.history(o))
	d := h.remove(o, objectstore.DeleteSpec{})
	require.True(t, d.DeleteMarker && d.Existed && d.Version != "")
	require.Equal(t, "marker* 2 1 0(null)", h.history(o))
	require.Empty(t, h.names("c", objectstore.Listing{}))
	r, err := h.Open(t.Context(), owner, o, objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrDeleteMarker)
	require.ErrorIs(t, err, objectstore.ErrNoObject)
	require.Equal(t, d.Version, r.Object.Version)
	_, err = h.read(owner, o, objectstore.OpenSpec{Version: d.Version})
	require.ErrorIs(t, err, objectstore.ErrDeleteMarker)
	undo := h.remove(o, objectstore.DeleteSpec{Version: d.Version})
	require.True(t, undo.DeleteMarker)
	require.Equal(t, "2* 1 0(null)", h.history(o))
	h.remove(o, objectstore.DeleteSpec{Version: two.Version})
	require.Equal(t, "1* 0(null)", h.history(o))

	h.versioning("c", objectstore.VersioningSuspended)
	h.put(o, "3")
	require.Equal(t, "3(null)* 1", h.history(o), "there is one version without a version")
	h.put(o, "4")
	require.Equal(t, "4(null)* 1", h.history(o))
	d = h.remove(o, objectstore.DeleteSpec{})
	require.Empty(t, d.Version)
	require.Equal(t, "marker(null)* 1", h.history(o))
	h.remove(o, objectstore.DeleteSpec{NullVersion: true})
	require.Equal(t, "1*", h.history(o))
	_, err = h.Delete(t.Context(), owner, o, objectstore.DeleteSpec{NullVersion: true})
	require.ErrorIs(t, err, objectstore.ErrNoVersion)
	_, err = h.read(owner, o, objectstore.OpenSpec{Version: two.Version})
	require.ErrorIs(t, err, objectstore.ErrNoVersion)

	copied, err := h.Copy(t.Context(), owner, o, o, objectstore.CopySpec{Version: one.Version})
	require.NoError(t, err)
	require.Equal(t, one.ETag, copied.ETag)
	require.ErrorIs(t, h.DeleteContainer(t.Context(), owner, in("c", "")), objectstore.ErrNotEmpty)
	h.versioning("c", "")
	c, err := h.Container(t.Context(), owner, in("c", ""))
	require.NoError(t, err)
	require.Equal(t, objectstore.VersioningSuspended, c.Versioning, "it does not become unversioned again")
	h.tidy(t)
	h.audit(t)
}

func TestVersionsKeepTheirOrderWhateverClocksSay(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", func(s *objectstore.Settings) { s.Versioning = objectstore.VersioningEnabled })
	for _, content := range []string{"1", "2", "3"} {
		h.put(in("c", "o"), content)
		h.now = h.now.Add(-time.Hour)
	}
	require.Equal(t, "3* 2 1", h.history(in("c", "o")))
}

func TestOlderVersionsInAnotherContainer(t *testing.T) {
	h := newHouse(t, nil)
	h.container("stack", func(s *objectstore.Settings) { s.VersionsLocation = "old" })
	h.container("history", func(s *objectstore.Settings) { s.HistoryLocation = "old" })
	h.put(in("stack", "o"), "1")
	require.ErrorIs(t, h.tryPut(in("stack", "o"), objectstore.PutSpec{Size: 1}, "2"), objectstore.ErrPrecondition, "there is no container for older ones")
	h.container("old", nil)
	for _, content := range []string{"2", "3"} {
		h.now = h.now.Add(time.Second)
		h.put(in("stack", "o"), content)
	}
	require.Equal(t, []string{"001o/1767323045.00000", "001o/1767323046.00000"}, h.names("old", objectstore.Listing{}))
	for _, want := range []string{"2", "1"} {
		h.remove(in("stack", "o"), objectstore.DeleteSpec{})
		content, err := h.read(owner, in("stack", "o"), objectstore.OpenSpec{})
		require.NoError(t, err)
		require.Equal(t, want, content)
	}
	h.remove(in("stack", "o"), objectstore.DeleteSpec{})
	_, err := h.read(owner, in("stack", "o"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrNoObject)
	h.tidy(t)

	h.put(in("history", "é"), "1")
	h.now = h.now.Add(time.Second)
	h.remove(in("history", "é"), objectstore.DeleteSpec{})
	require.Equal(t, []string{"002é/1767323047.00000", "002é/1767323048.00000"}, h.names("old", objectstore.Listing{}))
	r, err := h.Open(t.Context(), owner, in("old", "002é/1767323048.00000"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "application/x-deleted;swift_versions_deleted=1", r.ContentType)
	h.tidy(t)
	h.audit(t)
}

func TestLifecycleRules(t *testing.T) {
	h := newHouse(t, nil)
	day := 24 * time.Hour
	h.container("c", func(s *objectstore.Settings) {
		s.Lifecycle = []objectstore.LifecycleRule{
			{Prefix: "tmp/", Days: 1}, {Days: 1, Disabled: true}, {Tags: map[string]string{"keep": "no"}, Days: 2},
			{Prefix: "dated", Date: h.now.Add(3 * day)}, {AbortDays: 2},
		}
	})
	h.container("v", func(s *objectstore.Settings) {
		s.Versioning = objectstore.VersioningEnabled
		s.Lifecycle = []objectstore.LifecycleRule{{NoncurrentDays: 2, DeletedMarkers: true}}
	})
	for _, name := range []string{"tmp/a", "dated", "stays"} {
		h.put(in("c", name), name)
	}
	tagged := objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{Tags: map[string]string{"keep": "no", "x": "y"}}}
	require.NoError(t, h.tryPut(in("c", "tagged"), tagged, ""))
	_, err := h.CreateUpload(t.Context(), owner, in("c", "upload"), objectstore.ObjectInfo{})
	require.NoError(t, err)
	for range 250 { // more than a page
		h.put(in("v", "a"), "x")
	}
	h.put(in("v", "b"), "b")
	h.remove(in("v", "b"), objectstore.DeleteSpec{})
	h.tidy(t)
	require.Equal(t, []string{"dated", "stays", "tagged", "tmp/a"}, h.names("c", objectstore.Listing{}))
	h.now = h.now.Add(2 * day)
	h.tidy(t)
	require.Equal(t, []string{"dated", "stays", "tagged"}, h.names("c", objectstore.Listing{}))
	h.now = h.now.Add(day)
	h.tidy(t)
	require.Equal(t, []string{"stays"}, h.names("c", objectstore.Listing{}))
	uploads, err := h.Uploads(t.Context(), owner, in("c", ""), objectstore.Listing{})
	require.NoError(t, err)
	require.Empty(t, uploads.Entries)
	require.Equal(t, "x*", h.history(in("v", "a")))
	require.Equal(t, "marker*", h.history(in("v", "b")))
	h.tidy(t)
	require.Empty(t, h.history(in("v", "b")), "a marker that hides nothing goes")
	h.audit(t)
}
