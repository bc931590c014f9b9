package glance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMetadefs(t *testing.T) {
	s := newServer(t, nil)
	const all = "/v2/metadefs/namespaces"
	const one = all + "/OS::Compute"
	for _, c := range []struct {
		project, method, path, body string
		status                      int
		holds                       string
	}{
		{"alice", "POST", all, `{"namespace": "mine"}`, 403, "administrators"},
		{"admin", "POST", all, `{"namespace": ""}`, 400, ""},
		{"admin", "POST", all, `{"namespace": 1}`, 400, ""},
		{"admin", "POST", all, `{"namespace": "x", "properties": {"p": {"type": "string"}}}`, 400, "title"},
		{"admin", "POST", all, `{"namespace": "OS::Compute", "display_name": "Compute", "visibility": "public", "protected": true,
			"resource_type_associations": [{"name": "OS::Glance::Image", "prefix": "hw_"}], "tags": [{"name": "fast"}],
			"objects": [{"name": "o", "properties": {"q": {"title": "Q", "type": "string"}}}], "properties": {"p": {"title": "P", "type": "string"}}}`, 201, `"prefix":"hw_"`},
		{"admin", "POST", all, `{"namespace": "OS::Compute"}`, 409, ""},
		{"admin", "POST", all, `{"namespace": "hidden"}`, 201, `"visibility":"private"`},
		{"alice", "GET", all, "", 200, `"first":"/v2/metadefs/namespaces"`},
		{"admin", "GET", all + "?limit=1", "", 200, `"next":"/v2/metadefs/namespaces?limit=1\u0026marker=hidden"`},
		{"admin", "GET", all + "?marker=hidden", "", 200, "OS::Compute"},
		{"admin", "GET", all + "?marker=none", "", 404, ""},
		{"admin", "GET", all + "?visibility=public&resource_types=OS::Glance::Image", "", 200, "OS::Compute"},
		{"alice", "GET", all + "/hidden", "", 404, ""},
		{"alice", "GET", one, "", 200, `"properties":{"p":{"title":"P","type":"string"}}`},
		{"alice", "GET", one + "?resource_type=OS::Glance::Image", "", 200, `"hw_p"`},
		{"alice", "PUT", one, `{"namespace": "OS::Compute"}`, 403, ""},
		{"admin", "DELETE", one, "", 403, "protected"},
		{"admin", "DELETE", one + "/tags/fast", "", 403, "protected"},
		{"admin", "DELETE", one + "/tags", "", 403, "protected"},
		{"admin", "PUT", one, `{"namespace": "OS::Compute", "visibility": "public", "protected": false}`, 200, `"protected":false`},
		{"alice", "GET", one + "/resource_types", "", 200, "OS::Glance::Image"},
		{"admin", "POST", one + "/resource_types", `{"name": "OS::Nova::Flavor"}`, 201, "OS::Nova::Flavor"},
		{"admin", "DELETE", one + "/resource_types/OS::Nova::Flavor", "", 204, ""},
		{"admin", "DELETE", one + "/resource_types/OS::Nova::Flavor", "", 404, ""},
		{"admin", "POST", one + "/objects", `{"name": "two", "required": ["a"]}`, 201, `"required":["a"]`},
		{"admin", "POST", one + "/objects", `{"name": "two"}`, 409, ""},
		{"admin", "PUT", one + "/objects/two", `{"name": "three", "description": "d"}`, 200, `"name":"three"`},
		{"alice", "GET", one + "/objects/three", "", 200, `"description":"d"`},
		{"alice", "GET", one + "/objects/two", "", 404, ""},
		{"admin", "DELETE", one + "/objects/three", "", 204, ""},
		{"alice", "GET", one + "/objects", "", 200, `"objects":[{`},
		{"admin", "POST", one + "/properties", `{"name": "r", "title": "R", "type": "integer"}`, 201, `"name":"r"`},
		{"admin", "POST", one + "/properties", `{"name": "r", "title": "R"}`, 400, "type"},
		{"admin", "PUT", one + "/properties/r", `{"name": "r", "title": "RR", "type": "integer"}`, 200, `"title":"RR"`},
		{"alice", "GET", one + "/properties", "", 200, `"r":{`},
		{"admin", "DELETE", one + "/properties", "", 204, ""},
		{"alice", "GET", one + "/properties", "", 200, `{"properties":{}}`},
		{"admin", "POST", one + "/tags", `{"tags": [{"name": "a"}, {"name": "b"}]}`, 201, `"name":"b"`},
		{"alice", "GET", one + "/tags/fast", "", 404, ""},
		{"admin", "POST", one + "/tags/c", "", 201, `"name":"c"`},
		{"admin", "PUT", one + "/tags/c", `{"name": "d"}`, 200, `"name":"d"`},
		{"admin", "DELETE", one + "/tags/d", "", 204, ""},
		{"admin", "DELETE", one + "/tags", "", 204, ""},
		{"alice", "GET", one + "/tags", "", 200, `{"tags":[]}`},
		{"admin", "DELETE", one, "", 204, ""},
		{"admin", "GET", one, "", 404, ""},
	} {
		resp, text := call(t, s, c.project, c.method, c.path, c.body)
		require.Equal(t, c.status, resp.StatusCode, "%s %s: %s", c.method, c.path, text)
		require.Contains(t, text, c.holds, "%s %s", c.method, c.path)
	}
}
