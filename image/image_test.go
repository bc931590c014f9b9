package image_test

import (
	"context"
	"crypto/md5"
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/lab/postgres"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	admin = image.Scope{ProjectID: "ops", Admin: true}
	alice = image.Scope{ProjectID: "alice"}
	bob   = image.Scope{ProjectID: "bob"}
)

type world struct {
	t      testing.TB
	db     *sql.DB
	store  *memstore.Store
	faults *inject.Set
	now    time.Time
	*image.Service
}

func newWorld(t testing.TB, options *image.Options) *world {
	t.Helper()
	db, err := postgres.Or(context.Background(), sqlitedb.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	faults := inject.New(1)
	w := &world{t: t, db: db, faults: faults, store: memstore.New(&memstore.Options{Faults: faults}), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.restart(options)
	return w
}

// restart makes a new service over the same state, whose clock ticks a second at each look.
func (w *world) restart(options *image.Options) {
	w.t.Helper()
	if options == nil {
		options = &image.Options{}
	}
	options.Now = func() time.Time { w.now = w.now.Add(time.Second); return w.now }
	var err error
	w.Service, err = image.New(context.Background(), w.db, w.store, options)
	require.NoError(w.t, err)
}

func raw(name string) image.Spec {
	return image.Spec{Name: name, DiskFormat: "raw", ContainerFormat: "bare"}
}

func (w *world) create(scope image.Scope, spec image.Spec) *image.Image {
	w.t.Helper()
	img, err := w.Create(context.Background(), scope, spec, nil)
	require.NoError(w.t, err)
	return img
}

func (w *world) uploaded(scope image.Scope, spec image.Spec, content string) *image.Image {
	w.t.Helper()
	img := w.create(scope, spec)
	img, err := w.Upload(context.Background(), scope, img.ID, strings.NewReader(content), -1)
	require.NoError(w.t, err)
	return img
}

func (w *world) refs() []string {
	w.t.Helper()
	refs, err := w.store.List(context.Background())
	require.NoError(w.t, err)
	return refs
}

func (w *world) names(scope image.Scope, f image.Filter) string {
	w.t.Helper()
	list, err := w.List(context.Background(), scope, f)
	require.NoError(w.t, err)
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return strings.Join(names, " ")
}

func TestLife(t *testing.T) {
	w := newWorld(t, nil)
	img := w.create(alice, raw("disk"))
	require.Equal(t, image.Queued, img.Status)
	require.Equal(t, image.Shared, img.Visibility)
	require.Nil(t, img.Data)
	_, _, err := w.Open(t.Context(), alice, img.ID)
	require.ErrorIs(t, err, image.ErrNoData)

	img, err = w.Upload(t.Context(), alice, img.ID, strings.NewReader("content"), 7)
	require.NoError(t, err)
	short, long := md5.Sum([]byte("content")), sha512.Sum512([]byte("content"))
	require.Equal(t, image.Active, img.Status)
	require.Equal(t, &image.Data{
		Ref: img.Data.Ref, Store: "memory", Size: 7, VirtualSize: 7,
		Checksum: hex.EncodeToString(short[:]), HashAlgorithm: "sha512", HashValue: hex.EncodeToString(long[:]),
	}, img.Data)
	seen, err := w.Get(t.Context(), alice, img.ID)
	require.NoError(t, err)
	require.Equal(t, img, seen)
	_, err = w.Upload(t.Context(), alice, img.ID, strings.NewReader("again"), -1)
	require.ErrorIs(t, err, image.ErrConflict)

	_, f, err := w.Open(t.Context(), alice, img.ID)
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "content", string(content))
	_, err = w.LocalPath(t.Context(), alice, img.ID)
	require.ErrorIs(t, err, image.ErrUnsupported)

	_, err = w.Deactivate(t.Context(), alice, img.ID)
	require.NoError(t, err)
	_, _, err = w.Open(t.Context(), alice, img.ID)
	require.ErrorIs(t, err, image.ErrForbidden)
	_, f, err = w.Open(t.Context(), admin, img.ID)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	img, err = w.Reactivate(t.Context(), alice, img.ID)
	require.NoError(t, err)
	require.Equal(t, image.Active, img.Status)

	require.NoError(t, w.Delete(t.Context(), alice, img.ID))
	require.ErrorIs(t, w.Delete(t.Context(), alice, img.ID), image.ErrNotFound)
	require.Empty(t, w.refs())
}

func TestBadInputChangesNothing(t *testing.T) {
	w := newWorld(t, &image.Options{MaxTags: 2, MaxProperties: 2})
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name  string
		spec  image.Spec
		kind  error
		admin bool
	}{
		{name: "a long name", spec: image.Spec{Name: long}, kind: image.ErrInvalid},
		{name: "a name that is no text", spec: image.Spec{Name: "\xff"}, kind: image.ErrInvalid},
		{name: "an unknown visibility", spec: image.Spec{Visibility: "secret"}, kind: image.ErrInvalid},
		{name: "publishing", spec: image.Spec{Visibility: image.Public}, kind: image.ErrForbidden},
		{name: "an unknown disk format", spec: image.Spec{DiskFormat: "floppy"}, kind: image.ErrInvalid},
		{name: "an unknown container", spec: image.Spec{ContainerFormat: "box"}, kind: image.ErrInvalid},
		{name: "a mix of Amazon formats", spec: image.Spec{DiskFormat: "aki", ContainerFormat: "ari"}, kind: image.ErrInvalid},
		{name: "a negative disk", spec: image.Spec{MinDisk: -1}, kind: image.ErrInvalid},
		{name: "a huge memory", spec: image.Spec{MinRAM: 1 << 31}, kind: image.ErrInvalid},
		{name: "many tags", spec: image.Spec{Tags: []string{"a", "b", "c"}}, kind: image.ErrTooLarge},
		{name: "a long tag", spec: image.Spec{Tags: []string{long}}, kind: image.ErrInvalid},
		{name: "many properties", spec: image.Spec{Properties: map[string]string{"a": "", "b": "", "c": ""}}, kind: image.ErrTooLarge},
		{name: "a reserved property", spec: image.Spec{Properties: map[string]string{"status": "x"}}, kind: image.ErrForbidden},
		{name: "a reserved namespace", spec: image.Spec{Properties: map[string]string{"os_glance_x": "x"}}, kind: image.ErrForbidden},
		{name: "a nameless property", spec: image.Spec{Properties: map[string]string{"": "x"}}, kind: image.ErrInvalid},
		{name: "a long property", spec: image.Spec{Properties: map[string]string{"x": strings.Repeat("x", 65536)}}, kind: image.ErrInvalid},
		{name: "a kernel that is none", spec: image.Spec{Properties: map[string]string{"kernel_id": "vmlinuz"}}, kind: image.ErrInvalid},
	} {
		_, err := w.Create(t.Context(), alice, c.spec, nil)
		require.ErrorIs(t, err, c.kind, c.name)
	}
	_, err := w.Create(t.Context(), alice, raw("x"), &image.CreateOptions{ID: "not-a-uuid"})
	require.ErrorIs(t, err, image.ErrInvalid)
	_, err = w.Create(t.Context(), alice, raw("x"), &image.CreateOptions{ProjectID: "bob"})
	require.ErrorIs(t, err, image.ErrForbidden)
	require.Empty(t, w.names(admin, image.Filter{}))

	id := uuid.NewString()
	img, err := w.Create(t.Context(), admin, raw("x"), &image.CreateOptions{ID: id, ProjectID: "bob"})
	require.NoError(t, err)
	require.Equal(t, "bob", img.ProjectID)
	_, err = w.Create(t.Context(), alice, raw("y"), &image.CreateOptions{ID: id})
	require.ErrorIs(t, err, image.ErrConflict)
}

func TestUpdate(t *testing.T) {
	w := newWorld(t, nil)
	img := w.create(alice, image.Spec{Properties: map[string]string{"os_distro": "debian"}})
	boom := errors.New("boom")
	_, err := w.Update(t.Context(), alice, img.ID, func(img *image.Image) error { img.Name = "x"; return boom })
	require.ErrorIs(t, err, boom)
	_, err = w.Upload(t.Context(), alice, img.ID, strings.NewReader("x"), -1)
	require.ErrorIs(t, err, image.ErrInvalid, "it has no formats yet")
	got, err := w.Update(t.Context(), alice, img.ID, func(img *image.Image) error {
		img.Name, img.DiskFormat, img.ContainerFormat = "new", "raw", "bare"
		img.Tags = []string{"b", "a", "b"}
		img.Properties["os_version"] = "12"
		delete(img.Properties, "os_distro")
		img.Status, img.ID, img.Data = image.Active, "other", &image.Data{Ref: "stolen"}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, img.ID, got.ID)
	require.Equal(t, image.Queued, got.Status)
	require.Nil(t, got.Data)
	require.Equal(t, "new", got.Name)
	require.Equal(t, []string{"a", "b"}, got.Tags)
	require.Equal(t, map[string]string{"os_version": "12"}, got.Properties)
	require.True(t, got.UpdatedAt.After(img.UpdatedAt))

	_, err = w.Upload(t.Context(), alice, img.ID, strings.NewReader("x"), -1)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*image.Image)
		kind   error
	}{
		"the format of an active image": {func(i *image.Image) { i.DiskFormat = "qcow2" }, image.ErrForbidden},
		"the owner":                     {func(i *image.Image) { i.ProjectID = "bob" }, image.ErrForbidden},
		"publishing":                    {func(i *image.Image) { i.Visibility = image.Public }, image.ErrForbidden},
		"a bad name":                    {func(i *image.Image) { i.Name = "\x00" }, image.ErrInvalid},
	} {
		_, err := w.Update(t.Context(), alice, img.ID, func(i *image.Image) error { c.change(i); return nil })
		require.ErrorIs(t, err, c.kind, name)
	}
	got, err = w.Update(t.Context(), admin, img.ID, func(i *image.Image) error {
		i.ProjectID, i.Visibility, i.Protected = "bob", image.Public, true
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "bob", got.ProjectID)
	got, err = w.Update(t.Context(), bob, img.ID, func(i *image.Image) error { i.Name = "still public"; return nil })
	require.NoError(t, err)
	require.Equal(t, image.Public, got.Visibility)
	_, err = w.Update(t.Context(), alice, img.ID, func(*image.Image) error { return nil })
	require.ErrorIs(t, err, image.ErrForbidden, "seen, and not hers any more")
	require.ErrorIs(t, w.Delete(t.Context(), bob, img.ID), image.ErrForbidden, "protected")
}

func TestWhoSeesWhat(t *testing.T) {
	w := newWorld(t, nil)
	spec := func(name string, v image.Visibility) image.Spec {
		s := raw(name)
		s.Visibility = v
		return s
	}
	ids := map[string]string{}
	for _, v := range []image.Visibility{image.Public, image.Private, image.Shared, image.Community} {
		scope := alice
		if v == image.Public {
			scope = admin
		}
		ids[string(v)] = w.create(scope, spec(string(v), v)).ID
	}
	for name, seen := range map[string]bool{"public": true, "community": true, "private": false, "shared": false} {
		_, err := w.Get(t.Context(), bob, ids[name])
		if seen {
			require.NoError(t, err, name)
			require.ErrorIs(t, w.Delete(t.Context(), bob, ids[name]), image.ErrForbidden)
		} else {
			require.ErrorIs(t, err, image.ErrNotFound, name)
			require.ErrorIs(t, w.Delete(t.Context(), bob, ids[name]), image.ErrNotFound)
			_, err = w.Upload(t.Context(), bob, ids[name], strings.NewReader("x"), -1)
			require.ErrorIs(t, err, image.ErrNotFound)
		}
	}
	require.Equal(t, "community shared private public", w.names(alice, image.Filter{}))
	require.Equal(t, "public", w.names(bob, image.Filter{}))
	require.Equal(t, "community public", w.names(bob, image.Filter{AnyVisibility: true}))
	require.Equal(t, "community", w.names(bob, image.Filter{Visibility: image.Community}))
	require.Equal(t, "community shared private public", w.names(admin, image.Filter{}))
	require.Equal(t, "public", w.names(image.Scope{}, image.Filter{}))

	id := ids["shared"]
	_, err := w.AddMember(t.Context(), bob, id, "bob")
	require.ErrorIs(t, err, image.ErrNotFound)
	m, err := w.AddMember(t.Context(), alice, id, "bob")
	require.NoError(t, err)
	require.Equal(t, image.Pending, m.Status)
	_, err = w.AddMember(t.Context(), alice, id, "bob")
	require.ErrorIs(t, err, image.ErrConflict)
	_, err = w.AddMember(t.Context(), alice, ids["private"], "bob")
	require.ErrorIs(t, err, image.ErrForbidden)
	_, err = w.AddMember(t.Context(), alice, id, "")
	require.ErrorIs(t, err, image.ErrInvalid)
	_, err = w.Get(t.Context(), bob, id)
	require.NoError(t, err)
	require.Equal(t, "public", w.names(bob, image.Filter{}))
	require.Equal(t, "shared", w.names(bob, image.Filter{Visibility: image.Shared, MemberStatus: image.Pending}))
	require.Equal(t, "shared public", w.names(bob, image.Filter{AnyMemberStatus: true}))

	_, err = w.SetMember(t.Context(), alice, id, "bob", image.Accepted)
	require.ErrorIs(t, err, image.ErrForbidden)
	_, err = w.SetMember(t.Context(), bob, id, "bob", "maybe")
	require.ErrorIs(t, err, image.ErrInvalid)
	_, err = w.SetMember(t.Context(), bob, id, "carol", image.Accepted)
	require.ErrorIs(t, err, image.ErrNotFound)
	m, err = w.SetMember(t.Context(), bob, id, "bob", image.Accepted)
	require.NoError(t, err)
	require.Equal(t, image.Accepted, m.Status)
	require.Equal(t, "shared public", w.names(bob, image.Filter{}))
	require.ErrorIs(t, w.Delete(t.Context(), bob, id), image.ErrForbidden)
	_, err = w.AddMember(t.Context(), bob, id, "carol")
	require.ErrorIs(t, err, image.ErrForbidden)

	_, err = w.AddMember(t.Context(), alice, id, "carol")
	require.NoError(t, err)
	members, err := w.Members(t.Context(), alice, id)
	require.NoError(t, err)
	require.Len(t, members, 2)
	members, err = w.Members(t.Context(), bob, id)
	require.NoError(t, err)
	require.Len(t, members, 1, "a member sees itself")
	_, err = w.Member(t.Context(), bob, id, "carol")
	require.ErrorIs(t, err, image.ErrNotFound)
	_, err = w.Member(t.Context(), alice, id, "carol")
	require.NoError(t, err)

	_, err = w.Update(t.Context(), alice, id, func(i *image.Image) error { i.Visibility = image.Private; return nil })
	require.NoError(t, err)
	_, err = w.Get(t.Context(), bob, id)
	require.ErrorIs(t, err, image.ErrNotFound, "a private image's members see it no more")
	require.Equal(t, "public", w.names(bob, image.Filter{}))
	_, err = w.Update(t.Context(), alice, id, func(i *image.Image) error { i.Visibility = image.Shared; return nil })
	require.NoError(t, err)
	require.NoError(t, w.RemoveMember(t.Context(), alice, id, "bob"))
	require.ErrorIs(t, w.RemoveMember(t.Context(), alice, id, "bob"), image.ErrNotFound)
	_, err = w.Get(t.Context(), bob, id)
	require.ErrorIs(t, err, image.ErrNotFound)
	require.NoError(t, w.Delete(t.Context(), alice, id))
	require.Empty(t, w.names(image.Scope{ProjectID: "carol"}, image.Filter{Visibility: image.Shared, AnyMemberStatus: true}))
}

func TestMemberLimit(t *testing.T) {
	w := newWorld(t, &image.Options{MaxMembers: 1})
	img := w.create(alice, raw(""))
	_, err := w.AddMember(t.Context(), alice, img.ID, "bob")
	require.NoError(t, err)
	_, err = w.AddMember(t.Context(), alice, img.ID, "carol")
	require.ErrorIs(t, err, image.ErrTooLarge)
}

func TestList(t *testing.T) {
	w := newWorld(t, nil)
	a := raw("a")
	a.Tags, a.Properties, a.MinDisk = []string{"red", "blue"}, map[string]string{"os": "Linux", "x": "1"}, 5
	w.uploaded(alice, a, "1234567890")
	b := raw("b")
	b.Tags, b.Properties, b.Protected = []string{"red"}, map[string]string{"os": "linux"}, true
	w.uploaded(alice, b, "12345")
	c := image.Spec{Name: "c", DiskFormat: "qcow2", ContainerFormat: "bare", Hidden: false}
	w.create(alice, c)
	d := raw("d")
	d.Hidden = true
	w.create(alice, d)
	yes, five, six, ten := true, int64(5), int64(6), int64(10)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		f    image.Filter
		want string
	}{
		{image.Filter{}, "c b a"},
		{image.Filter{Hidden: true}, "d"},
		{image.Filter{Texts: map[image.Field][]string{image.ByName: {"a", "b"}}}, "b a"},
		{image.Filter{Texts: map[image.Field][]string{image.ByName: {}}}, ""},
		{image.Filter{Texts: map[image.Field][]string{image.ByStatus: {"queued"}}}, "c"},
		{image.Filter{Texts: map[image.Field][]string{image.ByDiskFormat: {"raw"}, image.ByOwner: {"alice"}}}, "b a"},
		{image.Filter{Numbers: map[image.Field]int64{image.ByMinDisk: 5}}, "a"},
		{image.Filter{Numbers: map[image.Field]int64{image.BySize: 5}}, "b"},
		{image.Filter{Tags: []string{"red"}}, "b a"},
		{image.Filter{Tags: []string{"red", "blue"}}, "a"},
		{image.Filter{Tags: []string{"RED"}}, ""},
		{image.Filter{Properties: map[string]string{"os": "linux"}}, "b"},
		{image.Filter{Properties: map[string]string{"os": "Linux", "x": "1"}}, "a"},
		{image.Filter{Protected: &yes}, "b"},
		{image.Filter{SizeMin: &six}, "a"},
		{image.Filter{SizeMin: &five, SizeMax: &ten}, "b a"},
		{image.Filter{SizeMax: &six}, "b"},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "eq", Time: start.Add(time.Second)}}}, "a"},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "neq", Time: start.Add(time.Second)}}}, "c b"},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "gt", Time: start.Add(time.Second)}}}, "c b"},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "gte", Time: start.Add(time.Second)}}}, "c b a"},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "lt", Time: start.Add(time.Second)}}}, ""},
		{image.Filter{Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "lte", Time: start.Add(time.Second)}}}, "a"},
		{image.Filter{Sort: []image.Sort{{Field: image.ByName}}}, "a b c"},
		{image.Filter{Sort: []image.Sort{{Field: image.BySize, Descending: true}}}, "a b c"},
		{image.Filter{Sort: []image.Sort{{Field: image.ByDiskFormat}, {Field: image.ByName, Descending: true}}}, "c b a"},
		{image.Filter{Limit: 2}, "c b"},
	} {
		require.Equal(t, c.want, w.names(alice, c.f), "%d: %+v", i, c.f)
		require.Empty(t, w.names(bob, c.f), "%d", i)
	}
	for _, order := range [][]image.Sort{nil, {{Field: image.ByName}}, {{Field: image.BySize, Descending: true}}, {{Field: image.BySize}}} {
		seen, marker := map[string]bool{}, ""
		for range 3 {
			page, err := w.List(t.Context(), alice, image.Filter{Sort: order, Limit: 1, Marker: marker})
			require.NoError(t, err)
			require.Len(t, page, 1)
			seen[page[0].Name], marker = true, page[0].ID
		}
		require.Len(t, seen, 3, "%v: %v", order, maps.Keys(seen))
		page, err := w.List(t.Context(), alice, image.Filter{Sort: order, Limit: 1, Marker: marker})
		require.NoError(t, err)
		require.Empty(t, page)
	}
	mine := w.create(alice, raw("e"))
	for _, f := range []image.Filter{
		{Marker: "nothing"}, {Times: []image.TimeBound{{Field: image.ByCreatedAt, Operator: "about"}}}, {Sort: []image.Sort{{Field: "colour"}}},
	} {
		_, err := w.List(t.Context(), alice, f)
		require.ErrorIs(t, err, image.ErrInvalid)
	}
	_, err := w.List(t.Context(), bob, image.Filter{Marker: mine.ID})
	require.ErrorIs(t, err, image.ErrInvalid, "another project's image is no marker")
}
