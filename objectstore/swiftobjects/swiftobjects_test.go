package swiftobjects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/swiftobjects"
	"github.com/kintoun/kintoun/probe"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, client *gophercloud.ServiceClient) *swiftobjects.Store {
	t.Helper()
	s, err := swiftobjects.New(client, "contents", &swiftobjects.Options{Prefix: "kintoun/", SegmentSize: 1 << 20})
	require.NoError(t, err)
	return s
}

func newStore(t testing.TB) driver.Store {
	f, client := newFake(t)
	f.objects["other/ref"] = []byte("somebody else's")
	f.objects["kintoun/not/ours"] = []byte("somebody else's")
	return open(t, client)
}

func TestStore(t *testing.T) { drivertest.TestStore(t, newStore) }

func BenchmarkStore(b *testing.B) { drivertest.BenchmarkStore(b, newStore) }

func list(t testing.TB, s driver.Store) (refs []string) {
	t.Helper()
	for ref, err := range s.List(context.Background()) {
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	return refs
}

// TestSegmentsWithoutManifest are what a killed Put leaves: they are listed, and can be removed.
func TestSegmentsWithoutManifest(t *testing.T) {
	f, client := newFake(t)
	s := open(t, client)
	for i := range 20 {
		f.objects[fmt.Sprintf("kintoun/.segments/a/%08d", i)] = []byte("half")
	}
	content := bytes.Repeat([]byte("b"), 3<<20)
	_, err := s.Put(t.Context(), "b", bytes.NewReader(content), int64(len(content)))
	require.NoError(t, err)
	require.Len(t, f.objects, 20+3+1)
	require.ElementsMatch(t, []string{"a", "b"}, list(t, s))
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Equal(t, []string{"b"}, list(t, s))
	require.NoError(t, s.Remove(t.Context(), "b"))
	require.Empty(t, f.objects)
}

// TestFailuresLeaveNoSegments has a put of many segments fail at its end.
func TestFailuresLeaveNoSegments(t *testing.T) {
	f, client := newFake(t)
	s := open(t, client)
	_, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20)), 4<<20)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.Empty(t, f.objects)
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Put(ctx, "a", io.MultiReader(bytes.NewReader(make([]byte, 3<<20)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, errors.New("cut")
	})), -1)
	require.Error(t, err)
	require.Empty(t, f.objects)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestSegmentsWaitForReaders removes a content that two read.
func TestSegmentsWaitForReaders(t *testing.T) {
	f, client := newFake(t)
	s := open(t, client)
	_, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 9<<20)), 9<<20)
	require.NoError(t, err)
	one, err := s.Open(t.Context(), "a", 0, -1)
	require.NoError(t, err)
	two, err := s.Open(t.Context(), "a", 1<<20, -1)
	require.NoError(t, err)
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Len(t, f.objects, 9, "the manifest is gone")
	require.Empty(t, list(t, s))
	_, err = s.Put(t.Context(), "a", strings.NewReader("x"), 1)
	require.ErrorIs(t, err, fs.ErrExist, "its segments are still being read")
	require.NoError(t, one.Close())
	rest, err := io.ReadAll(two)
	require.NoError(t, err)
	require.Len(t, rest, 8<<20)
	require.NoError(t, two.Close())
	require.NoError(t, two.Close(), "twice is harmless")
	require.Empty(t, f.objects)
	_, err = s.Put(t.Context(), "a", strings.NewReader("x"), 1)
	require.NoError(t, err)
}

func TestProbe(t *testing.T) {
	f, client := newFake(t)
	require.NoError(t, swiftobjects.Probe(t.Context(), client, "contents", nil))
	require.Empty(t, f.objects)
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		f.deny = method
		require.ErrorIs(t, swiftobjects.Probe(t.Context(), client, "contents", nil), probe.ErrUnavailable, method)
	}
	f.deny = ""
	err := swiftobjects.Probe(t.Context(), client, "nowhere", nil)
	require.ErrorContains(t, err, "container nowhere at "+client.Endpoint+": missing, needed for the contents of objects: create the container")
	_, err = swiftobjects.New(nil, "contents", nil)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

func Example() {
	ctx := context.Background()
	_, server, client := serveFake()
	defer server.Close()

	s, err := swiftobjects.New(client, "contents", nil)
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
