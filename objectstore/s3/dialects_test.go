package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/require"
)

// What Swift's dialect writes, straight through the service, is read here: large objects, links, containers with names that no
// bucket has.
func TestWhatOtherDialectsWrote(t *testing.T) {
	s := newServer(t, nil)
	ctx := t.Context()
	at := func(container, object string) objectstore.Path {
		return objectstore.Path{Account: "alice", Container: container, Object: object}
	}
	put := func(path objectstore.Path, content string, info objectstore.ObjectInfo) *objectstore.Object {
		t.Helper()
		o, err := s.objects.Put(ctx, alice, path, objectstore.PutSpec{ObjectInfo: info, Size: int64(len(content))}, strings.NewReader(content))
		require.NoError(t, err)
		return o
	}
	for _, name := range []string{"Swift_Container", "segments"} {
		_, _, err := s.objects.CreateContainer(ctx, alice, at(name, ""), nil)
		require.NoError(t, err)
	}
	var segments []objectstore.Segment
	for i, text := range []string{"one ", "two ", "three"} {
		o := put(at("segments", fmt.Sprintf("big/%d", i)), text, objectstore.ObjectInfo{})
		segments = append(segments, objectstore.Segment{Container: "segments", Name: o.Name, ETag: o.ETag, Size: o.Size})
	}
	put(at("Swift_Container", "static"), "[]", objectstore.ObjectInfo{ContentType: "text/plain", Metadata: map[string]string{"colour": "blue"}, Segments: segments})
	put(at("Swift_Container", "dynamic"), "", objectstore.ObjectInfo{SegmentPrefix: "segments/big/"})
	put(at("Swift_Container", "link"), "", objectstore.ObjectInfo{Link: &objectstore.Link{Account: "alice", Container: "Swift_Container", Object: "static"}})
	for _, name := range []string{"static", "dynamic", "link"} {
		a := s.do("GET", "/Swift_Container/"+name, "").is(200, "")
		require.Equal(t, "one two three", a.body, name)
		require.Equal(t, "o three", s.do("GET", "/Swift_Container/"+name, "", "Range", "bytes=6-").is(206, "").body, name)
	}
	for _, name := range []string{"static", "link"} {
		part := s.do("GET", "/Swift_Container/"+name+"?partNumber=2", "").is(206, "")
		require.Equal(t, "two ", part.body)
		require.Equal(t, "bytes 4-7/13", part.header.Get("Content-Range"))
		require.Equal(t, "3", part.header.Get("X-Amz-Mp-Parts-Count"))
		s.do("GET", "/Swift_Container/"+name+"?partNumber=4", "").is(416, "InvalidPartNumber")
	}
	require.Equal(t, "blue", s.do("HEAD", "/Swift_Container/static", "").header.Get("X-Amz-Meta-Colour"))
	require.Contains(t, s.do("GET", "/Swift_Container", "").is(200, "").body, "<Key>static</Key>")
	require.Contains(t, s.do("GET", "/", "").is(200, "").body, "<Name>Swift_Container</Name>")

	// And the other way round.
	s.do("PUT", "/Swift_Container/s3", "content", "X-Amz-Meta-Colour", "red", "Cache-Control", "no-store").is(200, "")
	r, err := s.objects.Open(ctx, alice, at("Swift_Container", "s3"), objectstore.OpenSpec{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"colour": "red"}, r.Object.Metadata)
	require.Equal(t, "no-store", r.Object.Headers["Cache-Control"])
}

// fromKernel counts what was handed to the connection as a file.
type fromKernel struct {
	http.ResponseWriter
	files *atomic.Int64
}

func (f fromKernel) Unwrap() http.ResponseWriter { return f.ResponseWriter }

func (f fromKernel) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		r = l.R
	}
	if _, ok := r.(interface{ Fd() uintptr }); ok {
		f.files.Add(1)
	}
	return f.ResponseWriter.(io.ReaderFrom).ReadFrom(r)
}

func newFiles(t testing.TB) (*objectstore.Service, *atomic.Int64, *httptest.Server) {
	t.Helper()
	dir := t.TempDir()
	index, err := sqlitedb.Open(t.Context(), filepath.Join(dir, "index.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	store, err := fileobjects.New(t.Context(), filepath.Join(dir, "contents"), index, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	names, err := sqlitedb.Open(t.Context(), filepath.Join(dir, "names.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, names.Close()) })
	objects, err := objectstore.New(t.Context(), names, store, nil)
	require.NoError(t, err)
	files := &atomic.Int64{}
	h := s3.Handler(objects, keys, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(fromKernel{w, files}, r) }))
	t.Cleanup(server.Close)
	return objects, files, server
}

func TestFilesGoOutByTheKernel(t *testing.T) {
	_, files, server := newFiles(t)
	s := &filed{t, server}
	content := strings.Repeat("0123456789", 100000)
	s.do("PUT", "/mine", "")
	s.do("PUT", "/mine/key", content)
	require.Equal(t, content, s.do("GET", "/mine/key", ""))
	require.EqualValues(t, 1, files.Load())
	require.Equal(t, content[5:500000], s.do("GET", "/mine/key", "", "Range", "bytes=5-499999"))
	require.EqualValues(t, 2, files.Load())
}

// BenchmarkObjects puts and gets objects of files over one connection.
func BenchmarkObjects(b *testing.B) {
	_, _, server := newFiles(b)
	s := &filed{b, server}
	s.do("PUT", "/mine", "")
	for _, size := range []int{1 << 10, 64 << 10, 16 << 20} {
		content := strings.Repeat("x", size)
		b.Run(fmt.Sprintf("put/%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				s.do("PUT", fmt.Sprintf("/mine/%d", size), content)
			}
		})
		b.Run(fmt.Sprintf("get/%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				s.skip(fmt.Sprintf("/mine/%d", size))
			}
		})
	}
}

type filed struct {
	t testing.TB
	*httptest.Server
}

func (s *filed) send(method, path, body string, headers ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.Client().Do(signer.SignV4(*r, access, secret, "", region))
	require.NoError(s.t, err)
	require.Less(s.t, response.StatusCode, 300)
	return response
}

func (s *filed) do(method, path, body string, headers ...string) string {
	s.t.Helper()
	response := s.send(method, path, body, headers...)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return string(text)
}

func (s *filed) skip(path string) {
	response := s.send(http.MethodGet, path, "")
	defer func() { _ = response.Body.Close() }()
	_, err := io.Copy(io.Discard, response.Body)
	require.NoError(s.t, err)
}
