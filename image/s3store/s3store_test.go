package s3store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/drivertest"
	"github.com/kintoun/kintoun/image/s3store"
	"github.com/kintoun/kintoun/internal/s3fake"
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

func options(server *httptest.Server) *s3store.Options {
	return &s3store.Options{
		Prefix: "kintoun/", Region: "us-east-1", AccessKey: "access", SecretKey: "secret", PartSize: 5 << 20,
		Transport: server.Client().Transport,
	}
}

func open(t testing.TB, server *httptest.Server) *s3store.Store {
	t.Helper()
	s, err := s3store.New(server.URL, s3fake.Bucket, options(server))
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

func BenchmarkPut(b *testing.B) { drivertest.BenchmarkPut(b, newStore) }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// TestParts has contents at and around the edges of parts.
func TestParts(t *testing.T) {
	f, server := newFake(t)
	s := open(t, server)
	for i, size := range []int{5<<20 - 1, 5 << 20, 5<<20 + 1, 10 << 20, 10<<20 + 1} {
		want, ref := random(size), fmt.Sprint("a", i)
		digest := driver.NewDigest()
		_, _ = digest.Write(want)
		content, err := s.Put(t.Context(), ref, iotest.HalfReader(bytes.NewReader(want)))
		require.NoError(t, err)
		require.Equal(t, digest.Content(), content)
		got, _ := f.Get("kintoun/" + ref)
		require.True(t, bytes.Equal(want, []byte(got)), "%d bytes", size)
		require.NoError(t, s.Remove(t.Context(), ref))
	}
	require.Empty(t, f.Unfinished())
}

// TestAnUnfinishedUpload is what a killed Put leaves: it is listed, and can be removed.
func TestAnUnfinishedUpload(t *testing.T) {
	f, server := newFake(t)
	for range 3 {
		f.Leave("kintoun/a")
	}
	f.Leave("kintoun/ab")
	f.Leave("other/a")
	s := open(t, server)
	refs, err := s.List(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"a", "ab"}, refs)
	_, err = s.Open(t.Context(), "a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.Equal(t, []string{"kintoun/ab", "other/a"}, f.Unfinished())
}

// TestTwoProcesses has two stores put one reference: one of them does.
func TestTwoProcesses(t *testing.T) {
	for _, size := range []int{1000, 11 << 20} {
		f, server := newFake(t)
		var errs [2]error
		var wg sync.WaitGroup
		for i := range errs {
			s := open(t, server)
			content := bytes.Repeat([]byte{byte('0' + i)}, size)
			wg.Go(func() { _, errs[i] = s.Put(context.Background(), "a", bytes.NewReader(content)) })
		}
		wg.Wait()
		lost := 0
		if errs[0] == nil {
			lost = 1
		}
		require.NoError(t, errs[1-lost])
		require.ErrorIs(t, errs[lost], fs.ErrExist)
		got, _ := f.Get("kintoun/a")
		require.Equal(t, strings.Repeat(fmt.Sprint(1-lost), size), got)
		require.Empty(t, f.Unfinished())
	}
}

// TestAnswersThatAreLost has the connection break after a content was made: the client's second attempt is refused, and the
// content is there all the same.
func TestAnswersThatAreLost(t *testing.T) {
	for _, size := range []int{1000, 11 << 20} {
		f, server := newFake(t)
		s := open(t, server)
		var once sync.Once
		f.Lose(func(r *http.Request) (lost bool) {
			if r.Method == http.MethodPut && !r.URL.Query().Has("uploadId") || r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				once.Do(func() { lost = true })
			}
			return lost
		})
		_, err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, size)))
		require.NoError(t, err)
		got, _ := f.Get("kintoun/a")
		require.Len(t, got, size)
		require.Empty(t, f.Unfinished())
		_, err = s.Put(t.Context(), "a", bytes.NewReader(make([]byte, size)))
		require.ErrorIs(t, err, fs.ErrExist)
	}
}

// TestReading reads in all ways, with connections that break every few reads.
func TestReading(t *testing.T) {
	_, server := newFake(t)
	want := random(3 << 20)
	_, err := open(t, server).Put(t.Context(), "a", bytes.NewReader(want))
	require.NoError(t, err)
	o := options(server)
	var asked []string
	o.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		response, err := server.Client().Transport.RoundTrip(r)
		if r.Method == http.MethodGet && err == nil {
			asked = append(asked, r.Header.Get("Range"))
			response.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(response.Body, 1<<20), iotest.ErrReader(errors.New("cut"))), response.Body}
		}
		return response, err
	})
	s, err := s3store.New(server.URL, s3fake.Bucket, o)
	require.NoError(t, err)
	f, err := s.Open(t.Context(), "a")
	require.NoError(t, err)

	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.Equal(t, []string{"bytes=0-3145727", "bytes=1048576-3145727", "bytes=2097152-3145727"}, asked)

	asked = nil
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	part := make([]byte, 1000)
	for _, at := range []int64{0, 5000, 400_000} {
		_, err = f.Seek(at, io.SeekStart)
		require.NoError(t, err)
		_, err = io.ReadFull(f, part)
		require.NoError(t, err)
		require.Equal(t, want[at:at+1000], part)
	}
	require.Len(t, asked, 1, "a short seek forward reads on")

	asked = nil
	require.NoError(t, iotest.TestReader(io.NewSectionReader(f, 0, 2<<20), want[:2<<20]))
	asked = nil
	got, err = io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want[:1<<20], got))
	require.LessOrEqual(t, len(asked), 5, "it reads ahead: %v", asked)

	got = make([]byte, 9<<20)
	n, err := f.ReadAt(got, 0)
	require.ErrorIs(t, err, io.EOF)
	require.True(t, bytes.Equal(want, got[:n]))
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Close(), fs.ErrClosed)
	_, err = f.Read(part)
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.ReadAt(part, 0)
	require.ErrorIs(t, err, fs.ErrClosed)
}

type transportFunc func(r *http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAContentThatIsReplaced is not read as if it were one with what was read before.
func TestAContentThatIsReplaced(t *testing.T) {
	fake, server := newFake(t)
	s := open(t, server)
	_, err := s.Put(t.Context(), "a", strings.NewReader("first"))
	require.NoError(t, err)
	f, err := s.Open(t.Context(), "a")
	require.NoError(t, err)
	fake.Put("kintoun/a", "other")
	_, err = f.Read(make([]byte, 5))
	require.ErrorContains(t, err, "it was replaced")
	require.NoError(t, f.Close())
}

// TestARemovalWaitsForReaders has what is open stay until it is closed, though nobody can open it any more.
func TestARemovalWaitsForReaders(t *testing.T) {
	fake, server := newFake(t)
	s := open(t, server)
	_, err := s.Put(t.Context(), "a", strings.NewReader("first"))
	require.NoError(t, err)
	f, err := s.Open(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, s.Remove(t.Context(), "a"))
	_, err = s.Open(t.Context(), "a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "first", string(got))
	require.NoError(t, f.Close())
	require.Empty(t, fake.Keys())
}

// TestFailuresLeaveNoUpload has a put in parts fail at its end: the upload is given up.
func TestFailuresLeaveNoUpload(t *testing.T) {
	f, server := newFake(t)
	s := open(t, server)
	cut := errors.New("the client has gone")
	_, err := s.Put(t.Context(), "a", io.MultiReader(bytes.NewReader(make([]byte, 11<<20)), iotest.ErrReader(cut)))
	require.ErrorIs(t, err, cut)
	require.Empty(t, f.Unfinished())
	ctx, cancel := context.WithCancel(t.Context())
	_, err = s.Put(ctx, "a", io.MultiReader(bytes.NewReader(make([]byte, 11<<20)), readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, f.Unfinished())
	// Another process is faster.
	_, err = s.Put(t.Context(), "a", io.MultiReader(bytes.NewReader(make([]byte, 11<<20)), readerFunc(func([]byte) (int, error) {
		f.Put("kintoun/a", "theirs")
		return 0, io.EOF
	})))
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
	_, err := s.Put(t.Context(), "a", strings.NewReader("x"))
	var said minio.ErrorResponse
	require.ErrorAs(t, err, &said)
	require.Equal(t, minio.AccessDenied, said.Code)
	_, err = s3store.New("ftp://host", s3fake.Bucket, nil)
	require.ErrorContains(t, err, "a URL of a host is wanted")
	_, err = s3store.New("https://host/path", s3fake.Bucket, nil)
	require.ErrorContains(t, err, "a URL of a host is wanted")
}

func TestProbe(t *testing.T) {
	f, server := newFake(t)
	require.NoError(t, s3store.Probe(t.Context(), server.URL, s3fake.Bucket, options(server)))
	require.Empty(t, f.Keys())
	for _, method := range []string{"PUT", "GET", "DELETE"} {
		f.Deny(method)
		require.ErrorIs(t, s3store.Probe(t.Context(), server.URL, s3fake.Bucket, options(server)), probe.ErrUnavailable, method)
	}
	f.Deny("")
	err := s3store.Probe(t.Context(), server.URL, "nowhere", options(server))
	require.ErrorContains(t, err, "bucket nowhere at "+server.URL+": missing, needed for the contents of images: create the bucket")
}

func Example() {
	ctx := context.Background()
	server := httptest.NewTLSServer(s3fake.New())
	defer server.Close()
	url, options := server.URL, options(server)

	s, err := s3store.New(url, "contents", options)
	if err != nil {
		fmt.Println(err)
		return
	}
	content, err := s.Put(ctx, "image-1", strings.NewReader("a disk"))
	fmt.Println(content.Size, content.MD5, err)
	f, err := s.Open(ctx, "image-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _ := io.ReadAll(f)
	fmt.Println(string(text), f.Close())
	// Output:
	// 6 9f3dcc17b3660ff7eb3be3e5f62f58c7 <nil>
	// a disk <nil>
}
