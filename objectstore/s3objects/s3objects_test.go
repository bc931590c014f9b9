package s3objects_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/s3fake"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/drivertest"
	"github.com/kintoun/kintoun/objectstore/s3objects"
	"github.com/kintoun/kintoun/probe"
	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newFake serves a bucket for as long as the test lasts.
func newFake(t testing.TB) (*s3fake.Server, *httptest.Server) {
	f := s3fake.New()
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	return f, server
}

func options(server *httptest.Server) *s3objects.Options {
	return &s3objects.Options{
		Prefix: "kintoun/", Region: "us-east-1", AccessKey: "access", SecretKey: "secret", PartSize: 5 << 20,
		Transport: server.Client().Transport,
	}
}

func open(t testing.TB, server *httptest.Server) *s3objects.Store {
	t.Helper()
	s, err := s3objects.New(server.URL, s3fake.Bucket, options(server))
	require.NoError(t, err)
	return s
}

func newStore(t testing.TB) driver.Store {
	f, server := newFake(t)
	f.Put("other/ref", "somebody else's")
	f.Put("kintoun/not/ours", "somebody else's")
	return open(t, server)
}

func TestStore(t *testing.T) { drivertest.TestStore(t, newStore) }

func BenchmarkStore(b *testing.B) { drivertest.BenchmarkStore(b, newStore) }

// TestAnUnfinishedUpload is what a killed Put leaves: it is listed, and can be removed.
func TestAnUnfinishedUpload(t *testing.T) {
	f, server := newFake(t)
	for range 3 {
		f.Leave("kintoun/a")
	}
	f.Leave("other/a")
	s := open(t, server)
	var refs []string
	for ref, err := range s.List(t.Context()) {
		require.NoError(t, err)
		refs = append(refs, ref)
	}
	require.Equal(t, []string{"a"}, refs)
	require.NoError(t, s.Remove(t.Context(), "b", "a"))
	require.Equal(t, []string{"other/a"}, f.Unfinished())
	f.Leave("kintoun/a")
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Equal(t, []string{"other/a"}, f.Unfinished())
}

// TestFailuresLeaveNoUpload has a put in parts fail at its end: the upload is given up.
func TestFailuresLeaveNoUpload(t *testing.T) {
	f, server := newFake(t)
	s := open(t, server)
	_, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 11<<20)), 12<<20)
	require.Error(t, err)
	require.Empty(t, f.Unfinished())
	// Another process is faster.
	_, err = s.Put(t.Context(), "a", io.MultiReader(bytes.NewReader(make([]byte, 11<<20)), readerFunc(func([]byte) (int, error) {
		f.Put("kintoun/a", "theirs")
		return 0, io.EOF
	})), -1)
	require.ErrorIs(t, err, fs.ErrExist)
	require.Empty(t, f.Unfinished())
	theirs, _ := f.Get("kintoun/a")
	require.Equal(t, "theirs", theirs)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestErrorsOfTheService(t *testing.T) {
	f, server := newFake(t)
	f.Deny("PUT")
	s := open(t, server)
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1)
	var said minio.ErrorResponse
	require.ErrorAs(t, err, &said)
	require.Equal(t, minio.AccessDenied, said.Code)
	_, err = s3objects.New("ftp://host", s3fake.Bucket, nil)
	require.ErrorContains(t, err, "a URL of a host is wanted")
	_, err = s3objects.New("https://host/path", s3fake.Bucket, nil)
	require.ErrorContains(t, err, "a URL of a host is wanted")
}

func TestProbe(t *testing.T) {
	f, server := newFake(t)
	require.NoError(t, s3objects.Probe(t.Context(), server.URL, s3fake.Bucket, options(server)))
	require.Empty(t, f.Keys())
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		f.Deny(method)
		require.ErrorIs(t, s3objects.Probe(t.Context(), server.URL, s3fake.Bucket, options(server)), probe.ErrUnavailable, method)
	}
	f.Deny("")
	err := s3objects.Probe(t.Context(), server.URL, "nowhere", options(server))
	require.ErrorContains(t, err, "bucket nowhere at "+server.URL+": missing, needed for the contents of objects: create the bucket")
}

func Example() {
	ctx := context.Background()
	server := httptest.NewTLSServer(s3fake.New())
	defer server.Close()
	url, options := server.URL, options(server)

	s, err := s3objects.New(url, "contents", options)
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
