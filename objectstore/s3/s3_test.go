package s3_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	access = "AKIAEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	region = "us-east-1"
)

// server is the API over memory, and a client of it.
type server struct {
	*httptest.Server
	t       testing.TB
	objects *objectstore.Service
	client  *http.Client
	minio   *minio.Client
	core    minio.Core
}

var (
	alice = objectstore.Caller{Account: "alice", ProjectID: "alice", ProjectName: "Alice's", UserID: "alice"}
	bob   = objectstore.Caller{Account: "bob", ProjectID: "bob", ProjectName: "Bob's", UserID: "bob"}
	keys  = s3.StaticKeys{access: {Secret: secret, Caller: alice}, "AKIABOB": {Secret: "bobs", Caller: bob}}
)

func newServer(t testing.TB, options *s3.Options) *server {
	t.Helper()
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	objects, err := objectstore.New(t.Context(), db, memobjects.New(nil), &objectstore.Options{MinPartSize: 1 << 10})
	require.NoError(t, err)
	return newServerOf(t, objects, options)
}

func newServerOf(t testing.TB, objects *objectstore.Service, options *s3.Options) *server {
	t.Helper()
	s := &server{t: t, objects: objects}
	s.Server = httptest.NewServer(s3.Handler(objects, keys, options))
	s.client = &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		s.Close()
	})
	s.minio = s.newMinio(access, secret, minio.BucketLookupPath)
	s.core = minio.Core{Client: s.minio}
	return s
}

func (s *server) newMinio(access, secret string, lookup minio.BucketLookupType) *minio.Client {
	s.t.Helper()
	transport := &http.Transport{DisableCompression: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, s.Listener.Addr().String())
	}}
	s.t.Cleanup(transport.CloseIdleConnections)
	at := s.Listener.Addr().String()
	if lookup == minio.BucketLookupDNS {
		at = "s3.example.org"
	}
	c, err := minio.New(at, &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: region, Transport: transport, BucketLookup: lookup, TrailingHeaders: true, MaxRetries: 1,
	})
	require.NoError(s.t, err)
	return c
}

func (s *server) bucket(name string) {
	s.t.Helper()
	require.NoError(s.t, s.minio.MakeBucket(s.t.Context(), name, minio.MakeBucketOptions{}))
}

func (s *server) put(bucket, key, content string) minio.UploadInfo {
	s.t.Helper()
	info, err := s.minio.PutObject(s.t.Context(), bucket, key, strings.NewReader(content), int64(len(content)), minio.PutObjectOptions{DisableMultipart: true})
	require.NoError(s.t, err)
	return info
}

// answer is a response that was read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// code is that of an error.
func (a answer) code() string {
	a.t.Helper()
	var e struct{ Code string }
	require.NoError(a.t, xml.Unmarshal([]byte(a.body), &e), a.body)
	return e.Code
}

// is requires the status and, for errors, the code.
func (a answer) is(status int, code string) answer {
	a.t.Helper()
	require.Equal(a.t, status, a.status, a.body)
	if code != "" {
		require.Equal(a.t, code, a.code(), a.body)
	}
	require.NotEmpty(a.t, a.header.Get("X-Amz-Request-Id"))
	return a
}

// request makes one that is not signed; headers are pairs.
func (s *server) request(method, path string, body string, headers ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (s *server) send(r *http.Request) answer {
	s.t.Helper()
	response, err := s.client.Do(r)
	require.NoError(s.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{s.t, response.StatusCode, response.Header, string(body)}
}

// do sends a signed request.
func (s *server) do(method, path, body string, headers ...string) answer {
	s.t.Helper()
	r := s.request(method, path, body, headers...)
	if r.Header.Get("X-Amz-Content-Sha256") == "" {
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	}
	return s.send(signer.SignV4(*r, access, secret, "", region))
}

// nobody sends one without a signature.
func (s *server) nobody(method, path, body string, headers ...string) answer {
	s.t.Helper()
	return s.send(s.request(method, path, body, headers...))
}

func TestObjectsComeAndGo(t *testing.T) {
	s := newServer(t, nil)
	ctx := t.Context()
	s.bucket("first")
	content := bytes.Repeat([]byte("0123456789"), 20000)
	info, err := s.minio.PutObject(ctx, "first", "a/b c+d/ü&<>.txt", bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{
		ContentType: "text/plain", CacheControl: "max-age=3", ContentEncoding: "gzip", ContentDisposition: "inline", ContentLanguage: "de",
		UserMetadata: map[string]string{"Colour": "blue"}, UserTags: map[string]string{"x": "y z"}, Checksum: minio.ChecksumCRC32C,
	})
	require.NoError(t, err)
	require.NotEmpty(t, info.ETag)
	o, err := s.minio.GetObject(ctx, "first", "a/b c+d/ü&<>.txt", minio.GetObjectOptions{})
	require.NoError(t, err)
	got, err := io.ReadAll(o)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, got))
	stat, err := o.Stat()
	require.NoError(t, err)
	require.NoError(t, o.Close())
	require.Equal(t, info.ETag, stat.ETag)
	require.Equal(t, "text/plain", stat.ContentType)
	require.Equal(t, "blue", stat.UserMetadata["Colour"])
	for name, value := range map[string]string{"Cache-Control": "max-age=3", "Content-Encoding": "gzip", "Content-Disposition": "inline", "Content-Language": "de"} {
		require.Equal(t, value, stat.Metadata.Get(name), name)
	}
	tags, err := s.minio.GetObjectTagging(ctx, "first", "a/b c+d/ü&<>.txt", minio.GetObjectTaggingOptions{})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x": "y z"}, tags.ToMap())
	with, err := s.minio.StatObject(ctx, "first", "a/b c+d/ü&<>.txt", minio.StatObjectOptions{Checksum: true})
	require.NoError(t, err)
	require.Equal(t, info.ChecksumCRC32C, with.ChecksumCRC32C)
	require.NotEmpty(t, with.ChecksumCRC32C)

	buckets, err := s.minio.ListBuckets(ctx)
	require.NoError(t, err)
	require.Len(t, buckets, 1)
	require.WithinDuration(t, time.Now(), buckets[0].CreationDate, time.Minute)

	require.Equal(t, "BucketNotEmpty", minio.ToErrorResponse(s.minio.RemoveBucket(ctx, "first")).Code)
	require.NoError(t, s.minio.RemoveObject(ctx, "first", "a/b c+d/ü&<>.txt", minio.RemoveObjectOptions{}))
	require.NoError(t, s.minio.RemoveObject(ctx, "first", "nothing", minio.RemoveObjectOptions{}))
	_, err = s.minio.StatObject(ctx, "first", "a/b c+d/ü&<>.txt", minio.StatObjectOptions{})
	require.Equal(t, "NoSuchKey", minio.ToErrorResponse(err).Code)
	require.NoError(t, s.minio.RemoveBucket(ctx, "first"))
	exists, err := s.minio.BucketExists(ctx, "first")
	require.NoError(t, err)
	require.False(t, exists)
}

func TestVirtualHosts(t *testing.T) {
	s := newServer(t, &s3.Options{Domains: []string{"s3.example.org"}})
	ctx := t.Context()
	c := s.newMinio(access, secret, minio.BucketLookupDNS)
	require.NoError(t, c.MakeBucket(ctx, "host", minio.MakeBucketOptions{}))
	_, err := c.PutObject(ctx, "host", "a/b", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	require.NoError(t, err)
	s.do("GET", "/host/a/b", "").is(200, "")
	buckets, err := c.ListBuckets(ctx)
	require.NoError(t, err)
	require.Len(t, buckets, 1)
}

func TestBuckets(t *testing.T) {
	s := newServer(t, &s3.Options{Region: "eu-north-1"})
	for _, name := range []string{"ab", strings.Repeat("a", 64), "Upper", "a..b", "a_b", "-ab", "ab-", "192.168.5.4", "xn--abc", "a-s3alias", "a.-b"} {
		s.do("PUT", "/"+url.PathEscape(name), "").is(400, "InvalidBucketName")
	}
	s.do("PUT", "/bucket", "<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>").is(400, "InvalidLocationConstraint")
	s.do("PUT", "/bucket", "<CreateBucket").is(400, "MalformedXML")
	s.do("PUT", "/bucket", "<CreateBucketConfiguration><LocationConstraint>eu-north-1</LocationConstraint></CreateBucketConfiguration>").is(200, "")
	s.do("PUT", "/bucket", "").is(409, "BucketAlreadyOwnedByYou")
	require.Contains(t, s.do("GET", "/bucket?location", "").is(200, "").body, ">eu-north-1</LocationConstraint>")
	require.Equal(t, "eu-north-1", s.do("HEAD", "/bucket", "").is(200, "").header.Get("X-Amz-Bucket-Region"))
	s.do("HEAD", "/nothing", "").is(404, "")
	s.do("GET", "/nothing", "").is(404, "NoSuchBucket")
	s.do("PUT", "/nothing/key", "x").is(404, "NoSuchBucket")
	s.do("DELETE", "/nothing", "").is(404, "NoSuchBucket")
	s.do("GET", "/bucket/nothing", "").is(404, "NoSuchKey")
	s.do("DELETE", "/bucket", "").is(204, "")
	require.Contains(t, s.do("GET", "/", "").is(200, "").body, "<Buckets></Buckets>")
}
