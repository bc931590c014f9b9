package swift_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/kintoun/kintoun/objectstore/swift"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokens knows the tokens "alice" and "bob", members of a project of that name, "reader", who is in alice's without a role that
// counts, and "reseller".
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*identity.Caller, error) {
	c := &identity.Caller{
		UserID: token, UserName: token, UserDomainID: "default", ProjectID: token, ProjectName: token, ProjectDomainID: "default",
		Roles: []identity.Role{{Name: "member"}},
	}
	switch token {
	case "alice", "bob":
	case "reader":
		c.ProjectID, c.ProjectName, c.Roles = "alice", "alice", []identity.Role{{Name: "reader"}}
	case "reseller":
		c.Roles = []identity.Role{{Name: "ResellerAdmin"}}
	default:
		return nil, fault.Wrap(identity.ErrUnauthorized, "unknown token")
	}
	return c, nil
}

// site is a server with what it stands on.
type site struct {
	*httptest.Server
	t     testing.TB
	store *objectstore.Service
	skew  atomic.Int64 // seconds that the clock is ahead
	pace  atomic.Int64 // seconds that pass whenever somebody looks at it
}

func (s *site) now() time.Time {
	return time.Now().Add(time.Duration(s.skew.Add(s.pace.Load())) * time.Second)
}

func newSite(t testing.TB, options *swift.Options) *site {
	return newSiteOver(t, memobjects.New(nil), options, nil)
}

func newSiteOver(t testing.TB, contents driver.Store, options *swift.Options, limits *objectstore.Options) *site {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s := &site{t: t}
	if limits == nil {
		limits = &objectstore.Options{}
	}
	limits.Now = s.now
	s.store, err = objectstore.New(context.Background(), db, contents, limits)
	require.NoError(t, err)
	if options == nil {
		options = &swift.Options{AuthURL: "http://127.0.0.1:5000/v3"}
	}
	options.Now = s.now
	s.Server = httptest.NewServer(swift.Handler(s.store, tokens{}, options))
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return s
}

// reply is an answer that was read.
type reply struct {
	*http.Response
	body string
}

// as are headers of a request by the token's owner; more are pairs of names and values.
func as(token string, more ...string) http.Header {
	h := http.Header{}
	if token != "" {
		h.Set("X-Auth-Token", token)
	}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// do asks for a path below /v1/AUTH_alice, or for one that begins with a slash.
func (s *site) do(method, path string, h http.Header, body string) reply {
	s.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/v1/AUTH_alice/" + path
	}
	var content io.Reader
	if body != "" || method == "PUT" || method == "POST" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, content)
	require.NoError(s.t, err)
	if h != nil {
		r.Header = h
	}
	if body == "" && method == "PUT" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(s.t, err)
	require.Regexp(s.t, `^tx[0-9a-f]{21}-[0-9a-f]{10}`, answer.Header.Get("X-Trans-Id"))
	require.Equal(s.t, answer.Header.Get("X-Trans-Id"), answer.Header.Get("X-Openstack-Request-Id"))
	return reply{answer, string(text)}
}

// alice asks as alice and wants the status.
func (s *site) alice(status int, method, path, body string, headers ...string) reply {
	s.t.Helper()
	r := s.do(method, path, as("alice", headers...), body)
	require.Equal(s.t, status, r.StatusCode, "%s %s: %s", method, path, r.body)
	return r
}

func (r reply) json(t testing.TB) []map[string]any {
	t.Helper()
	var v []map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestAccounts(t *testing.T) {
	s := newSite(t, nil)
	r := s.alice(204, "HEAD", "", "")
	require.Equal(t, "0", r.Header.Get("X-Account-Container-Count"))
	require.Equal(t, "text/plain; charset=utf-8", r.Header.Get("Content-Type"))
	require.Regexp(t, `^\d{10}\.\d{5}$`, r.Header.Get("X-Timestamp"))
	s.alice(204, "GET", "", "")
	require.Equal(t, "[]", s.alice(200, "GET", "?format=json", "").body)

	s.alice(204, "POST", "", "", "X-Account-Meta-Color", "red", "X-Account-Meta-Under_score", "1", "X-Account-Meta-Temp-Url-Key", "secret")
	r = s.alice(204, "HEAD", "", "")
	require.Equal(t, "red", r.Header.Get("X-Account-Meta-Color"))
	require.Equal(t, "1", r.Header.Get("X-Account-Meta-Under-Score"))
	require.Equal(t, "secret", r.Header.Get("X-Account-Meta-Temp-Url-Key"))
	s.alice(204, "POST", "", "", "X-Remove-Account-Meta-Color", "x", "X-Account-Meta-Under-Score", "")
	r = s.alice(204, "HEAD", "", "")
	require.NotContains(t, r.Header, "X-Account-Meta-Color")
	require.NotContains(t, r.Header, "X-Account-Meta-Under-Score")

	s.alice(201, "PUT", "photos", "")
	s.alice(202, "PUT", "photos", "")
	s.alice(201, "PUT", "photos/a", "12345")
	r = s.alice(200, "GET", "?format=json", "")
	require.Equal(t, "1", r.Header.Get("X-Account-Container-Count"))
	require.Equal(t, "1", r.Header.Get("X-Account-Storage-Policy-Policy-0-Container-Count"))
	require.Equal(t, "5", r.Header.Get("X-Account-Bytes-Used"))
	list := r.json(t)
	require.Equal(t, "photos", list[0]["name"])
	require.EqualValues(t, 1, list[0]["count"])
	require.EqualValues(t, 5, list[0]["bytes"])
	r = s.alice(200, "GET", "?format=xml", "")
	require.Contains(t, r.body, `<account name="AUTH_alice">`)
	require.Contains(t, r.body, `<container><name>photos</name><count>1</count><bytes>5</bytes>`)
	require.Equal(t, "photos\n", s.alice(200, "GET", "", "").body)
	require.Equal(t, "application/json; charset=utf-8", s.alice(200, "GET", "", "", "Accept", "text/*;q=0.1, application/json").Header.Get("Content-Type"))
	s.alice(406, "GET", "", "", "Accept", "image/png")
	s.alice(412, "GET", "?limit=10001", "")
	s.alice(204, "GET", "?limit=0", "")
	s.alice(403, "DELETE", "", "")
	s.alice(400, "DELETE", "?foo", "")
	s.alice(405, "COPY", "", "")

	// Others have no business there, and nobody hears whether it exists.
	for _, account := range []string{"AUTH_alice", "AUTH_nowhere", "other"} {
		require.Equal(t, 403, s.do("GET", "/v1/"+account, as("bob"), "").StatusCode)
		r := s.do("GET", "/v1/"+account+"/photos/a", nil, "")
		require.Equal(t, 401, r.StatusCode)
		require.Equal(t, []string{`Swift realm="` + account + `"`, `Keystone uri="http://127.0.0.1:5000/v3"`}, r.Header.Values("Www-Authenticate"))
		require.Contains(t, r.body, "<html><h1>Unauthorized</h1>")
	}
	require.Equal(t, 401, s.do("GET", "", as("forged"), "").StatusCode)
	require.Equal(t, 403, s.do("GET", "", as("reader"), "").StatusCode)
	require.Equal(t, 200, s.do("GET", "", as("reseller"), "").StatusCode)
	require.Equal(t, 204, s.do("DELETE", "", as("reseller"), "").StatusCode)
}

func TestQuotas(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Meta-Quota-Bytes", "10", "X-Container-Meta-Quota-Count", "2")
	r := s.alice(204, "HEAD", "c", "")
	require.Equal(t, "10", r.Header.Get("X-Container-Meta-Quota-Bytes"))
	require.Equal(t, "2", r.Header.Get("X-Container-Meta-Quota-Count"))
	require.Equal(t, "Upload exceeds quota.", s.alice(413, "PUT", "c/large", strings.Repeat("x", 11)).body)
	s.alice(201, "PUT", "c/1", "12345")
	s.alice(413, "PUT", "c/2", "123456")
	s.alice(201, "PUT", "c/2", "")
	s.alice(413, "PUT", "c/3", "")
	s.alice(400, "POST", "c", "", "X-Container-Meta-Quota-Bytes", "many")
	s.alice(204, "POST", "c", "", "X-Container-Meta-Quota-Bytes", "", "X-Remove-Container-Meta-Quota-Count", "x")
	s.alice(201, "PUT", "c/3", strings.Repeat("x", 100))

	s.alice(403, "POST", "", "", "X-Account-Meta-Quota-Bytes", "1000")
	s.alice(403, "POST", "", "", "X-Account-Quota-Bytes", "1000")
	s.alice(403, "POST", "", "", "X-Remove-Account-Meta-Quota-Bytes", "x")
	require.Equal(t, 400, s.do("POST", "", as("reseller", "X-Account-Meta-Quota-Bytes", "-1"), "").StatusCode)
	require.Equal(t, 204, s.do("POST", "", as("reseller", "X-Account-Meta-Quota-Bytes", "110", "X-Account-Quota-Count", "9"), "").StatusCode)
	r = s.alice(204, "HEAD", "", "")
	require.Equal(t, "110", r.Header.Get("X-Account-Quota-Bytes"))
	require.Equal(t, "9", r.Header.Get("X-Account-Quota-Count"))
	s.alice(413, "PUT", "c/4", "123456")
	s.alice(201, "PUT", "c/4", "12345")
	require.Equal(t, 204, s.do("POST", "", as("reseller", "X-Account-Meta-Quota-Bytes", "", "X-Remove-Account-Quota-Count", "x"), "").StatusCode)
	require.NotContains(t, s.alice(204, "HEAD", "", "").Header, "X-Account-Quota-Bytes")
}

func TestContainers(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Container-Meta-A_b", "1", "X-Container-Meta-Empty", "", "X-Container-Read", " .r:* , .rlistings,bob:bob", "X-Container-Write", "bob:bob")
	r := s.alice(204, "HEAD", "c", "")
	require.Equal(t, "1", r.Header.Get("X-Container-Meta-A-B"))
	require.NotContains(t, r.Header, "X-Container-Meta-Empty")
	require.Equal(t, ".r:*,.rlistings,bob:bob", r.Header.Get("X-Container-Read"))
	require.Equal(t, "Policy-0", r.Header.Get("X-Storage-Policy"))
	require.NotEmpty(t, r.Header.Get("Last-Modified"))

	// Who only may look does not see who else may.
	r = s.do("HEAD", "c", nil, "")
	require.Equal(t, 204, r.StatusCode)
	require.NotContains(t, r.Header, "X-Container-Read")
	require.Equal(t, 201, s.do("PUT", "c/by-bob", as("bob"), "bob's").StatusCode)
	require.Equal(t, 403, s.do("POST", "c", as("bob", "X-Container-Read", ""), "").StatusCode)
	require.Equal(t, "by-bob\n", s.do("GET", "c", nil, "").body)
	require.Equal(t, 401, s.do("PUT", "c/x", nil, "x").StatusCode)
	s.alice(204, "POST", "c", "", "X-Remove-Container-Read", "x")
	require.Equal(t, 401, s.do("GET", "c", nil, "").StatusCode)

	s.alice(400, "POST", "c", "", "X-Container-Write", ".r:*")
	s.alice(400, "POST", "c", "", "X-Container-Read", ".x:y")
	s.alice(404, "HEAD", "nothing", "")
	s.alice(404, "GET", "nothing", "")
	s.alice(404, "POST", "nothing", "", "X-Container-Meta-A", "b")
	s.alice(404, "DELETE", "nothing", "")
	s.alice(404, "PUT", "nothing/o", "x")
	require.Contains(t, s.alice(409, "DELETE", "c", "").body, "There was a conflict when trying to complete your request.")
	s.alice(204, "DELETE", "c/by-bob", "")
	s.alice(204, "DELETE", "c", "")

	long := strings.Repeat("x", 257)
	require.Equal(t, "Container name length of 257 longer than 256", s.alice(400, "PUT", long, "").body)
	s.alice(400, "PUT", "p", "", "X-Storage-Policy", "gold")
	s.alice(201, "PUT", "p", "", "X-Storage-Policy", "Policy-0")
	require.Contains(t, s.alice(400, "PUT", "m", "", "X-Container-Meta-"+strings.Repeat("x", 129), "1").body, "Metadata name too long")
	require.Contains(t, s.alice(400, "PUT", "m", "", "X-Container-Meta-A", long).body, "Metadata value longer than 256")
	many := []string{}
	for i := range 91 {
		many = append(many, "X-Container-Meta-"+strings.Repeat("x", i+1), "1")
	}
	require.Contains(t, s.alice(400, "PUT", "m", "", many...).body, "Too many metadata items; max 90")
}

func TestListings(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	for _, name := range []string{"a", "dir/", "dir/x", "dir/sub/y", "z%26%3C"} {
		s.alice(201, "PUT", "c/"+name, "12")
	}
	lines := func(query string) string { return s.alice(200, "GET", "c?"+query, "").body }
	require.Equal(t, "a\ndir/\ndir/sub/y\ndir/x\nz&<\n", lines(""))
	require.Equal(t, "a\ndir/\nz&<\n", lines("delimiter=/"))
	require.Equal(t, "dir/\ndir/sub/\ndir/x\n", lines("delimiter=/&prefix=dir/"))
	require.Equal(t, "dir/x\n", lines("path=dir"))
	require.Equal(t, "a\ndir/\nz&<\n", lines("path="))
	require.Equal(t, "dir/x\nz&<\n", lines("marker=dir/sub/y"))
	require.Equal(t, "a\n", lines("end_marker=b"))
	require.Equal(t, "z&<\ndir/x\n", lines("reverse=true&limit=2"))
	require.Equal(t, "a\n", lines("limit=1"))
	s.alice(204, "GET", "c?prefix=nothing", "")
	s.alice(412, "GET", "c?limit=10001", "")
	s.alice(204, "GET", "c?limit=0", "")
	require.Equal(t, 200, s.alice(200, "GET", "c?limit=-1", "").StatusCode)

	r := s.alice(200, "GET", "c?format=json&delimiter=/", "")
	list := r.json(t)
	require.Equal(t, map[string]any{"subdir": "dir/"}, list[1])
	require.Equal(t, md5Of("12"), list[0]["hash"])
	require.Equal(t, "application/octet-stream", list[0]["content_type"])
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$`, list[0]["last_modified"])
	require.Equal(t, "5", r.Header.Get("X-Container-Object-Count"))
	require.Equal(t, "10", r.Header.Get("X-Container-Bytes-Used"))
	r = s.alice(200, "GET", "c?format=xml&delimiter=/", "")
	require.Contains(t, r.body, `<container name="c">`)
	require.Contains(t, r.body, `<subdir name="dir/"><name>dir/</name></subdir>`)
	require.Contains(t, r.body, `<object><name>z&amp;&lt;</name>`)
	require.Equal(t, "Accept", s.alice(200, "GET", "c", "").Header.Get("Vary"))
}
