package glance_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/image/cachestore"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/glance"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// newCluster serves a service with the stores "near", which keeps local copies, and "far", that does its tasks.
func newCluster(t *testing.T) (*httptest.Server, *image.Service) {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	near, err := cachestore.New(t.TempDir(), memstore.New(nil))
	require.NoError(t, err)
	service, err := image.New(context.Background(), db, near, &image.Options{StoreName: "near", Stores: map[string]driver.Store{"far": memstore.New(nil)}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	server := httptest.NewServer(glance.Handler(service, tokens{}, nil))
	t.Cleanup(server.Close)
	return server, service
}

func get(t *testing.T, s *httptest.Server, project, path string) map[string]any {
	t.Helper()
	resp, text := call(t, s, project, "GET", path, "")
	require.Equal(t, 200, resp.StatusCode, text)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	return v
}

// settle waits for an event after which the image is as wanted.
func settle(t *testing.T, service *image.Service, as func() bool) {
	t.Helper()
	for range service.Watch(t.Context(), 0) {
		if as() {
			return
		}
	}
	t.Fatal("the events ended")
}

const bareRaw = `{"disk_format": "raw", "container_format": "bare"}`

func TestImport(t *testing.T) {
	s, service := newCluster(t)
	id := create(t, s, "alice", bareRaw)["id"].(string)
	path := "/v2/images/" + id
	require.JSONEq(t, `{"stores": [{"id": "far"}, {"id": "near", "default": "true"}]}`, func() string { _, text := call(t, s, "alice", "GET", "/v2/info/stores", ""); return text }())
	resp, _ := call(t, s, "alice", "POST", path+"/import", `{"method": {"name": "glance-direct"}}`)
	require.Equal(t, 409, resp.StatusCode, "nothing is staged")
	resp, _ = call(t, s, "alice", "PUT", path+"/stage", "a disk", octets)
	require.Equal(t, 204, resp.StatusCode)
	require.Equal(t, "uploading", get(t, s, "alice", path)["status"])
	for body, status := range map[string]int{
		`{"method": {"name": "web-download", "uri": "http://127.0.0.1/"}}`:             400,
		`{"method": {"name": "glance-direct"}, "stores": ["none"]}`:                    409,
		`{"method": {"name": "glance-direct"}, "stores": ["far"], "all_stores": true}`: 400,
		`{"method": {}}`: 400, `{"method": 1}`: 400,
	} {
		resp, text := call(t, s, "alice", "POST", path+"/import", body)
		require.Equal(t, status, resp.StatusCode, "%s: %s", body, text)
	}
	resp, text := call(t, s, "alice", "POST", path+"/import", `{"method": {"name": "glance-direct"}, "all_stores": true}`)
	require.Equal(t, 202, resp.StatusCode, text)
	settle(t, service, func() bool { return get(t, s, "alice", path)["status"] == "active" })
	v := get(t, s, "alice", path)
	require.Equal(t, "far,near", v["stores"])
	require.Empty(t, v["os_glance_importing_to_stores"])
	require.Empty(t, v["os_glance_failed_import"])
	require.NotContains(t, v, "os_glance_import_task")
	tasks := get(t, s, "alice", path+"/tasks")["tasks"].([]any)
	require.Len(t, tasks, 1)
	task := tasks[0].(map[string]any)
	require.Equal(t, "success", task["status"])
	require.Equal(t, resp.Header.Get("X-Openstack-Request-Id"), task["request_id"])
	require.Equal(t, "glance-direct", task["input"].(map[string]any)["import_req"].(map[string]any)["method"].(map[string]any)["name"])
	require.Len(t, get(t, s, "admin", "/v2/tasks")["tasks"], 1)
	require.Equal(t, "success", get(t, s, "admin", "/v2/tasks/"+task["id"].(string))["status"])
	for path, status := range map[string]int{"/v2/stores/far/" + id: 204, "/v2/stores/near/" + id: 403, "/v2/stores/none/" + id: 409} {
		if status == 204 {
			resp, text := call(t, s, "alice", "DELETE", path, "")
			require.Equal(t, 204, resp.StatusCode, text)
		}
	}
	resp, _ = call(t, s, "alice", "DELETE", "/v2/stores/near/"+id, "")
	require.Equal(t, 403, resp.StatusCode, "it is the only one")
	resp, _ = call(t, s, "alice", "DELETE", "/v2/stores/far/"+id, "")
	require.Equal(t, 404, resp.StatusCode)
	require.Equal(t, "near", get(t, s, "alice", path)["stores"])

	other := create(t, s, "alice", bareRaw)["id"].(string)
	resp, _ = call(t, s, "alice", "PUT", "/v2/images/"+other+"/file", "a disk", octets, "X-Image-Meta-Store: none")
	require.Equal(t, 400, resp.StatusCode)
	resp, _ = call(t, s, "alice", "PUT", "/v2/images/"+other+"/file", "a disk", octets, "X-Image-Meta-Store: far")
	require.Equal(t, 204, resp.StatusCode)
	require.Equal(t, "far", get(t, s, "alice", "/v2/images/"+other)["stores"])
}

func TestCache(t *testing.T) {
	s, service := newCluster(t)
	id := create(t, s, "alice", bareRaw)["id"].(string)
	for _, c := range []struct {
		project, method, path string
		status                int
	}{
		{"alice", "GET", "/v2/cache", 403}, {"alice", "PUT", "/v2/cache/" + id, 403}, {"alice", "DELETE", "/v2/cache", 403},
		{"admin", "PUT", "/v2/cache/none", 404}, {"admin", "DELETE", "/v2/cache/none", 404}, {"admin", "PUT", "/v2/cache/" + id, 400},
	} {
		resp, text := call(t, s, c.project, c.method, c.path, "")
		require.Equal(t, c.status, resp.StatusCode, "%s %s: %s", c.method, c.path, text)
	}
	upload(t, s, "alice", id, "a disk")
	resp, _ := call(t, s, "admin", "PUT", "/v2/cache/"+id, "")
	require.Equal(t, 202, resp.StatusCode)
	// No event tells of a copy; asking for the path waits for it.
	_, err := service.LocalPath(t.Context(), image.Scope{Admin: true}, id)
	require.NoError(t, err)
	cached := get(t, s, "admin", "/v2/cache")["cached_images"].([]any)
	require.Len(t, cached, 1)
	require.Equal(t, id, cached[0].(map[string]any)["image_id"])
	require.EqualValues(t, 6, cached[0].(map[string]any)["size"])
	resp, _ = call(t, s, "admin", "DELETE", "/v2/cache", "", "X-Image-Cache-Clear-Target: invalid")
	require.Equal(t, 400, resp.StatusCode)
	resp, _ = call(t, s, "admin", "DELETE", "/v2/cache", "", "X-Image-Cache-Clear-Target: queue")
	require.Equal(t, 204, resp.StatusCode)
	resp, _ = call(t, s, "admin", "DELETE", "/v2/cache/"+id, "")
	require.Equal(t, 204, resp.StatusCode)
	resp, _ = call(t, s, "admin", "DELETE", "/v2/cache", "")
	require.Equal(t, 204, resp.StatusCode)
	require.Empty(t, get(t, s, "admin", "/v2/cache")["cached_images"])
}
