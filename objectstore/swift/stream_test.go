package swift_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/fileobjects"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/stretchr/testify/require"
)

// kernel is an answer that notes what it is to be read from, as a connection that can send files does.
type kernel struct {
	*httptest.ResponseRecorder
	from []string
}

func (k *kernel) ReadFrom(r io.Reader) (int64, error) {
	if l, limited := r.(*io.LimitedReader); limited {
		k.from = append(k.from, fmt.Sprintf("%d bytes of %T", l.N, l.R))
	} else {
		_, file := r.(interface{ Stat() (os.FileInfo, error) })
		k.from = append(k.from, fmt.Sprintf("file: %t", file))
	}
	return io.Copy(k.ResponseRecorder, r)
}

// TestFilesAreSentByTheKernel looks at what a connection is given to send.
func TestFilesAreSentByTheKernel(t *testing.T) {
	index, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, index.Close()) })
	files, err := fileobjects.New(t.Context(), t.TempDir(), index, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, files.Close()) })
	s := newSiteOver(t, files, nil, nil)
	content := strings.Repeat("0123456789", 200_000)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "c/o", content)
	require.Equal(t, content, s.alice(200, "GET", "c/o", "").body)
	for header, want := range map[string]string{"": content, "bytes=10-1000019": content[10:1000020]} {
		r := httptest.NewRequest("GET", "/v1/AUTH_alice/c/o", nil)
		r.Header.Set("X-Auth-Token", "alice")
		r.Header.Set("Range", header)
		w := &kernel{ResponseRecorder: httptest.NewRecorder()}
		s.Config.Handler.ServeHTTP(w, r)
		require.Equal(t, md5Of(want), md5Of(w.Body.String()))
		require.Len(t, w.from, 1)
		require.Contains(t, []string{"file: true", fmt.Sprintf("%d bytes of *os.File", len(want))}, w.from[0])
	}
}

// TestALostSegmentCutsTheAnswer keeps a client from taking half an object for a whole one.
func TestALostSegmentCutsTheAnswer(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "c/1", strings.Repeat("1", 100_000))
	s.alice(201, "PUT", "c/2", "2")
	s.alice(201, "PUT", "c/slo?multipart-manifest=put", `[{"path": "c/1"}, {"path": "c/2"}]`)
	s.alice(204, "DELETE", "c/2", "")
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/v1/AUTH_alice/c/slo", nil)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", "alice")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, answer.Body.Close())
	require.True(t, err != nil || answer.StatusCode == 409, "%d", answer.StatusCode)
}

func benchmarkSite(b *testing.B) func(method, path string, body io.Reader, size int64) int {
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	store, err := objectstore.New(context.Background(), db, memobjects.New(nil), nil)
	require.NoError(b, err)
	h := swift.Handler(store, tokens{}, nil)
	ask := func(method, path string, body io.Reader, size int64) int {
		r, w := httptest.NewRequest(method, "/v1/AUTH_alice/"+path, body), httptest.NewRecorder()
		r.ContentLength = size
		r.Header.Set("X-Auth-Token", "alice")
		r.Header.Set("Content-Length", fmt.Sprint(size))
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(b, 201, ask("PUT", "c", http.NoBody, 0))
	return ask
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ask := benchmarkSite(b)
			content := bytes.Repeat([]byte("x"), size)
			b.SetBytes(int64(size))
			for b.Loop() {
				if code := ask("PUT", "c/o", bytes.NewReader(content), int64(size)); code != 201 {
					b.Fatal(code)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ask := benchmarkSite(b)
			require.Equal(b, 201, ask("PUT", "c/o", bytes.NewReader(make([]byte, size)), int64(size)))
			b.SetBytes(int64(size))
			for b.Loop() {
				if code := ask("GET", "c/o", http.NoBody, 0); code != 200 {
					b.Fatal(code)
				}
			}
		})
	}
}

func BenchmarkList10000(b *testing.B) {
	ask := benchmarkSite(b)
	for i := range 10_000 {
		require.Equal(b, 201, ask("PUT", fmt.Sprintf("c/%05d", i), http.NoBody, 0))
	}
	for b.Loop() {
		if code := ask("GET", "c?format=json", http.NoBody, 0); code != 200 {
			b.Fatal(code)
		}
	}
}
