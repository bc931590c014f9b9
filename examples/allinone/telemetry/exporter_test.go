package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestTheEnvironmentSaysWhereSpansGo(t *testing.T) {
	e, err := newExporter(environment(), nil)
	require.NoError(t, err)
	require.Equal(t, "http://localhost:4318/v1/traces", e.endpoint)
	require.Equal(t, 10*time.Second, e.client.Timeout)
	e, err = newExporter(environment(
		"OTEL_EXPORTER_OTLP_ENDPOINT", "https://all.test", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.test/here", "OTEL_EXPORTER_OTLP_TIMEOUT", "1500",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1, b = x%3Dy",
	), nil)
	require.NoError(t, err)
	require.Equal(t, "https://traces.test/here", e.endpoint)
	require.Equal(t, 1500*time.Millisecond, e.client.Timeout)
	require.Equal(t, http.Header{"A": {"1"}, "B": {"x=y"}}, e.headers)
	for _, bad := range [][]string{
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, {"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"}, {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://%"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "soon"}, {"OTEL_EXPORTER_OTLP_TIMEOUT", "0"}, {"OTEL_EXPORTER_OTLP_HEADERS", "secret"}, {"OTEL_EXPORTER_OTLP_HEADERS", "a=%zz"},
	} {
		_, err := newExporter(environment(bad...), nil)
		require.ErrorContains(t, err, bad[0])
		require.NotContains(t, err.Error(), "secret")
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSpansAreSentAgainWhereThatHelps(t *testing.T) {
	answer := func(status int) (*http.Response, error) {
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(bytes.NewReader(nil))}, nil
	}
	for name, c := range map[string]struct {
		answer func(n int) (*http.Response, error)
		sent   int
		took   time.Duration
		logged bool
	}{
		"at once":     {func(int) (*http.Response, error) { return answer(200) }, 1, 0, false},
		"later":       {func(n int) (*http.Response, error) { return answer(map[bool]int{true: 503, false: 200}[n < 3]) }, 3, 3 * time.Second, false},
		"refused":     {func(int) (*http.Response, error) { return answer(400) }, 1, 0, true},
		"unreachable": {func(int) (*http.Response, error) { return nil, errors.New("connection refused") }, 4, 7 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				e, err := newExporter(environment("OTEL_EXPORTER_OTLP_HEADERS", "key=secret"), slog.New(slog.NewTextHandler(&log, nil)))
				require.NoError(t, err)
				n := 0
				e.client.Transport = transport(func(*http.Request) (*http.Response, error) { n++; return c.answer(n) })
				began := time.Now()
				require.NoError(t, e.ExportSpans(t.Context(), nil))
				require.Equal(t, c.sent, n)
				require.Equal(t, c.took, time.Since(began))
				require.Equal(t, c.logged, log.Len() > 0)
				require.NotContains(t, log.String(), "secret")
			})
		})
	}
}

func TestAnExportEndsWithItsContext(t *testing.T) {
	e, err := newExporter(environment(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	e.client.Transport = transport(func(*http.Request) (*http.Response, error) { n++; stop(); return nil, errors.New("no") })
	require.NoError(t, e.ExportSpans(ctx, nil))
	require.Equal(t, 1, n)
}
