package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/stretchr/testify/require"
)

// sizes are at, and beside, the limits that stores keep contents differently from, and MiBs.
func sizes() []int {
	list := []int{0, 1, 5<<20 - 1, 5 << 20, 5<<20 + 17}
	for _, limit := range []int{1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20} {
		list = append(list, limit-1, limit, limit+1)
	}
	return list
}

func keeps(t *testing.T, s driver.Store) {
	require.NotEmpty(t, s.Kind())
	require.Empty(t, list(t, s))
	var refs []string
	for i, size := range sizes() {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		refs = append(refs, ref)
		require.Equal(t, contentOf(want), put(t, s, ref, want))
		same(t, want, get(t, s, ref), "%d bytes", size)
	}
	require.ElementsMatch(t, refs, list(t, s))
	for i, size := range sizes() {
		same(t, bytesOf(byte(i), size), get(t, s, refs[i]), "%d bytes, later", size)
	}
}

func unknown(t *testing.T, s driver.Store) {
	for i, size := range sizes() {
		want, ref := bytesOf(byte(i), size), fmt.Sprintf("ref-%d", i)
		// In pieces, whose last comes with the end.
		content, err := s.Put(t.Context(), ref, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(want))), -1)
		require.NoError(t, err)
		require.Equal(t, contentOf(want), content)
		same(t, want, get(t, s, ref), "%d bytes", size)
	}
}

// nothingLeft says that a put has failed without a trace, and that its reference is free.
func nothingLeft(t *testing.T, s driver.Store, ref string) {
	t.Helper()
	missing(t, s, ref)
	require.Empty(t, list(t, s))
	put(t, s, ref, []byte("at last"))
	require.Equal(t, "at last", string(get(t, s, ref)))
	require.NoError(t, s.Remove(context.Background(), ref))
	require.Empty(t, list(t, s))
}

func fails(t *testing.T, s driver.Store) {
	cut := errors.New("the client has gone")
	for _, want := range []error{cut, io.ErrUnexpectedEOF} {
		for _, length := range []int{0, 1, 20_000, 1 << 20, 6<<20 + 5} {
			for _, size := range []int64{-1, 7 << 20} {
				_, err := s.Put(t.Context(), "a", io.MultiReader(bytes.NewReader(bytesOf(1, length)), iotest.ErrReader(want)), size)
				require.ErrorIs(t, err, want, "%d bytes of %d", length, size)
				nothingLeft(t, s, "a")
			}
		}
	}
}

func wrong(t *testing.T, s driver.Store) {
	for _, size := range []int{0, 1, 100, 16 << 10, 64 << 10, 1 << 20, 6 << 20} {
		for _, said := range []int{0, size - 1, size + 1, size + 1<<20} {
			if said < 0 || said == size {
				continue
			}
			_, err := s.Put(t.Context(), "a", bytes.NewReader(bytesOf(1, size)), int64(said))
			require.ErrorIs(t, err, fs.ErrInvalid, "%d bytes as %d", size, said)
			missing(t, s, "a")
		}
		nothingLeft(t, s, "a")
	}
}

func ends(t *testing.T, s driver.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, size := range []int{0, 10, 3 << 20} {
		_, err := s.Put(ctx, "a", bytes.NewReader(bytesOf(1, size)), int64(size))
		require.ErrorIs(t, err, context.Canceled, "%d bytes", size)
		nothingLeft(t, s, "a")
	}
	// In its midst: the reader goes on for ever.
	ctx, cancel = context.WithCancel(t.Context())
	read := 0
	_, err := s.Put(ctx, "a", readerFunc(func(p []byte) (int, error) {
		if read += len(p); read > 6<<20 {
			cancel()
		}
		return len(p), nil
	}), -1)
	require.ErrorIs(t, err, context.Canceled)
	nothingLeft(t, s, "a")
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func once(t *testing.T, s driver.Store) {
	big := bytesOf(1, 1<<20)
	put(t, s, "small", []byte("first"))
	put(t, s, "big", big)
	for _, ref := range []string{"small", "big"} {
		for _, second := range [][]byte{[]byte("first"), []byte("second"), big, bytesOf(2, 6<<20)} {
			_, err := s.Put(t.Context(), ref, bytes.NewReader(second), int64(len(second)))
			require.ErrorIs(t, err, fs.ErrExist)
		}
	}
	require.Equal(t, "first", string(get(t, s, "small")))
	same(t, big, get(t, s, "big"))
	require.Len(t, list(t, s), 2)
	require.NoError(t, s.Remove(t.Context(), "small", "big"))
	nothingLeft(t, s, "small")
}

// race has many put the same reference: at least one does, all others hear that it is taken, and the content is the winner's.
func race(t *testing.T, s driver.Store) {
	for _, size := range []int{100, 300_000} {
		var won atomic.Int64
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				content := bytesOf(byte(i), size)
				if _, errs[i] = s.Put(context.Background(), "a", bytes.NewReader(content), int64(size)); errs[i] == nil {
					won.Store(int64(i))
				}
			})
		}
		wg.Wait()
		wins := 0
		for _, err := range errs {
			if err == nil {
				wins++
			} else {
				require.ErrorIs(t, err, fs.ErrExist)
			}
		}
		require.Equal(t, 1, wins)
		same(t, bytesOf(byte(won.Load()), size), get(t, s, "a"))
		require.Equal(t, []string{"a"}, list(t, s))
		require.NoError(t, s.Remove(t.Context(), "a"))
		require.Empty(t, list(t, s))
	}
}

func equals(t *testing.T, s driver.Store) {
	for _, size := range []int{10, 1 << 20} {
		want := bytesOf(1, size)
		require.Equal(t, put(t, s, "a", want), put(t, s, "b", want))
		require.NoError(t, s.Remove(t.Context(), "a"))
		missing(t, s, "a")
		same(t, want, get(t, s, "b"))
		put(t, s, "c", want)
		require.NoError(t, s.Remove(t.Context(), "b"))
		same(t, want, get(t, s, "c"))
		require.Equal(t, []string{"c"}, list(t, s))
		require.NoError(t, s.Remove(t.Context(), "c"))
	}
}

func refuses(t *testing.T, s driver.Store) {
	for _, ref := range []string{"", ".", "..", ".hidden", "a/b", "../a", "/a", "a b", "a\x00", "a\n", "ä", "a%", "a?b", strings.Repeat("x", driver.MaxRef+1)} {
		_, err := s.Put(t.Context(), ref, strings.NewReader("x"), 1)
		require.ErrorIs(t, err, fs.ErrInvalid, "%q", ref)
		missing(t, s, ref)
		require.NoError(t, s.Remove(t.Context(), ref))
	}
	long := strings.Repeat("x", driver.MaxRef)
	put(t, s, long, []byte("long"))
	put(t, s, "A-b_c.9", []byte("all kinds"))
	put(t, s, "a-b_c.9", bytesOf(1, 1<<20))
	put(t, s, "a-b_c..9.", []byte("dots"))
	require.ElementsMatch(t, []string{long, "A-b_c.9", "a-b_c.9", "a-b_c..9."}, list(t, s))
	require.Equal(t, "long", string(get(t, s, long)))
	require.Equal(t, "all kinds", string(get(t, s, "A-b_c.9")))
	same(t, bytesOf(1, 1<<20), get(t, s, "a-b_c.9"))
}

// many puts, reads and removes equal and different contents at once.
func many(t *testing.T, s driver.Store) {
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for round := range 6 {
				size := 5000 + round%2
				if i%4 == 3 {
					size *= 60
				}
				if errs[i] = cycle(s, fmt.Sprintf("ref-%d", i), bytesOf(byte(i%3), size)); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Empty(t, list(t, s))
}

func cycle(s driver.Store, ref string, content []byte) error {
	ctx := context.Background()
	if _, err := s.Put(ctx, ref, bytes.NewReader(content), int64(len(content))); err != nil {
		return err
	}
	r, err := s.Open(ctx, ref, 1, int64(len(content))-1)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if !bytes.Equal(content[1:], got) {
		return errors.New("the content differs")
	}
	return s.Remove(ctx, ref)
}
