package cloud

import (
	"bytes"
	"context"
	"io"
	"testing"

	imagedriver "github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

func newObjectImages(t testing.TB) *imageObjects {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	objects, err := objectstore.New(context.Background(), db, memobjects.New(nil), nil)
	require.NoError(t, err)
	return newImageObjects(objects)
}

func TestImagesAsObjects(t *testing.T) {
	drivertest.TestStore(t, func(t testing.TB) imagedriver.Store { return newObjectImages(t) })
}

func TestAnImageOfManyParts(t *testing.T) {
	s := newObjectImages(t)
	s.part = 5 << 20 // the smallest that an upload takes
	for _, size := range []int{5 << 20, 10<<20 + 1} {
		want := bytes.Repeat([]byte("kintoun!"), size/8+1)[:size]
		content, err := s.Put(t.Context(), "a", bytes.NewReader(want))
		require.NoError(t, err)
		require.EqualValues(t, size, content.Size)
		f, err := s.Open(t.Context(), "a")
		require.NoError(t, err)
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		part := make([]byte, 100)
		_, err = f.ReadAt(part, 5<<20-50)
		if size > 10<<20 {
			require.NoError(t, err)
			require.Equal(t, want[5<<20-50:5<<20+50], part)
		} else {
			require.ErrorIs(t, err, io.EOF)
		}
		require.NoError(t, f.Close())
		require.NoError(t, s.Remove(t.Context(), "a"))
	}
}
