package swift

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kintoun/kintoun/objectstore"
)

func FuzzPath(f *testing.F) {
	for _, path := range []string{"/", "/v1", "/v1/a", "/v1/a/c/o", "/v1//c", "//v1/a", "/v1.0/a/c//../o", "/v1/a/c/\xff", "v1"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, err := splitPath(path)
		if err != nil {
			return
		}
		if !utf8.ValidString(p.Object) || strings.Contains(p.Container, "/") || strings.Contains(p.Account, "/") || p.Account == "" {
			t.Fatalf("%q is %+v", path, p)
		}
		back := "/" + p.Account + "/" + p.Container + "/" + p.Object
		if !strings.HasSuffix(strings.TrimRight(path, "/"), strings.TrimRight(back, "/")) {
			t.Fatalf("%q became %q", path, back)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, header := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=0-0,2-3", "bytes=9999999999999999999-", "bytes=1-0", "bytes=--1", "x"} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size = max(size, 0)
		spans, ok := parseRange(header, size)
		if len(spans) > maxRanges || !ok && spans != nil {
			t.Fatalf("%q: %d spans", header, len(spans))
		}
		for _, s := range spans {
			if s.offset < 0 || s.length < 1 || s.offset+s.length > size {
				t.Fatalf("%q of %d bytes is %+v", header, size, s)
			}
		}
		if len(spans) > 1 {
			p := newParts(spans, size, "text/plain")
			var b countingWriter
			if err := p.write(&b, func(s span) error { b.n += s.length; return nil }); err != nil || b.n != p.length() {
				t.Fatalf("%d bytes were written, and %d announced", b.n, p.length())
			}
		}
	})
}

type countingWriter struct{ n int64 }

func (c *countingWriter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func FuzzManifest(f *testing.F) {
	for _, text := range []string{
		`[]`, `[{"path": "/c/o", "etag": "x", "size_bytes": 5, "range": "1-2"}]`, `[{"data": "LS0="}, {"path": "c/o"}]`, `[{"path": null}]`,
		`[{"path": "c/o", "size_bytes": "7", "range": "-1", "etag": null}]`, `[[]]`, `{}`, `null`, `[{"data": null}]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		wishes, err := parseManifest(text, objectstore.Path{Container: "self", Object: "self"})
		if err != nil {
			return
		}
		for _, w := range wishes {
			if w.data == nil && (w.path.Container == "" || w.path.Object == "" || w.path.Container == "self" && w.path.Object == "self") {
				t.Fatalf("%s: %+v", text, w)
			}
		}
	})
}

func FuzzTempURL(f *testing.F) {
	f.Add("temp_url_sig=da39a3ee5e6b4b0d3255bfef95601890afd80709&temp_url_expires=2000000000&temp_url_prefix=x&temp_url_ip_range=10.0.0.0/8")
	f.Add("temp_url_sig=sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU&temp_url_expires=2033-05-18T03:33:20Z")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		u, err := parseTempURL(values, time.Unix(1, 0))
		if err != nil || u == nil {
			return
		}
		if newDigest(u.digest) == nil || len(u.signature) != 2*newDigest(u.digest)().Size() || u.expires < 1 {
			t.Fatalf("%q is %+v", query, u)
		}
		within(u.ipRange, "10.1.2.3:4")
	})
}

func FuzzNames(f *testing.F) {
	f.Add([]byte("c/o\n/c%2Fx\n\n %FF \r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		names, err := readNames(bytes.NewReader(text), 5, 20)
		if len(names) > 5 && err == nil {
			t.Fatal("too many names")
		}
		for _, name := range names {
			if name == "" || len(name) > 3*20+2 {
				t.Fatalf("%q", name)
			}
		}
	})
}

func FuzzArchive(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "./c/o", Size: 2, Mode: 0o600})
	_, _ = w.Write([]byte("hi"))
	_ = w.Close()
	for _, kind := range []string{"tar", "tar.gz", "tar.bz2"} {
		f.Add(kind, b.Bytes())
	}
	f.Fuzz(func(_ *testing.T, kind string, data []byte) {
		plain, err := unpack(kind, bytes.NewReader(data))
		if err != nil {
			return
		}
		archive := tar.NewReader(io.LimitReader(plain, 1<<20))
		for range 100 {
			if _, err := archive.Next(); err != nil {
				return
			}
		}
	})
}

func FuzzForm(f *testing.F) {
	f.Add("b", []byte("--b\r\nContent-Disposition: form-data; name=\"max_file_size\"\r\n\r\n5\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, boundary string, body []byte) {
		parts := multipart.NewReader(bytes.NewReader(body), boundary)
		form := &form{fields: map[string]string{}}
		for {
			part, err := parts.NextRawPart()
			if err != nil {
				break
			}
			if form.field("max_file_size", part) != nil {
				break
			}
		}
		_ = form.numbers()
		if len(form.fields["max_file_size"]) > maxFormValue {
			t.Fatal("a long value")
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("c/o", "1", "text/*;q=0.5, application/json", `"a", W/"b", *`)
	f.Fuzz(func(t *testing.T, path, number, accept, tags string) {
		h := http.Header{"X-Copy-From": {path}, "X-Delete-After": {number}, "If-Match": {tags}}
		if container, object, err := pathHeader(h, "X-Copy-From"); err == nil && (container == "" || object == "" || strings.Contains(container, "/")) {
			t.Fatalf("%q is %q and %q", path, container, object)
		}
		now := time.Unix(1_700_000_000, 0)
		if at, _, err := expiry(h, now); err == nil && !at.IsZero() && (!at.After(now) || at.Unix() > lastSecond) {
			t.Fatalf("%q is %s", number, at)
		}
		if kind, err := accepted(accept, reportTypes()...); err == nil && !strings.Contains(kind, "/") {
			t.Fatalf("%q is %q", accept, kind)
		}
		conditions(h)
		if back := unescape(escapePath(path)); back != path {
			t.Fatalf("%q became %q", path, back)
		}
		if _, err := segmentPrefix(path); err == nil && path != "" && !strings.Contains(path, "/") {
			t.Fatalf("%q names no segments", path)
		}
		if !json.Valid(newReport("application/json", "x", 200).render()) {
			t.Fatal("not JSON")
		}
	})
}
