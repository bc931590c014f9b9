package s3_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/require"
)

// raw writes a request to the server as it is and reads the answer. Closing the way there ends the body early.
func (s *server) raw(text string) *http.Response {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.Listener.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, text)
	require.NoError(s.t, err)
	require.NoError(s.t, conn.(*net.TCPConn).CloseWrite())
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(s.t, err)
	return response
}

// head is a request without its body, as text.
func head(r *http.Request, length int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.URL.RequestURI(), r.URL.Host, length)
	_ = r.Header.WriteSubset(&b, map[string]bool{"Content-Length": true})
	return b.String() + "\r\n"
}

func TestWhoAsks(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.put("mine", "key", "content")
	signed := func(change func(*http.Request)) *http.Request {
		r := s.request("GET", "/mine/key", "", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		r = signer.SignV4(*r, access, secret, "", region)
		change(r)
		return r
	}
	replace := func(name, from, to string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), from, to, 1)) }
	}
	for what, c := range map[string]struct {
		change func(*http.Request)
		status int
		code   string
	}{
		"good":                    {func(*http.Request) {}, 200, ""},
		"another key":             {replace("Authorization", access, "AKIAOTHER"), 403, "InvalidAccessKeyId"},
		"another's key":           {replace("Authorization", access, "AKIABOB"), 403, "SignatureDoesNotMatch"},
		"another path":            {func(r *http.Request) { r.URL.Path = "/mine/other" }, 403, "SignatureDoesNotMatch"},
		"another query":           {func(r *http.Request) { r.URL.RawQuery = "acl" }, 403, "SignatureDoesNotMatch"},
		"another method":          {func(r *http.Request) { r.Method = "DELETE" }, 403, "SignatureDoesNotMatch"},
		"another hash":            {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("a", 64)) }, 403, "SignatureDoesNotMatch"},
		"no hash":                 {func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, 400, "InvalidRequest"},
		"another service":         {replace("Authorization", "/s3/", "/ec2/"), 400, "AuthorizationHeaderMalformed"},
		"another date":            {replace("Authorization", access+"/2", access+"/1"), 400, "AuthorizationHeaderMalformed"},
		"no signature":            {replace("Authorization", "Signature=", "X="), 400, "AuthorizationHeaderMalformed"},
		"twice":                   {replace("Authorization", "Signature=", "Signature=a,Signature="), 400, "AuthorizationHeaderMalformed"},
		"nonsense":                {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 400, "InvalidRequest"},
		"no time":                 {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, 403, "AccessDenied"},
		"a header nobody signed":  {func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, 403, "AccessDenied"},
		"a session":               {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, 400, "InvalidToken"},
		"in header and query":     {func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=x" }, 400, "InvalidArgument"},
		"a broken query":          {func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, 400, "InvalidURI"},
		"an old key, badly":       {func(r *http.Request) { r.Header.Set("Authorization", "AWS "+access) }, 400, "InvalidArgument"},
		"an old key without time": {func(r *http.Request) { r.Header.Set("Authorization", "AWS "+access+":x"); r.Header.Del("X-Amz-Date") }, 403, "AccessDenied"},
	} {
		a := s.send(signed(c.change))
		require.Equal(t, c.status, a.status, "%s: %s", what, a.body)
		a.is(c.status, c.code)
	}
	long := s.send(signed(replace("Authorization", "Signature=", "Signature=0")))
	require.Contains(t, long.is(403, "SignatureDoesNotMatch").body, "<StringToSign>AWS4-HMAC-SHA256")
	require.NotContains(t, long.body, secret)
}

func TestClocks(t *testing.T) {
	offset := time.Duration(0)
	s := newServer(t, &s3.Options{Now: func() time.Time { return time.Now().Add(offset) }})
	s.bucket("mine")
	s.put("mine", "key", "content")
	at, err := s.minio.PresignedGetObject(t.Context(), "mine", "key", time.Hour, url.Values{"response-content-type": {"text/x"}})
	require.NoError(t, err)
	get := func() answer { return s.nobody("GET", at.RequestURI(), "") }
	require.Equal(t, "text/x", get().is(200, "").header.Get("Content-Type"))
	for _, o := range []time.Duration{16 * time.Minute, -16 * time.Minute} {
		offset = o
		s.do("GET", "/mine/key", "").is(403, "RequestTimeTooSkewed")
	}
	require.Contains(t, get().is(403, "AccessDenied").body, "not valid yet")
	offset = time.Hour + 2*time.Second
	require.Contains(t, get().is(403, "AccessDenied").body, "expired")
	offset = 0
	for _, c := range [][2]string{{"X-Amz-Expires=3600", "X-Amz-Expires=3601"}, {"key", "kez"}, {"text%2Fx", "text%2Fy"}} {
		altered := strings.Replace(at.RequestURI(), c[0], c[1], 1)
		require.NotEqual(t, at.RequestURI(), altered)
		s.nobody("GET", altered, "").is(403, "SignatureDoesNotMatch")
	}
	for _, c := range [][2]string{{"X-Amz-Expires=3600", "X-Amz-Expires=9999999"}, {"X-Amz-Expires=3600", "X-Amz-Expires=-1"}, {"X-Amz-Date=", "X-Amz-Date=x"}, {"AWS4-HMAC", "AWS9-HMAC"}, {"X-Amz-SignedHeaders=host", ""}} {
		s.nobody("GET", strings.Replace(at.RequestURI(), c[0], c[1], 1), "").is(400, "AuthorizationQueryParametersError")
	}
	s.nobody("PUT", at.RequestURI(), "x").is(403, "SignatureDoesNotMatch")
}

func TestBadBodies(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	md5sum := func(text string) string {
		sum := md5.Sum([]byte(text))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	for what, c := range map[string]struct {
		headers []string
		status  int
		code    string
	}{
		"another MD5":        {[]string{"Content-Md5", md5sum("other")}, 400, "BadDigest"},
		"no MD5":             {[]string{"Content-Md5", "x"}, 400, "InvalidDigest"},
		"an empty MD5":       {[]string{"Content-Md5", ""}, 400, "InvalidDigest"},
		"another SHA-256":    {[]string{"X-Amz-Content-Sha256", strings.Repeat("a", 64)}, 400, "XAmzContentSHA256Mismatch"},
		"no SHA-256":         {[]string{"X-Amz-Content-Sha256", "zz"}, 400, "InvalidArgument"},
		"another CRC32":      {[]string{"X-Amz-Checksum-Crc32", "AAAAAA=="}, 400, "BadDigest"},
		"another CRC64NVME":  {[]string{"X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="}, 400, "BadDigest"},
		"no CRC32C":          {[]string{"X-Amz-Checksum-Crc32c", "AAAA"}, 400, "InvalidRequest"},
		"two checksums":      {[]string{"X-Amz-Checksum-Crc32c", "AAAAAA==", "X-Amz-Checksum-Crc32", "AAAAAA=="}, 400, "InvalidRequest"},
		"unknown streaming":  {[]string{"X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, 501, "NotImplemented"},
		"length of chunks":   {[]string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}, 411, "MissingContentLength"},
		"no chunks":          {[]string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "4"}, 400, "IncompleteBody"},
		"unsigned trailer":   {[]string{"X-Amz-Trailer", "x-amz-checksum-crc32"}, 400, "InvalidRequest"},
		"encryption":         {[]string{"X-Amz-Server-Side-Encryption", "AES256"}, 501, "NotImplemented"},
		"another class":      {[]string{"X-Amz-Storage-Class", "GLACIER"}, 400, "InvalidStorageClass"},
		"a public object":    {[]string{"X-Amz-Acl", "public-read"}, 400, "AccessControlListNotSupported"},
		"too much metadata":  {[]string{"X-Amz-Meta-X", strings.Repeat("x", 9000)}, 400, "MetadataTooLarge"},
		"too many tags":      {[]string{"X-Amz-Tagging", "a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k="}, 400, "InvalidTag"},
		"match nothing":      {[]string{"If-Match", `"x"`}, 404, "NoSuchKey"},
		"a tag to be absent": {[]string{"If-None-Match", `"x"`}, 501, "NotImplemented"},
	} {
		a := s.do("PUT", "/mine/key", "text", c.headers...)
		require.Equal(t, c.status, a.status, "%s: %s", what, a.body)
		a.is(c.status, c.code)
	}
	s.do("PUT", "/mine/"+strings.Repeat("k", 1025), "text").is(400, "KeyTooLongError")
	s.do("GET", "/mine/key", "").is(404, "NoSuchKey")
	require.Contains(t, s.do("GET", "/mine", "").body, "<IsTruncated>false</IsTruncated></ListBucketResult>")
}

func TestBodiesThatAreCut(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	content := strings.Repeat("x", 300000)
	for name, hash := range map[string]string{"plain": "UNSIGNED-PAYLOAD", "chunks": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} {
		body := content
		headers := []string{"X-Amz-Content-Sha256", hash}
		if name == "chunks" {
			body = fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", len(content), content)
			headers = append(headers, "X-Amz-Decoded-Content-Length", "300000", "X-Amz-Trailer", "x-amz-checksum-crc32")
		}
		r := signer.SignV4(*s.request("PUT", "/mine/"+name, "", headers...), access, secret, "", region)
		for _, length := range []int{0, 1, 1000, 250000, len(body) - 1} {
			response := s.raw(head(r, len(body)) + body[:length])
			text, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Equal(t, 400, response.StatusCode, "%s %d: %s", name, length, text)
			require.Contains(t, string(text), "<Code>IncompleteBody</Code>", length)
			s.do("HEAD", "/mine/"+name, "").is(404, "")
		}
	}
	// The last chunk says that there is less than was announced.
	body := "4\r\ntext\r\n0\r\n\r\n"
	s.do("PUT", "/mine/short", body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5").is(400, "IncompleteBody")
	s.do("PUT", "/mine/long", body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "3").is(400, "IncompleteBody")
	s.do("PUT", "/mine/exact", body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "4").is(200, "")
	chunked := s.request("PUT", "/mine/endless", "", "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	chunked = signer.SignV4(*chunked, access, secret, "", region)
	response := s.raw(strings.Replace(head(chunked, 0), "Content-Length: 0", "Transfer-Encoding: chunked", 1) + "1\r\nx\r\n0\r\n\r\n")
	require.Equal(t, 411, response.StatusCode)
}

func TestBadDocuments(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	bomb := `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>`
	deep := strings.Repeat("<a>", 100000)
	for _, at := range []string{"POST /mine?delete", "PUT /mine?versioning", "PUT /mine?tagging", "PUT /mine?cors", "PUT /mine?lifecycle", "POST /mine/key?uploadId=x", "PUT /mine/key?tagging"} {
		method, path, _ := strings.Cut(at, " ")
		for _, body := range []string{"", "x", "<x/>", bomb, deep, "<Delete>", "<Delete></Other>", "<a>\x00</a>", `<?xml version="1.0" encoding="utf-16"?><x/>`} {
			a := s.do(method, path, body)
			require.Equal(t, 400, a.status, "%s %.80s: %s", at, body, a.body)
			require.Contains(t, []string{"MalformedXML", "IllegalVersioningConfigurationException"}, a.code(), "%s %.80s: %s", at, body, a.body)
		}
	}
	s.do("POST", "/mine?delete", "<Delete>"+strings.Repeat(" ", 3<<20)).is(400, "MaxMessageLengthExceeded")
	s.do("POST", "/mine?delete", "<Delete>"+strings.Repeat("<Object><Key>k</Key></Object>", 1001)+"</Delete>").is(400, "MalformedXML")
	s.do("POST", "/mine?delete", "<Delete><Object><Key>k</Key></Object></Delete>", "Content-Md5", "AAAAAAAAAAAAAAAAAAAAAA==").is(400, "BadDigest")
	s.do("POST", "/mine?delete", "<Delete><Object><Key>k</Key></Object></Delete>", "X-Amz-Content-Sha256", strings.Repeat("0", 64)).is(400, "XAmzContentSHA256Mismatch")
}

func TestBadLists(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	for _, query := range []string{
		"max-keys=-1", "max-keys=x", "max-keys=99999999999", "encoding-type=x", "list-type=3", "list-type=2&continuation-token=", "list-type=2&continuation-token=%25",
		"versions&version-id-marker=x", "uploads&max-uploads=-1", "prefix=%ff",
	} {
		s.do("GET", "/mine?"+query, "").is(400, "InvalidArgument")
	}
	require.Contains(t, s.do("GET", "/mine?max-keys=0", "").is(200, "").body, "<MaxKeys>0</MaxKeys><IsTruncated>false")
	s.do("GET", "/mine?delete", "").is(405, "MethodNotAllowed")
	s.do("PATCH", "/mine/key", "").is(405, "MethodNotAllowed")
	s.do("POST", "/mine/key", "").is(405, "MethodNotAllowed")
	s.do("PUT", "/mine/key?uploads", "").is(405, "MethodNotAllowed")
	s.do("PUT", "/", "").is(405, "MethodNotAllowed")
	s.do("GET", "/mine/key?versionId=", "").is(400, "InvalidArgument")
	s.do("GET", "/mine/key?partNumber=0", "").is(400, "InvalidArgument")
	s.do("GET", "/mine/key?partNumber=1", "", "Range", "bytes=0-1").is(400, "InvalidRequest")
}

// A project can never learn that another's bucket exists.
func TestStrangers(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	s.put("mine", "key", "content")
	asBob := func(method, path, body string) answer {
		r := s.request(method, path, body, "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		return s.send(signer.SignV4(*r, "AKIABOB", "bobs", "", region))
	}
	asBob("GET", "/mine/key", "").is(404, "NoSuchBucket")
	for _, bucket := range []string{"/alice:mine", "/alice:nothing"} {
		for _, c := range []string{"GET ", "GET /key", "PUT /key", "DELETE /key", "GET /nothing", "DELETE ", "PUT ", "GET ?acl", "PUT ?acl", "GET ?versioning", "POST /key?uploads"} {
			method, rest, _ := strings.Cut(c, " ")
			asBob(method, bucket+rest, "").is(403, "AccessDenied")
			s.nobody(method, bucket+rest, "").is(403, "AccessDenied")
		}
		asBob("POST", bucket+"?delete", "<Delete><Object><Key>key</Key></Object></Delete>").is(200, "")
	}
	s.do("GET", "/mine/key", "", "X-Amz-Expected-Bucket-Owner", "alice").is(200, "")
	s.do("GET", "/mine/key", "", "X-Amz-Expected-Bucket-Owner", "bob").is(403, "AccessDenied")
	s.nobody("GET", "/", "").is(403, "AccessDenied")
	s.do("PUT", "/mine?acl", "", "X-Amz-Acl", "public-read").is(200, "")
	require.Equal(t, "content", s.nobody("GET", "/alice:mine/key", "").is(200, "").body)
	s.nobody("GET", "/alice:mine?list-type=2", "").is(200, "")
	s.nobody("PUT", "/alice:mine/key", "x").is(403, "AccessDenied")
	s.nobody("GET", "/alice:mine/key?response-content-type=x", "").is(400, "InvalidRequest")
	asBob("GET", "/alice:mine/key", "").is(200, "")
	s.do("PUT", "/mine?acl", "", "X-Amz-Acl", "private").is(200, "")
	s.nobody("GET", "/alice:mine/key", "").is(403, "AccessDenied")

	everybodys := newServer(t, &s3.Options{Account: "alice"})
	everybodys.bucket("mine")
	everybodys.put("mine", "key", "content")
	everybodys.nobody("GET", "/mine/key", "").is(403, "AccessDenied")
	everybodys.do("PUT", "/mine?acl", "", "X-Amz-Acl", "public-read").is(200, "")
	everybodys.nobody("GET", "/mine/key", "").is(200, "")
}

// Names are bytes to the store, and no path outside of it is ever touched.
func TestNames(t *testing.T) {
	s := newServer(t, nil)
	s.bucket("mine")
	for _, name := range []string{"../../etc/passwd", "./a", "a//b", "/", "//", "a/", " ", "a b", "a+b", "%2F", "ü", "\u2028", "a?b", "a#b", "a&b=c", "<x>", `"`, "'", "..", ".", "~", "a:b", strings.Repeat("x", 1024)} {
		at := "/mine/" + strings.ReplaceAll(url.PathEscape(name), "%2F", "/")
		s.do("PUT", at, name).is(200, "")
		require.Equal(t, name, s.do("GET", at, "").is(200, "").body)
		list, err := s.objects.Objects(t.Context(), alice, objectstore.Path{Account: "alice", Container: "mine"}, objectstore.Listing{})
		require.NoError(t, err)
		require.Len(t, list.Entries, 1)
		require.Equal(t, name, list.Entries[0].Name)
		o, err := s.core.ListObjects("mine", "", "", "", 10)
		require.NoError(t, err)
		require.Equal(t, name, o.Contents[0].Key)
		s.do("DELETE", at, "").is(204, "")
	}
	for _, name := range []string{"%00", "%ff", "a%C0%AFb"} {
		h := hmac.New(sha1.New, []byte(secret))
		date := time.Now().UTC().Format(http.TimeFormat)
		_, _ = io.WriteString(h, "PUT\n\n\n"+date+"\n/mine/"+name)
		a := s.nobody("PUT", "/mine/"+name, "x", "Date", date, "Authorization", "AWS "+access+":"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
		require.Equal(t, 400, a.status, "%s: %s", name, a.body)
	}
}
