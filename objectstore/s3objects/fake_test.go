package s3objects_test

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
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeS3 is a service at the wire, with as much of Amazon's S3 API as contents need: objects, ranges, conditions, uploads in
// parts, listings by page, removal of many. It looks at no signature.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]*fakeUpload
	next    int
	page    int
	deny    string // a method that is forbidden
}

type fakeUpload struct {
	key   string
	parts map[int][]byte
}

// newFake serves a bucket "contents" for as long as the test lasts.
func newFake(t testing.TB) (*fakeS3, *httptest.Server) {
	f, server := serveFake()
	t.Cleanup(server.Close)
	return f, server
}

// serveFake uses TLS, because clients sign pieces of a body otherwise.
func serveFake() (*fakeS3, *httptest.Server) {
	f := &fakeS3{objects: map[string][]byte{}, uploads: map[string]*fakeUpload{}, page: 7}
	return f, httptest.NewTLSServer(f)
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

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fault(w, 400, "IncompleteBody")
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := r.URL.Query()
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := md5.Sum(body)
	switch want := r.Header.Get("Content-Md5"); {
	case bucket != "contents":
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
		f.upload(w, r, key, body)
	default:
		f.object(w, r, key, body)
	}
}

func (f *fakeS3) object(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	content, found := f.objects[key]
	switch {
	case r.Method == "DELETE":
		delete(f.objects, key)
		w.WriteHeader(204)
	case r.Method == "PUT" && found && r.Header.Get("If-None-Match") == "*":
		fault(w, 412, "PreconditionFailed")
	case r.Method == "PUT":
		f.objects[key] = body
		w.Header().Set("ETag", etag(body))
	case !found:
		fault(w, 404, "NoSuchKey")
	case strings.HasPrefix(r.Header.Get("Range"), "bytes=") && beyond(r.Header.Get("Range"), len(content)):
		fault(w, 416, "InvalidRange")
	default:
		w.Header().Set("ETag", etag(content))
		f.mu.Unlock() // who reads may wait for another request
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(content))
		f.mu.Lock()
	}
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

func (f *fakeS3) upload(w http.ResponseWriter, r *http.Request, key string, body []byte) {
	q := r.URL.Query()
	u := f.uploads[q.Get("uploadId")]
	switch {
	case r.Method == "POST" && q.Has("uploads"):
		f.next++
		id := strconv.Itoa(f.next)
		f.uploads[id] = &fakeUpload{key, map[int][]byte{}}
		answer(w, struct {
			XMLName     xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, Key string
			UploadID    string `xml:"UploadId"`
		}{Bucket: "contents", Key: key, UploadID: id})
	case u == nil || u.key != key:
		fault(w, 404, "NoSuchUpload")
	case r.Method == "PUT":
		number, _ := strconv.Atoi(q.Get("partNumber"))
		u.parts[number] = body
		w.Header().Set("ETag", etag(body))
	case r.Method == "DELETE":
		delete(f.uploads, q.Get("uploadId"))
		w.WriteHeader(204)
	case f.objects[key] != nil && r.Header.Get("If-None-Match") == "*":
		fault(w, 412, "PreconditionFailed")
	default:
		f.complete(w, q.Get("uploadId"), body)
	}
}

func (f *fakeS3) complete(w http.ResponseWriter, id string, body []byte) {
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
	f.objects[u.key] = content
	delete(f.uploads, id)
	answer(w, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: "contents", Key: u.key, ETag: `"x-1"`})
}

type listedKey struct {
	Key      string
	Size     int
	UploadID string `xml:"UploadId,omitempty"`
}

func (f *fakeS3) list(w http.ResponseWriter, prefix, after string) {
	var page []listedKey
	truncated := false
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if truncated = len(page) == f.page; truncated {
			break
		}
		page = append(page, listedKey{Key: key, Size: len(f.objects[key])})
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

func (f *fakeS3) listUploads(w http.ResponseWriter, prefix string) {
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

func (f *fakeS3) removeMany(w http.ResponseWriter, body []byte) {
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
