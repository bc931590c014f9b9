package objectstore_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func (h *house) tryPut(path objectstore.Path, spec objectstore.PutSpec, content string) error {
	_, err := h.Put(h.ctx(), owner, path, spec, strings.NewReader(content))
	return err
}

func TestRefusedContentsLeaveNothing(t *testing.T) {
	h := newHouse(t, &objectstore.Options{MaxObjectSize: 10})
	h.container("c", nil)
	verify := errors.New("the signature of a chunk is wrong")
	broken := errors.New("broken")
	for _, c := range []struct {
		want    error
		spec    objectstore.PutSpec
		content io.Reader
	}{
		{objectstore.ErrTooLarge, objectstore.PutSpec{Size: 11}, strings.NewReader("")},
		{objectstore.ErrTooLarge, objectstore.PutSpec{Size: -1}, strings.NewReader(strings.Repeat("x", 11))},
		{objectstore.ErrIncomplete, objectstore.PutSpec{Size: 5}, strings.NewReader("four")},
		{objectstore.ErrIncomplete, objectstore.PutSpec{Size: -1}, iotest.ErrReader(io.ErrUnexpectedEOF)},
		{objectstore.ErrInvalid, objectstore.PutSpec{Size: 3}, strings.NewReader("four")},
		{objectstore.ErrInvalid, objectstore.PutSpec{}, strings.NewReader("four")},
		{objectstore.ErrChecksum, objectstore.PutSpec{Size: 4, ETag: md5of("five")}, strings.NewReader("four")},
		{objectstore.ErrChecksum, objectstore.PutSpec{ETag: md5of("five")}, strings.NewReader("")},
		{verify, objectstore.PutSpec{Size: 4, Verify: func(*objectstore.ObjectInfo) error { return verify }}, strings.NewReader("four")},
		{broken, objectstore.PutSpec{Size: 4}, io.MultiReader(strings.NewReader("fo"), iotest.ErrReader(broken))},
		{objectstore.ErrInvalid, objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{ExpiresAt: h.now}}, strings.NewReader("")},
		{objectstore.ErrPrecondition, objectstore.PutSpec{Conditions: objectstore.Conditions{IfMatch: []string{"*"}}}, strings.NewReader("")},
	} {
		_, err := h.Put(t.Context(), owner, in("c", "o"), c.spec, c.content)
		require.ErrorIs(t, err, c.want)
		var in int
		for range h.store.List(t.Context()) {
			in++
		}
		require.Zero(t, in, "%v", c.want)
	}
	require.Empty(t, h.names("c", objectstore.Listing{}))
	require.ErrorIs(t, h.tryPut(in("gone", "o"), objectstore.PutSpec{}, ""), objectstore.ErrNoContainer)
	require.NoError(t, h.tryPut(in("c", "o"), objectstore.PutSpec{Size: -1, ETag: strings.ToUpper(md5of("ten bytes!"))}, "ten bytes!"))
	_, _, err := h.CreateContainer(t.Context(), owner, in("c", ""), func(*objectstore.Settings) error { return broken })
	require.ErrorIs(t, err, broken)
	h.audit(t)
}

func TestNamesAndMetadataAreChecked(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	for _, name := range []string{"\x01", "..", "a//b", "/", "é\u2028", strings.Repeat("n", 1024), "\U0010ffff"} {
		h.put(in("c", name), name)
		content, err := h.read(owner, in("c", name), objectstore.OpenSpec{})
		require.NoError(t, err)
		require.Equal(t, name, content)
	}
	for _, path := range []objectstore.Path{in("c", ""), in("c", "a\x00"), in("c", "\xff"), in("c", strings.Repeat("n", 1025)), in("", "a"), in("a/b", "a"), in(strings.Repeat("n", 257), "a"), {Account: "a/b", Container: "c", Object: "o"}, {Container: "c", Object: "o"}} {
		require.ErrorIs(t, h.tryPut(path, objectstore.PutSpec{}, ""), objectstore.ErrInvalid, "%q", path)
	}
	many := map[string]string{}
	for i := range 91 {
		many[strings.Repeat("m", i+1)] = ""
	}
	for _, m := range []map[string]string{many, {"": "x"}, {strings.Repeat("n", 129): "x"}, {"n": strings.Repeat("v", 257)}, {"n": "\x00"}} {
		require.ErrorIs(t, h.tryPut(in("c", "o"), objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{Metadata: m}}, ""), objectstore.ErrInvalid)
	}
	for _, change := range []func(*objectstore.Settings){
		func(s *objectstore.Settings) { s.Versioning = "On" },
		func(s *objectstore.Settings) { s.Read = ".r:" },
		func(s *objectstore.Settings) { s.Write = ".r:*" },
		func(s *objectstore.Settings) { s.VersionsLocation = "a/b" },
		func(s *objectstore.Settings) { s.VersionsLocation, s.HistoryLocation = "a", "b" },
		func(s *objectstore.Settings) { q := int64(-1); s.QuotaBytes = &q },
		func(s *objectstore.Settings) { s.Documents = map[string]string{"policy": strings.Repeat("x", 1<<20)} },
	} {
		_, err := h.UpdateContainer(t.Context(), owner, in("c", ""), func(s *objectstore.Settings) error { change(s); return nil })
		require.ErrorIs(t, err, objectstore.ErrInvalid)
	}
}

func TestConditions(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.now = h.now.Add(time.Second / 2)
	h.put(in("c", "o"), "x")
	tag, modified := md5of("x"), h.now.Add(time.Second/2)
	match := func(tags ...string) objectstore.Conditions { return objectstore.Conditions{IfMatch: tags} }
	none := func(tags ...string) objectstore.Conditions { return objectstore.Conditions{IfNoneMatch: tags} }
	for _, c := range []struct {
		conditions  objectstore.Conditions
		read, write error
	}{
		{match(tag), nil, nil},
		{match("a", tag), nil, nil},
		{match("*"), nil, nil},
		{match("a"), objectstore.ErrPrecondition, objectstore.ErrPrecondition},
		{none("a"), nil, nil},
		{none(tag), objectstore.ErrNotModified, objectstore.ErrPrecondition},
		{none("*"), objectstore.ErrNotModified, objectstore.ErrPrecondition},
		{objectstore.Conditions{IfModifiedSince: modified}, objectstore.ErrNotModified, objectstore.ErrPrecondition},
		{objectstore.Conditions{IfModifiedSince: modified.Add(-time.Second)}, nil, nil},
		{objectstore.Conditions{IfUnmodifiedSince: modified}, nil, nil},
		{objectstore.Conditions{IfUnmodifiedSince: modified.Add(-time.Second)}, objectstore.ErrPrecondition, objectstore.ErrPrecondition},
		{objectstore.Conditions{IfMatch: []string{tag}, IfUnmodifiedSince: modified.Add(-time.Hour)}, nil, nil},
		{objectstore.Conditions{IfNoneMatch: []string{"a"}, IfModifiedSince: modified}, nil, nil},
	} {
		r, err := h.Open(t.Context(), owner, in("c", "o"), objectstore.OpenSpec{Conditions: c.conditions})
		require.ErrorIs(t, err, c.read, "%+v", c)
		require.Equal(t, tag, r.ETag)
		require.ErrorIs(t, h.tryPut(in("c", "o"), objectstore.PutSpec{Size: 1, Conditions: c.conditions}, "x"), c.write, "%+v", c)
	}
	require.NoError(t, h.tryPut(in("c", "new"), objectstore.PutSpec{Conditions: none("*")}, ""))
	require.ErrorIs(t, h.tryPut(in("c", "new"), objectstore.PutSpec{Conditions: none("*")}, ""), objectstore.ErrPrecondition)
	_, err := h.Delete(t.Context(), owner, in("c", "o"), objectstore.DeleteSpec{Conditions: match("a")})
	require.ErrorIs(t, err, objectstore.ErrPrecondition)
	_, err = h.Copy(t.Context(), owner, in("c", "o"), in("c", "p"), objectstore.CopySpec{SourceConditions: none(tag)})
	require.ErrorIs(t, err, objectstore.ErrPrecondition)
}

func TestQuotas(t *testing.T) {
	h := newHouse(t, nil)
	bytes, objects, whole := int64(10), int64(2), int64(15)
	h.container("c", func(s *objectstore.Settings) { s.QuotaBytes, s.QuotaObjects = &bytes, &objects })
	h.container("d", nil)
	require.NoError(t, h.tryPut(in("c", "a"), objectstore.PutSpec{Size: 10}, "0123456789"))
	require.ErrorIs(t, h.tryPut(in("c", "b"), objectstore.PutSpec{Size: 1}, "x"), objectstore.ErrQuota)
	require.ErrorIs(t, h.tryPut(in("c", "b"), objectstore.PutSpec{Size: -1}, "x"), objectstore.ErrQuota)
	require.NoError(t, h.tryPut(in("c", "a"), objectstore.PutSpec{Size: 9}, "012345678"), "what is replaced makes room")
	require.NoError(t, h.tryPut(in("c", "b"), objectstore.PutSpec{Size: -1}, "x"))
	require.ErrorIs(t, h.tryPut(in("c", "third"), objectstore.PutSpec{}, ""), objectstore.ErrQuota)
	_, err := h.UpdateAccount(t.Context(), admin, "acc", func(a *objectstore.Account) error { a.QuotaBytes = &whole; return nil })
	require.NoError(t, err)
	require.ErrorIs(t, h.tryPut(in("d", "a"), objectstore.PutSpec{Size: -1}, "012345"), objectstore.ErrQuota)
	_, err = h.Copy(t.Context(), owner, in("c", "a"), in("d", "a"), objectstore.CopySpec{})
	require.ErrorIs(t, err, objectstore.ErrQuota)
	u, err := h.CreateUpload(t.Context(), owner, in("d", "u"), objectstore.ObjectInfo{})
	require.NoError(t, err)
	part := func(n int, content string) error {
		_, err := h.PutPart(t.Context(), owner, in("d", "u"), u.ID, n, objectstore.PutSpec{Size: -1}, strings.NewReader(content))
		return err
	}
	require.NoError(t, part(1, "0123"))
	require.ErrorIs(t, part(2, "01"), objectstore.ErrQuota, "parts count before they are complete")
	h.tidy(t)
	h.audit(t)
}

func TestObjectsExpire(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.container("v", func(s *objectstore.Settings) { s.Versioning = objectstore.VersioningEnabled })
	soon := objectstore.ObjectInfo{ExpiresAt: h.now.Add(time.Second + 1)}
	for _, path := range []objectstore.Path{in("c", "soon"), in("c", "kept"), in("v", "soon")} {
		require.NoError(t, h.tryPut(path, objectstore.PutSpec{Size: 1, ObjectInfo: soon}, "x"))
	}
	h.put(in("c", "kept"), "replaced")
	h.now = h.now.Add(time.Second)
	require.NoError(t, h.Sweep(t.Context()))
	_, err := h.read(owner, in("c", "soon"), objectstore.OpenSpec{})
	require.NoError(t, err)
	h.now = h.now.Add(1)
	_, err = h.read(owner, in("c", "soon"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrNoObject)
	_, err = h.Delete(t.Context(), owner, in("c", "soon"), objectstore.DeleteSpec{})
	require.ErrorIs(t, err, objectstore.ErrNoObject)
	require.Equal(t, []string{"kept", "soon"}, h.names("c", objectstore.Listing{}))
	nothing := objectstore.Conditions{IfNoneMatch: []string{"*"}}
	require.NoError(t, h.tryPut(in("c", "soon"), objectstore.PutSpec{Conditions: nothing, ObjectInfo: objectstore.ObjectInfo{ExpiresAt: h.now.Add(1)}}, ""))
	h.now = h.now.Add(1)
	h.tidy(t)
	require.Equal(t, []string{"kept"}, h.names("c", objectstore.Listing{}))
	_, err = h.read(owner, in("v", "soon"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrDeleteMarker)
	h.audit(t)
}
