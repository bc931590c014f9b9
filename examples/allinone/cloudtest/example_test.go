package cloudtest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
)

// What a test waits for happens in milliseconds; patience is for machines that are busy.
const (
	patience = 30 * time.Second
	tick     = 2 * time.Millisecond
)

// user is what a program under test would have: clients of the services.
type user struct {
	provider         *gophercloud.ProviderClient
	compute, network *gophercloud.ServiceClient
	seed             memcloud.Seed
}

func login(t testing.TB, c *cloudtest.Cloud, options gophercloud.AuthOptions) *user {
	t.Helper()
	provider, err := openstack.AuthenticatedClient(t.Context(), options)
	require.NoError(t, err)
	u := &user{provider: provider, seed: c.Seed}
	u.compute, err = openstack.NewComputeV2(provider, c.EndpointOpts())
	require.NoError(t, err)
	u.network, err = openstack.NewNetworkV2(provider, c.EndpointOpts())
	require.NoError(t, err)
	return u
}

// create asks for a server of what a new cloud has.
func (u *user) create(t testing.TB, name string) (*servers.Server, error) {
	t.Helper()
	return servers.Create(t.Context(), u.compute, servers.CreateOpts{
		Name: name, ImageRef: u.seed.ImageID, FlavorRef: u.seed.FlavorID, Networks: []servers.Network{{UUID: u.seed.NetworkID}},
	}, nil).Extract()
}

func (u *user) status(t testing.TB, id string) string {
	t.Helper()
	s, err := servers.Get(t.Context(), u.compute, id).Extract()
	require.NoError(t, err)
	return s.Status
}

// become waits until the server has the status.
func (u *user) become(t testing.TB, id, status string) {
	t.Helper()
	require.Eventually(t, func() bool { return u.status(t, id) == status }, patience, tick, "server %s never became %s", id, status)
}

func TestAServerIsActiveAtOnce(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	s, err := u.create(t, "web")
	require.NoError(t, err)
	got, err := servers.Get(t.Context(), u.compute, s.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", got.Status)
	require.Contains(t, got.Addresses, memcloud.NetworkName)
	require.NoError(t, servers.Stop(t.Context(), u.compute, s.ID).ExtractErr())
	require.Equal(t, "SHUTOFF", u.status(t, s.ID))
	require.NoError(t, servers.Delete(t.Context(), u.compute, s.ID).ExtractErr())
	_, err = servers.Get(t.Context(), u.compute, s.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound))
}

// Servers take a while, or as long as the test wants.
func TestServersTakeTheirTime(t *testing.T) {
	t.Parallel()
	c := cloudtest.NewWith(t, &memcloud.Options{BuildTime: 50 * time.Millisecond})
	u := login(t, c, c.AuthOptions())
	start := time.Now()
	s, err := u.create(t, "slow")
	require.NoError(t, err)
	require.NoError(t, servers.WaitForStatus(t.Context(), u.compute, s.ID, "ACTIVE"))
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)

	let := c.Faults.Add(inject.Fault{Step: "server apply", Resource: "held", Hang: true})
	held, err := u.create(t, "held")
	require.NoError(t, err)
	require.Equal(t, "BUILD", u.status(t, held.ID))
	let()
	u.become(t, held.ID, "ACTIVE")
}

// The API refuses, and tells when to come back; gophercloud does.
func TestAnAPIThatIsOverloaded(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	c.Faults.Add(inject.Fault{Step: "POST /v2.1/servers", Times: 2, Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "0"}})
	_, err := u.create(t, "web")
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusTooManyRequests))
	require.ErrorContains(t, err, `{"overLimit"`, "in Nova's words")
	u.provider.MaxBackoffRetries = 3
	u.provider.RetryBackoffFunc = func(context.Context, *gophercloud.ErrUnexpectedResponseCode, error, uint) error { return nil }
	_, err = u.create(t, "web")
	require.NoError(t, err)
	require.Len(t, c.Faults.Strikes(), 2)
}

func TestAConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	c.Faults.Add(inject.Fault{Step: "DELETE /v2.1/servers/*", Drop: true, Times: 1})
	s, err := u.create(t, "web")
	require.NoError(t, err)
	err = servers.Delete(t.Context(), u.compute, s.ID).ExtractErr()
	require.Error(t, err)
	require.False(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound))
	require.Equal(t, "ACTIVE", u.status(t, s.ID), "nothing was done")
}

// A server that cannot be built says why; another one can.
func TestAHostThatCannotBuildAServer(t *testing.T) {
	t.Parallel()
	c := cloudtest.NewWith(t, &memcloud.Options{Faults: inject.New(1, inject.Fault{Step: "server apply", Resource: "unlucky", Err: errors.New("no memory left")})})
	u := login(t, c, c.AuthOptions())
	s, err := u.create(t, "unlucky")
	require.NoError(t, err)
	u.become(t, s.ID, "ERROR")
	got, err := servers.Get(t.Context(), u.compute, s.ID).Extract()
	require.NoError(t, err)
	require.Contains(t, got.Fault.Message, "no memory left")
	lucky, err := u.create(t, "lucky")
	require.NoError(t, err)
	u.become(t, lucky.ID, "ACTIVE")
}

// Tokens expire when the test wants, and gophercloud gets itself another.
func TestATokenExpires(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	first := u.provider.Token()
	require.NoError(t, c.Advance(2*time.Hour))
	s, err := u.create(t, "late")
	require.NoError(t, err)
	require.NotEqual(t, first, u.provider.Token())
	got, err := servers.Get(t.Context(), u.compute, s.ID).Extract()
	require.NoError(t, err)
	require.Equal(t, "ACTIVE", got.Status, "the host did not fall behind")
	require.WithinDuration(t, c.Now(), got.Created, time.Minute)
}
