package swift_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/stretchr/testify/require"
)

func TestObjects(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	r := s.alice(201, "PUT", "c/song.txt", "la la", "X-Object-Meta-Key", "B", "X-Object-Meta-None", "", "Content-Disposition", "inline",
		"Content-Encoding", "deflate", "X-Delete-After", "100", "Etag", md5Of("la la"))
	require.Equal(t, md5Of("la la"), r.Header.Get("Etag"))
	require.NotEmpty(t, r.Header.Get("Last-Modified"))
	for _, method := range []string{"GET", "HEAD"} {
		r = s.alice(200, method, "c/song.txt", "")
		require.Equal(t, md5Of("la la"), r.Header.Get("Etag"))
		require.Equal(t, "5", r.Header.Get("Content-Length"))
		require.Equal(t, "text/plain", r.Header.Get("Content-Type"))
		require.Equal(t, "B", r.Header.Get("X-Object-Meta-Key"))
		require.Equal(t, []string{""}, r.Header["X-Object-Meta-None"])
		require.Equal(t, "inline", r.Header.Get("Content-Disposition"))
		require.Equal(t, "bytes", r.Header.Get("Accept-Ranges"))
		require.NotEmpty(t, r.Header.Get("X-Delete-At"))
		require.Regexp(t, `^\d{10}\.\d{5}$`, r.Header.Get("X-Timestamp"))
	}
	require.Equal(t, "la la", s.alice(200, "GET", "c/song.txt", "").body)

	// What is posted replaces all that was said, but for the type.
	require.Contains(t, s.alice(202, "POST", "c/song.txt", "", "X-Object-Meta-New", "1").body, "<html><h1>Accepted</h1>")
	r = s.alice(200, "HEAD", "c/song.txt", "")
	require.Equal(t, "1", r.Header.Get("X-Object-Meta-New"))
	for _, gone := range []string{"X-Object-Meta-Key", "Content-Disposition", "X-Delete-At", "Content-Encoding"} {
		require.NotContains(t, r.Header, gone)
	}
	require.Equal(t, "text/plain", r.Header.Get("Content-Type"))
	s.alice(202, "POST", "c/song.txt", "", "Content-Type", "audio/x-song")
	require.Equal(t, "audio/x-song", s.alice(200, "HEAD", "c/song.txt", "").Header.Get("Content-Type"))

	s.alice(422, "PUT", "c/wrong", "x", "Etag", md5Of("y"))
	s.alice(404, "GET", "c/wrong", "")
	s.alice(404, "POST", "c/wrong", "", "X-Object-Meta-A", "b")
	s.alice(404, "DELETE", "c/wrong", "")
	s.alice(204, "DELETE", "c/song.txt", "")
	s.alice(404, "DELETE", "c/song.txt", "")

	for header, value := range map[string]string{
		"X-Delete-At": "1", "X-Delete-After": "soon", "X-Object-Manifest": "nowhere", "If-None-Match": "abc",
		"X-Object-Meta-Long": strings.Repeat("x", 257), "X-Static-Large-Object": "true",
	} {
		s.alice(400, "PUT", "c/bad", "x", header, value)
	}
	require.Equal(t, "Object name length of 1025 longer than 1024", s.alice(400, "PUT", "c/"+strings.Repeat("x", 1025), "x").body)
	s.alice(201, "PUT", "c/"+strings.Repeat("x", 1024), "x")
	s.alice(201, "PUT", "c/once", "x", "If-None-Match", "*")
	s.alice(412, "PUT", "c/once", "y", "If-None-Match", "*")
	s.alice(201, "PUT", "c/once", "z", "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	s.alice(412, "PUT", "c/once", "z", "If-Match", "other")
	require.Equal(t, "image/png", s.alice(200, "HEAD", "c/x.png", "", mustPut(s, "c/x.png")...).Header.Get("Content-Type"))
}

// mustPut uploads something, and returns no headers.
func mustPut(s *site, path string) []string {
	s.alice(201, "PUT", path, "x")
	return nil
}

func TestConditions(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	tag := s.alice(201, "PUT", "c/o", "content").Header.Get("Etag")
	at := s.alice(200, "HEAD", "c/o", "").Header.Get("Last-Modified")
	early, late := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		status        int
		header, value string
	}{
		{200, "If-Match", tag}, {200, "If-Match", `"` + tag + `"`}, {200, "If-Match", "other, " + tag}, {200, "If-Match", "*"}, {412, "If-Match", "other"},
		{304, "If-None-Match", tag}, {304, "If-None-Match", `W/"` + tag + `"`}, {304, "If-None-Match", "*"}, {200, "If-None-Match", "other"},
		{304, "If-Modified-Since", at}, {304, "If-Modified-Since", late}, {200, "If-Modified-Since", early}, {200, "If-Modified-Since", "yesterday"},
		{200, "If-Unmodified-Since", at}, {200, "If-Unmodified-Since", late}, {412, "If-Unmodified-Since", early},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := s.alice(c.status, method, "c/o", "", c.header, c.value)
			if c.status == 304 {
				require.Empty(t, r.body)
				require.Equal(t, tag, r.Header.Get("Etag"))
			}
		}
	}
}

func TestRanges(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "c/o", "0123456789", "Content-Type", "text/x")
	for header, want := range map[string]string{
		"bytes=0-3": "0123 bytes 0-3/10", "bytes=8-": "89 bytes 8-9/10", "bytes=-3": "789 bytes 7-9/10", "bytes=5-100": "56789 bytes 5-9/10",
		"bytes=-100": "0123456789 bytes 0-9/10",
	} {
		r := s.alice(206, "GET", "c/o", "", "Range", header)
		require.Equal(t, want, r.body+" "+r.Header.Get("Content-Range"), header)
		require.Equal(t, strconv.Itoa(len(r.body)), r.Header.Get("Content-Length"))
	}
	for _, header := range []string{"bytes=a-b", "bytes=3-1", "lines=1-2", "bytes=", "bytes=-", "bytes=--1"} {
		require.Equal(t, "0123456789", s.alice(200, "GET", "c/o", "", "Range", header).body, header)
	}
	for _, header := range []string{
		"bytes=10-", "bytes=-0", "bytes=99-100", "bytes=0-9,0-9,0-9,0-9", "bytes=" + strings.Repeat("0-0,", 60) + "1-1",
	} {
		r := s.alice(416, "GET", "c/o", "", "Range", header)
		require.Equal(t, "bytes */10", r.Header.Get("Content-Range"), header)
	}
	r := s.alice(206, "GET", "c/o", "", "Range", "bytes=0-1,8-")
	require.Regexp(t, `^multipart/byteranges;boundary=[0-9a-f]{32}$`, r.Header.Get("Content-Type"))
	require.Equal(t, strconv.Itoa(len(r.body)), r.Header.Get("Content-Length"))
	boundary := strings.TrimPrefix(r.Header.Get("Content-Type"), "multipart/byteranges;boundary=")
	require.Equal(t, "--B\r\nContent-Type: text/x\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--B\r\nContent-Type: text/x\r\n"+
		"Content-Range: bytes 8-9/10\r\n\r\n89\r\n--B--", strings.ReplaceAll(r.body, boundary, "B"))
	s.alice(200, "HEAD", "c/o", "", "Range", "bytes=0-1")
	s.alice(200, "GET", "c/o", "", "Range", "bytes=0-1", "If-Range", "other")
	s.alice(206, "GET", "c/o", "", "Range", "bytes=0-1", "If-Range", `"`+md5Of("0123456789")+`"`)
	s.alice(201, "PUT", "c/empty", "")
	s.alice(200, "GET", "c/empty", "")
	s.alice(416, "GET", "c/empty", "", "Range", "bytes=0-1")
}

func TestNames(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	for _, name := range []string{
		".", "..", "../x", "a/./b", "a//b", "/rooted", "//", "dir/", "%C3%A9", "%20", "a%3Fb", "a%23b", "a+b", "a%25b", "%0A", "%7F", "a%2Fb", "%5C..%5C",
		"a;b=c", "%F0%9F%A6%A0", "{object}",
	} {
		s.alice(201, "PUT", "c/"+name, name)
		require.Equal(t, name, s.alice(200, "GET", "c/"+name, "").body)
	}
	require.Equal(t, "a%2Fb", s.alice(200, "GET", "c/a/b", "").body)
	list := s.alice(200, "GET", "c?format=json", "").json(t)
	require.Len(t, list, 21)
	for _, bad := range []string{"%FF", "a%00b", "%ED%A0%80", "%C3"} {
		require.Equal(t, "Invalid UTF8 or contains NULL", s.alice(412, "PUT", "c/"+bad, "x").body)
	}
	s.alice(412, "PUT", "%FF", "")
	for path, status := range map[string]int{
		"/": 404, "/v1": 412, "/v1/": 412, "/v2/AUTH_alice": 400, "/v1//c": 412, "/v1/AUTH_alice//o": 412, "/nothing": 412, "//v1/AUTH_alice": 404,
		"/v1.0/AUTH_alice": 204, "/v1/AUTH_alice/": 200, "/v1/endpoints": 501, "/v1/{account}": 403, "/v1/AUTH_": 403,
	} {
		want := status
		if path == "/v1.0/AUTH_alice" {
			want = 200
		}
		require.Equal(t, want, s.do("GET", path, as("alice"), "").StatusCode, path)
	}
	s.alice(405, "PATCH", "c/o", "x")
	require.Equal(t, "COPY, DELETE, GET, HEAD, OPTIONS, POST, PUT", s.alice(405, "LINK", "c/o", "").Header.Get("Allow"))
}

func TestCopies(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "d", "")
	s.alice(201, "PUT", "c/a%20b", "content", "X-Object-Meta-Src", "1", "Content-Type", "text/x", "Content-Encoding", "y")
	r := s.alice(201, "COPY", "c/a%20b", "", "Destination", "/d/copy", "X-Object-Meta-New", "")
	require.Equal(t, "c/a%20b", r.Header.Get("X-Copied-From"))
	require.Equal(t, "AUTH_alice", r.Header.Get("X-Copied-From-Account"))
	require.NotEmpty(t, r.Header.Get("X-Copied-From-Last-Modified"))
	require.Equal(t, md5Of("content"), r.Header.Get("Etag"))
	require.Equal(t, "1", r.Header.Get("X-Object-Meta-Src"))
	require.Contains(t, r.Header, "X-Object-Meta-New")
	r = s.alice(200, "GET", "d/copy", "")
	require.Equal(t, "content", r.body)
	require.Equal(t, "text/x", r.Header.Get("Content-Type"))
	require.Equal(t, "y", r.Header.Get("Content-Encoding"))
	require.Equal(t, "1", r.Header.Get("X-Object-Meta-Src"))

	s.alice(201, "PUT", "d/fresh", "", "X-Copy-From", "c/a%20b", "X-Fresh-Metadata", "true")
	r = s.alice(200, "GET", "d/fresh", "")
	require.Equal(t, "content", r.body)
	require.NotContains(t, r.Header, "X-Object-Meta-Src")
	require.Equal(t, "text/x", r.Header.Get("Content-Type"))
	s.alice(201, "PUT", "d/fresh", "", "X-Copy-From", "/d/fresh", "Content-Type", "text/y")
	require.Equal(t, "text/y", s.alice(200, "HEAD", "d/fresh", "").Header.Get("Content-Type"))
	s.alice(201, "PUT", "d/part", "", "X-Copy-From", "c/a%20b", "Range", "bytes=1-2")
	require.Equal(t, "on", s.alice(200, "GET", "d/part", "").body)

	s.alice(404, "PUT", "d/none", "", "X-Copy-From", "c/none")
	s.alice(404, "COPY", "c/a%20b", "", "Destination", "none/x")
	s.alice(412, "PUT", "d/none", "", "X-Copy-From", "c")
	s.alice(412, "COPY", "c/a%20b", "")
	s.alice(412, "COPY", "c/a%20b", "", "Destination", "d")
	s.alice(412, "COPY", "c/a%20b", "", "Destination", "d/x", "If-Match", "other")
	s.alice(304, "COPY", "c/a%20b", "", "Destination", "d/x", "If-None-Match", "*")
	s.alice(400, "PUT", "d/x", "body", "X-Copy-From", "c/a%20b")
	s.alice(403, "PUT", "d/x", "", "X-Copy-From", "c/a", "X-Copy-From-Account", "AUTH_bob")

	// To another account, with its owner's leave.
	require.Equal(t, 201, s.do("PUT", "/v1/AUTH_bob/inbox", as("bob", "X-Container-Write", "alice:alice"), "").StatusCode)
	s.alice(201, "COPY", "c/a%20b", "", "Destination", "inbox/x", "Destination-Account", "AUTH_bob")
	require.Equal(t, "content", s.do("GET", "/v1/AUTH_bob/inbox/x", as("bob"), "").body)
}

func TestExpiry(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "c/o", "x", "X-Delete-At", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
	s.alice(200, "GET", "c/o", "")
	s.skew.Store(3601)
	s.alice(404, "GET", "c/o", "")
	s.alice(404, "HEAD", "c/o", "")
	s.alice(404, "POST", "c/o", "")
}

// dial sends a request as it stands, and returns the connection and what answers on it.
func (s *site) dial(text string) (net.Conn, *bufio.Reader) {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n"))
	require.NoError(s.t, err)
	return conn, bufio.NewReader(conn)
}

func (s *site) statusOf(r *bufio.Reader) int {
	s.t.Helper()
	answer, err := http.ReadResponse(r, nil)
	require.NoError(s.t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(s.t, err)
	require.NoError(s.t, answer.Body.Close())
	return answer.StatusCode
}

func TestUploadsThatGoWrong(t *testing.T) {
	s := newSite(t, &swift.Options{UploadIdle: 50 * time.Millisecond})
	s.alice(201, "PUT", "c", "")
	head := "PUT /v1/AUTH_alice/c/o HTTP/1.1\nHost: x\nX-Auth-Token: alice\n"
	_, r := s.dial(head + "\n")
	require.Equal(t, 411, s.statusOf(r))
	_, r = s.dial(head + "Content-Length: 100\n\nshort") // and then nothing
	require.Equal(t, 408, s.statusOf(r))
	conn, r := s.dial(head + "Content-Length: 100\n\nshort")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, 499, s.statusOf(r))
	conn, r = s.dial(head + "Transfer-Encoding: chunked\n\n5\nshort\n")
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.Equal(t, 499, s.statusOf(r))
	s.alice(404, "GET", "c/o", "")
	require.Equal(t, "0", s.alice(204, "HEAD", "c", "").Header.Get("X-Container-Object-Count"))
	_, r = s.dial(head + "Transfer-Encoding: chunked\n\n5\nwhole\n0\n\n")
	require.Equal(t, 201, s.statusOf(r))
	require.Equal(t, "whole", s.alice(200, "GET", "c/o", "").body)
}

func TestContinueComesLate(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Meta-Quota-Bytes", "10")
	request := func(token, path string, length int) *bufio.Reader {
		_, r := s.dial(fmt.Sprintf("PUT /v1/AUTH_alice/%s HTTP/1.1\nHost: x\nX-Auth-Token: %s\nExpect: 100-continue\nContent-Length: %d\n\n", path, token, length))
		return r
	}
	require.Equal(t, 403, s.statusOf(request("bob", "c/o", 5)))
	require.Equal(t, 401, s.statusOf(request("forged", "c/o", 5)))
	require.Equal(t, 413, s.statusOf(request("alice", "c/o", 11)))
	require.Equal(t, 404, s.statusOf(request("alice", "none/o", 5)))
	conn, r := s.dial("PUT /v1/AUTH_alice/c/o HTTP/1.1\nHost: x\nX-Auth-Token: alice\nExpect: 100-continue\nContent-Length: 5\n\n")
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	require.Equal(t, 201, s.statusOf(r))
}

func TestARefusedUploadHearsWhy(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Meta-Quota-Bytes", "10")
	s.alice(413, "PUT", "c/o", strings.Repeat("x", 8<<20))
}

func TestRequestsBefore(t *testing.T) {
	s := newSite(t, &swift.Options{Before: func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Retry-After", "1")
		require.Equal(t, "GET /v1/{account}/{container}/{object}", r.Pattern)
		return fmt.Errorf("slow down: %w", objectstore.ErrUnavailable)
	}})
	r := s.do("GET", "c/o", as("alice"), "")
	require.Equal(t, 503, r.StatusCode)
	require.Equal(t, "1", r.Header.Get("Retry-After"))
}

func TestInfo(t *testing.T) {
	s := newSite(t, nil)
	r := s.do("GET", "/info", nil, "")
	require.Equal(t, 200, r.StatusCode)
	require.Contains(t, r.body, `"max_file_size":5368709122`)
	require.Equal(t, "OK", s.do("GET", "/healthcheck", nil, "").body)
	require.Equal(t, 200, s.do("HEAD", "/healthcheck", nil, "").StatusCode)
	require.Equal(t, 405, s.do("POST", "/info", nil, "").StatusCode)
	require.Contains(t, s.do("GET", "/crossdomain.xml", nil, "").body, "<cross-domain-policy>")
	require.Equal(t, 404, s.do("GET", "/auth/v1.0", as("", "X-Auth-User", "a:b", "X-Auth-Key", "c"), "").StatusCode)
}

func TestLogins(t *testing.T) {
	s := newSite(t, &swift.Options{Users: []swift.User{
		{Account: "test", Name: "tester", Key: "testing", Groups: []string{".admin"}},
		{Account: "test", Name: "guest", Key: "secret"},
		{Account: "admin", Name: "admin", Key: "admin", Groups: []string{".reseller_admin"}},
	}})
	login := func(user, key string) reply {
		return s.do("GET", "/auth/v1.0", as("", "X-Auth-User", user, "X-Auth-Key", key), "")
	}
	r := login("test:tester", "wrong")
	require.Equal(t, 401, r.StatusCode)
	require.Equal(t, `Swift realm="test"`, r.Header.Get("Www-Authenticate"))
	require.Equal(t, 401, login("test:nobody", "testing").StatusCode)
	require.Equal(t, 401, login("", "").StatusCode)
	r = login("test:tester", "testing")
	require.Equal(t, 200, r.StatusCode)
	require.Equal(t, s.URL+"/v1/AUTH_test", r.Header.Get("X-Storage-Url"))
	token := r.Header.Get("X-Auth-Token")
	require.Equal(t, token, r.Header.Get("X-Storage-Token"))
	require.Equal(t, 201, s.do("PUT", "/v1/AUTH_test/c", as(token, "X-Container-Read", "test:guest"), "").StatusCode)
	require.Equal(t, 201, s.do("PUT", "/v1/AUTH_test/c/o", as(token), "x").StatusCode)
	require.Equal(t, 403, s.do("PUT", "/v1/AUTH_alice/c", as(token), "").StatusCode)
	guest := login("test:guest", "secret").Header.Get("X-Auth-Token")
	require.Equal(t, 200, s.do("GET", "/v1/AUTH_test/c/o", as(guest), "").StatusCode)
	require.Equal(t, 403, s.do("PUT", "/v1/AUTH_test/c/o", as(guest), "y").StatusCode)
	admin := login("admin:admin", "admin").Header.Get("X-Auth-Token")
	require.Equal(t, 201, s.do("PUT", "/v1/AUTH_alice/c", as(admin), "").StatusCode)
	require.Equal(t, 401, s.do("GET", "/v1/AUTH_test/c/o", as(token+"x"), "").StatusCode)
	s.skew.Store(25 * 3600)
	require.Equal(t, 401, s.do("GET", "/v1/AUTH_test/c/o", as(token), "").StatusCode)
	require.Equal(t, 201, s.do("PUT", "/v1/AUTH_bob/c", as("bob"), "").StatusCode)
}
