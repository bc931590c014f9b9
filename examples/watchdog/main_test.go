package main

import (
	"context"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

// The watchdog brings a server back although the cloud refuses, breaks the connection, loses the first start and lets
// the token expire on the way; and it ends with the server.
func TestAServerIsBroughtBackOnABadDay(t *testing.T) {
	c := cloudtest.New(t)
	compute := client(t, c)
	server, err := servers.Create(t.Context(), compute, servers.CreateOpts{
		Name: "web", ImageRef: c.Seed.ImageID, FlavorRef: c.Seed.FlavorID, Networks: []servers.Network{{UUID: c.Seed.NetworkID}},
	}, nil).Extract()
	require.NoError(t, err)
	id := server.ID
	c.Faults.Add(inject.Fault{Step: "GET /v2.1/servers/*", Every: 3, Status: 503})
	c.Faults.Add(inject.Fault{Step: "POST /v2.1/servers/*/action", Times: 1, Drop: true})
	c.Faults.Add(inject.Fault{Step: "server apply", Times: 1})

	ended := make(chan error, 1)
	go func() { ended <- watch(context.Background(), c.AuthOptions(), id, time.Millisecond) }()
	require.NoError(t, c.PowerOff(id))
	become(t, compute, id, "SHUTOFF")
	become(t, compute, id, "ACTIVE")

	require.NoError(t, c.Advance(24*time.Hour))
	require.NoError(t, c.PowerOff(id))
	become(t, compute, id, "SHUTOFF")
	become(t, compute, id, "ACTIVE")
	require.NotEmpty(t, c.Faults.Strikes())
	require.Empty(t, c.Faults.Idle())

	c.Faults.Clear()
	require.NoError(t, servers.Delete(t.Context(), compute, id).ExtractErr())
	require.ErrorContains(t, <-ended, "is gone")
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), nil), "usage")
	t.Setenv("OS_AUTH_URL", "")
	require.ErrorContains(t, run(t.Context(), []string{"id"}), "OS_AUTH_URL")
}

func client(t *testing.T, c *cloudtest.Cloud) *gophercloud.ServiceClient {
	provider, err := openstack.AuthenticatedClient(t.Context(), c.AuthOptions())
	require.NoError(t, err)
	compute, err := openstack.NewComputeV2(provider, c.EndpointOpts())
	require.NoError(t, err)
	return compute
}

// become waits until the cloud says that the server has the status, on a bad day too.
func become(t *testing.T, compute *gophercloud.ServiceClient, id, status string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := servers.Get(t.Context(), compute, id).Extract()
		return err == nil && s.Status == status
	}, 30*time.Second, time.Millisecond, status)
}
