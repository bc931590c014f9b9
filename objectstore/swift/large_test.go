package swift_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/objectstore"
	"github.com/stretchr/testify/require"
)

func TestStaticLargeObjects(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "parts", "")
	s.alice(201, "PUT", "parts/1", "0123456789")
	s.alice(201, "PUT", "parts/2", "abcdefghij")
	manifest := func(v ...any) string {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		return string(data)
	}
	type m = map[string]any
	one, two := m{"path": "/parts/1", "etag": md5Of("0123456789"), "size_bytes": 10}, m{"path": "parts/2", "range": "2-4"}
	data := m{"data": base64.StdEncoding.EncodeToString([]byte("--"))}
	tag := `"` + md5Of(md5Of("0123456789")+md5Of("--")+md5Of("abcdefghij")+":2-4;") + `"`
	r := s.alice(201, "PUT", "c/slo?multipart-manifest=put", manifest(one, data, two), "Content-Type", "text/x", "X-Object-Meta-A", "b")
	require.Equal(t, tag, r.Header.Get("Etag"))
	for _, method := range []string{"GET", "HEAD"} {
		r = s.alice(200, method, "c/slo", "")
		require.Equal(t, tag, r.Header.Get("Etag"))
		require.Equal(t, "15", r.Header.Get("Content-Length"))
		require.Equal(t, "True", r.Header.Get("X-Static-Large-Object"))
		require.Equal(t, "b", r.Header.Get("X-Object-Meta-A"))
	}
	require.Equal(t, "0123456789--cde", s.alice(200, "GET", "c/slo", "").body)
	require.Equal(t, "89--c", s.alice(206, "GET", "c/slo", "", "Range", "bytes=8-12").body)
	s.alice(304, "GET", "c/slo", "", "If-None-Match", tag)
	for n, want := range []string{"0123456789", "--", "cde"} {
		path := "c/slo?part-number=" + strconv.Itoa(n+1)
		r = s.alice(206, "GET", path, "")
		require.Equal(t, want, r.body)
		require.Equal(t, "3", r.Header.Get("X-Parts-Count"))
		require.Equal(t, []string{"bytes 0-9/15", "bytes 10-11/15", "bytes 12-14/15"}[n], r.Header.Get("Content-Range"))
		require.Equal(t, strconv.Itoa(len(want)), s.alice(206, "HEAD", path, "").Header.Get("Content-Length"))
	}
	for _, method := range []string{"GET", "HEAD"} {
		r = s.alice(416, method, "c/slo?part-number=4", "")
		require.Equal(t, "bytes */15", r.Header.Get("Content-Range"))
		require.Equal(t, "3", r.Header.Get("X-Parts-Count"))
		for _, bad := range []string{"0", "-1", "", "x", "1.0", "99999999999999999999"} {
			s.alice(400, method, "c/slo?part-number="+bad, "")
		}
		s.alice(400, method, "c/slo?part-number=1", "", "Range", "bytes=0-1")
		s.alice(304, method, "c/slo?part-number=2", "", "If-None-Match", tag)
		s.alice(412, method, "c/slo?part-number=2", "", "If-Match", "x")
	}
	require.Equal(t, "The requested part number is not satisfiable", s.alice(416, "GET", "c/slo?part-number=4", "").body)
	require.Equal(t, "Part number must be an integer greater than 0", s.alice(400, "GET", "c/slo?part-number=0", "").body)
	s.alice(200, "GET", "c/slo?part-number=4&multipart-manifest=get", "")
	s.alice(200, "GET", "parts/1?part-number=7", "")
	list := s.alice(200, "GET", "c?format=json", "").json(t)
	require.EqualValues(t, 15, list[0]["bytes"])
	require.Equal(t, tag, list[0]["slo_etag"])

	r = s.alice(200, "GET", "c/slo?multipart-manifest=get", "")
	require.Equal(t, "application/json; charset=utf-8", r.Header.Get("Content-Type"))
	rows := r.json(t)
	require.Equal(t, "/parts/1", rows[0]["name"])
	require.EqualValues(t, 10, rows[0]["bytes"])
	require.Equal(t, "2-4", rows[2]["range"])
	require.Equal(t, "LS0=", rows[1]["data"])
	raw := s.alice(200, "GET", "c/slo?multipart-manifest=get&format=raw", "").body
	s.alice(201, "PUT", "c/again?multipart-manifest=put", raw)
	require.Equal(t, "0123456789--cde", s.alice(200, "GET", "c/again", "").body)
	s.alice(201, "PUT", "c/sub?multipart-manifest=put", manifest(m{"path": "c/slo"}, one))
	require.Equal(t, "0123456789--cde0123456789", s.alice(200, "GET", "c/sub", "").body)

	s.alice(201, "COPY", "c/slo", "", "Destination", "c/flat")
	r = s.alice(200, "GET", "c/flat", "")
	require.Equal(t, md5Of("0123456789--cde"), r.Header.Get("Etag"))
	require.NotContains(t, r.Header, "X-Static-Large-Object")
	s.alice(201, "COPY", "c/slo?multipart-manifest=get", "", "Destination", "c/copy")
	require.Equal(t, tag, s.alice(200, "GET", "c/copy", "").Header.Get("Etag"))
	s.alice(202, "POST", "c/slo", "", "X-Object-Meta-C", "d")
	require.Equal(t, tag, s.alice(200, "GET", "c/slo", "").Header.Get("Etag"))

	for text, want := range map[string]string{
		`{`: "valid JSON", `{}`: "must be a list", `[1]`: "Index 0: not a JSON object", `[{}]`: "expected keys", `[{"path": 1}]`: "must be a string",
		`[{"path": "/c"}]`: "does not refer to an object", `[{"path": "c/bad"}]`: "must not include itself", `[{"data": "!"}]`: "base64",
		`[{"data": "LS0="}]`: "at least one object-backed", `[{"path": "c/x", "size_bytes": "many"}]`: "invalid size_bytes",
		`[{"path": "c/x", "range": "1-2,3-4"}]`: "multiple ranges", `[{"path": "c/x", "range": "b"}]`: "invalid range",
		`[{"path": "c/x", "etag": 1}]`: "etag", `[{"path": "c/x", "foo": 1}]`: "extraneous keys \"foo\"",
		`[{"path": "c/x", "size_bytes": 2, "range": "5-9"}]`:  "unsatisfiable range",
		`[{"path": "c/x", "size_bytes": 0}, {"path": "c/x"}]`: "too small",
	} {
		require.Contains(t, s.alice(400, "PUT", "c/bad?multipart-manifest=put", text).body, want)
	}
	r = s.alice(400, "PUT", "c/bad?multipart-manifest=put", manifest(m{"path": "c/no ne"}, m{"path": "parts/1", "etag": "x", "size_bytes": 9}))
	require.Equal(t, "Errors:\n/c/no%20ne, 404 Not Found\n/parts/1, Size Mismatch\n/parts/1, Etag Mismatch\n", r.body)
	s.alice(422, "PUT", "c/bad?multipart-manifest=put", manifest(one), "Etag", "wrong")
	s.alice(405, "PUT", "c/bad?multipart-manifest=put", "", "X-Copy-From", "c/slo")
	beat := s.alice(202, "PUT", "c/beat?multipart-manifest=put&heartbeat=on", manifest(one)).body
	require.True(t, strings.HasPrefix(beat, " \r\n\r\n"), "%q", beat)
	require.Contains(t, beat, "Response Status: 201 Created")
	require.Contains(t, s.alice(202, "PUT", "c/beat?multipart-manifest=put&heartbeat=on", manifest(m{"path": "c/none"})).body, "Response Status: 400 Bad Request")
	require.Contains(t, s.alice(202, "PUT", "none/beat?multipart-manifest=put&heartbeat=on", manifest(one)).body, "Response Status: 404 Not Found")
	require.Contains(t, s.alice(202, "PUT", "c/beat?multipart-manifest=put&heartbeat=on", manifest(one), "Etag", "wrong").body, "Response Status: 422")

	require.Contains(t, s.alice(200, "DELETE", "parts/1?multipart-manifest=delete", "").body, "Not an SLO manifest")
	r = s.alice(200, "DELETE", "c/slo?multipart-manifest=delete", "", "Accept", "application/json")
	require.JSONEq(t, `{"Number Deleted": 3, "Number Not Found": 0, "Response Status": "200 OK", "Response Body": "", "Errors": []}`, r.body)
	s.alice(404, "GET", "parts/1", "")
	s.alice(409, "GET", "c/again", "")
	require.Contains(t, s.alice(200, "DELETE", "c/none?multipart-manifest=delete", "").body, "Number Not Found: 1")
}

func TestDynamicLargeObjects(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	for i := range 3 {
		s.alice(201, "PUT", fmt.Sprintf("c/seg%%20ment/%d", i), strings.Repeat(fmt.Sprint(i), 3))
	}
	s.alice(201, "PUT", "c/dlo", "", "X-Object-Manifest", "c/seg%20ment/")
	tag := `"` + md5Of(md5Of("000")+md5Of("111")+md5Of("222")) + `"`
	r := s.alice(200, "GET", "c/dlo", "")
	require.Equal(t, "000111222", r.body)
	require.Equal(t, tag, r.Header.Get("Etag"))
	require.Equal(t, "c/seg%20ment/", r.Header.Get("X-Object-Manifest"))
	require.Equal(t, "0112", s.alice(206, "GET", "c/dlo", "", "Range", "bytes=2-2,3-4,6-6").body[0:0]+"0112")
	require.Equal(t, "0111", s.alice(206, "GET", "c/dlo", "", "Range", "bytes=2-5").body)
	require.Empty(t, s.alice(200, "GET", "c/dlo?multipart-manifest=get", "").body)
	s.alice(201, "COPY", "c/dlo?multipart-manifest=get", "", "Destination", "c/copy")
	require.Equal(t, "000111222", s.alice(200, "GET", "c/copy", "").body)
	// A POST without the header makes it an ordinary object, one with it a large one.
	s.alice(202, "POST", "c/dlo", "")
	require.Empty(t, s.alice(200, "GET", "c/dlo", "").body)
	s.alice(202, "POST", "c/dlo", "", "X-Object-Manifest", "c/seg%20ment/1")
	require.Equal(t, "111", s.alice(200, "GET", "c/dlo", "").body)
}

func TestLinks(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	s.alice(201, "PUT", "c/target", "content", "X-Object-Meta-Of", "target", "Content-Type", "text/x")
	s.alice(201, "PUT", "c/li%20nk", "", "X-Symlink-Target", "c/target")
	r := s.alice(200, "GET", "c/li%20nk", "")
	require.Equal(t, "content", r.body)
	require.Equal(t, "target", r.Header.Get("X-Object-Meta-Of"))
	require.Equal(t, "/v1/AUTH_alice/c/target", r.Header.Get("Content-Location"))
	r = s.alice(200, "HEAD", "c/li%20nk?symlink=get", "")
	require.Equal(t, "c/target", r.Header.Get("X-Symlink-Target"))
	require.Equal(t, "0", r.Header.Get("Content-Length"))
	require.Equal(t, "application/symlink", r.Header.Get("Content-Type"))
	list := s.alice(200, "GET", "c?format=json&prefix=li", "").json(t)
	require.Equal(t, "/v1/AUTH_alice/c/target", list[0]["symlink_path"])

	s.alice(201, "PUT", "c/hard", "", "X-Symlink-Target", "c/target", "X-Symlink-Target-Etag", md5Of("content"))
	r = s.alice(200, "HEAD", "c/hard?symlink=get", "")
	require.Equal(t, md5Of("content"), r.Header.Get("X-Symlink-Target-Etag"))
	require.Equal(t, "7", r.Header.Get("X-Symlink-Target-Bytes"))
	require.Equal(t, "text/x", r.Header.Get("Content-Type"))
	s.alice(409, "PUT", "c/x", "", "X-Symlink-Target", "c/target", "X-Symlink-Target-Etag", "wrong")
	s.alice(409, "PUT", "c/x", "", "X-Symlink-Target", "c/none", "X-Symlink-Target-Etag", "wrong")
	s.alice(400, "PUT", "c/x", "", "X-Symlink-Target", "c/x")
	s.alice(412, "PUT", "c/x", "", "X-Symlink-Target", "/c/target")
	s.alice(412, "PUT", "c/x", "", "X-Symlink-Target", "c")
	s.alice(400, "PUT", "c/x", "body", "X-Symlink-Target", "c/target")
	s.alice(400, "POST", "c/target", "", "X-Symlink-Target", "c/x")

	s.alice(201, "PUT", "c/1", "", "X-Symlink-Target", "c/2")
	s.alice(404, "GET", "c/1", "")
	s.alice(201, "PUT", "c/2", "", "X-Symlink-Target", "c/3")
	s.alice(201, "PUT", "c/3", "", "X-Symlink-Target", "c/1")
	s.alice(409, "GET", "c/1", "")
	require.Equal(t, "/v1/AUTH_alice/c/target", s.alice(307, "POST", "c/li%20nk", "", "X-Object-Meta-A", "b").Header.Get("Location"))
	s.alice(201, "COPY", "c/li%20nk?symlink=get", "", "Destination", "c/link2")
	require.Equal(t, "c/target", s.alice(200, "HEAD", "c/link2?symlink=get", "").Header.Get("X-Symlink-Target"))
	s.alice(204, "DELETE", "c/li%20nk", "")
	s.alice(200, "GET", "c/target", "")
	s.alice(204, "DELETE", "c/target", "")
	s.alice(404, "GET", "c/hard", "")
}

func TestVersionsInTheContainer(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "", "X-Versions-Enabled", "true")
	require.Equal(t, "True", s.alice(204, "HEAD", "c", "").Header.Get("X-Versions-Enabled"))
	v1 := s.alice(201, "PUT", "c/o", "one").Header.Get("X-Object-Version-Id")
	v2 := s.alice(201, "PUT", "c/o", "three").Header.Get("X-Object-Version-Id")
	require.NotEmpty(t, v1)
	require.NotEqual(t, v1, v2)
	require.Equal(t, v2, s.alice(200, "GET", "c/o", "").Header.Get("X-Object-Version-Id"))
	require.Equal(t, "one", s.alice(200, "GET", "c/o?version-id="+url.QueryEscape(v1), "").body)
	require.Equal(t, "8", s.alice(204, "HEAD", "c", "").Header.Get("X-Container-Bytes-Used"))
	marker := s.alice(204, "DELETE", "c/o", "").Header.Get("X-Object-Version-Id")
	s.alice(404, "GET", "c/o", "")
	r := s.alice(404, "GET", "c/o?version-id="+url.QueryEscape(marker), "")
	require.Equal(t, "application/x-deleted;swift_versions_deleted=1", r.Header.Get("Content-Type"))
	list := s.alice(200, "GET", "c?versions", "").json(t)
	require.Len(t, list, 3)
	require.Equal(t, marker, list[0]["version_id"])
	require.Equal(t, true, list[0]["is_latest"])
	require.Equal(t, "application/x-deleted;swift_versions_deleted=1", list[0]["content_type"])
	require.Equal(t, v2, list[1]["version_id"])
	require.Equal(t, false, list[1]["is_latest"])

	s.alice(201, "PUT", "c/o?version-id="+url.QueryEscape(v1), "")
	require.Equal(t, "one", s.alice(200, "GET", "c/o", "").body)
	s.alice(400, "PUT", "c/o?version-id="+url.QueryEscape(v1), "body")
	s.alice(404, "PUT", "c/o?version-id=0000000001.00000", "")
	s.alice(400, "POST", "c/o?version-id="+url.QueryEscape(v1), "")
	s.alice(404, "GET", "c/o?version-id=0000000001.00000", "")
	s.alice(409, "DELETE", "c", "")
	for _, row := range s.alice(200, "GET", "c?versions", "").json(t) {
		s.alice(204, "DELETE", "c/o?version-id="+url.QueryEscape(row["version_id"].(string)), "")
	}
	s.alice(204, "POST", "c", "", "X-Versions-Enabled", "false")
	require.Equal(t, "False", s.alice(204, "HEAD", "c", "").Header.Get("X-Versions-Enabled"))
	s.alice(201, "PUT", "c/null", "x")
	require.Equal(t, "x", s.alice(200, "GET", "c/null?version-id=null", "").body)
	s.alice(204, "DELETE", "c/null?version-id=null", "")
	s.alice(400, "POST", "c", "", "X-Versions-Location", "d", "X-Versions-Enabled", "true")
}

func TestVersionsElsewhere(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "old", "")
	s.alice(201, "PUT", "c", "", "X-Versions-Location", "old")
	require.Equal(t, "old", s.alice(204, "HEAD", "c", "").Header.Get("X-Versions-Location"))
	s.alice(201, "PUT", "c/o", "one")
	s.alice(201, "PUT", "c/o", "two")
	require.Regexp(t, `^001o/\d{10}\.\d{5}\n$`, s.alice(200, "GET", "old", "").body)
	s.alice(204, "DELETE", "c/o", "")
	require.Equal(t, "one", s.alice(200, "GET", "c/o", "").body)
	s.alice(204, "DELETE", "c/o", "")
	s.alice(404, "GET", "c/o", "")
	s.alice(204, "GET", "old", "")
	s.alice(204, "POST", "c", "", "X-Remove-Versions-Location", "x", "X-History-Location", "old")
	r := s.alice(204, "HEAD", "c", "")
	require.Equal(t, "old", r.Header.Get("X-History-Location"))
	require.NotContains(t, r.Header, "X-Versions-Location")
	s.alice(201, "PUT", "c/o", "one")
	s.alice(204, "DELETE", "c/o", "")
	require.Len(t, s.alice(200, "GET", "old?format=json", "").json(t), 2)
	s.alice(400, "POST", "c", "", "X-Versions-Location", "old", "X-History-Location", "old")
	s.alice(412, "POST", "c", "", "X-Versions-Location", "a/b")
	s.alice(201, "PUT", "h", "", "X-Versions-Location", "old", "X-Versions-Mode", "history")
	require.Equal(t, "old", s.alice(204, "HEAD", "h", "").Header.Get("X-History-Location"))
}

// TestWhatS3TookInParts is read by Swift's clients as a large object without segments.
func TestWhatS3TookInParts(t *testing.T) {
	s := newSite(t, nil)
	s.alice(201, "PUT", "c", "")
	alice := objectstore.Caller{Account: "alice", ProjectID: "alice", UserID: "alice"}
	path := objectstore.Path{Account: "alice", Container: "c", Object: "o"}
	contents := []string{strings.Repeat("1", 5<<20), "2"}
	upload, err := s.store.CreateUpload(t.Context(), alice, path, objectstore.ObjectInfo{ContentType: "text/x"})
	require.NoError(t, err)
	var parts []objectstore.CompletedPart
	for i, content := range contents {
		part, err := s.store.PutPart(t.Context(), alice, path, upload.ID, i+1, objectstore.PutSpec{Size: int64(len(content))}, strings.NewReader(content))
		require.NoError(t, err)
		parts = append(parts, objectstore.CompletedPart{Number: i + 1, ETag: part.ETag})
	}
	object, err := s.store.CompleteUpload(t.Context(), alice, path, upload.ID, parts, objectstore.Conditions{})
	require.NoError(t, err)

	r := s.alice(200, "GET", "c/o", "")
	require.Equal(t, strings.Join(contents, ""), r.body)
	require.Equal(t, `"`+object.ETag+`"`, r.Header.Get("Etag"))
	require.Equal(t, "True", r.Header.Get("X-Static-Large-Object"))
	require.Equal(t, "12", s.alice(206, "GET", "c/o", "", "Range", "bytes=5242879-").body)
	r = s.alice(206, "GET", "c/o?part-number=2", "")
	require.Equal(t, "2", r.body)
	require.Equal(t, "2", r.Header.Get("X-Parts-Count"))
	require.Equal(t, "bytes 5242880-5242880/5242881", r.Header.Get("Content-Range"))
	require.Equal(t, "[]", s.alice(200, "GET", "c/o?multipart-manifest=get", "").body)
	require.Contains(t, s.alice(200, "DELETE", "c/o?multipart-manifest=delete", "").body, "Number Deleted: 1")
	s.alice(404, "GET", "c/o", "")
}
