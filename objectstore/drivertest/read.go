package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"testing"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/stretchr/testify/require"
)

// smallAndBig are contents that a store may keep in two ways.
var smallAndBig = []int{3000, 300_000, 6<<20 + 100}

func ranges(t *testing.T, s driver.Store) {
	for i, size := range smallAndBig {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		put(t, s, ref, want)
		n := int64(size)
		for _, c := range [][2]int64{{0, 0}, {0, 1}, {0, n}, {1, n - 1}, {n - 1, 1}, {n / 2, n / 4}, {n, 0}, {17, 1000}} {
			same(t, want[c[0]:c[0]+c[1]], part(t, s, ref, c[0], c[1]), "%v of %d", c, size)
		}
		for _, offset := range []int64{0, 1, n / 3, n - 1, n} {
			same(t, want[offset:], part(t, s, ref, offset, -1), "from %d on of %d", offset, size)
		}
	}
	put(t, s, "empty", nil)
	require.Empty(t, part(t, s, "empty", 0, 0))
	require.Empty(t, part(t, s, "empty", 0, -1))
}

func outside(t *testing.T, s driver.Store) {
	put(t, s, "empty", nil)
	_, err := s.Open(t.Context(), "empty", 0, 1)
	require.ErrorIs(t, err, fs.ErrInvalid)
	for i, size := range smallAndBig {
		ref, n := fmt.Sprintf("ref-%d", i), int64(size)
		put(t, s, ref, bytesOf(byte(i), size))
		for _, c := range [][2]int64{{-1, 1}, {-1, -1}, {0, n + 1}, {1, n}, {n, 1}, {n + 1, 0}, {n + 1, -1}, {math.MaxInt64, 1}, {1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, -1}} {
			_, err := s.Open(t.Context(), ref, c[0], c[1])
			require.ErrorIs(t, err, fs.ErrInvalid, "%v of %d", c, size)
		}
	}
	_, err = s.Open(t.Context(), "never", 5, 5)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// files has the kernel find the bytes where a store says that they are in a file.
func files(t *testing.T, s driver.Store) {
	for i, size := range smallAndBig {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		put(t, s, ref, want)
		for _, c := range [][2]int64{{0, -1}, {10, -1}, {100, 200}} {
			r, err := s.Open(t.Context(), ref, c[0], c[1])
			require.NoError(t, err)
			if local, ok := r.(driver.FileReader); ok {
				inner := local.File()
				if limited, ok := inner.(*io.LimitedReader); ok {
					inner = limited.R
				}
				require.IsType(t, (*os.File)(nil), inner)
				length := c[1]
				if length < 0 {
					length = int64(size) - c[0]
				}
				var got bytes.Buffer
				_, err := io.Copy(&got, local.File())
				require.NoError(t, err)
				same(t, want[c[0]:c[0]+length], got.Bytes(), "%v of %d", c, size)
			}
			require.NoError(t, r.Close())
		}
	}
}

func readers(t *testing.T, s driver.Store) {
	for i, size := range smallAndBig {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		put(t, s, ref, want)
		one, err := s.Open(t.Context(), ref, 0, -1)
		require.NoError(t, err)
		two, err := s.Open(t.Context(), ref, 1000, 1000)
		require.NoError(t, err)
		start := make([]byte, 500)
		_, err = io.ReadFull(one, start)
		require.NoError(t, err)
		same(t, want[:500], start)
		got, err := io.ReadAll(two)
		require.NoError(t, err)
		same(t, want[1000:2000], got)
		got, err = io.ReadAll(one)
		require.NoError(t, err)
		same(t, want[500:], got)
		n, err := one.Read(start)
		require.Zero(t, n)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, one.Close())
		require.NoError(t, two.Close())
	}
}

// outlives removes what is being read: not all of it may have been fetched yet.
func outlives(t *testing.T, s driver.Store) {
	for i, size := range smallAndBig {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		put(t, s, ref, want)
		r, err := s.Open(t.Context(), ref, 0, -1)
		require.NoError(t, err)
		start := make([]byte, 10)
		_, err = io.ReadFull(r, start)
		require.NoError(t, err)
		require.NoError(t, s.Remove(t.Context(), ref))
		missing(t, s, ref)
		rest, err := io.ReadAll(r)
		require.NoError(t, err)
		same(t, want, append(start, rest...), "%d bytes", size)
		require.NoError(t, r.Close())
	}
}

func removes(t *testing.T, s driver.Store) {
	require.NoError(t, s.Remove(t.Context()))
	require.NoError(t, s.Remove(t.Context(), "never"))
	for _, size := range smallAndBig {
		put(t, s, "a", bytesOf(1, size))
		require.NoError(t, s.Remove(t.Context(), "a"))
		require.NoError(t, s.Remove(t.Context(), "a"))
		missing(t, s, "a")
		require.Empty(t, list(t, s))
		put(t, s, "a", bytesOf(2, size))
		same(t, bytesOf(2, size), get(t, s, "a"))
		require.NoError(t, s.Remove(t.Context(), "a", "a"))
	}
}

func bulk(t *testing.T, s driver.Store) {
	var gone []string
	for i := range 60 {
		ref := fmt.Sprintf("ref-%d", i)
		put(t, s, ref, bytesOf(byte(i), 20+i%3*30_000))
		gone = append(gone, ref, "never-"+ref)
	}
	put(t, s, "kept", []byte("kept"))
	put(t, s, "kept-too", bytesOf(1, 300_000))
	require.NoError(t, s.Remove(t.Context(), gone...))
	require.ElementsMatch(t, []string{"kept", "kept-too"}, list(t, s))
	for _, ref := range gone {
		missing(t, s, ref)
	}
	require.Equal(t, "kept", string(get(t, s, "kept")))
	same(t, bytesOf(1, 300_000), get(t, s, "kept-too"))
}

func lists(t *testing.T, s driver.Store) {
	for i := range 30 {
		put(t, s, fmt.Sprintf("ref-%d", i), bytesOf(byte(i), i*2000))
	}
	seen := map[string]bool{}
	for ref, err := range s.List(t.Context()) {
		require.NoError(t, err)
		require.False(t, seen[ref], "%q is listed twice", ref)
		if seen[ref] = true; len(seen) == 7 {
			break
		}
		// The store can be used meanwhile.
		same(t, get(t, s, ref), get(t, s, ref))
	}
	require.Len(t, seen, 7)
	// Contents may go while they are listed.
	for ref, err := range s.List(t.Context()) {
		require.NoError(t, err)
		require.NoError(t, s.Remove(t.Context(), ref))
	}
	require.Empty(t, list(t, s))

	put(t, s, "a", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, last = range s.List(ctx) {
	}
	require.ErrorIs(t, last, context.Canceled)
}

func checks(t *testing.T, s driver.Store) {
	checker, ok := s.(driver.Checker)
	if !ok {
		return // the store does not claim to find out
	}
	for i, size := range smallAndBig {
		put(t, s, fmt.Sprintf("ref-%d", i), bytesOf(byte(i), size))
	}
	for _, rate := range []int64{0, 1 << 30} {
		for ref, err := range checker.Check(t.Context(), rate) {
			require.NoError(t, err)
			require.Fail(t, "damaged", ref)
		}
	}
	for i, size := range smallAndBig {
		same(t, bytesOf(byte(i), size), get(t, s, fmt.Sprintf("ref-%d", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, last = range checker.Check(ctx, 1) {
	}
	require.ErrorIs(t, last, context.Canceled)
}
