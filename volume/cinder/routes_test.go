package cinder_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/kintoun/kintoun/internal/coverage"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume/cinder"
)

// TestRoutesSayWhatIsUnsupported asks for everything that the routes call unsupported, and for all other actions.
func TestRoutesSayWhatIsUnsupported(t *testing.T) {
	c := newCloud(t)
	id := uuid.NewString()
	later := 0
	for _, r := range cinder.Routes(c.Service, nil) {
		actions := r.Actions
		if len(actions) == 0 && r.Unsupported != "" {
			actions = []wire.Action{{Unsupported: r.Unsupported}}
		}
		for _, action := range actions {
			name := fmt.Sprintf("%s %s %s", r.Method, r.Path, action.Name)
			path := strings.NewReplacer("{project_id}", adminProject, "{id}", id, "{key}", "k", "{name}", "n").Replace(r.Path)
			// An argument that none takes: what is implemented refuses it, or does not look at it and finds no such thing.
			answer := c.call(t, "admin", "3.70", r.Method, path, fmt.Sprintf(`{%q: "nonsense"}`, action.Name))
			if action.Unsupported == "" {
				require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, answer.code, "%s: %s", name, answer.text)
				require.NotContains(t, answer.text, "no such action", name)
				continue
			}
			later++
			require.Equal(t, http.StatusNotImplemented, answer.code, name)
			require.Contains(t, answer.text, action.Unsupported, name)
		}
	}
	require.Greater(t, later, 10)
}

// TestReference compares the routes with the API reference.
func TestReference(t *testing.T) {
	api, err := coverage.Load("block-storage")
	require.NoError(t, err)
	report := coverage.Compare(api, cinder.Routes(nil, nil))
	var missing, beyond []string
	for _, f := range report.Findings {
		if f.State == coverage.Missing {
			missing = append(missing, f.Method+" "+f.Path+" "+f.Action)
		}
	}
	for i := range report.Beyond {
		o := &report.Beyond[i]
		beyond = append(beyond, strings.TrimSpace(o.Method+" "+o.Path+" "+o.Action))
	}
	// The reference misspells the path of its counterparts PUT and DELETE.
	require.Equal(t, []string{"GET /v3/{project_id}/snapshot/{snapshot_id}/metadata/{key} "}, missing)
	require.ElementsMatch(t, []string{
		"GET /v3/{project_id}/snapshots/{id}/metadata/{key}",
		"GET /v3/{project_id}/volumes/{id}/encryption",            // what compute asks
		"POST /v3/{project_id}/snapshots/{id}/action os-unmanage", // of the extensions
		"GET /v3/{project_id}/os-volume-manage", "GET /v3/{project_id}/os-volume-manage/detail", "POST /v3/{project_id}/os-volume-manage",
		"GET /v3/{project_id}/os-snapshot-manage", "GET /v3/{project_id}/os-snapshot-manage/detail", "POST /v3/{project_id}/os-snapshot-manage",
	}, beyond)
}
