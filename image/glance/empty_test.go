package glance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEmptyLists asks for what there is none of: clients do on their way to something else.
func TestEmptyLists(t *testing.T) {
	s := newServer(t, nil)
	id := create(t, s, "alice", `{}`)["id"].(string)
	for _, c := range []struct {
		project, path string
		status        int
		body          string
	}{
		{"admin", "/v2/tasks", 200, `{"tasks": [], "first": "/v2/tasks", "schema": "/v2/schemas/tasks"}`},
		{"alice", "/v2/tasks", 403, ""},
		{"alice", "/v2/images/" + id + "/tasks", 200, `{"tasks": []}`},
		{"bob", "/v2/images/" + id + "/tasks", 404, ""},
		{"alice", "/v2/info/usage", 200, `{"usage": {"image_count_total": {"limit": -1, "usage": 1}, "image_count_uploading": {"limit": -1, "usage": 0},
			"image_size_total": {"limit": -1, "usage": 0}, "image_stage_total": {"limit": -1, "usage": 0}}}`},
		{"alice", "/v2/metadefs/namespaces", 200, `{"namespaces": [], "first": "/v2/metadefs/namespaces", "schema": "/v2/schemas/metadefs/namespaces"}`},
		{"alice", "/v2/metadefs/resource_types", 200, `{"resource_types": [{"name": "OS::Cinder::Volume"}, {"name": "OS::Glance::Image"}, {"name": "OS::Nova::Aggregate"},
			{"name": "OS::Nova::Flavor"}, {"name": "OS::Nova::Server"}, {"name": "OS::Trove::Instance"}]}`},
		{"admin", "/v2/cache", 404, ""},
		{"alice", "/v2/cache", 403, ""},
		{"", "/v2/metadefs/namespaces", 401, ""},
	} {
		resp, body := call(t, s, c.project, "GET", c.path, "")
		require.Equal(t, c.status, resp.StatusCode, c.path)
		if c.body != "" {
			require.JSONEq(t, c.body, body, c.path)
		}
	}
}
