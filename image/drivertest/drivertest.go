// Package drivertest is the conformance suite that every store of image contents (package image/driver) passes.
//
//	func TestStore(t *testing.T) {
//		drivertest.TestStore(t, func(testing.TB) driver.Store { return memstore.New(nil) })
//	}
//
// It needs testify, and of the host what the store needs. It keeps some 10 MiB. A process that is killed is not in it:
// a store's own test must do that. Errors are test failures, with the name of the part; the store is used concurrently,
// the suite itself is not for concurrent use.
package drivertest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/stretchr/testify/require"
)

// Factory returns an empty store that lasts as long as the test.
type Factory func(t testing.TB) driver.Store

// TestStore runs the suite.
func TestStore(t *testing.T, factory Factory) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s driver.Store)
	}{
		{"Contents are kept as they were given", keeps},
		{"Readers of one content are independent", reads},
		{"A failed put leaves nothing", fails},
		{"An ended context ends a put", ends},
		{"A reference names one content for ever", once},
		{"Equal contents live and die apart", equals},
		{"Removing is happy when it is gone", removes},
		{"Bad references are refused", refuses},
		{"Many at once", many},
		{"Local files hold the content", local},
		{"Contents have names", named},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, factory(t)) })
	}
}

// bytesOf are n bytes that look random and are always the same.
func bytesOf(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func put(t testing.TB, s driver.Store, ref string, content []byte) driver.Content {
	t.Helper()
	c, err := s.Put(context.Background(), ref, bytes.NewReader(content))
	require.NoError(t, err)
	return c
}

func get(t testing.TB, s driver.Store, ref string) []byte {
	t.Helper()
	f, err := s.Open(context.Background(), ref)
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return content
}

func list(t testing.TB, s driver.Store) []string {
	t.Helper()
	refs, err := s.List(context.Background())
	require.NoError(t, err)
	return refs
}

func missing(t testing.TB, s driver.Store, ref string) {
	t.Helper()
	_, err := s.Open(context.Background(), ref)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func keeps(t *testing.T, s driver.Store) {
	require.NotEmpty(t, s.Kind())
	require.Empty(t, list(t, s))
	var refs []string
	for i, size := range []int{0, 1, 4096, 100_000, 1 << 20, 3<<20 + 17} {
		want := bytesOf(byte(i), size)
		ref := fmt.Sprintf("ref-%d", i)
		refs = append(refs, ref)
		// In small pieces, whose last comes with the end.
		content, err := s.Put(t.Context(), ref, iotest.DataErrReader(iotest.HalfReader(bytes.NewReader(want))))
		require.NoError(t, err)
		short, long := md5.Sum(want), sha512.Sum512(want)
		require.Equal(t, driver.Content{Size: int64(size), MD5: hex.EncodeToString(short[:]), SHA512: hex.EncodeToString(long[:])}, content)
		require.True(t, bytes.Equal(want, get(t, s, ref)))
	}
	require.ElementsMatch(t, refs, list(t, s))
}

func reads(t *testing.T, s driver.Store) {
	want := bytesOf(1, 70_000)
	put(t, s, "a", want)
	one, err := s.Open(t.Context(), "a")
	require.NoError(t, err)
	two, err := s.Open(t.Context(), "a")
	require.NoError(t, err)
	part := make([]byte, 1000)
	_, err = one.ReadAt(part, 60_000)
	require.NoError(t, err)
	require.Equal(t, want[60_000:61_000], part)
	_, err = one.ReadAt(part, 69_500)
	require.ErrorIs(t, err, io.EOF)
	size, err := two.Seek(0, io.SeekEnd)
	require.NoError(t, err)
	require.EqualValues(t, 70_000, size)
	_, err = two.Seek(5, io.SeekStart)
	require.NoError(t, err)
	rest, err := io.ReadAll(two)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want[5:], rest))
	all, err := io.ReadAll(one)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, all))
	require.NoError(t, s.Remove(t.Context(), "a"))
	_, err = two.ReadAt(part, 0)
	require.NoError(t, err, "an open content outlives its removal")
	require.Equal(t, want[:1000], part)
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
}

func fails(t *testing.T, s driver.Store) {
	cut := errors.New("the client has gone")
	for _, want := range []error{cut, io.ErrUnexpectedEOF} {
		for _, size := range []int{0, 1, 1 << 20, 2<<20 + 5} {
			_, err := s.Put(t.Context(), "a", io.MultiReader(bytes.NewReader(bytesOf(1, size)), iotest.ErrReader(want)))
			require.ErrorIs(t, err, want)
			missing(t, s, "a")
			require.Empty(t, list(t, s))
		}
	}
	put(t, s, "a", []byte("at last"))
	require.Equal(t, "at last", string(get(t, s, "a")))
}

func ends(t *testing.T, s driver.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ctx, "a", bytes.NewReader(bytesOf(1, 3<<20)))
	require.ErrorIs(t, err, context.Canceled)
	missing(t, s, "a")
	require.Empty(t, list(t, s))
}

func once(t *testing.T, s driver.Store) {
	put(t, s, "a", []byte("first"))
	_, err := s.Put(t.Context(), "a", strings.NewReader("second"))
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = s.Put(t.Context(), "a", strings.NewReader("first"))
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, "first", string(get(t, s, "a")))
}

func equals(t *testing.T, s driver.Store) {
	want := bytesOf(1, 1<<20)
	a, b := put(t, s, "a", want), put(t, s, "b", want)
	require.Equal(t, a, b)
	require.NoError(t, s.Remove(t.Context(), "a"))
	missing(t, s, "a")
	require.True(t, bytes.Equal(want, get(t, s, "b")))
	put(t, s, "c", want)
	require.NoError(t, s.Remove(t.Context(), "b"))
	require.True(t, bytes.Equal(want, get(t, s, "c")))
	require.ElementsMatch(t, []string{"c"}, list(t, s))
}

func removes(t *testing.T, s driver.Store) {
	require.NoError(t, s.Remove(t.Context(), "never"))
	put(t, s, "a", []byte("x"))
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.NoError(t, s.Remove(t.Context(), "a"))
	missing(t, s, "a")
	require.Empty(t, list(t, s))
	put(t, s, "a", []byte("y"))
	require.Equal(t, "y", string(get(t, s, "a")))
}

func refuses(t *testing.T, s driver.Store) {
	for _, ref := range []string{"", ".", "..", ".hidden", "a/b", "../a", "a b", "a\x00", "ä", strings.Repeat("x", driver.MaxRef+1)} {
		_, err := s.Put(t.Context(), ref, strings.NewReader("x"))
		require.ErrorIs(t, err, fs.ErrInvalid, "%q", ref)
		missing(t, s, ref)
		require.NoError(t, s.Remove(t.Context(), ref))
	}
	put(t, s, strings.Repeat("x", driver.MaxRef), []byte("long"))
	put(t, s, "A-b_c.9", []byte("all kinds"))
	require.Len(t, list(t, s), 2)
}

// many puts and removes equal and different contents at once.
func many(t *testing.T, s driver.Store) {
	errs := make(chan error, 16)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for round := range 8 {
				if err := cycle(s, fmt.Sprintf("ref-%d", i), bytesOf(byte(i%3), 5000+round%2)); err != nil {
					errs <- fmt.Errorf("%d: %w", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Empty(t, list(t, s))
}

func cycle(s driver.Store, ref string, content []byte) error {
	ctx := context.Background()
	if _, err := s.Put(ctx, ref, bytes.NewReader(content)); err != nil {
		return err
	}
	f, err := s.Open(ctx, ref)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !bytes.Equal(content, got) {
		return errors.New("the content differs")
	}
	return s.Remove(ctx, ref)
}

func local(t *testing.T, s driver.Store) {
	files, ok := s.(driver.LocalFiles)
	if !ok {
		return // the store does not claim to have any
	}
	_, err := files.Path(t.Context(), "never")
	require.ErrorIs(t, err, fs.ErrNotExist)
	want := bytesOf(1, 10_000)
	put(t, s, "a", want)
	name, err := files.Path(t.Context(), "a")
	require.NoError(t, err)
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, s.Remove(t.Context(), "a"))
	_, err = files.Path(t.Context(), "a")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func named(t *testing.T, s driver.Store) {
	locator, ok := s.(driver.Locator)
	if !ok {
		return // the store does not claim to have any
	}
	one, err := url.Parse(locator.URL("a"))
	require.NoError(t, err)
	require.True(t, one.IsAbs(), "%s", one)
	require.Nil(t, one.User, "a secret")
	require.NotEqual(t, one.String(), locator.URL("b"))
	files, ok := s.(driver.LocalFiles)
	if !ok || one.Scheme != "file" {
		return
	}
	put(t, s, "a", []byte("a"))
	name, err := files.Path(t.Context(), "a")
	require.NoError(t, err)
	want, err := os.Stat(name)
	require.NoError(t, err)
	got, err := os.Stat(one.Path)
	require.NoError(t, err)
	require.True(t, os.SameFile(want, got))
}

// BenchmarkPut measures keeping 64 MiB.
func BenchmarkPut(b *testing.B, factory Factory) {
	content := bytesOf(1, 64<<20)
	s := factory(b)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		put(b, s, "a", content)
		require.NoError(b, s.Remove(context.Background(), "a"))
	}
}
