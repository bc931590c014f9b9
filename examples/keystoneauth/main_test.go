package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/stretchr/testify/require"
)

// Who is known to Keystone is greeted, once it has a role there.
func TestTokensOpenTheDoor(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	at := listener.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, listener) }()

	hello := "http://" + at + "/hello"
	get(t, hello, "", http.StatusUnauthorized, "X-Auth-Token")
	get(t, hello, "nonsense", http.StatusUnauthorized, "X-Auth-Token")
	admin := login(t, at, gophercloud.AuthOptions{Username: "admin", Password: "secret", TenantName: "admin"})
	get(t, hello, admin.Token(), http.StatusOK, "hello admin of project admin\n")

	// One who may log in, and has no role on a project.
	keystone, err := openstack.NewIdentityV3(admin, gophercloud.EndpointOpts{})
	require.NoError(t, err)
	_, err = users.Create(t.Context(), keystone, users.CreateOpts{Name: "eve", Password: "whisper", DomainID: "default"}).Extract()
	require.NoError(t, err)
	_, err = projects.Create(t.Context(), keystone, projects.CreateOpts{Name: "demo", DomainID: "default"}).Extract()
	require.NoError(t, err)
	eve := login(t, at, gophercloud.AuthOptions{Username: "eve", Password: "whisper"})
	get(t, hello, eve.Token(), http.StatusForbidden, "reader")

	stop()
	require.NoError(t, <-ended)
}

func login(t *testing.T, at string, options gophercloud.AuthOptions) *gophercloud.ProviderClient {
	t.Helper()
	options.IdentityEndpoint, options.DomainID = "http://"+at+"/v3", "default"
	client, err := openstack.AuthenticatedClient(t.Context(), options)
	require.NoError(t, err)
	return client
}

func get(t *testing.T, url, token string, status int, says string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	request.Header.Set("X-Auth-Token", token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, status, response.StatusCode, "%s", body)
	require.Contains(t, string(body), says)
}
