package objectstore_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a Service with what it stands on.
type house struct {
	*objectstore.Service
	t     testing.TB
	store driver.Store
	now   time.Time
}

var (
	owner = objectstore.Caller{Account: "acc", ProjectID: "acc", UserID: "owner"}
	admin = objectstore.Caller{Admin: true}
)

func newHouse(t testing.TB, options *objectstore.Options) *house {
	t.Helper()
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	h := &house{t: t, store: memobjects.New(nil), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var o objectstore.Options
	if options != nil {
		o = *options
	}
	o.Now = func() time.Time { return h.now }
	h.Service, err = objectstore.New(t.Context(), db, h.store, &o)
	require.NoError(t, err)
	return h
}

func in(container, object string) objectstore.Path {
	return objectstore.Path{Account: "acc", Container: container, Object: object}
}

func (h *house) container(name string, change func(*objectstore.Settings)) {
	h.t.Helper()
	_, _, err := h.CreateContainer(h.ctx(), owner, in(name, ""), func(set *objectstore.Settings) error {
		if change != nil {
			change(set)
		}
		return nil
	})
	require.NoError(h.t, err)
}

func (h *house) ctx() context.Context { return h.t.Context() }

func (h *house) put(path objectstore.Path, content string) *objectstore.Object {
	h.t.Helper()
	o, err := h.Put(h.ctx(), owner, path, objectstore.PutSpec{Size: int64(len(content))}, strings.NewReader(content))
	require.NoError(h.t, err)
	return o
}

// read reads an object, or says why it cannot be read.
func (h *house) read(caller objectstore.Caller, path objectstore.Path, spec objectstore.OpenSpec) (string, error) {
	h.t.Helper()
	r, err := h.Open(h.ctx(), caller, path, spec)
	if err != nil {
		return "", err
	}
	body, err := r.Range(h.ctx(), 0, -1)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(body)
	require.NoError(h.t, body.Close())
	if err == nil {
		require.Len(h.t, content, int(r.Size))
	}
	return string(content), err
}

func (h *house) names(container string, l objectstore.Listing) []string {
	h.t.Helper()
	list, err := h.Objects(h.ctx(), owner, in(container, ""), l)
	require.NoError(h.t, err)
	names := []string{}
	for _, e := range list.Entries {
		if e.Object != nil {
			names = append(names, e.Name)
		} else {
			names = append(names, "<"+e.Prefix+">")
		}
	}
	return names
}

func TestObjectsAreKept(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.put(in("c", "a"), "one")
	h.put(in("c", "a"), "three")
	h.put(in("c", "b/x"), "")
	content, err := h.read(owner, in("c", "a"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "three", content)
	require.Equal(t, []string{"a", "b/x"}, h.names("c", objectstore.Listing{}))
	require.Equal(t, []string{"a", "<b/>"}, h.names("c", objectstore.Listing{Delimiter: "/"}))
	o, err := h.Copy(t.Context(), owner, in("c", "a"), in("c", "copy"), objectstore.CopySpec{})
	require.NoError(t, err)
	require.EqualValues(t, 5, o.Size)
	_, err = h.Update(t.Context(), owner, in("c", "a"), "", func(i *objectstore.ObjectInfo) error {
		i.Metadata = map[string]string{"x": "y"}
		return nil
	})
	require.NoError(t, err)
	d, err := h.Delete(t.Context(), owner, in("c", "a"), objectstore.DeleteSpec{})
	require.NoError(t, err)
	require.Equal(t, 1, d.Count)
	_, err = h.read(owner, in("c", "a"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrNoObject)
	a, err := h.Account(t.Context(), owner, "acc")
	require.NoError(t, err)
	require.Equal(t, [3]int64{1, 2, 5}, [3]int64{a.Containers, a.Objects, a.Bytes})
}
