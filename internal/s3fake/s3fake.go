// Package s3fake is a service at the wire with as much of Amazon's S3 API as contents need: objects with ranges, conditions and
// metadata, uploads in parts, listings by page, removal of many. The tests of what keeps contents in a bucket use it, so that
// the client that they drive is the real one. It looks at no signature, and keeps everything in memory.
package s3fake

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bucket is the only one that there is.
const Bucket = "contents"

// Server is the service, an http.Handler. Create it with [New]; serve it over TLS, because clients sign pieces of a body
// otherwise. It is safe for concurrent use.
type Server struct {
	mu      sync.Mutex
	objects map[string]object
	uploads map[string]*upload
	next    int
	page    int
	deny    string
	lose    func(r *http.Request) bool
}

type object struct {
	content []byte
	meta    http.Header
}

type upload struct {
	key   string
	meta  http.Header
	parts map[int][]byte
}

// New returns a service with an empty [Bucket].
func New() *Server {
	return &Server{objects: map[string]object{}, uploads: map[string]*upload{}, page: 7}
}

// Put makes an object, or replaces it.
func (f *Server) Put(key, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects[key] = object{content: []byte(content)}
}

// Get is an object's content; false if there is none.
func (f *Server) Get(key string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, found := f.objects[key]
	return string(o.content), found
}

// Keys are those of all objects, in order.
func (f *Server) Keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

// Leave makes an upload of one part that nobody finishes, as a killed process leaves it.
func (f *Server) Leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	f.uploads[strconv.Itoa(f.next)] = &upload{key: key, parts: map[int][]byte{1: []byte("half")}}
}

// Unfinished are the keys of the uploads that are not finished, in order.
func (f *Server) Unfinished() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	for _, u := range f.uploads {
		keys = append(keys, u.key)
	}
	slices.Sort(keys)
	return keys
}

// Deny forbids requests of a method; empty forbids none.
func (f *Server) Deny(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deny = method
}

// Lose breaks the connection after a request was done, whenever lose says so: the client never hears of it.
func (f *Server) Lose(lose func(r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = lose
}

func fault(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(v)
}

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fault(w, 400, "IncompleteBody")
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lose != nil && f.lose(r) {
		defer panic(http.ErrAbortHandler)
		w = deaf{http.Header{}}
	}
	sum := md5.Sum(body)
	switch want := r.Header.Get("Content-Md5"); {
	case bucket != Bucket:
		fault(w, 404, "NoSuchBucket")
	case r.Method == f.deny:
		fault(w, 403, "AccessDenied")
	case want != "" && want != base64.StdEncoding.EncodeToString(sum[:]):
		fault(w, 400, "BadDigest")
	case key == "" && r.Method == "POST":
		f.removeMany(w, body)
	case key == "" && q.Has("uploads"):
		f.listUploads(w, q.Get("prefix"))
	case key == "":
		f.list(w, q.Get("prefix"), q.Get("continuation-token"))
	case q.Has("uploads") || q.Has("uploadId"):
		f.uploading(w, r, key, body)
	default:
		f.one(w, r, key, body)
	}
}

func (f *Server) one(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	o, found := f.objects[key]
	switch {
	case r.Method == "DELETE":
		delete(f.objects, key)
		w.WriteHeader(204)
	case r.Method == "PUT" && found && r.Header.Get("If-None-Match") == "*":
		fault(w, 412, "PreconditionFailed")
	case r.Method == "PUT":
		f.objects[key] = object{body, metadata(r)}
		w.Header().Set("ETag", etag(body))
	case !found:
		fault(w, 404, "NoSuchKey")
	case strings.HasPrefix(r.Header.Get("Range"), "bytes=") && beyond(r.Header.Get("Range"), len(o.content)):
		fault(w, 416, "InvalidRange")
	default:
		maps.Copy(w.Header(), o.meta)
		w.Header().Set("ETag", etag(o.content))
		f.mu.Unlock() // who reads may wait for another request
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(o.content))
		f.mu.Lock()
	}
}

// deaf is an answer that is not heard.
type deaf struct{ header http.Header }

func (d deaf) Header() http.Header         { return d.header }
func (d deaf) Write(p []byte) (int, error) { return len(p), nil }
func (d deaf) WriteHeader(int)             {}

// metadata are the headers of a request that are kept with the object.
func metadata(r *http.Request) http.Header {
	kept := http.Header{}
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			kept[name] = values
		}
	}
	return kept
}

func beyond(header string, size int) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	n, err := strconv.Atoi(first)
	return err == nil && n >= size
}

func etag(b []byte) string {
	sum := md5.Sum(b)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (f *Server) uploading(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	q := r.URL.Query()
	u := f.uploads[q.Get("uploadId")]
	_, taken := f.objects[key]
	switch {
	case r.Method == "POST" && q.Has("uploads"):
		f.next++
		id := strconv.Itoa(f.next)
		f.uploads[id] = &upload{key, metadata(r), map[int][]byte{}}
		answer(w, struct {
			XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, Key string
			UploadID    string `xml:"UploadId"`
		}{Bucket: Bucket, Key: key, UploadID: id})
	case u == nil || u.key != key:
		fault(w, 404, "NoSuchUpload")
	case r.Method == "PUT":
		number, _ := strconv.Atoi(q.Get("partNumber"))
		u.parts[number] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == "DELETE":
		delete(f.uploads, q.Get("uploadId"))
		w.WriteHeader(204)
	case taken && r.Header.Get("If-None-Match") == "*":
		fault(w, 412, "PreconditionFailed")
	default:
		f.complete(w, q.Get("uploadId"), body)
	}
}

func (f *Server) complete(w http.ResponseWriter, id string, body []byte) {
	u := f.uploads[id]
	var order struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	_ = xml.Unmarshal(body, &order)
	var content []byte
	for i, part := range order.Part {
		b, ok := u.parts[part.PartNumber]
		if !ok || strings.Trim(part.ETag, `"`) != strings.Trim(etag(b), `"`) {
			fault(w, 400, "InvalidPart")
			return
		}
		if i < len(order.Part)-1 && len(b) < 5<<20 {
			fault(w, 400, "EntityTooSmall")
			return
		}
		content = append(content, b...)
	}
	f.objects[u.key] = object{content, u.meta}
	delete(f.uploads, id)
	answer(w, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: Bucket, Key: u.key, ETag: `"x-1"`})
}

type listedKey struct {
	Key      string
	Size     int
	UploadID string `xml:"UploadId,omitempty"`
}

func (f *Server) list(w http.ResponseWriter, prefix, after string) {
	var page []listedKey
	truncated := false
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if truncated = len(page) == f.page; truncated {
			break
		}
		page = append(page, listedKey{Key: key, Size: len(f.objects[key].content)})
	}
	next := ""
	if truncated {
		next = page[len(page)-1].Key
	}
	answer(w, struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string
		Contents              []listedKey
	}{IsTruncated: truncated, NextContinuationToken: next, Contents: page})
}

func (f *Server) listUploads(w http.ResponseWriter, prefix string) {
	var list []listedKey
	for id, u := range f.uploads {
		if strings.HasPrefix(u.key, prefix) {
			list = append(list, listedKey{Key: u.key, UploadID: id})
		}
	}
	answer(w, struct {
		XMLName xml.Name `xml:"ListMultipartUploadsResult"`
		Upload  []listedKey
	}{Upload: list})
}

func (f *Server) removeMany(w http.ResponseWriter, body []byte) {
	var order struct{ Object []struct{ Key string } }
	_ = xml.Unmarshal(body, &order)
	var gone []listedKey
	for _, o := range order.Object {
		delete(f.objects, o.Key)
		gone = append(gone, listedKey{Key: o.Key})
	}
	answer(w, struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []listedKey
	}{Deleted: gone})
}
