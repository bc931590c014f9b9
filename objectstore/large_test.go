package objectstore_test

import (
	"crypto/md5"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func md5of(text string) string { return fmt.Sprintf("%x", md5.Sum([]byte(text))) }

func (h *house) manifest(path objectstore.Path, segments ...objectstore.Segment) error {
	h.t.Helper()
	_, err := h.Put(h.ctx(), owner, path, objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{Segments: segments}, Size: 2}, strings.NewReader("[]"))
	return err
}

func TestStaticLargeObjects(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.container("s", nil)
	h.put(in("s", "1"), "hello ")
	h.put(in("s", "2"), "..world..")
	require.NoError(t, h.manifest(in("s", "inner"), objectstore.Segment{Container: "s", Name: "1", Size: 6, ETag: md5of("hello ")}))
	require.NoError(t, h.manifest(in("c", "big"),
		objectstore.Segment{Container: "s", Name: "inner", Size: -1},
		objectstore.Segment{Container: "s", Name: "2", Size: -1, Ranged: true, First: 2, Last: 6},
		objectstore.Segment{Data: []byte("!")}))
	content, err := h.read(owner, in("c", "big"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "hello world!", content)
	r, err := h.Open(t.Context(), owner, in("c", "big"), objectstore.OpenSpec{})
	require.NoError(t, err)
	inner := md5of(md5of("hello "))
	require.Equal(t, md5of(inner+md5of("..world..")+":2-6;"+md5of("!")), r.ETag)
	require.EqualValues(t, 2, r.Object.Size)
	require.True(t, r.Object.Segments[0].SubManifest)
	for first := range int64(12) {
		for last := first; last < 12; last++ {
			body, err := r.Range(t.Context(), first, last-first+1)
			require.NoError(t, err)
			part, err := io.ReadAll(body)
			require.NoError(t, err)
			require.Equal(t, "hello world!"[first:last+1], string(part))
			require.NoError(t, body.Close())
		}
	}
	manifest, err := h.read(owner, in("c", "big"), objectstore.OpenSpec{Manifest: true})
	require.NoError(t, err)
	require.Equal(t, "[]", manifest)
	copied, err := h.Copy(t.Context(), owner, in("c", "big"), in("c", "flat"), objectstore.CopySpec{})
	require.NoError(t, err)
	require.Equal(t, md5of("hello world!"), copied.ETag)
	_, err = h.Copy(t.Context(), owner, in("c", "big"), in("c", "again"), objectstore.CopySpec{Manifest: true})
	require.NoError(t, err)
	content, err = h.read(owner, in("c", "again"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "hello world!", content)

	h.put(in("s", "2"), "..WORLD..")
	body, err := r.Range(t.Context(), 0, -1)
	require.NoError(t, err)
	_, err = io.ReadAll(body)
	require.ErrorIs(t, err, objectstore.ErrSegment, "a segment is another than it was")
	require.NoError(t, body.Close())
	_, err = r.Range(t.Context(), 7, 1)
	require.ErrorIs(t, err, objectstore.ErrSegment)
	_, err = r.Range(t.Context(), 7, 100)
	require.ErrorIs(t, err, objectstore.ErrRange)

	_, err = h.Delete(t.Context(), owner, in("s", "1"), objectstore.DeleteSpec{})
	require.NoError(t, err)
	d, err := h.Delete(t.Context(), owner, in("c", "big"), objectstore.DeleteSpec{Segments: true})
	require.NoError(t, err)
	require.Equal(t, [2]int{3, 1}, [2]int{d.Count, d.Missing})
	require.Empty(t, h.names("s", objectstore.Listing{}))
	_, err = h.Delete(t.Context(), owner, in("c", "flat"), objectstore.DeleteSpec{Segments: true})
	require.ErrorIs(t, err, objectstore.ErrInvalid)
	h.tidy(t)
	h.audit(t)
}

func TestManifestsAreChecked(t *testing.T) {
	h := newHouse(t, &objectstore.Options{MaxSegments: 2, MaxDepth: 3})
	h.container("c", nil)
	h.put(in("c", "x"), "123")
	h.put(in("c", "empty"), "")
	x := objectstore.Segment{Container: "c", Name: "x", Size: 3}
	for want, g := range map[error]objectstore.Segment{
		objectstore.ErrSegment: {Container: "c", Name: "x", Size: 4},
		objectstore.ErrInvalid: {Container: "c", Name: "empty"},
		objectstore.ErrRange:   {Container: "c", Name: "x", Size: 3, Ranged: true, First: 1, Last: 3},
	} {
		require.ErrorIs(t, h.manifest(in("c", "m"), g), want)
	}
	require.ErrorIs(t, h.manifest(in("c", "m"), objectstore.Segment{Container: "c", Name: "x", Size: 3, ETag: "no"}), objectstore.ErrSegment)
	require.ErrorIs(t, h.manifest(in("c", "m"), objectstore.Segment{Container: "c", Name: "gone"}), objectstore.ErrNotFound)
	require.ErrorIs(t, h.manifest(in("c", "m"), objectstore.Segment{Data: []byte{}}), objectstore.ErrInvalid)
	require.ErrorIs(t, h.manifest(in("c", "m"), x, x, x), objectstore.ErrTooLarge)
	// As deep as is allowed, and deeper.
	require.NoError(t, h.manifest(in("c", "m1"), x))
	m := func(name string) objectstore.Segment {
		return objectstore.Segment{Container: "c", Name: name, Size: -1}
	}
	require.NoError(t, h.manifest(in("c", "m2"), m("m1")))
	require.NoError(t, h.manifest(in("c", "m3"), m("m2")))
	_, err := h.read(owner, in("c", "m3"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.NoError(t, h.manifest(in("c", "m4"), m("m3")))
	_, err = h.read(owner, in("c", "m4"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrSegment)
	require.NoError(t, h.manifest(in("c", "m2"), m("m2")), "the m2 that was")
	_, err = h.read(owner, in("c", "m2"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrSegment, "it leads to itself")
}

func TestDynamicLargeObjects(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.container("s", nil)
	put := func(path objectstore.Path, prefix string) {
		_, err := h.Put(t.Context(), owner, path, objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{SegmentPrefix: prefix}}, nil)
		require.NoError(t, err)
	}
	put(in("c", "big"), "s/p/")
	content, err := h.read(owner, in("c", "big"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Empty(t, content)
	want := ""
	for i := range 2100 {
		part := fmt.Sprint(i, ",")
		want += part
		h.put(in("s", fmt.Sprintf("p/%05d", i)), part)
	}
	put(in("s", "p/self"), "s/p/")
	r, err := h.Open(t.Context(), owner, in("c", "big"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.EqualValues(t, len(want), r.Size)
	content, err = h.read(owner, in("c", "big"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, want, content)
	body, err := r.Range(t.Context(), 9000, 10)
	require.NoError(t, err)
	part, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Equal(t, want[9000:9010], string(part))
	put(in("c", "nowhere"), "none/p")
	_, err = h.read(owner, in("c", "nowhere"), objectstore.OpenSpec{})
	require.NoError(t, err)
	_, err = h.Put(t.Context(), owner, in("c", "bad"), objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{SegmentPrefix: "x"}}, nil)
	require.ErrorIs(t, err, objectstore.ErrInvalid)
}

func (h *house) link(path objectstore.Path, link objectstore.Link) error {
	_, err := h.Put(h.ctx(), owner, path, objectstore.PutSpec{ObjectInfo: objectstore.ObjectInfo{Link: &link}}, nil)
	return err
}

func TestLinks(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	h.put(in("c", "x"), "content")
	require.NoError(t, h.link(in("c", "l1"), objectstore.Link{Container: "c", Object: "x"}))
	require.NoError(t, h.link(in("c", "l2"), objectstore.Link{Container: "c", Object: "l1"}))
	require.NoError(t, h.link(in("c", "l3"), objectstore.Link{Container: "c", Object: "l2"}))
	r, err := h.Open(t.Context(), owner, in("c", "l2"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, [2]string{"x", "l2"}, [2]string{r.Target.Object, r.Link.Name})
	content, err := h.read(owner, in("c", "l2"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, "content", content)
	_, err = h.read(owner, in("c", "l3"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrSegment, "too many links")
	r, err = h.Open(t.Context(), owner, in("c", "l3"), objectstore.OpenSpec{NoFollow: true})
	require.NoError(t, err)
	require.Equal(t, "l2", r.Object.Link.Object)

	require.ErrorIs(t, h.link(in("c", "s"), objectstore.Link{Container: "c", Object: "x", ETag: "no"}), objectstore.ErrSegment)
	require.ErrorIs(t, h.link(in("c", "s"), objectstore.Link{Container: "c", Object: "s"}), objectstore.ErrInvalid)
	require.NoError(t, h.link(in("c", "s"), objectstore.Link{Container: "c", Object: "x", ETag: md5of("content")}))
	r, err = h.Open(t.Context(), owner, in("c", "s"), objectstore.OpenSpec{NoFollow: true})
	require.NoError(t, err)
	require.EqualValues(t, 7, r.Object.Link.Size)
	_, err = h.Copy(t.Context(), owner, in("c", "s"), in("c", "copy"), objectstore.CopySpec{NoFollow: true})
	require.NoError(t, err)
	h.put(in("c", "x"), "other")
	_, err = h.read(owner, in("c", "copy"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrSegment, "a static link is to one content")
	// A link is no way around rights.
	h.container("open", func(s *objectstore.Settings) { s.Read = ".r:*" })
	require.NoError(t, h.link(in("open", "l"), objectstore.Link{Container: "c", Object: "x"}))
	_, err = h.read(objectstore.Caller{}, in("open", "l"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrUnauthorized)
	_, err = h.Delete(t.Context(), owner, in("c", "l1"), objectstore.DeleteSpec{})
	require.NoError(t, err)
	_, err = h.read(owner, in("c", "l2"), objectstore.OpenSpec{})
	require.ErrorIs(t, err, objectstore.ErrNoObject)
}
