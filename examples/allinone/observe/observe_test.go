package observe_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/webhook"
	"github.com/kintoun/kintoun/examples/allinone/memcloud"
	"github.com/kintoun/kintoun/examples/allinone/observe"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// TestMain knows that clouds in memory are copies of one that stays as long as the process.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// receiver gets the bodies of requests whose signatures it checked.
func receiver(t *testing.T, secret string) (*httptest.Server, <-chan []byte) {
	bodies := make(chan []byte, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && (secret == "" || webhook.Verify(secret, r.Header, body, time.Now()) == nil) {
			bodies <- body
		}
	}))
	t.Cleanup(s.Close)
	return s, bodies
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

// get asks without keeping the connection.
func get(t *testing.T, url, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", token)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// TestACloudIsObserved has everything on at once, and ends it with a stream open.
func TestACloudIsObserved(t *testing.T) {
	secret := webhook.NewSecret()
	hooks, delivered := receiver(t, secret)
	collector, spans := receiver(t, "")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	events, metrics := listen(t), listen(t)
	o, err := observe.New(t.Context(), &observe.Options{
		Events: []net.Listener{events}, Metrics: []net.Listener{metrics}, Traces: true,
		Webhooks: []webhook.Hook{{Name: "test", URL: hooks.URL, Secret: secret, Filter: event.Filter{Types: []string{"network"}}}},
	})
	require.NoError(t, err)
	c, err := memcloud.Start(context.Background(), &memcloud.Options{Wrap: o.Wrap})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx, c.Cloud) }()

	admin := c.Admin()
	provider, err := openstack.AuthenticatedClient(t.Context(), gophercloud.AuthOptions{
		IdentityEndpoint: admin.AuthURL, Username: admin.User, Password: admin.Password, TenantName: admin.Project, DomainName: "Default",
	})
	require.NoError(t, err)
	client, err := openstack.NewNetworkV2(provider, gophercloud.EndpointOpts{})
	require.NoError(t, err)

	at := "http://" + events.Addr().String()
	require.Equal(t, http.StatusUnauthorized, get(t, at+"/events", "").StatusCode)
	require.Equal(t, http.StatusUnauthorized, get(t, at+"/events", "nonsense").StatusCode)
	require.Equal(t, http.StatusNotFound, get(t, at+"/metrics", "").StatusCode)
	stream := bufio.NewScanner(get(t, at+"/events?type=network", provider.Token()).Body)
	require.True(t, stream.Scan())

	// The hook begins with what happens after it was first run: until one is delivered, there are more.
	var message webhook.Message
	for message.Type == "" {
		_, err = networks.Create(t.Context(), client, networks.CreateOpts{Name: "n"}).Extract()
		require.NoError(t, err)
		select {
		case body := <-delivered:
			require.NoError(t, json.Unmarshal(body, &message))
		case <-time.After(50 * time.Millisecond):
		}
	}
	require.Equal(t, "network.network.created", message.Type)
	for stream.Text() != "event: created" {
		require.True(t, stream.Scan())
	}
	body, err := io.ReadAll(get(t, "http://"+metrics.Addr().String()+"/metrics", "").Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `kintoun_http_requests_total{method="POST",route="/v2.0/networks",service="network",status="201"}`)

	stop()
	require.NoError(t, <-ended, "the open stream has ended before its server")
	for stream.Scan() {
		continue
	}
	require.NoError(t, c.Stop())
	require.NoError(t, o.Close())
	require.Contains(t, string(<-spans), "POST /v2.0/networks")
}

func TestNothingIsObservedByDefault(t *testing.T) {
	o, err := observe.New(t.Context(), nil)
	require.NoError(t, err)
	c, err := memcloud.Start(context.Background(), &memcloud.Options{Wrap: o.Wrap})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	require.NoError(t, o.Run(ctx, c.Cloud))
	require.NoError(t, c.Stop())
	require.NoError(t, o.Close())

	_, err = observe.New(t.Context(), &observe.Options{Webhooks: []webhook.Hook{{Name: "x", URL: "ftp://x"}}})
	require.ErrorIs(t, err, webhook.ErrInvalid)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	_, err = observe.New(t.Context(), &observe.Options{Traces: true})
	require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_PROTOCOL")
}
