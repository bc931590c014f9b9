package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBeyondTheReference names routes beyond the reference that are meant; what else turns up there is misspelt, or
// the reference has moved on.
func TestBeyondTheReference(t *testing.T) {
	reports, err := reports()
	require.NoError(t, err)
	beyond := map[string][]string{}
	for _, r := range reports {
		for i := range r.Beyond {
			o := &r.Beyond[i]
			beyond[r.Service] = append(beyond[r.Service], strings.TrimSpace(o.Method+" "+o.Path+" "+o.Action))
		}
	}
	require.Equal(t, map[string][]string{
		"identity": {
			"GET /", "GET /v3", // discovery
			// What the reference has for granting, for seeing what is granted.
			"GET /v3/OS-INHERIT/projects/{project}/users/{user}/roles/inherited_to_projects",
			"GET /v3/OS-INHERIT/projects/{project}/groups/{group}/roles/inherited_to_projects",
			"PUT /v3/regions/{id}", // a region of a name that the client chooses
			// EC2 credentials stand in the reference of v2 only; clients call them on v3.
			"GET /v3/users/{user}/credentials/OS-EC2", "POST /v3/users/{user}/credentials/OS-EC2",
			"GET /v3/users/{user}/credentials/OS-EC2/{access}", "DELETE /v3/users/{user}/credentials/OS-EC2/{access}",
			"POST /v3/s3tokens",  // what Swift's S3 middleware asks
			"POST /v3/ec2tokens", // what Heat asks
		},
		// Glance's own, which Tempest calls: all objects or properties of a namespace at once.
		"image":   {"DELETE /v2/metadefs/namespaces/{namespace}/objects", "DELETE /v2/metadefs/namespaces/{namespace}/properties"},
		"compute": {"POST /v2.1/servers/{id}/action os-getRDPConsole"}, // obsolete, and still asked for
		"network": {
			// Neutron's own, which clients call.
			"GET /v2.0/quotas/tenant", "GET /v2.0/quotas/project", "GET /v2.0/quotas/{id}/details",
			"GET /v2.0/lb/pools/{id}/health_monitors", "GET /v2.0/lb/pools/{id}/health_monitors/{monitor}",
		},
		"block-storage": {
			"GET /v3/{project_id}/volumes/{id}/encryption",            // what compute asks
			"GET /v3/{project_id}/snapshots/{id}/metadata/{key}",      // which the reference misspells
			"POST /v3/{project_id}/snapshots/{id}/action os-unmanage", // of the extensions
			"GET /v3/{project_id}/os-volume-manage", "GET /v3/{project_id}/os-volume-manage/detail", "POST /v3/{project_id}/os-volume-manage",
			"GET /v3/{project_id}/os-snapshot-manage", "GET /v3/{project_id}/os-snapshot-manage/detail", "POST /v3/{project_id}/os-snapshot-manage",
		},
		"object-store": {
			"GET /healthcheck", "GET /crossdomain.xml", "GET /auth/v1.0", // Swift's middleware
			"PUT /v1/{account}", // an account is made, or an archive unpacked in it
			// What browsers ask before they ask (CORS).
			"OPTIONS /v1/{account}", "OPTIONS /v1/{account}/{container}", "OPTIONS /v1/{account}/{container}/{object}",
		},
	}, beyond)
}

// TestTablesAreCurrent keeps the tables true: they are what the routes say.
func TestTablesAreCurrent(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	files, err := render(root)
	require.NoError(t, err)
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err, "run make generate")
		if string(have) != want {
			t.Errorf("%s does not say what the routes say: run make generate, and commit what it writes", name)
		}
	}
}
