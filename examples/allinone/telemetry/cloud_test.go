package telemetry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/sse"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/telemetry"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image/memstore"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/objectstore/memobjects"
	"github.com/stretchr/testify/require"
)

// send makes a request to an API of the cloud.
func send(t *testing.T, url, token, body string) *http.Response {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-Auth-Token", token)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// TestACloudIsWatchedAndMeasured starts a whole cloud, reads its events by SSE with a token, and its metrics.
func TestACloudIsWatchedAndMeasured(t *testing.T) {
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	of, err := telemetry.New(t.Context(), &telemetry.Options{Metrics: true})
	require.NoError(t, err)
	c, err := cloud.Start(context.Background(), cloud.Options{
		DB: db, Images: memstore.New(nil), Objects: memobjects.New(nil), BcryptCost: 4, AdminPassword: "secret",
		Ports: map[cloud.Service]int{cloud.Identity: 0, cloud.Compute: 0, cloud.Network: 0, cloud.Image: 0},
		Wrap:  func(s cloud.Service, h http.Handler) http.Handler { return of.Handler(string(s), h) },
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Stop()); require.NoError(t, db.Close()) }()
	sources := event.Sources{"identity": c.Identity, "image": c.Image, "compute": c.Compute, "network": c.Network, "lbaas": c.LBaaS}
	ctx, stop := context.WithCancel(t.Context())
	events := httptest.NewServer(sse.New(ctx, sources, byToken(c.Identity), nil))
	defer events.Close()
	defer stop()

	require.Equal(t, http.StatusUnauthorized, send(t, events.URL, "", "").StatusCode)
	answer := send(t, c.URL(cloud.Identity)+"/v3/auth/tokens", "", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":"secret"}}},`+
		`"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`)
	require.Equal(t, http.StatusCreated, answer.StatusCode)
	token := answer.Header.Get("X-Subject-Token")
	stream := bufio.NewScanner(send(t, events.URL+"/?type=network", token, "").Body)
	require.True(t, stream.Scan())
	require.Equal(t, http.StatusCreated, send(t, c.URL(cloud.Network)+"/v2.0/networks/", token, `{"network":{"name":"n"}}`).StatusCode)
	var e event.Event
	for e.ID == "" && stream.Scan() {
		if data, ok := strings.CutPrefix(stream.Text(), "data: "); ok {
			require.NoError(t, json.Unmarshal([]byte(data), &e))
		}
	}
	require.Equal(t, "network network created ACTIVE", fmt.Sprint(e.Domain, " ", e.Type, " ", e.Action, " ", e.Status))
	require.NotEmpty(t, e.ProjectID)
	require.Equal(t, "1", shown(t, of, "kintoun_http_requests_total")[`method="POST",route="/v2.0/networks",service="network",status="201"`])
}

// byToken lets a token's project see its own events, and administrators all.
func byToken(auth identity.Authenticator) sse.Authorizer {
	return func(r *http.Request) (sse.Viewer, error) {
		token := r.Header.Get("X-Auth-Token")
		if token == "" {
			return sse.Viewer{}, sse.ErrUnauthorized
		}
		caller, err := auth.Validate(r.Context(), token)
		if err != nil {
			return sse.Viewer{}, err
		}
		return sse.Viewer{All: caller.IsAdmin(), ProjectIDs: []string{caller.ProjectID}}, nil
	}
}
