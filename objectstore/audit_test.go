package objectstore_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// audit counts everything again, and compares it with what is said of it.
func (h *house) audit(t require.TestingT) {
	a, err := h.Account(h.ctx(), admin, "acc")
	require.NoError(t, err)
	containers, err := h.Containers(h.ctx(), admin, "acc", objectstore.Listing{})
	require.NoError(t, err)
	var objects, bytes, uploads int64
	for _, c := range containers.Entries {
		var sum [3]int64
		list, err := h.Objects(h.ctx(), admin, in(c.Name, ""), objectstore.Listing{})
		require.NoError(t, err)
		for _, e := range list.Entries {
			sum[0], sum[1] = sum[0]+1, sum[1]+e.Size
		}
		versions, err := h.Versions(h.ctx(), admin, in(c.Name, ""), objectstore.Listing{})
		require.NoError(t, err)
		for _, e := range versions.Entries {
			if !e.Current {
				sum[2] += e.Size
			}
		}
		got := [3]int64{c.Objects, c.Bytes, c.VersionBytes}
		require.Equal(t, sum, got, "container %s", c.Name)
		objects, bytes = objects+sum[0], bytes+sum[1]+sum[2]
		pending, err := h.Uploads(h.ctx(), admin, in(c.Name, ""), objectstore.Listing{})
		require.NoError(t, err)
		for _, u := range pending.Entries {
			_, parts, err := h.Upload(h.ctx(), admin, in(c.Name, u.Name), u.ID)
			require.NoError(t, err)
			for _, p := range parts {
				uploads += p.Size
			}
		}
	}
	require.Equal(t, [4]int64{int64(len(containers.Entries)), objects, bytes, uploads}, [4]int64{a.Containers, a.Objects, a.Bytes, a.UploadBytes})
}

// tidy sweeps, and makes sure that the store has what records have and nothing else.
func (h *house) tidy(t require.TestingT) {
	require.NoError(t, h.Sweep(h.ctx()))
	var have []string
	for ref, err := range h.store.List(h.ctx()) {
		require.NoError(t, err)
		have = append(have, ref)
	}
	slices.Sort(have)
	known, err := h.Known(h.ctx())
	require.NoError(t, err)
	require.Equal(t, known, have)
}

// world is what random requests are made to.
type world struct {
	*house
	*rapid.T
	uploads []objectstore.Path // with the upload's identifier as the account
}

// expected are the errors that random requests may meet.
var expected = []error{fault.ErrNotFound, fault.ErrConflict, fault.ErrInvalid, fault.ErrQuota, fault.ErrUnsupported}

func (w *world) fine(err error) {
	if err != nil {
		require.True(w.T, slices.ContainsFunc(expected, func(e error) bool { return errors.Is(err, e) }), "%v", err)
	}
}

func (w *world) path() objectstore.Path {
	container := rapid.SampledFrom([]string{"plain", "versioned", "stack", "history", "old", "quota"}).Draw(w.T, "container")
	return in(container, rapid.SampledFrom([]string{"a", "b", "b/c"}).Draw(w.T, "name"))
}

func (w *world) content() string { return strings.Repeat("x", rapid.IntRange(0, 40).Draw(w.T, "size")) }

// version is one of those that the object has.
func (w *world) version(path objectstore.Path) (string, bool) {
	list, err := w.Versions(w.ctx(), owner, in(path.Container, ""), objectstore.Listing{Prefix: path.Object})
	w.fine(err)
	if len(list.Entries) == 0 {
		return "", false
	}
	v := rapid.SampledFrom(list.Entries).Draw(w.T, "version").Version
	return v, v == ""
}

func (w *world) requests() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"put": func(*rapid.T) {
			content, spec := w.content(), objectstore.PutSpec{Size: -1}
			if rapid.IntRange(0, 5).Draw(w.T, "wrong") == 0 {
				spec.ETag = "0"
			}
			if rapid.IntRange(0, 3).Draw(w.T, "expires") == 0 {
				spec.ExpiresAt = w.now.Add(time.Minute)
			}
			_, err := w.Put(w.ctx(), owner, w.path(), spec, strings.NewReader(content))
			w.fine(err)
		},
		"copy": func(*rapid.T) {
			_, err := w.Copy(w.ctx(), owner, w.path(), w.path(), objectstore.CopySpec{})
			w.fine(err)
		},
		"update": func(*rapid.T) {
			_, err := w.Update(w.ctx(), owner, w.path(), "", func(i *objectstore.ObjectInfo) error {
				i.ExpiresAt = w.now.Add(time.Hour)
				return nil
			})
			w.fine(err)
		},
		"delete": func(*rapid.T) {
			_, err := w.Delete(w.ctx(), owner, w.path(), objectstore.DeleteSpec{})
			w.fine(err)
		},
		"delete a version": func(*rapid.T) {
			path := w.path()
			v, null := w.version(path)
			_, err := w.Delete(w.ctx(), owner, path, objectstore.DeleteSpec{Version: v, NullVersion: null})
			w.fine(err)
		},
		"versioning": func(*rapid.T) {
			state := rapid.SampledFrom([]objectstore.VersioningState{objectstore.VersioningEnabled, objectstore.VersioningSuspended}).Draw(w.T, "state")
			_, err := w.UpdateContainer(w.ctx(), owner, in("versioned", ""), func(s *objectstore.Settings) error { s.Versioning = state; return nil })
			w.fine(err)
		},
		"upload": func(*rapid.T) {
			path := w.path()
			u, err := w.CreateUpload(w.ctx(), owner, path, objectstore.ObjectInfo{})
			w.fine(err)
			w.uploads = append(w.uploads, objectstore.Path{Account: u.ID, Container: path.Container, Object: path.Object})
		},
		"part": func(t *rapid.T) {
			path, id := w.upload(t)
			_, err := w.PutPart(w.ctx(), owner, path, id, rapid.IntRange(1, 3).Draw(t, "number"), objectstore.PutSpec{Size: -1}, strings.NewReader(w.content()))
			w.fine(err)
		},
		"copied part": func(t *rapid.T) {
			path, id := w.upload(t)
			_, err := w.CopyPart(w.ctx(), owner, w.path(), objectstore.CopyPartSpec{}, path, id, rapid.IntRange(1, 3).Draw(t, "number"))
			w.fine(err)
		},
		"complete": func(t *rapid.T) {
			path, id := w.upload(t)
			_, parts, err := w.Upload(w.ctx(), owner, path, id)
			w.fine(err)
			var named []objectstore.CompletedPart
			for i, p := range parts {
				if i == 0 || rapid.Bool().Draw(t, "named") {
					named = append(named, objectstore.CompletedPart{Number: p.Number, ETag: p.ETag})
				}
			}
			_, err = w.CompleteUpload(w.ctx(), owner, path, id, named, objectstore.Conditions{})
			w.fine(err)
		},
		"abort": func(t *rapid.T) {
			path, id := w.upload(t)
			w.fine(w.AbortUpload(w.ctx(), owner, path, id))
		},
		"time":  func(*rapid.T) { w.now = w.now.Add(30 * time.Second) },
		"sweep": func(t *rapid.T) { w.tidy(t) },
		"count": func(t *rapid.T) { w.audit(t) },
	}
}

func (w *world) upload(t *rapid.T) (objectstore.Path, string) {
	if len(w.uploads) == 0 {
		t.Skip("no uploads") // this action, not the test: rapid draws another
	}
	u := rapid.SampledFrom(w.uploads).Draw(t, "upload")
	return in(u.Container, u.Object), u.Account
}

func TestCountsAreAlwaysTrue(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := newHouse(t, &objectstore.Options{MinPartSize: 1})
		quota := int64(60)
		for _, name := range []string{"plain", "old"} {
			h.container(name, nil)
		}
		h.container("versioned", func(s *objectstore.Settings) { s.Versioning = objectstore.VersioningEnabled })
		h.container("stack", func(s *objectstore.Settings) { s.VersionsLocation = "old" })
		h.container("history", func(s *objectstore.Settings) { s.HistoryLocation = "old" })
		h.container("quota", func(s *objectstore.Settings) { s.QuotaBytes = &quota })
		r.Repeat((&world{house: h, T: r}).requests())
		h.tidy(r)
		h.audit(r)
		require.NoError(r, h.DeleteAccount(t.Context(), admin, "acc"))
		h.tidy(r)
		left, err := h.Left(t.Context())
		require.NoError(r, err)
		require.Zero(r, left, "records are left")
		refs := fmt.Sprint(h.Known(t.Context()))
		require.Equal(r, "[] <nil>", refs)
	})
}
