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

func (h *house) part(path objectstore.Path, upload string, number int, content string) objectstore.CompletedPart {
	h.t.Helper()
	p, err := h.PutPart(h.ctx(), owner, path, upload, number, objectstore.PutSpec{Size: -1}, strings.NewReader(content))
	require.NoError(h.t, err)
	return objectstore.CompletedPart{Number: number, ETag: p.ETag}
}

func TestUploads(t *testing.T) {
	h := newHouse(t, &objectstore.Options{MinPartSize: 3})
	h.container("c", nil)
	o := in("c", "o")
	u, err := h.CreateUpload(t.Context(), owner, o, objectstore.ObjectInfo{ContentType: "text/x"})
	require.NoError(t, err)
	h.part(o, u.ID, 2, "replaced")
	two := h.part(o, u.ID, 2, "two")
	seven := h.part(o, u.ID, 7, "7")
	h.part(o, u.ID, 9, "left out")
	h.put(in("c", "source"), "0123456789")
	copied, err := h.CopyPart(t.Context(), owner, in("c", "source"), objectstore.CopyPartSpec{}, o, u.ID, 3)
	require.NoError(t, err)
	ranged, err := h.CopyPart(t.Context(), owner, in("c", "source"), objectstore.CopyPartSpec{Ranged: true, First: 2, Last: 4}, o, u.ID, 4)
	require.NoError(t, err)
	require.Equal(t, md5of("234"), ranged.ETag)
	_, err = h.CopyPart(t.Context(), owner, in("c", "source"), objectstore.CopyPartSpec{Ranged: true, First: 2, Last: 10}, o, u.ID, 4)
	require.ErrorIs(t, err, objectstore.ErrRange)
	three, four := objectstore.CompletedPart{Number: 3, ETag: `"` + copied.ETag + `"`}, objectstore.CompletedPart{Number: 4, ETag: ranged.ETag}

	complete := func(parts ...objectstore.CompletedPart) (*objectstore.Object, error) {
		return h.CompleteUpload(t.Context(), owner, o, u.ID, parts, objectstore.Conditions{})
	}
	for _, c := range []struct {
		want  error
		parts []objectstore.CompletedPart
	}{
		{objectstore.ErrInvalid, nil},
		{objectstore.ErrPartOrder, []objectstore.CompletedPart{three, two}},
		{objectstore.ErrPart, []objectstore.CompletedPart{two, {Number: 5, ETag: two.ETag}}},
		{objectstore.ErrPart, []objectstore.CompletedPart{{Number: 2, ETag: three.ETag}}},
		{objectstore.ErrPart, []objectstore.CompletedPart{{Number: 2, ETag: two.ETag, Checksums: map[string]string{"CRC32": "x"}}}},
		{objectstore.ErrPartTooSmall, []objectstore.CompletedPart{seven, {Number: 9, ETag: md5of("left out")}}},
	} {
		_, err := complete(c.parts...)
		require.ErrorIs(t, err, c.want)
	}
	_, parts, err := h.Upload(t.Context(), owner, o, u.ID)
	require.NoError(t, err)
	require.Len(t, parts, 5)
	h.audit(t)
	object, err := complete(two, three, four, seven)
	require.NoError(t, err)
	sum := md5.New()
	for _, text := range []string{"two", "0123456789", "234", "7"} {
		s := md5.Sum([]byte(text))
		sum.Write(s[:])
	}
	require.Equal(t, fmt.Sprintf("%x-4", sum.Sum(nil)), object.ETag)
	require.Equal(t, "text/x", object.ContentType)
	h.tidy(t)
	h.audit(t)
	_, err = complete(two)
	require.ErrorIs(t, err, objectstore.ErrNoUpload)

	want := "two01234567892347"
	copyOf := in("c", "copy")
	_, err = h.Copy(t.Context(), owner, o, copyOf, objectstore.CopySpec{})
	require.NoError(t, err)
	h.remove(o, objectstore.DeleteSpec{})
	h.remove(in("c", "source"), objectstore.DeleteSpec{})
	h.tidy(t)
	r, err := h.Open(t.Context(), owner, copyOf, objectstore.OpenSpec{})
	require.NoError(t, err)
	for first := range int64(17) {
		body, err := r.Range(t.Context(), first, -1)
		require.NoError(t, err)
		var b strings.Builder
		_, err = io.Copy(&b, body)
		require.NoError(t, err)
		require.NoError(t, body.Close())
		require.Equal(t, want[first:], b.String())
	}
	for number, content := range map[int]string{2: "two", 3: "0123456789", 7: "7"} {
		got, err := h.read(owner, copyOf, objectstore.OpenSpec{Part: number})
		require.NoError(t, err)
		require.Equal(t, content, got)
	}
	_, err = h.read(owner, copyOf, objectstore.OpenSpec{Part: 5})
	require.ErrorIs(t, err, objectstore.ErrRange)

	// Who reads goes on when the object is replaced.
	body, err := r.Range(t.Context(), 0, -1)
	require.NoError(t, err)
	h.put(copyOf, "other")
	require.NoError(t, h.Sweep(t.Context()))
	content, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, want, string(content))
	require.NoError(t, body.Close())
	h.tidy(t)
	h.audit(t)
}

func TestUploadsAreListed(t *testing.T) {
	h := newHouse(t, nil)
	h.container("c", nil)
	var want []string
	for _, name := range []string{"a", "b", "b", "b/1", "b/2", "c"} {
		u, err := h.CreateUpload(t.Context(), owner, in("c", name), objectstore.ObjectInfo{})
		require.NoError(t, err)
		want = append(want, u.ID)
	}
	for limit := 1; limit < 8; limit++ {
		var got []string
		l := objectstore.Listing{Limit: limit}
		for {
			list, err := h.Uploads(t.Context(), owner, in("c", ""), l)
			require.NoError(t, err)
			for _, e := range list.Entries {
				got, l.Marker, l.VersionMarker = append(got, e.ID), e.Name, e.ID
			}
			if !list.Truncated {
				break
			}
		}
		require.Equal(t, want, got)
	}
	list, err := h.Uploads(t.Context(), owner, in("c", ""), objectstore.Listing{Delimiter: "/"})
	require.NoError(t, err)
	require.Len(t, list.Entries, 5)
	h.part(in("c", "a"), want[0], 1, "x")
	require.NoError(t, h.AbortUpload(t.Context(), owner, in("c", "a"), want[0]))
	require.ErrorIs(t, h.AbortUpload(t.Context(), owner, in("c", "a"), want[0]), objectstore.ErrNoUpload)
	require.ErrorIs(t, h.AbortUpload(t.Context(), owner, in("c", "a"), want[1]), objectstore.ErrNoUpload, "it is another object's")
	h.part(in("c", "b"), want[1], 1, "x")
	require.NoError(t, h.DeleteContainer(t.Context(), owner, in("c", "")))
	h.tidy(t)
	h.audit(t)
}
