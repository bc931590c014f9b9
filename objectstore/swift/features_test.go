package swift_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

func mac(digest func() hash.Hash, key, text string) []byte {
	m := hmac.New(digest, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// temporary is the query of a temporary URL.
func temporary(digest func() hash.Hash, key, method, path string, expires int64, more string) string {
	ip := ""
	if _, text, found := strings.Cut(more, "temp_url_ip_range="); found {
		ip = "ip=" + text + "\n"
	}
	signature := mac(digest, key, fmt.Sprintf("%s%s\n%d\n%s", ip, method, expires, path))
	return fmt.Sprintf("?temp_url_sig=%s&temp_url_expires=%d%s", hex.EncodeToString(signature), expires, more)
}

func TestTemporaryURLs(t *testing.T) {
	s := newSite(t, nil)
	s.alice(204, "POST", "", "", "X-Account-Meta-Temp-Url-Key", "one", "X-Account-Meta-Temp-Url-Key-2", "two")
	s.alice(201, "PUT", "c", "", "X-Container-Meta-Temp-Url-Key", "three", "X-Container-Meta-Temp-Url-Key-2", "four")
	s.alice(201, "PUT", "c/dir/a%20b", "content", "X-Object-Meta-Secret", "1", "X-Object-Meta-Public-X", "2")
	s.alice(201, "PUT", "c/other", "other")
	const path = "/v1/AUTH_alice/c/dir/a b"
	later := time.Now().Add(time.Hour).Unix()
	ask := func(method, object, query string) reply { return s.do(method, "c/"+object+query, nil, "") }

	for _, key := range []string{"one", "two", "three", "four"} {
		for _, digest := range []func() hash.Hash{sha1.New, sha256.New, sha512.New} {
			r := ask("GET", "dir/a%20b", temporary(digest, key, "GET", path, later, ""))
			require.Equal(t, 200, r.StatusCode)
			require.Equal(t, "content", r.body)
			require.Equal(t, `attachment; filename="a b"; filename*=UTF-8''a%20b`, r.Header.Get("Content-Disposition"))
			require.NotEmpty(t, r.Header.Get("Expires"))
			require.NotContains(t, r.Header, "X-Object-Meta-Secret")
			require.Contains(t, r.Header, "X-Object-Meta-Public-X")
		}
	}
	good := temporary(sha256.New, "one", "GET", path, later, "")
	require.Equal(t, 200, ask("HEAD", "dir/a%20b", good).StatusCode)
	require.Equal(t, "inline", ask("GET", "dir/a%20b", good+"&inline").Header.Get("Content-Disposition"))
	require.Equal(t, `attachment; filename="x%22y"; filename*=UTF-8''x%22y`, ask("GET", "dir/a%20b", good+"&filename=x%22y").Header.Get("Content-Disposition"))
	encoded := "sha512:" + base64.RawURLEncoding.EncodeToString(mac(sha512.New, "one", fmt.Sprintf("GET\n%d\n%s", later, path)))
	require.Equal(t, 200, ask("GET", "dir/a%20b", fmt.Sprintf("?temp_url_sig=%s&temp_url_expires=%d", encoded, later)).StatusCode)
	iso := time.Unix(later, 0).UTC().Format("2006-01-02T15:04:05Z")
	require.Equal(t, 200, ask("GET", "dir/a%20b", strings.Replace(good, fmt.Sprint(later), iso, 1)).StatusCode)
	prefix := temporary(sha1.New, "one", "GET", "prefix:/v1/AUTH_alice/c/dir/", later, "&temp_url_prefix=dir/")
	require.Equal(t, 200, ask("GET", "dir/a%20b", prefix).StatusCode)
	require.Equal(t, 200, ask("GET", "dir/a%20b", temporary(sha1.New, "one", "GET", path, later, "&temp_url_ip_range=127.0.0.0/8")).StatusCode)

	for name, r := range map[string]reply{
		"another object":       ask("GET", "other", good),
		"another prefix":       ask("GET", "other", prefix),
		"a changed prefix":     ask("GET", "other", strings.Replace(prefix, "prefix=dir/", "prefix=", 1)),
		"another method":       ask("DELETE", "dir/a%20b", good),
		"a container":          ask("GET", "", good),
		"an old one":           ask("GET", "dir/a%20b", temporary(sha1.New, "one", "GET", path, 1, "")),
		"a later one":          ask("GET", "dir/a%20b", strings.Replace(good, fmt.Sprint(later), fmt.Sprint(later+1), 1)),
		"a wrong key":          ask("GET", "dir/a%20b", temporary(sha1.New, "five", "GET", path, later, "")),
		"no key":               ask("GET", "dir/a%20b", temporary(sha1.New, "", "GET", path, later, "")),
		"no expiry":            ask("GET", "dir/a%20b", strings.Split(good, "&")[0]),
		"no signature":         ask("GET", "dir/a%20b", "?temp_url_expires=9999999999"),
		"a short signature":    ask("GET", "dir/a%20b", "?temp_url_sig=abcd&temp_url_expires=9999999999"),
		"an unknown digest":    ask("GET", "dir/a%20b", "?temp_url_sig=md5:abcd&temp_url_expires=9999999999"),
		"another address":      ask("GET", "dir/a%20b", temporary(sha1.New, "one", "GET", path, later, "&temp_url_ip_range=10.0.0.1")),
		"an address unsigned":  ask("GET", "dir/a%20b", good+"&temp_url_ip_range=127.0.0.1"),
		"a malformed address":  ask("GET", "dir/a%20b", temporary(sha1.New, "one", "GET", path, later, "&temp_url_ip_range=127.0.0.1/8")),
		"a copy":               ask("COPY", "dir/a%20b", temporary(sha1.New, "one", "COPY", path, later, "")),
		"a valid token beside": s.do("GET", "c/other"+good, as("alice"), ""),
	} {
		require.Equal(t, 401, r.StatusCode, name)
		require.Equal(t, "401 Unauthorized: Temp URL invalid\n", r.body, name)
	}

	put := temporary(sha256.New, "three", "PUT", "/v1/AUTH_alice/c/new", later, "")
	require.Equal(t, 201, s.do("PUT", "c/new"+put, nil, "uploaded").StatusCode)
	require.Equal(t, 200, ask("HEAD", "new", put).StatusCode)
	require.Equal(t, 401, ask("GET", "new", put).StatusCode)
	require.Equal(t, 400, s.do("PUT", "c/new"+put, as("", "X-Object-Manifest", "c/dir"), "").StatusCode)
	require.Equal(t, 400, s.do("PUT", "c/new"+put, as("", "X-Symlink-Target", "c/other"), "").StatusCode)
	require.Equal(t, 401, s.do("PUT", "c/new"+put, as("", "X-Copy-From", "c/other"), "").StatusCode)
	require.Equal(t, 201, s.do("PUT", "c/new"+put+"&multipart-manifest=put", nil, "not a manifest").StatusCode)
	require.Equal(t, "not a manifest", s.alice(200, "GET", "c/new", "").body)
	require.Equal(t, 204, s.do("DELETE", "c/new"+temporary(sha1.New, "one", "DELETE", "/v1/AUTH_alice/c/new", later, ""), nil, "").StatusCode)
}

// formOf is a form with the fields and files, a name and its content each, signed with the key.
func formOf(key, path string, fields map[string]string, files ...string) (kind, body string) {
	f := func(name string) string { return fields[name] }
	text := strings.Join([]string{path, f("redirect"), f("max_file_size"), f("max_file_count"), f("expires")}, "\n")
	var b strings.Builder
	part := func(header, value string) { b.WriteString("----form--\r\n" + header + "\r\n\r\n" + value + "\r\n") }
	for name, value := range fields {
		part(`Content-Disposition: form-data; name="`+name+`"`, value)
	}
	part(`Content-Disposition: form-data; name="signature"`, hex.EncodeToString(mac(sha256.New, key, text)))
	for i := 0; i < len(files); i += 2 {
		part(`Content-Disposition: form-data; name="file"; filename="`+files[i]+"\"\r\nContent-Type: text/x", files[i+1])
	}
	return "multipart/form-data; boundary=--form--", b.String() + "----form----\r\n"
}

func TestForms(t *testing.T) {
	s := newSite(t, nil)
	s.alice(204, "POST", "", "", "X-Account-Meta-Temp-Url-Key", "key")
	s.alice(201, "PUT", "c", "")
	later := fmt.Sprint(time.Now().Add(time.Hour).Unix())
	fields := func(more ...string) map[string]string {
		f := map[string]string{"max_file_size": "100", "max_file_count": "2", "expires": later, "redirect": ""}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	post := func(status int, path, key string, f map[string]string, files ...string) reply {
		t.Helper()
		kind, body := formOf(key, "/v1/AUTH_alice/"+path, f, files...)
		r := s.do("POST", path, as("", "Content-Type", kind), body)
		require.Equal(t, status, r.StatusCode, r.body)
		return r
	}
	require.Equal(t, "201 Created", post(201, "c/pre_", "key", fields(), "a.txt", "hello", "dir/b", "").body)
	r := s.alice(200, "GET", "c/pre_a.txt", "")
	require.Equal(t, "hello", r.body)
	require.Equal(t, "text/x", r.Header.Get("Content-Type"))
	s.alice(200, "GET", "c/pre_dir/b", "")
	post(201, "c", "key", fields("x_delete_after", "100", "content-type", "text/y"), "root", "x")
	r = s.alice(200, "HEAD", "c/root", "")
	require.Equal(t, "text/y", r.Header.Get("Content-Type"))
	require.NotEmpty(t, r.Header.Get("X-Delete-At"))
	r = post(303, "c/pre_", "key", fields("redirect", "http://x/y?z"), "c", "x")
	require.Equal(t, "http://x/y?z&status=201&message=", r.Header.Get("Location"))
	r = post(303, "c/pre_", "key", fields("redirect", "http://x/y"), "c", strings.Repeat("x", 101))
	require.Equal(t, "http://x/y?status=400&message=max_file_size%20exceeded", r.Header.Get("Location"))

	require.Equal(t, "FormPost: Form Expired", post(401, "c/pre_", "key", fields("expires", "1"), "a", "x").body)
	require.Equal(t, "FormPost: Invalid Signature", post(401, "c/pre_", "wrong", fields(), "a", "x").body)
	require.Equal(t, "FormPost: max_file_size exceeded", post(400, "c/no_", "key", fields(), "large", strings.Repeat("x", 101)).body)
	require.Equal(t, "FormPost: Max File Count Exceeded", post(400, "c/no_", "key", fields("max_file_count", "0"), "a", "x").body)
	require.Equal(t, "FormPost: No Files To Process", post(400, "c/no_", "key", fields()).body)
	post(400, "c/no_", "key", fields("max_file_size", "many"), "a", "x")
	post(400, "c/no_", "key", fields("x_delete_at", "soon"), "a", "x")
	require.Equal(t, 400, s.do("POST", "c/no_", as("", "Content-Type", "multipart/form-data; boundary=x"), "nonsense").StatusCode)
	s.alice(204, "GET", "c?prefix=no_", "")
}

func TestSites(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Read", ".r:*,.rlistings")
	s.alice(201, "PUT", "c/index.html", "welcome")
	s.alice(201, "PUT", "c/sub/index.html", "below")
	s.alice(201, "PUT", "c/dir/%3Cx%3E.txt", strings.Repeat("x", 2048))
	s.alice(201, "PUT", "c/404error.html", "gone fishing")
	s.alice(201, "PUT", "c/marker", "", "Content-Type", "application/directory")
	get := func(path string) reply { return s.do("GET", path, nil, "") }
	require.Contains(t, get("c").body, "index.html\n")

	s.alice(204, "POST", "c", "", "X-Container-Meta-Web-Index", "index.html")
	r := get("c")
	require.Equal(t, 301, r.StatusCode)
	require.Equal(t, s.URL+"/v1/AUTH_alice/c/", r.Header.Get("Location"))
	require.Equal(t, "welcome", get("c/").body)
	require.Equal(t, md5Of("welcome"), get("c/").Header.Get("Etag"))
	require.Equal(t, 301, get("c/sub").StatusCode)
	require.Equal(t, "below", get("c/sub/").body)
	require.Equal(t, 404, get("c/nothing").StatusCode)
	r = get("c/dir/")
	require.Equal(t, 404, r.StatusCode)
	require.Contains(t, r.body, "Web Listing Disabled")

	s.alice(204, "POST", "c", "", "X-Container-Meta-Web-Error", "error.html", "X-Container-Meta-Web-Listings", "true")
	r = get("c/nothing")
	require.Equal(t, 404, r.StatusCode)
	require.Equal(t, "gone fishing", r.body)
	require.Equal(t, 301, get("c/dir").StatusCode)
	r = get("c/dir/")
	require.Equal(t, 200, r.StatusCode)
	require.Contains(t, r.body, `<a href="./%3Cx%3E%2Etxt">&lt;x&gt;.txt</a>`)
	require.Contains(t, r.body, ">2Ki<")
	require.Contains(t, r.body, "../</a>")
	require.Equal(t, 404, get("c/marker").StatusCode)
	s.alice(204, "POST", "c", "", "X-Container-Meta-Web-Index", "", "X-Container-Meta-Web-Listings-Css", "listings.css")
	require.Contains(t, get("c/").body, `<link rel="stylesheet" type="text/css" href="listings.css" />`)
	require.Contains(t, get("c/dir/").body, `href="../listings.css" />`)

	// With a token it is a container like others, unless a page is asked for.
	require.Contains(t, s.alice(200, "GET", "c", "").body, "index.html\n")
	require.Contains(t, s.alice(200, "GET", "c/", "", "X-Web-Mode", "true").body, "Listing of /v1/AUTH_alice/c/")
	s.alice(204, "POST", "c", "", "X-Container-Read", "")
	require.Equal(t, 401, get("c/").StatusCode)
	require.Equal(t, 401, get("c/index.html").StatusCode)
}

// archive is a tar of names and contents.
func archive(t testing.TB, files ...string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o600, PAXRecords: map[string]string{
			"SCHILY.xattr.user.meta.Color": "red", "SCHILY.xattr.user.mime_type": "text/x",
		}}))
		_, err := w.Write([]byte(files[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.String()
}

func TestArchives(t *testing.T) {
	s := newSite(t, nil)
	files := archive(t, "c/a", "1", "./c/dir/b", "22", "/d/x", "", "base", "ignored")
	r := s.alice(200, "PUT", "?extract-archive=tar", files, "Accept", "application/json", "X-Object-Meta-From", "tar")
	require.JSONEq(t, `{"Number Files Created": 3, "Response Status": "201 Created", "Response Body": "", "Errors": []}`, r.body)
	require.Equal(t, "22", s.alice(200, "GET", "c/dir/b", "").body)
	head := s.alice(200, "HEAD", "c/a", "")
	require.Equal(t, "red", head.Header.Get("X-Object-Meta-Color"))
	require.Equal(t, "tar", head.Header.Get("X-Object-Meta-From"))
	require.Equal(t, "text/x", head.Header.Get("Content-Type"))

	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(archive(t, "in", "3")))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.Contains(t, s.alice(200, "PUT", "e/below?extract-archive=tar.gz", zipped.String()).body, "Number Files Created: 1\nResponse Body: \nResponse Status: 201 Created\nErrors:\n")
	require.Equal(t, "3", s.alice(200, "GET", "e/below/in", "").body)

	squeezed, err := base64.StdEncoding.DecodeString("QlpoOTFBWSZTWbi1xUwAAG77gMmAAADAAN8AAAJ4AB4QCAggAFRCAADQMgikQA0BoH3uJJEMrERNKxeUywuQSAgrSYzgTiSC62Iqro+A+TXUQzSQiIB8XckU4UJC4tcVMA==") // Go does not compress so
	require.NoError(t, err)
	s.alice(200, "PUT", "?extract-archive=tar.bz2", string(squeezed))
	require.Equal(t, "bz2", s.alice(200, "GET", "c/z", "").body)

	s.alice(400, "PUT", "?extract-archive=zip", "x")
	require.Contains(t, s.alice(200, "PUT", "?extract-archive=tar", strings.Repeat("nonsense", 100)).body, "Response Status: 400 Bad Request")
	require.Contains(t, s.alice(200, "PUT", "?extract-archive=tar", archive(t, "base", "x")).body, "No Valid Files")
	require.Contains(t, s.alice(200, "PUT", "?extract-archive=tar.gz", "x").body, "400 Bad Request")
	require.Contains(t, s.alice(200, "PUT", "?extract-archive=tar", archive(t, "c/"+strings.Repeat("x", 1025), "x", "c/good", "y")).body, "Number Files Created: 1")
	require.Contains(t, s.alice(200, "PUT", "?extract-archive=tar", files[:700]).body, "400 Bad Request")
	require.Contains(t, s.do("PUT", "?extract-archive=tar", as("bob", "Accept", "text/xml"), files).body, "<status>403 Forbidden</status>")
	require.Contains(t, s.do("PUT", "?extract-archive=tar", nil, files).body, "Response Status: 401 Unauthorized")
}

// TestLongWorkKeepsTheConnectionAlive has a clock by which everything takes long.
func TestLongWorkKeepsTheConnectionAlive(t *testing.T) {
	s := newSite(t, nil)
	s.pace.Store(11)
	r := s.alice(200, "PUT", "?extract-archive=tar", archive(t, "c/1", "1", "c/2", strings.Repeat("2", 1<<20), "c/3", "3"))
	require.Regexp(t, `^ {3,}\r\n\r\nNumber Files Created: 3\n`, r.body)
	r = s.alice(200, "POST", "?bulk-delete", "c/1\nc/2\nc/3\nc", "Content-Type", "text/plain", "Accept", "application/xml")
	require.Regexp(t, `^<\?xml version="1.0" encoding="UTF-8"\?>\n {3,}\r\n\r\n<delete>\n<number_deleted>4</number_deleted>`, r.body)
}

func TestDeletesInBulk(t *testing.T) {
	s := newSite(t, nil)
	s.alice(200, "PUT", "?extract-archive=tar", archive(t, "c/a b", "1", "c/é", "2", "d/x", "3"))
	r := s.alice(200, "POST", "?bulk-delete", "c\n/c/a%20b\nc/%C3%A9\nnothing/x\n\n", "Content-Type", "text/plain", "Accept", "application/json")
	require.JSONEq(t, `{"Number Deleted": 3, "Number Not Found": 1, "Response Status": "200 OK", "Response Body": "", "Errors": []}`, r.body)
	r = s.alice(200, "DELETE", "?bulk-delete", "d\nc/%FF")
	require.Contains(t, r.body, "Response Status: 400 Bad Request\nErrors:\nc/%FF, 412 Precondition Failed\nd, 409 Conflict\n")
	require.Contains(t, s.alice(200, "POST", "?bulk-delete", "\n", "Content-Type", "text/plain").body, "Invalid bulk delete.")
	require.Contains(t, s.alice(200, "POST", "?bulk-delete", "x", "Content-Type", "text/html").body, "406 Not Acceptable")
	require.Contains(t, s.alice(200, "POST", "?bulk-delete", strings.Repeat("x", 5000), "Content-Type", "text/plain").body, "Invalid File Name")
	require.Contains(t, s.alice(200, "POST", "?bulk-delete", strings.Repeat("x/y\n", 10001), "Content-Type", "text/plain").body, "413 Request Entity Too Large")
	require.Contains(t, s.do("POST", "?bulk-delete", as("bob"), "d/x").body, "d/x, 403 Forbidden")
	s.alice(200, "GET", "d/x", "")
}

func TestSharingWithOtherOrigins(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Meta-Access-Control-Allow-Origin", "http://a http://b", "X-Container-Meta-Access-Control-Max-Age", "60",
		"X-Container-Meta-Access-Control-Expose-Headers", "X-More", "X-Container-Read", ".r:*")
	s.alice(201, "PUT", "c/o", "x", "X-Object-Meta-Color", "red")
	ask := func(method, origin string, more ...string) reply {
		return s.do(method, "c/o", as("", append(more, "Origin", origin)...), "")
	}
	r := ask("OPTIONS", "http://a", "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-foo")
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, "http://a", r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "60", r.Header.Get("Access-Control-Max-Age"))
	require.Equal(t, "x-foo", r.Header.Get("Access-Control-Allow-Headers"))
	require.Contains(t, r.Header.Get("Access-Control-Allow-Methods"), "PUT")
	require.Equal(t, 401, ask("OPTIONS", "http://c", "Access-Control-Request-Method", "PUT").StatusCode)
	require.Equal(t, 401, ask("OPTIONS", "http://a", "Access-Control-Request-Method", "LINK").StatusCode)
	require.Equal(t, 200, s.do("OPTIONS", "c/o", nil, "").StatusCode)
	require.Equal(t, 200, s.do("OPTIONS", "", nil, "").StatusCode)
	r = ask("GET", "http://b")
	require.Equal(t, "http://b", r.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, r.Header.Get("Access-Control-Expose-Headers"), "x-more")
	require.Contains(t, r.Header.Get("Access-Control-Expose-Headers"), "x-object-meta-color")
	require.NotContains(t, ask("GET", "http://c").Header, "Access-Control-Allow-Origin")
	s.alice(204, "POST", "c", "", "X-Container-Meta-Access-Control-Allow-Origin", "*")
	require.Equal(t, "*", ask("GET", "http://c").Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "*", s.do("GET", "c/none", as("", "Origin", "http://c"), "").Header.Get("Access-Control-Allow-Origin"))
}

func TestRateLimits(t *testing.T) {
	limits := objectstore.RateLimits{Account: 1, Container: []objectstore.SizeRate{{Objects: 0, PerSecond: 2}}, Patience: 1, Buffer: 1}
	s := newSiteOver(t, memobjects.New(nil), nil, &objectstore.Options{RateLimits: limits})
	s.alice(http.StatusCreated, "PUT", "c", "")
	r := s.alice(498, "PUT", "d", "")
	require.Equal(t, "Slow down", r.body)
	s.alice(http.StatusNotFound, "GET", "d", "")
	s.alice(http.StatusCreated, "PUT", "c/o", "content")
	require.Equal(t, "Slow down", s.alice(498, "PUT", "c/o", "other").body)
	require.Equal(t, "content", s.alice(http.StatusOK, "GET", "c/o", "").body)

	var info struct {
		Ratelimit map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(s.do("GET", "/info", nil, "").body), &info))
	require.Equal(t, map[string]any{
		"account_ratelimit": 1.0, "max_sleep_time_seconds": 1e-9,
		"container_ratelimits": []any{[]any{0.0, 2.0}}, "container_listing_ratelimits": []any{},
	}, info.Ratelimit)
	require.NotContains(t, newSite(t, nil).do("GET", "/info", nil, "").body, "ratelimit")

	// Each of many has its own answer.
	s.skew.Add(60)
	report := s.alice(http.StatusOK, "POST", "?bulk-delete", "c/o\nc/p", "Content-Type", "text/plain", "Accept", "application/json").body
	require.Contains(t, report, "498 Rate Limited")
	require.Contains(t, report, `"Number Deleted":1`)
}
