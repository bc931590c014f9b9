package cloudtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/agents"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/kintoun/kintoun/examples/allinone/cloudtest"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/inject"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The template that clouds are copies of stays for the next one.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// states tells which hosts are up, by their names.
func states(t testing.TB, admin *user) map[string]string {
	t.Helper()
	pages, err := services.List(admin.compute, services.ListOpts{Binary: "nova-compute"}).AllPages(t.Context())
	require.NoError(t, err)
	all, err := services.ExtractServices(pages)
	require.NoError(t, err)
	found := map[string]string{}
	for _, s := range all {
		found[s.Host] = s.State
	}
	return found
}

// routerHost is where the router of a new cloud is.
func routerHost(t testing.TB, admin *user) string {
	t.Helper()
	pages, err := routers.List(admin.network, routers.ListOpts{Name: "router1"}).AllPages(t.Context())
	require.NoError(t, err)
	found, err := routers.ExtractRouters(pages)
	require.NoError(t, err)
	pages, err = routers.ListL3Agents(admin.network, found[0].ID).AllPages(t.Context())
	require.NoError(t, err)
	hosting, err := routers.ExtractL3Agents(pages)
	require.NoError(t, err)
	require.Len(t, hosting, 1)
	return hosting[0].Host
}

func TestHostsComeAndGo(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	admin, u := login(t, c, c.AdminAuthOptions()), login(t, c, c.AuthOptions())
	_, err := c.AddHost("host2", nil)
	require.NoError(t, err)
	_, err = c.AddHost("host2", nil)
	require.ErrorIs(t, err, memcloud.ErrConflict)
	require.Equal(t, map[string]string{"host1": "up", "host2": "up"}, states(t, admin))
	require.Equal(t, "host1", routerHost(t, admin))

	require.NoError(t, c.Host("host1").CutOff())
	require.ErrorIs(t, c.Host("host1").CutOff(), memcloud.ErrConflict)
	require.Equal(t, map[string]string{"host1": "down", "host2": "up"}, states(t, admin))
	require.Equal(t, "host2", routerHost(t, admin), "what was on a dead host moved")
	pages, err := agents.List(admin.network, agents.ListOpts{Host: "host1"}).AllPages(t.Context())
	require.NoError(t, err)
	dead, err := agents.ExtractAgents(pages)
	require.NoError(t, err)
	require.NotEmpty(t, dead)
	for _, a := range dead {
		require.False(t, a.Alive, a.AgentType)
	}
	// New servers go where a host lives.
	s, err := u.create(t, "survivor")
	require.NoError(t, err)
	u.become(t, s.ID, "ACTIVE")

	require.NoError(t, c.Host("host1").Join())
	require.Equal(t, map[string]string{"host1": "up", "host2": "up"}, states(t, admin))
}

func TestAHostLosesItsPower(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	s, err := u.create(t, "web")
	require.NoError(t, err)
	u.become(t, s.ID, "ACTIVE")
	require.NoError(t, c.Host("host1").Kill())
	other, err := u.create(t, "nowhere")
	require.NoError(t, err)
	u.become(t, other.ID, "ERROR")
	require.NoError(t, c.Host("host1").Join())
	u.become(t, s.ID, "SHUTOFF")
	require.NoError(t, servers.Start(t.Context(), u.compute, s.ID).ExtractErr())
	u.become(t, s.ID, "ACTIVE")
}

func TestAGuestEndsByItself(t *testing.T) {
	t.Parallel()
	c := cloudtest.New(t)
	u := login(t, c, c.AuthOptions())
	s, err := u.create(t, "web")
	require.NoError(t, err)
	u.become(t, s.ID, "ACTIVE")
	require.NoError(t, c.Print(s.ID, "hello\n"))
	output, err := servers.ShowConsoleOutput(t.Context(), u.compute, s.ID, servers.ShowConsoleOutputOpts{}).Extract()
	require.NoError(t, err)
	require.Contains(t, output, "hello")
	require.NoError(t, c.PowerOff(s.ID))
	u.become(t, s.ID, "SHUTOFF")
	require.NoError(t, servers.Start(t.Context(), u.compute, s.ID).ExtractErr())
	u.become(t, s.ID, "ACTIVE")
	require.NoError(t, c.Crash(s.ID, "the host ran out of memory"))
	u.become(t, s.ID, "SHUTOFF")
	require.ErrorIs(t, c.Crash("nobody", ""), memcloud.ErrNotFound)
}

// unlucky makes servers in a cloud where every second one or so fails, and says which.
func unlucky(t *testing.T, seed uint64) []string {
	c := cloudtest.NewWith(t, &memcloud.Options{Faults: inject.New(seed, inject.Fault{Step: "server apply", Probability: 0.8, Err: errors.New("bad luck")})})
	u := login(t, c, c.AuthOptions())
	var failed []string
	for i := range 8 {
		name := fmt.Sprintf("vm%d", i)
		s, err := u.create(t, name)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return u.status(t, s.ID) != "BUILD" }, patience, tick)
		if u.status(t, s.ID) == "ERROR" {
			failed = append(failed, name)
		}
	}
	return failed
}

func TestARunCanBeRepeated(t *testing.T) {
	t.Parallel()
	first := unlucky(t, 7)
	require.NotEmpty(t, first)
	require.Less(t, len(first), 8)
	require.Equal(t, first, unlucky(t, 7))
	require.NotEqual(t, first, unlucky(t, 8))
}

func TestManyCloudsAtOnce(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			c := cloudtest.New(t)
			u := login(t, c, c.AuthOptions())
			s, err := u.create(t, "web")
			if err == nil {
				ids[i] = s.ID
				pages, err := servers.List(u.compute, nil).AllPages(t.Context())
				if err == nil {
					all, _ := servers.ExtractServers(pages)
					if len(all) != 1 || all[0].ID != s.ID {
						t.Errorf("cloud %d shows %d servers", i, len(all))
					}
				}
			}
		})
	}
	wg.Wait()
	require.NotContains(t, ids, "")
}

func TestCredentialsInEveryForm(t *testing.T) {
	c := cloudtest.New(t)
	t.Setenv("OS_CLIENT_CONFIG_FILE", c.WriteCloudsYAML())
	for _, name := range []string{"kintoun", "kintoun-admin"} {
		auth, endpoint, tlsConfig, err := clouds.Parse(clouds.WithCloudName(name))
		require.NoError(t, err)
		provider, err := config.NewProviderClient(t.Context(), auth, config.WithTLSConfig(tlsConfig))
		require.NoError(t, err)
		require.NotEmpty(t, provider.Token())
		require.Equal(t, c.EndpointOpts().Region, endpoint.Region)
	}
	wrong := c.AuthOptions()
	wrong.Password = "guess"
	_, err := config.NewProviderClient(t.Context(), wrong)
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusUnauthorized))

	for want, environ := range map[string][]string{"admin admin": c.AdminEnviron(), "demo demo": c.Environ()} {
		show := exec.Command("sh", "-c", `echo "$OS_USERNAME $OS_PROJECT_NAME $OS_AUTH_URL"`)
		show.Env = environ
		out, err := show.Output()
		require.NoError(t, err)
		require.Equal(t, want+" "+c.Admin().AuthURL, strings.TrimSpace(string(out)))
	}
}
