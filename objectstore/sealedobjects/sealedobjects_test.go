package sealedobjects_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/sealedobjects"
	"github.com/stretchr/testify/require"
)

var key = bytes.Repeat([]byte("k"), sealedobjects.KeySize)

func sealed(t testing.TB, inner driver.Store) driver.Store {
	t.Helper()
	s, err := sealedobjects.New(inner, key)
	require.NoError(t, err)
	return s
}

func TestStore(t *testing.T) {
	drivertest.TestStore(t, func(t testing.TB) driver.Store { return sealed(t, memobjects.New(nil)) })
}

func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(b testing.TB) driver.Store { return sealed(b, memobjects.New(nil)) })
}

func read(s driver.Store, ref string, offset, length int64) ([]byte, error) {
	r, err := s.Open(context.Background(), ref, offset, length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

func put(t testing.TB, s driver.Store, ref string, content []byte) {
	t.Helper()
	_, err := s.Put(context.Background(), ref, bytes.NewReader(content), int64(len(content)))
	require.NoError(t, err)
}

// chunk is how much is sealed together, and tag how much a seal is.
const (
	chunk  = 64 << 10
	tag    = 16
	header = 64
)

// TestChanges changes what is kept in every way that somebody who has no key could think of.
func TestChanges(t *testing.T) {
	inner := memobjects.New(nil)
	s := sealed(t, inner)
	content := make([]byte, 3*chunk)
	_, _ = rand.Read(content)
	put(t, s, "a", content)
	put(t, s, "b", content)
	kept, err := read(inner, "a", 0, -1)
	require.NoError(t, err)
	require.Len(t, kept, header+3*(chunk+tag))
	other, err := read(inner, "b", 0, -1)
	require.NoError(t, err)
	require.False(t, bytes.Equal(kept[header:], other[header:]), "each content has a key of its own")

	flip := func(at int) []byte {
		changed := bytes.Clone(kept)
		changed[at] ^= 1
		return changed
	}
	part := func(n int) []byte { return kept[header+n*(chunk+tag) : header+(n+1)*(chunk+tag)] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, changed := range map[string][]byte{
		"nothing left":          {},
		"less than a beginning": kept[:header-1],
		"the beginning alone":   kept[:header],
		"the magic":             flip(0),
		"the nonce":             flip(5),
		"the sealed key":        flip(20),
		"the first chunk":       flip(header),
		"a tag":                 flip(header + chunk),
		"the last byte":         flip(len(kept) - 1),
		"without the last":      kept[:header+2*(chunk+tag)],
		"cut in a chunk":        kept[:header+2*(chunk+tag)+100],
		"cut in a tag":          kept[:len(kept)-3],
		"chunks swapped":        join(kept[:header], part(1), part(0), part(2)),
		"a chunk left out":      join(kept[:header], part(0), part(2)),
		"a chunk twice":         join(kept[:header], part(0), part(1), part(1), part(2)),
		"more at the end":       append(bytes.Clone(kept), 0),
		"another's content":     join(kept[:header], other[header:]),
		"another's all":         other,
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, inner.Remove(t.Context(), "a"))
			put(t, inner, "a", changed)
			got, err := read(s, "a", 0, -1)
			require.ErrorIs(t, err, sealedobjects.ErrTampered)
			require.True(t, bytes.HasPrefix(content, got), "what comes before is whole")
		})
	}
	// Cut where a part begins: that there is no more is not believed.
	require.NoError(t, inner.Remove(t.Context(), "a"))
	put(t, inner, "a", kept[:header+2*(chunk+tag)])
	_, err = read(s, "a", 2*chunk, -1)
	require.ErrorIs(t, err, sealedobjects.ErrTampered)
	got, err := read(s, "a", 100, 10)
	require.NoError(t, err, "a part that is whole can be read")
	require.Equal(t, content[100:110], got)
}

func TestAnotherMasterKey(t *testing.T) {
	inner := memobjects.New(nil)
	put(t, sealed(t, inner), "a", []byte("a secret"))
	kept, err := read(inner, "a", 0, -1)
	require.NoError(t, err)
	require.NotContains(t, string(kept), "secret")
	s, err := sealedobjects.New(inner, bytes.Repeat([]byte("x"), sealedobjects.KeySize))
	require.NoError(t, err)
	_, err = read(s, "a", 0, -1)
	require.ErrorIs(t, err, sealedobjects.ErrTampered)
	_, err = sealedobjects.New(inner, []byte("short"))
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// TestEdges reads parts at, and beside, the ends of chunks.
func TestEdges(t *testing.T) {
	s := sealed(t, memobjects.New(nil))
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 2*chunk + 1} {
		content := make([]byte, size)
		_, _ = rand.Read(content)
		ref := fmt.Sprintf("ref-%d", size)
		put(t, s, ref, content)
		for _, offset := range []int{0, 1, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 2*chunk + 2} {
			for _, length := range []int{-1, 0, 1, chunk - 1, chunk, chunk + 1} {
				end := offset + length
				if length < 0 {
					end = max(offset, size)
				}
				got, err := read(s, ref, int64(offset), int64(length))
				if end > size {
					require.ErrorIs(t, err, fs.ErrInvalid, "%d+%d of %d", offset, length, size)
					continue
				}
				require.NoError(t, err, "%d+%d of %d", offset, length, size)
				require.True(t, bytes.Equal(content[offset:end], got), "%d+%d of %d", offset, length, size)
			}
		}
	}
}

// checker is a store that finds one content damaged.
type checker struct{ driver.Store }

func (checker) Check(context.Context, int64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("rotten", nil) }
}

func TestCheckIsTheInnerStores(t *testing.T) {
	_, can := sealed(t, memobjects.New(nil)).(driver.Checker)
	require.False(t, can)
	s, can := sealed(t, checker{memobjects.New(nil)}).(driver.Checker)
	require.True(t, can)
	for ref, err := range s.Check(t.Context(), 0) {
		require.NoError(t, err)
		require.Equal(t, "rotten", ref)
	}
}

func Example() {
	ctx := context.Background()
	inner := memobjects.New(nil)
	s, err := sealedobjects.New(inner, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
	fmt.Println(content.Size, content.MD5, err)
	r, err := s.Open(ctx, "0197-1", 2, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(r)
	fmt.Println(string(text), r.Close())
	// Output:
	// 6 b1ac43c8730205276b1f75ec9cd2d50b <nil>
	// song <nil>
}
