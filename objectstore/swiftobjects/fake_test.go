package swiftobjects_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// fakeSwift is a Swift at the wire, with as much of its API as contents need: objects, ranges, conditions, static large objects
// whose segments are read when their turn comes, and listings by page with a delimiter.
type fakeSwift struct {
	mu        sync.Mutex
	objects   map[string][]byte
	manifests map[string][]string
	page      int
	deny      string // a method that is forbidden
}

// newFake serves a container "contents" for as long as the test lasts.
func newFake(t testing.TB) (*fakeSwift, *gophercloud.ServiceClient) {
	f, server, client := serveFake()
	t.Cleanup(server.Close)
	return f, client
}

func serveFake() (*fakeSwift, *httptest.Server, *gophercloud.ServiceClient) {
	f := &fakeSwift{objects: map[string][]byte{}, manifests: map[string][]string{}, page: 7}
	server := httptest.NewServer(f)
	provider := &gophercloud.ProviderClient{HTTPClient: *server.Client(), TokenID: "token"}
	return f, server, &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + "/v1/AUTH_test/", Type: "object-store"}
}

func (f *fakeSwift) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	name, found := strings.CutPrefix(r.URL.Path, "/v1/AUTH_test/contents")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		w.WriteHeader(499)
	case !found || r.Header.Get("X-Auth-Token") != "token":
		w.WriteHeader(404)
	case r.Method == f.deny:
		w.WriteHeader(403)
	case strings.Trim(name, "/") == "":
		f.list(w, r)
	case r.Method == "PUT":
		f.put(w, r, strings.TrimPrefix(name, "/"), body)
	default:
		f.object(w, r, strings.TrimPrefix(name, "/"))
	}
}

func (f *fakeSwift) put(w http.ResponseWriter, r *http.Request, name string, body []byte) {
	_, found := f.objects[name]
	sum := md5.Sum(body)
	switch want := r.Header.Get("ETag"); {
	case found && r.Header.Get("If-None-Match") == "*":
		w.WriteHeader(412)
	case want != "" && want != hex.EncodeToString(sum[:]):
		w.WriteHeader(422)
	case r.URL.Query().Get("multipart-manifest") == "put":
		var lines []struct {
			Path, ETag string
			Size       int `json:"size_bytes"`
		}
		if json.Unmarshal(body, &lines) != nil || len(lines) == 0 {
			w.WriteHeader(400)
			return
		}
		var list []string
		for _, line := range lines {
			segment := strings.TrimPrefix(line.Path, "/contents/")
			sum := md5.Sum(f.objects[segment])
			if len(f.objects[segment]) != line.Size || hex.EncodeToString(sum[:]) != line.ETag {
				w.WriteHeader(400)
				return
			}
			list = append(list, segment)
		}
		f.objects[name], f.manifests[name] = body, list
		w.WriteHeader(201)
	default:
		f.objects[name] = body
		w.WriteHeader(201)
	}
}

func (f *fakeSwift) object(w http.ResponseWriter, r *http.Request, name string) {
	content, found := f.objects[name]
	if !found {
		w.WriteHeader(404)
		return
	}
	if r.Method == "DELETE" {
		delete(f.objects, name)
		delete(f.manifests, name)
		w.WriteHeader(204)
		return
	}
	var whole io.ReadSeeker = bytes.NewReader(content)
	if list, large := f.manifests[name]; large {
		size := 0
		for _, segment := range list {
			size += len(f.objects[segment])
		}
		whole = io.NewSectionReader(&largeObject{f, list, len(f.objects[list[0]])}, 0, int64(size))
		w.Header().Set("X-Static-Large-Object", "True")
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	f.mu.Unlock() // who reads may wait for another request
	defer f.mu.Lock()
	http.ServeContent(w, r, "", time.Unix(1, 0), whole)
}

// largeObject finds segments when they are read.
type largeObject struct {
	f    *fakeSwift
	list []string
	each int // bytes in a segment
}

func (l *largeObject) ReadAt(p []byte, offset int64) (int, error) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	n := 0
	for n < len(p) {
		at := int(offset) + n
		if at/l.each >= len(l.list) {
			return n, io.EOF
		}
		segment, ok := l.f.objects[l.list[at/l.each]]
		if !ok {
			return n, fmt.Errorf("segment %d is gone", at/l.each)
		}
		more := 0
		if from := at % l.each; from < len(segment) {
			more = copy(p[n:], segment[from:])
		}
		if more == 0 {
			return n, io.EOF
		}
		n += more
	}
	return n, nil
}

func (f *fakeSwift) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	prefix, marker, limit := q.Get("prefix"), q.Get("marker"), f.page
	if n, err := strconv.Atoi(q.Get("limit")); err == nil {
		limit = min(n, limit)
	}
	page, last := []map[string]any{}, ""
	for _, name := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(name, prefix) || len(page) == limit {
			continue
		}
		entry := map[string]any{"name": name, "bytes": len(f.objects[name]), "hash": "x", "content_type": "x", "last_modified": "2026-01-01T00:00:00.000000"}
		if i := strings.Index(name[len(prefix):], "/"); i >= 0 && q.Get("delimiter") == "/" {
			name = name[:len(prefix)+i+1]
			entry = map[string]any{"subdir": name}
		}
		if name > marker && name != last {
			page = append(page, entry)
		}
		last = name
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(page)
}
