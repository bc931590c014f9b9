package neutron_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/network"
	"github.com/kintoun/kintoun/network/neutron"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// auth knows a token for each project: "PROJECT", and "admin" for one that may do everything.
type auth struct{}

func (auth) Validate(_ context.Context, token string) (*identity.Caller, error) {
	c := &identity.Caller{UserID: "user", ProjectID: token, Roles: []identity.Role{{Name: "member"}}}
	switch token {
	case "bad":
		return nil, identity.ErrUnauthorized
	case "admin":
		c.Roles = append(c.Roles, identity.Role{Name: "admin"})
	}
	return c, nil
}

// cloud is the real handler over the real service.
type cloud struct {
	service *network.Service
	server  *httptest.Server
}

func start(t testing.TB, options *network.Options) *cloud {
	t.Helper()
	return startWith(t, options, &neutron.Options{})
}

func startWith(t testing.TB, options *network.Options, wireOptions *neutron.Options) *cloud {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	service, err := network.New(context.Background(), db, options)
	require.NoError(t, err)
	wireOptions.AuthURL = "http://identity/v3"
	server := httptest.NewServer(neutron.Handler(service, auth{}, wireOptions))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		require.NoError(t, db.Close())
	})
	return &cloud{service, server}
}

// client is gophercloud's, in the name of a project.
func (c *cloud) client(project string) *gophercloud.ServiceClient {
	provider := &gophercloud.ProviderClient{TokenID: project}
	provider.HTTPClient = *c.server.Client()
	return &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: c.server.URL + "/", ResourceBase: c.server.URL + "/v2.0/"}
}

// do makes a request and returns the status and body.
func (c *cloud) do(t testing.TB, project, method, path, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if project != "" {
		r.Header.Set("X-Auth-Token", project)
	}
	w, err := c.server.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = w.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(w.Body)
	require.NoError(t, err)
	var answer map[string]any
	if b.Len() > 0 {
		require.NoError(t, json.Unmarshal(b.Bytes(), &answer), b.String())
	}
	return w.StatusCode, answer
}

// must makes a request that has the status, and returns what the answer holds under key.
func (c *cloud) must(t testing.TB, status int, project, method, path, body, key string) map[string]any {
	t.Helper()
	got, answer := c.do(t, project, method, path, body)
	require.Equal(t, status, got, "%s %s %s: %v", method, path, body, answer)
	if key == "" {
		return answer
	}
	inner, ok := answer[key].(map[string]any)
	require.True(t, ok, "%v", answer)
	return inner
}

// ids are the identifiers of a list.
func ids(t testing.TB, answer map[string]any, key string) []string {
	t.Helper()
	list, ok := answer[key].([]any)
	require.True(t, ok, "%v", answer)
	found := []string{}
	for _, item := range list {
		found = append(found, item.(map[string]any)["id"].(string))
	}
	return found
}

func id(m map[string]any) string { return fmt.Sprint(m["id"]) }
