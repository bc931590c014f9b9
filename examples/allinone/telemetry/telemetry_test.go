package telemetry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/examples/allinone/telemetry"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type dialect struct{}

func (dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, _ error) {
	w.WriteHeader(status)
}

type nobody struct{}

func (nobody) Validate(context.Context, string) (*identity.Caller, error) {
	return nil, identity.ErrUnauthorized
}

// api is a handler as the domains' are, behind a mux as allinone's network API is.
func api(t *testing.T) http.Handler {
	file := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(file, []byte("bytes"), 0o600))
	routes := []wire.Route{
		{Method: "GET", Path: "/v2/things/{id}", Public: true, Serve: func(w http.ResponseWriter, _ *http.Request) error { return wire.JSON(w, 200, "thing") }},
		{Method: "DELETE", Path: "/v2/things/{id}", Serve: nil},
		{Method: "GET", Path: "/v2/broken", Public: true, Serve: func(http.ResponseWriter, *http.Request) error { return errors.New("no") }},
		{Method: "GET", Path: "/v2/abort", Public: true, Serve: func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }},
		{Method: "GET", Path: "/v2/file", Public: true, Serve: func(w http.ResponseWriter, _ *http.Request) error {
			from, err := os.Open(file)
			if err != nil {
				return err
			}
			defer func() { _ = from.Close() }()
			_, err = io.Copy(w, from)
			return errors.Join(err, http.NewResponseController(w).Flush())
		}},
	}
	mux := http.NewServeMux()
	mux.Handle("/", wire.NewHandler(routes, dialect{}, wire.Options{Auth: nobody{}}))
	return mux
}

// ask makes the requests that the tests look for.
func ask(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, r := range []struct{ method, path string }{
		{"GET", "/v2/things/1"}, {"GET", "/v2/things/2?secret=1"}, {"GET", "/v2/things/2/"}, {"DELETE", "/v2/things/1"}, {"GET", "/v2/broken"},
		{"GET", "/etc/passwd"}, {"GET", "/wp-admin"}, {"BREW", "/v2/things/1"}, {"GET", "/v2/abort"}, {"GET", "/v2/file"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, nil)
		require.NoError(t, err)
		request.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		answer, err := client.Do(request)
		if r.path == "/v2/abort" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

func shown(t *testing.T, of *telemetry.Telemetry, prefix string) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	of.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	series := map[string]string{}
	for scan := bufio.NewScanner(w.Body); scan.Scan(); {
		if name, value, ok := strings.Cut(scan.Text(), "} "); ok && strings.HasPrefix(name, prefix) {
			series[strings.TrimPrefix(name, prefix+"{")] = value
		}
	}
	return series
}

func TestMetricsAreOfRoutesNotOfPaths(t *testing.T) {
	of, err := telemetry.New(t.Context(), &telemetry.Options{Metrics: true})
	require.NoError(t, err)
	server := httptest.NewServer(of.Handler("things", api(t)))
	ask(t, server.URL)
	server.Close()
	require.Equal(t, map[string]string{
		`method="GET",route="/v2/things/{id}",service="things",status="200"`:    "3",
		`method="DELETE",route="/v2/things/{id}",service="things",status="401"`: "1",
		`method="GET",route="/v2/broken",service="things",status="500"`:         "1",
		`method="GET",route="/v2/file",service="things",status="200"`:           "1",
		`method="GET",route="/v2/abort",service="things",status="aborted"`:      "1",
		`method="GET",route="none",service="things",status="404"`:               "2",
		`method="_OTHER",route="none",service="things",status="405"`:            "1",
	}, shown(t, of, "kintoun_http_requests_total"))
	require.Equal(t, "3", shown(t, of, "kintoun_http_request_duration_seconds_count")[`method="GET",route="/v2/things/{id}",service="things"`])
	require.Equal(t, map[string]string{`service="things"`: "0"}, shown(t, of, "kintoun_http_requests_in_flight"))
	require.NotEmpty(t, shown(t, of, "go_info"))
	require.NoError(t, of.Shutdown(t.Context()))
}

func TestNothingIsMeasuredUnlessAskedFor(t *testing.T) {
	of, err := telemetry.New(t.Context(), nil)
	require.NoError(t, err)
	next := http.NewServeMux()
	require.Same(t, next, of.Handler("things", next))
	w := httptest.NewRecorder()
	of.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
	of.Count(t.Context(), nil)
	require.NoError(t, of.Shutdown(t.Context()))
	t.Setenv("OTEL_SDK_DISABLED", "true")
	of, err = telemetry.New(t.Context(), &telemetry.Options{Traces: true})
	require.NoError(t, err)
	require.Same(t, next, of.Handler("things", next))
}

func TestEventsAreCounted(t *testing.T) {
	db, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	service, err := network.New(t.Context(), db, &network.Options{Quotas: map[string]int{"network": -1}})
	require.NoError(t, err)
	of, err := telemetry.New(t.Context(), &telemetry.Options{Metrics: true})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); of.Count(ctx, event.Sources{"network": service}) }()
	want := `action="created",domain="network",status="ACTIVE",type="network"`
	for shown(t, of, "kintoun_events_total")[want] == "" {
		name := "n"
		_, err := service.CreateNetwork(t.Context(), network.Scope{Admin: true, ProjectID: "red"}, network.NetworkSpec{Name: &name})
		require.NoError(t, err)
	}
	stop()
	<-done
}

// spans are what a collector reads.
type spans struct {
	ResourceSpans []struct {
		Resource   struct{ Attributes []attribute }
		ScopeSpans []struct {
			Spans []struct {
				TraceID, SpanID, ParentSpanID, Name string
				Kind                                int
				StartTimeUnixNano, EndTimeUnixNano  string
				Attributes                          []attribute
				Status                              struct{ Code int }
			}
		}
	}
}

type attribute struct {
	Key   string
	Value struct{ StringValue, IntValue string }
}

func has(list []attribute, key, value string) bool {
	for _, a := range list {
		if a.Key == key && (a.Value.StringValue == value || a.Value.IntValue == value) {
			return true
		}
	}
	return false
}

func TestRequestsAreSpansOfTheirCallersTrace(t *testing.T) {
	bodies := make(chan []byte, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/otlp/v1/traces" && r.Header.Get("Api-Key") == "a b" && r.Header.Get("Content-Type") == "application/json" {
			bodies <- body
		}
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL+"/otlp/")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=y")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	of, err := telemetry.New(t.Context(), &telemetry.Options{Traces: true})
	require.NoError(t, err)
	server := httptest.NewServer(of.Handler("things", api(t)))
	ask(t, server.URL)
	server.Close()
	require.NoError(t, of.Shutdown(t.Context()))
	body := <-bodies
	require.NotContains(t, string(body), "secret")
	var got spans
	require.NoError(t, json.Unmarshal(body, &got))
	require.Len(t, got.ResourceSpans, 1)
	require.True(t, has(got.ResourceSpans[0].Resource.Attributes, "service.name", "kintoun"))
	require.True(t, has(got.ResourceSpans[0].Resource.Attributes, "deployment.environment", "test"))
	list := got.ResourceSpans[0].ScopeSpans[0].Spans
	require.Len(t, list, 10)
	names := map[string]int{}
	for _, s := range list {
		require.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.TraceID)
		require.Equal(t, "b7ad6b7169203331", s.ParentSpanID)
		require.Len(t, s.SpanID, 16)
		require.Equal(t, 2, s.Kind)
		require.Less(t, s.StartTimeUnixNano, s.EndTimeUnixNano)
		names[s.Name]++
		failed := s.Name == "GET /v2/broken" || s.Name == "GET /v2/abort"
		require.Equal(t, failed, s.Status.Code == 2, s.Name)
	}
	require.Equal(t, map[string]int{
		"GET /v2/things/{id}": 3, "DELETE /v2/things/{id}": 1, "GET /v2/broken": 1, "GET /v2/abort": 1, "GET /v2/file": 1, "GET none": 2, "_OTHER none": 1,
	}, names)
	require.True(t, has(list[0].Attributes, "http.route", "/v2/things/{id}"))
	require.True(t, has(list[0].Attributes, "http.response.status_code", "200"))
}

func BenchmarkHandler(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/things/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	of, err := telemetry.New(b.Context(), &telemetry.Options{Metrics: true})
	require.NoError(b, err)
	for name, handler := range map[string]http.Handler{"bare": mux, "measured": of.Handler("things", mux)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v2/things/1", nil))
			}
		})
	}
}
