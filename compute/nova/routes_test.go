package nova_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/stretchr/testify/require"
)

// TestRoutesSayWhatIsUnsupported asks for everything that the routes call unsupported, and for all other actions.
func TestRoutesSayWhatIsUnsupported(t *testing.T) {
	c := newCloud(t)
	id := c.boot(t, "s")
	later := 0
	for _, r := range nova.Routes(c.Service, nil) {
		actions := r.Actions
		if len(actions) == 0 && r.Unsupported != "" {
			actions = []wire.Action{{Unsupported: r.Unsupported}}
		}
		for _, action := range actions {
			if action.Name == "forceDelete" {
				continue // nothing would be left to ask
			}
			name := fmt.Sprintf("%s %s %s", r.Method, r.Path, action.Name)
			path := strings.NewReplacer("{id}", id, "{port}", "p", "{volume}", "v", "{migration}", "1").Replace(r.Path)
			// An argument that none takes: what is implemented refuses it, or does not look at it.
			answer := c.call(t, "red", "2.72", r.Method, path, fmt.Sprintf(`{%q:"nonsense"}`, action.Name))
			if action.Unsupported == "" {
				require.NotEqual(t, http.StatusNotImplemented, answer.code, name)
				require.NotContains(t, answer.text, "no such action", name)
				continue
			}
			later++
			require.Equal(t, http.StatusNotImplemented, answer.code, name)
			require.Contains(t, answer.text, action.Unsupported, name)
			// Whether there is such a server is not told to others.
			require.Equal(t, http.StatusNotFound, c.call(t, "blue", "2.72", r.Method, path, fmt.Sprintf(`{%q:null}`, action.Name)).code, name)
		}
	}
	require.Greater(t, later, 30)
}
