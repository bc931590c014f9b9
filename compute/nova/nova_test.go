package nova_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/internal/computetest"
	"github.com/kintoun/kintoun/compute/memcompute"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

const (
	redProject  = "6f70656e737461636b20342065766572"
	blueProject = "0123456789abcdef0123456789abcdef"
)

// tokens knows three callers by their tokens: "red", "blue" and "admin".
type tokens struct{}

func (tokens) Validate(_ context.Context, token string) (*identity.Caller, error) {
	switch token {
	case "red":
		return &identity.Caller{UserID: "ruby", ProjectID: redProject, Roles: []identity.Role{{Name: "member"}}}, nil
	case "blue":
		return &identity.Caller{UserID: "bob", ProjectID: blueProject, Roles: []identity.Role{{Name: "member"}}}, nil
	case "admin":
		return &identity.Caller{UserID: "root", ProjectID: "admin", Roles: []identity.Role{{Name: "admin"}}}, nil
	}
	return nil, identity.ErrUnauthorized
}

// cloud is the API over a service whose host is in memory.
type cloud struct {
	*compute.Service
	url      string
	network  string
	networks *computetest.Networks
	volumes  *computetest.Volumes
	host     *memcompute.Host

	proxiedImages *proxiedImages
}

func newCloud(t testing.TB) *cloud {
	t.Helper()
	db, err := sqlitedb.Memory(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	images := computetest.NewImages()
	c := &cloud{networks: computetest.NewNetworks(), volumes: computetest.NewVolumes(), host: memcompute.NewHost(), proxiedImages: &proxiedImages{}}
	c.network = c.networks.Add("private", redProject)
	c.Service, err = compute.New(t.Context(), db, images, c.networks, &compute.Options{Volumes: c.volumes})
	require.NoError(t, err)
	require.NoError(t, c.EnsureFlavors(t.Context(), compute.DefaultFlavors()...))
	agent := compute.NewAgent(c.Service, "host1", memcompute.New(c.host, nil), c.networks, images, &compute.AgentOptions{
		Resources: compute.Resources{VCPUs: 8, MemoryMiB: 16384, DiskGiB: 500, Type: "QEMU", Version: 7002000, Address: "192.0.2.1"},
		Connector: c.volumes,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.NoError(t, agent.Settle(t.Context()))
	server := httptest.NewServer(nova.Handler(c.Service, tokens{}, &nova.Options{AuthURL: "http://identity/", SecurityGroups: &groups{}, Volumes: &proxied{}, Images: c.proxiedImages}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// client is gophercloud's, at a microversion.
func (c *cloud) client(token, microversion string) *gophercloud.ServiceClient {
	return &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{TokenID: token}, Endpoint: c.url + "/v2.1/", Type: "compute", Microversion: microversion,
	}
}

// answer is what the API said.
type answer struct {
	code   int
	header http.Header
	body   map[string]any
	text   string
}

// call sends a request as a plain client; body is JSON or empty.
func (c *cloud) call(t testing.TB, token, microversion, method, path, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	if microversion != "" {
		r.Header.Set("OpenStack-API-Version", "compute "+microversion)
	}
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	a := answer{code: response.StatusCode, header: response.Header, text: string(data)}
	if len(data) > 0 {
		require.NoError(t, json.Unmarshal(data, &a.body), "%s", data)
	}
	return a
}

// fault is the name and message of a fault body, whose code must be the answer's.
func (a answer) fault(t testing.TB) (name, message string) {
	t.Helper()
	require.Len(t, a.body, 1, a.text)
	for name, inner := range a.body {
		o := inner.(map[string]any)
		require.EqualValues(t, a.code, o["code"])
		return name, o["message"].(string)
	}
	return "", ""
}

func (c *cloud) boot(t testing.TB, name string) string {
	t.Helper()
	a := c.call(t, "red", "2.1", "POST", "/v2.1/servers", fmt.Sprintf(`{"server":{"name":%q,"imageRef":%q,"flavorRef":"1"}}`, name, computetest.ImageID))
	require.Equal(t, http.StatusAccepted, a.code, a.text)
	id := a.body["server"].(map[string]any)["id"].(string)
	c.await(t, id, "ACTIVE")
	return id
}

func (c *cloud) await(t testing.TB, id, status string) {
	t.Helper()
	_, err := c.Await(t.Context(), compute.Scope{Admin: true}, id, func(v *compute.Server) bool { return v.Status() == status && v.TaskState == "" })
	require.NoError(t, err)
}

// groups is a network service with one security group.
type groups struct{ rules []nova.SecurityGroupRule }

func (g *groups) group() nova.SecurityGroup {
	return nova.SecurityGroup{ID: computetest.DefaultGroup.ID, Name: "default", Description: "d", ProjectID: redProject, Rules: g.rules}
}

func (g *groups) SecurityGroups(context.Context, compute.Scope) ([]nova.SecurityGroup, error) {
	return []nova.SecurityGroup{g.group()}, nil
}

func (g *groups) SecurityGroup(_ context.Context, _ compute.Scope, id string) (nova.SecurityGroup, error) {
	if id != computetest.DefaultGroup.ID {
		return nova.SecurityGroup{}, fmt.Errorf("Security group %s %w", id, compute.ErrNotFound)
	}
	return g.group(), nil
}

func (g *groups) CreateSecurityGroup(_ context.Context, _ compute.Scope, name, description string) (nova.SecurityGroup, error) {
	return nova.SecurityGroup{ID: "new", Name: name, Description: description}, nil
}

func (g *groups) UpdateSecurityGroup(_ context.Context, _ compute.Scope, id, name, description string) (nova.SecurityGroup, error) {
	return nova.SecurityGroup{ID: id, Name: name, Description: description}, nil
}

func (g *groups) DeleteSecurityGroup(context.Context, compute.Scope, string) error { return nil }

func (g *groups) CreateSecurityGroupRule(_ context.Context, _ compute.Scope, _ string, r nova.SecurityGroupRule) (nova.SecurityGroupRule, error) {
	r.ID = "rule"
	g.rules = append(g.rules, r)
	return r, nil
}

func (g *groups) DeleteSecurityGroupRule(context.Context, compute.Scope, string) error { return nil }
