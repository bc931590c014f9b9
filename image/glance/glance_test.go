package glance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/filestore"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokens knows the tokens "admin", "alice" and "bob", each of a project of that name.
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*identity.Caller, error) {
	caller := &identity.Caller{UserID: token, ProjectID: token, ProjectName: token, Roles: []identity.Role{{Name: "member"}}}
	switch token {
	case "admin":
		caller.Roles = append(caller.Roles, identity.Role{Name: identity.RoleAdmin})
	case "alice", "bob":
	default:
		return nil, fault.Wrap(identity.ErrUnauthorized, "The request you have made requires authentication.")
	}
	return caller, nil
}

// newServer serves a new image service.
func newServer(t testing.TB, options *image.Options) *httptest.Server {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := filestore.New(t.TempDir(), nil)
	require.NoError(t, err)
	service, err := image.New(context.Background(), db, store, options)
	require.NoError(t, err)
	server := httptest.NewServer(glance.Handler(service, tokens{}, &glance.Options{AuthURL: "http://127.0.0.1:5000/v3"}))
	t.Cleanup(server.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return server
}

const patch = "application/openstack-images-v2.1-json-patch"

// call makes a request as the project; header lines are "Name: value".
func call(t testing.TB, s *httptest.Server, project, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if project != "" {
		r.Header.Set("X-Auth-Token", project)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name != "" {
			r.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp, string(data)
}

// create makes an image of a JSON body and returns it.
func create(t testing.TB, s *httptest.Server, project, body string) map[string]any {
	t.Helper()
	resp, text := call(t, s, project, "POST", "/v2/images", body)
	require.Equal(t, 201, resp.StatusCode, text)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	require.Equal(t, s.URL+"/v2/images/"+v["id"].(string), resp.Header.Get("Location"))
	return v
}

const octets = "Content-Type: application/octet-stream"

func upload(t testing.TB, s *httptest.Server, project, id, content string) {
	t.Helper()
	resp, text := call(t, s, project, "PUT", "/v2/images/"+id+"/file", content, octets)
	require.Equal(t, 204, resp.StatusCode, text)
}

func TestShape(t *testing.T) {
	s := newServer(t, nil)
	v := create(t, s, "alice", `{"name": "disk", "disk_format": "raw", "container_format": "bare", "os_distro": "debian", "tags": ["b", "a"], "min_disk": 1}`)
	id := v["id"].(string)
	for name, want := range map[string]any{
		"name": "disk", "status": "queued", "visibility": "shared", "owner": "alice", "protected": false, "os_hidden": false,
		"disk_format": "raw", "container_format": "bare", "min_disk": 1.0, "min_ram": 0.0, "os_distro": "debian", "tags": []any{"a", "b"},
		"size": nil, "virtual_size": nil, "checksum": nil, "os_hash_algo": nil, "os_hash_value": nil,
		"self": "/v2/images/" + id, "file": "/v2/images/" + id + "/file", "schema": "/v2/schemas/image",
	} {
		require.Contains(t, v, name)
		require.Equal(t, want, v[name], name)
	}
	require.Regexp(t, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, v["created_at"])
	resp, body := call(t, s, "alice", "GET", "/v2/images/"+id+"/file", "")
	require.Equal(t, 204, resp.StatusCode, body)
	upload(t, s, "alice", id, "0123456789")
	_, body = call(t, s, "alice", "GET", "/v2/images/"+id, "")
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	require.Equal(t, "active", v["status"])
	require.EqualValues(t, 10, v["size"])
	require.EqualValues(t, 10, v["virtual_size"])
	require.Equal(t, "781e5e245d69b566979b86e28d23f2c7", v["checksum"])
	require.Equal(t, "sha512", v["os_hash_algo"])
	require.Equal(t, "file", v["stores"])
	require.NotNil(t, v["os_hash_value"])
}

func TestDownload(t *testing.T) {
	s := newServer(t, nil)
	id := create(t, s, "alice", `{"disk_format": "raw", "container_format": "bare"}`)["id"].(string)
	upload(t, s, "alice", id, "0123456789")
	for _, c := range []struct {
		ranges, body, content string
		status                int
	}{
		{"", "0123456789", "", 200},
		{"bytes=2-4", "234", "bytes 2-4/10", 206},
		{"bytes=-3", "789", "bytes 7-9/10", 206},
		{"bytes=8-", "89", "bytes 8-9/10", 206},
		{"bytes=8-99", "89", "bytes 8-9/10", 206},
		{"bytes=10-", "", "bytes */10", 416},
		{"bytes=x", "", "", 416},
	} {
		resp, body := call(t, s, "alice", "GET", "/v2/images/"+id+"/file", "", "Range: "+c.ranges)
		require.Equal(t, c.status, resp.StatusCode, c.ranges)
		require.Equal(t, c.content, resp.Header.Get("Content-Range"), c.ranges)
		if c.status < 300 {
			require.Equal(t, c.body, body)
			require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
			require.Equal(t, "781e5e245d69b566979b86e28d23f2c7", resp.Header.Get("Content-Md5"))
			require.EqualValues(t, len(c.body), resp.ContentLength)
		}
	}
	resp, _ := call(t, s, "alice", "POST", "/v2/images/"+id+"/actions/deactivate", "")
	require.Equal(t, 204, resp.StatusCode)
	resp, body := call(t, s, "alice", "GET", "/v2/images/"+id+"/file", "")
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, body, "deactivated")
	resp, _ = call(t, s, "alice", "POST", "/v2/images/"+id+"/actions/reactivate", "")
	require.Equal(t, 204, resp.StatusCode)
	resp, _ = call(t, s, "alice", "GET", "/v2/images/"+id+"/file", "")
	require.Equal(t, 200, resp.StatusCode)
}

// TestRefusals are requests that are answered with the right fault and change nothing.
func TestRefusals(t *testing.T) {
	s := newServer(t, &image.Options{MaxSize: 1 << 20})
	id := create(t, s, "alice", `{"name": "disk", "disk_format": "raw", "container_format": "bare", "x": "1", "visibility": "private"}`)["id"].(string)
	active := create(t, s, "alice", `{"name": "active", "disk_format": "raw", "container_format": "bare", "protected": true}`)["id"].(string)
	upload(t, s, "alice", active, "data")
	trap := create(t, s, "alice", `{"name": "trap", "disk_format": "qcow2", "container_format": "bare"}`)["id"].(string)
	bare := create(t, s, "alice", `{}`)["id"].(string)
	shared := create(t, s, "alice", `{"name": "shared"}`)["id"].(string)
	resp, _ := call(t, s, "alice", "POST", "/v2/images/"+shared+"/members", `{"member": "bob"}`)
	require.Equal(t, 200, resp.StatusCode)
	_, before := call(t, s, "admin", "GET", "/v2/images", "")

	this, that := "/v2/images/"+id, "/v2/images/"+active
	older := "Content-Type: application/openstack-images-v2.0-json-patch"
	newer := "Content-Type: " + patch
	unknown := "/v2/images/00000000-0000-0000-0000-000000000000"
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		project, method, path, body string
		header                      string
		status                      int
		text                        string
	}{
		{"", "GET", "/v2/images", "", "", 401, "requires authentication"},
		{"mallory", "GET", "/v2/images", "", "", 401, "requires authentication"},
		{"alice", "GET", "/v2/images/", "", "", 404, "could not be found"},
		{"alice", "DELETE", "/v2/images/", "", "", 404, "could not be found"},
		{"alice", "GET", "/v3/nothing", "", "", 404, "could not be found"},
		{"alice", "PUT", "/v2/images", "", "", 405, "not allowed"},

		{"alice", "POST", "/v2/images", "", "", 400, "no body"},
		{"alice", "POST", "/v2/images", "{", "", 400, "malformed"},
		{"alice", "POST", "/v2/images", "[]", "", 400, ""},
		{"alice", "POST", "/v2/images", "null", "", 400, "JSON object"},
		{"alice", "POST", "/v2/images", `{"name": 7}`, "", 400, "'name'"},
		{"alice", "POST", "/v2/images", `{"name": "` + long + `"}`, "", 400, "255"},
		{"alice", "POST", "/v2/images", `{"id": "x"}`, "", 400, "UUID"},
		{"alice", "POST", "/v2/images", `{"id": ""}`, "", 400, "empty"},
		{"alice", "POST", "/v2/images", `{"id": "` + id + `"}`, "", 409, "already exists"},
		{"alice", "POST", "/v2/images", `{"disk_format": "wrong"}`, "", 400, "disk format"},
		{"alice", "POST", "/v2/images", `{"container_format": "wrong"}`, "", 400, "container format"},
		{"alice", "POST", "/v2/images", `{"visibility": "wrong"}`, "", 400, "visibility"},
		{"alice", "POST", "/v2/images", `{"visibility": "public"}`, "", 403, "publish"},
		{"alice", "POST", "/v2/images", `{"min_disk": "1"}`, "", 400, "min_disk"},
		{"alice", "POST", "/v2/images", `{"min_disk": 1.5}`, "", 400, "min_disk"},
		{"alice", "POST", "/v2/images", `{"min_disk": -1}`, "", 400, "min_disk"},
		{"alice", "POST", "/v2/images", `{"min_ram": null}`, "", 400, "min_ram"},
		{"alice", "POST", "/v2/images", `{"protected": "yes"}`, "", 400, "protected"},
		{"alice", "POST", "/v2/images", `{"tags": "x"}`, "", 400, "tags"},
		{"alice", "POST", "/v2/images", `{"tags": [1]}`, "", 400, "tags"},
		{"alice", "POST", "/v2/images", `{"mine": 1}`, "", 400, "mine"},
		{"alice", "POST", "/v2/images", `{"` + long + `": "x"}`, "", 400, "255"},
		{"alice", "POST", "/v2/images", `{"status": "active"}`, "", 403, "read-only"},
		{"alice", "POST", "/v2/images", `{"self": "x"}`, "", 403, "read-only"},
		{"alice", "POST", "/v2/images", `{"deleted": "x"}`, "", 403, "reserved"},
		{"alice", "POST", "/v2/images", `{"os_glance_x": "x"}`, "", 403, "reserved"},
		{"alice", "POST", "/v2/images", `{"locations": []}`, "", 403, "locations"},
		{"alice", "POST", "/v2/images", `{"owner": "bob"}`, "", 403, "bob"},
		{"alice", "POST", "/v2/images", `{"x": "` + strings.Repeat("x", 1<<20) + `"}`, "", 413, "too large"},

		{"alice", "GET", unknown, "", "", 404, "no image found with ID"},
		{"bob", "GET", this, "", "", 404, "no image found with ID"},
		{"bob", "GET", this + "/file", "", "", 404, "no image"},
		{"bob", "PATCH", this, `[{"op": "add", "path": "/y", "value": "1"}]`, newer, 404, "no image"},
		{"bob", "DELETE", this, "", "", 404, "no image"},
		{"bob", "PUT", this + "/file", "x", octets, 404, "no image"},
		{"bob", "PUT", this + "/tags/x", "", "", 404, "no image"},
		{"bob", "GET", this + "/members", "", "", 404, "no image"},
		{"bob", "POST", this + "/actions/deactivate", "", "", 404, "no image"},
		{"bob", "PATCH", "/v2/images/" + shared, `[{"op": "add", "path": "/y", "value": "1"}]`, newer, 403, "not permitted"},
		{"bob", "DELETE", "/v2/images/" + shared, "", "", 403, "not permitted"},
		{"alice", "DELETE", unknown, "", "", 404, "no image"},
		{"alice", "DELETE", that, "", "", 403, "protected"},

		{"alice", "PATCH", this, `[]`, "Content-Type: application/json", 415, "patch"},
		{"alice", "PATCH", this, `{}`, newer, 400, ""},
		{"alice", "PATCH", this, `[7]`, newer, 400, ""},
		{"alice", "PATCH", this, `[null]`, newer, 400, "objects"},
		{"alice", "PATCH", this, `[{"op": "move", "path": "/name", "value": "x"}]`, newer, 400, "Invalid operation"},
		{"alice", "PATCH", this, `[{"path": "/name", "value": "x"}]`, newer, 400, "Invalid operation"},
		{"alice", "PATCH", this, `[{"op": "add", "value": "x"}]`, newer, 400, "path"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/y"}]`, newer, 400, "value"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "y", "value": "x"}]`, newer, 400, "start with"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/", "value": "x"}]`, newer, 400, "pointer"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/y/z", "value": "x"}]`, newer, 400, "pointer"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/y~2", "value": "x"}]`, newer, 400, "escape"},
		{"alice", "PATCH", this, `[{"op": "replace", "path": "/nothing", "value": "x"}]`, newer, 409, "does not exist"},
		{"alice", "PATCH", this, `[{"op": "remove", "path": "/nothing"}]`, newer, 409, "does not exist"},
		{"alice", "PATCH", this, `[{"op": "remove", "path": "/name"}]`, newer, 403, "may not be removed"},
		{"alice", "PATCH", this, `[{"op": "replace", "path": "/size", "value": 5}]`, newer, 403, "read-only"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/os_glance_y", "value": "x"}]`, newer, 403, "reserved"},
		{"alice", "PATCH", this, `[{"op": "add", "path": "/locations/-", "value": {}}]`, newer, 403, "locations"},
		{"alice", "PATCH", this, `[{"op": "replace", "path": "/owner", "value": "bob"}]`, newer, 403, "owner"},
		{"alice", "PATCH", this, `[{"op": "replace", "path": "/visibility", "value": "public"}]`, newer, 403, "publish"},
		{"alice", "PATCH", that, `[{"op": "replace", "path": "/disk_format", "value": "qcow2"}]`, newer, 403, "queued"},
		{"alice", "PATCH", this, `[{"add": "/x", "value": "2"}]`, older, 409, "already present"},
		{"alice", "PATCH", this, `[{"add": "/name", "value": "2"}]`, older, 409, "already present"},
		{"alice", "PATCH", this, `[{"add": "/y", "remove": "/x"}]`, older, 400, "only one"},
		{"alice", "PATCH", this, `[{"value": "x"}]`, older, 400, "exactly one"},
		// The first change is undone with the second.
		{"alice", "PATCH", this, `[{"op": "replace", "path": "/x", "value": "2"}, {"op": "remove", "path": "/nothing"}]`, newer, 409, "does not exist"},

		{"alice", "PUT", this + "/file", "x", "Content-Type: text/plain", 415, "octet-stream"},
		{"alice", "PUT", this + "/file", "x", "", 415, "octet-stream"},
		{"alice", "PUT", unknown + "/file", "x", octets, 404, "no image"},
		{"alice", "PUT", that + "/file", "x", octets, 409, "queued"},
		{"alice", "PUT", "/v2/images/" + bare + "/file", "x", octets, 400, "disk_format"},
		{"alice", "PUT", "/v2/images/" + trap + "/file", "x", octets, 415, "does not begin like one"},
		{"alice", "PUT", this + "/file", "QFI\xfb", octets, 415, "is qcow2"},
		{"alice", "PUT", this + "/file", strings.Repeat("x", 1<<20+1), octets, 413, "larger than"},

		{"alice", "DELETE", this + "/tags/none", "", "", 404, "no tag"},
		{"alice", "PUT", this + "/tags/" + long, "", "", 400, "255"},
		{"alice", "PUT", unknown + "/tags/x", "", "", 404, "no image"},
		{"alice", "POST", this + "/actions/deactivate", "", "", 403, "not allowed"},

		{"alice", "POST", "/v2/images/" + shared + "/members", `{}`, "", 400, "not specified"},
		{"alice", "POST", "/v2/images/" + shared + "/members", `{"member": 1}`, "", 400, ""},
		{"alice", "POST", "/v2/images/" + shared + "/members", `{"member": "bob"}`, "", 409, "already"},
		{"alice", "POST", this + "/members", `{"member": "bob"}`, "", 403, "shared"},
		{"alice", "PUT", "/v2/images/" + shared + "/members/bob", `{"status": "accepted"}`, "", 403, "member itself"},
		{"bob", "PUT", "/v2/images/" + shared + "/members/bob", `{"status": "maybe"}`, "", 400, "maybe"},
		{"bob", "PUT", "/v2/images/" + shared + "/members/bob", `{}`, "", 400, "not specified"},
		{"bob", "DELETE", "/v2/images/" + shared + "/members/bob", "", "", 403, "not permitted"},
		{"alice", "DELETE", "/v2/images/" + shared + "/members/carol", "", "", 404, "not found"},
		{"alice", "GET", "/v2/images/" + shared + "/members/carol", "", "", 404, "not found"},

		{"alice", "GET", "/v2/images?limit=x", "", "", 400, "integer"},
		{"alice", "GET", "/v2/images?limit=-1", "", "", 400, "positive"},
		{"alice", "GET", "/v2/images?marker=x", "", "", 400, "marker"},
		{"alice", "GET", "/v2/images?sort_key=colour", "", "", 400, "sort key"},
		{"alice", "GET", "/v2/images?sort_dir=up", "", "", 400, "sort direction"},
		{"alice", "GET", "/v2/images?sort=name:up", "", "", 400, "sort direction"},
		{"alice", "GET", "/v2/images?sort=name&sort_key=name", "", "", 400, "combined"},
		{"alice", "GET", "/v2/images?sort_key=name&sort_dir=asc&sort_dir=asc", "", "", 400, "Number of sort dirs"},
		{"alice", "GET", "/v2/images?visibility=secret", "", "", 400, "visibility"},
		{"alice", "GET", "/v2/images?member_status=maybe", "", "", 400, "status"},
		{"alice", "GET", "/v2/images?size_min=x", "", "", 400, "size_min"},
		{"alice", "GET", "/v2/images?size=x", "", "", 400, "size"},
		{"alice", "GET", "/v2/images?protected=x", "", "", 400, "protected"},
		{"alice", "GET", "/v2/images?os_hidden=x", "", "", 400, "os_hidden"},
		{"alice", "GET", "/v2/images?created_at=x", "", "", 400, "time"},
		{"alice", "GET", "/v2/images?created_at=about:2026-01-01T00:00:00Z", "", "", 400, "operator"},
		{"alice", "GET", "/v2/images?name=in:%22a", "", "", 400, "filter value"},
		{"alice", "GET", "/v2/images?name=in:a%22b", "", "", 400, "filter value"},
		{"alice", "GET", "/v2/images?changes-since=x", "", "", 400, "changes-since"},
		{"alice", "GET", "/v2/images?x=%zz", "", "", 400, "query"},

		{"alice", "GET", "/v2/schemas/nothing", "", "", 404, "could not be found"},
		{"alice", "GET", "/v2/schemas/metadefs/nothing", "", "", 404, "could not be found"},
		{"alice", "GET", "/v2/info/stores/detail", "", "", 403, "stores"},
		{"alice", "DELETE", "/v2/stores/file/" + active, "", "", 403, "only store"},
		{"alice", "DELETE", "/v2/stores/other/" + active, "", "", 409, "not available"},
	} {
		resp, body := call(t, s, c.project, c.method, c.path, c.body, c.header)
		require.Equal(t, c.status, resp.StatusCode, "%s %s %.200s: %s", c.method, c.path, c.body, body)
		require.Contains(t, html.UnescapeString(body), c.text, "%s %s %.200s", c.method, c.path, c.body)
	}
	_, after := call(t, s, "admin", "GET", "/v2/images", "")
	require.Equal(t, withoutUpdates(t, before), withoutUpdates(t, after))
}

// withoutUpdates drops the times of the last updates, which uploads that were refused have moved.
func withoutUpdates(t testing.TB, list string) []map[string]any {
	t.Helper()
	var v struct{ Images []map[string]any }
	require.NoError(t, json.Unmarshal([]byte(list), &v))
	require.NotEmpty(t, v.Images)
	for _, img := range v.Images {
		delete(img, "updated_at")
	}
	return v.Images
}

func TestFaultsAreAsClientsExpect(t *testing.T) {
	s := newServer(t, nil)
	for accept, want := range map[string]string{
		"":                 "text/html; charset=UTF-8",
		"*/*":              "text/html; charset=UTF-8",
		"application/json": "application/json",
	} {
		resp, body := call(t, s, "alice", "GET", "/v2/images/%3Cb%3E", "", "Accept: "+accept)
		require.Equal(t, 404, resp.StatusCode)
		require.Equal(t, want, resp.Header.Get("Content-Type"))
		if want == "application/json" {
			require.JSONEq(t, `{"code": "404 Not Found", "title": "Not Found", "message": "no image found with ID <b>"}`, body)
		} else {
			require.Contains(t, body, "<title>404 Not Found</title>")
			require.Contains(t, body, "no image found with ID &lt;b&gt;<br />")
		}
	}
	resp, body := call(t, s, "", "GET", "/v2/images", "")
	require.Equal(t, `Keystone uri="http://127.0.0.1:5000/v3"`, resp.Header.Get("Www-Authenticate"))
	require.Contains(t, body, `"error"`)
}

func TestPatch(t *testing.T) {
	s := newServer(t, nil)
	id := create(t, s, "alice", `{"name": "a", "x": "1", "kernel_id": null}`)["id"].(string)
	kernel := "11111111-1111-1111-1111-111111111111"
	for _, c := range []struct{ kind, body string }{
		{patch, `[{"op": "replace", "path": "/name", "value": "b"}, {"op": "add", "path": "/x", "value": "2"}, {"op": "add", "path": "/a~1b~0", "value": "c"}]`},
		{patch, `[{"op": "add", "path": "/tags", "value": ["t"]}, {"op": "replace", "path": "/min_ram", "value": 64}, {"op": "add", "path": "/kernel_id", "value": "` + kernel + `"}]`},
		{"application/openstack-images-v2.0-json-patch", `[{"replace": "/visibility", "value": "community"}, {"add": "/y", "value": "3"}, {"remove": "/x"}]`},
		{patch, `[]`},
	} {
		resp, body := call(t, s, "alice", "PATCH", "/v2/images/"+id, c.body, "Content-Type: "+c.kind)
		require.Equal(t, 200, resp.StatusCode, body)
	}
	_, body := call(t, s, "alice", "GET", "/v2/images/"+id, "")
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &v))
	for name, want := range map[string]any{
		"name": "b", "a/b~": "c", "tags": []any{"t"}, "min_ram": 64.0, "visibility": "community", "y": "3", "kernel_id": kernel,
	} {
		require.Equal(t, want, v[name], name)
	}
	require.NotContains(t, v, "x")
}

func TestList(t *testing.T) {
	s := newServer(t, nil)
	for i := range 5 {
		create(t, s, "alice", fmt.Sprintf(`{"name": "n,%d", "tags": ["t%d", "all"], "os_distro": "d%d"}`, i, i%2, i))
	}
	names := func(path string) (list []string, next string) {
		t.Helper()
		resp, body := call(t, s, "alice", "GET", path, "")
		require.Equal(t, 200, resp.StatusCode, body)
		var v struct {
			Images              []struct{ Name string }
			Next, First, Schema string
		}
		require.NoError(t, json.Unmarshal([]byte(body), &v))
		require.Equal(t, "/v2/schemas/images", v.Schema)
		require.NotContains(t, v.First, "marker")
		for _, img := range v.Images {
			list = append(list, img.Name)
		}
		return list, v.Next
	}
	var all []string
	pages := 0
	for path := "/v2/images?limit=2&sort=name:asc&tag=all"; path != ""; pages++ {
		page, next := names(path)
		all, path = append(all, page...), next
	}
	require.Equal(t, []string{"n,0", "n,1", "n,2", "n,3", "n,4"}, all)
	require.Equal(t, 3, pages)
	for query, want := range map[string]int{
		"": 5, "?limit=0": 0, "?limit=5000": 5, "?tag=t0&tag=all": 3, "?tag=t0&tag=t1": 0, "?os_distro=d3": 1, "?os_distro=no": 0,
		"?name=in:%22n,1%22,%22n,2%22,x": 2, "?name=n,1": 1, "?name=eq:n,1": 1, "?status=queued": 5, "?status=active": 0, "?owner=alice": 5, "?owner=bob": 0,
		"?visibility=shared": 5, "?visibility=private": 0, "?visibility=all": 5, "?os_hidden=true": 0, "?protected=false": 5,
		"?created_at=gt:2020-01-01T00:00:00Z": 5, "?updated_at=lt:2020-01-01": 0, "?size_min=1": 0, "?min_disk=0": 5, "?member_status=all": 5,
		"?sort_key=name&sort_dir=asc&sort_key=size&sort_dir=desc": 5, "?sort_key=status": 5,
	} {
		list, _ := names("/v2/images" + query)
		require.Len(t, list, want, query)
	}
}

func TestDiscovery(t *testing.T) {
	s := newServer(t, nil)
	for path, status := range map[string]int{"/": 300, "/versions": 200} {
		resp, body := call(t, s, "", "GET", path, "")
		require.Equal(t, status, resp.StatusCode)
		require.Contains(t, body, `"status":"CURRENT"`)
		require.Contains(t, body, s.URL+"/v2/")
	}
	for path, name := range map[string]string{
		"image": "image", "images": "images", "member": "member", "members": "members",
		"task": "task", "tasks": "tasks",
		"metadefs/namespace": "namespace", "metadefs/namespaces": "namespaces", "metadefs/object": "object", "metadefs/objects": "objects",
		"metadefs/property": "property", "metadefs/properties": "properties", "metadefs/tag": "tag", "metadefs/tags": "tags",
		"metadefs/resource_type": "resource_type_association", "metadefs/resource_types": "resource_type_associations",
	} {
		resp, body := call(t, s, "alice", "GET", "/v2/schemas/"+path, "")
		require.Equal(t, 200, resp.StatusCode, path)
		var v struct {
			Name       string
			Properties map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(body), &v))
		require.Equal(t, name, v.Name)
		require.NotEmpty(t, v.Properties)
	}
	_, body := call(t, s, "alice", "GET", "/v2/info/stores", "")
	require.JSONEq(t, `{"stores": [{"id": "file", "default": "true"}]}`, body)
	_, body = call(t, s, "alice", "GET", "/v2/info/import", "")
	require.Contains(t, body, `"value":["glance-direct"]`)
	resp, _ := call(t, s, "admin", "GET", "/v2/info/stores/detail", "")
	require.Equal(t, 200, resp.StatusCode)
}

// TestCutUpload ends the connection in the midst of an upload: the image is queued again, and takes the next one.
func TestCutUpload(t *testing.T) {
	s := newServer(t, nil)
	id := create(t, s, "alice", `{"disk_format": "raw", "container_format": "bare"}`)["id"].(string)
	pipe, w := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", s.URL+"/v2/images/"+id+"/file", pipe)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", "alice")
	r.Header.Set("Content-Type", "application/octet-stream")
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	_, err = w.Write(bytes.Repeat([]byte("x"), 3<<20))
	require.NoError(t, err)
	status := func() any {
		_, body := call(t, s, "alice", "GET", "/v2/images/"+id, "")
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &v))
		return v["status"]
	}
	require.Eventually(t, func() bool { return status() == "saving" }, time.Minute, 10*time.Millisecond)
	require.NoError(t, w.CloseWithError(errors.New("the client goes")))
	require.Error(t, <-done)
	require.Eventually(t, func() bool { return status() == "queued" }, time.Minute, 10*time.Millisecond)
	upload(t, s, "alice", id, "whole")
	require.Equal(t, "active", status())
}
