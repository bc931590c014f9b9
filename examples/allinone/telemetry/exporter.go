package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	defaultEndpoint = "http://localhost:4318"
	tracesPath      = "/v1/traces"
	exportTimeout   = 10 * time.Second
	exportAttempts  = 4
	retryPause      = time.Second
	maxAnswer       = 64 << 10
)

// exporter sends spans by OTLP/HTTP in JSON (OpenTelemetry Protocol Specification 1.x).
type exporter struct {
	endpoint string
	headers  http.Header
	client   *http.Client
	log      *slog.Logger
}

func serviceName(name string) attribute.KeyValue { return attribute.String("service.name", name) }

// newExporter follows the variables of the "OpenTelemetry Protocol Exporter" specification. The one for traces goes
// before the one for all.
func newExporter(getenv func(string) string, log *slog.Logger) (*exporter, error) {
	variable := func(name string) string {
		if value := getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); value != "" {
			return value
		}
		return getenv("OTEL_EXPORTER_OTLP_" + name)
	}
	e := &exporter{headers: http.Header{}, log: log, client: &http.Client{Timeout: exportTimeout}}
	if protocol := variable("PROTOCOL"); protocol != "" && protocol != "http/json" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: only http/json is here", protocol)
	}
	if e.endpoint = getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); e.endpoint == "" {
		base := getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
		if base == "" {
			base = defaultEndpoint
		}
		e.endpoint = strings.TrimSuffix(base, "/") + tracesPath
	}
	if u, err := url.Parse(e.endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT is no URL of http or https")
	}
	if text := variable("TIMEOUT"); text != "" {
		ms, err := strconv.ParseUint(text, 10, 31)
		if err != nil || ms == 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT is %q, not a number of milliseconds", text)
		}
		e.client.Timeout = time.Duration(ms) * time.Millisecond
	}
	if err := e.addHeaders(variable("HEADERS")); err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	e.client.Transport = transport
	return e, nil
}

// addHeaders reads "name=value,name=value", where values are percent-encoded. They may hold secrets.
func (e *exporter) addHeaders(list string) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
			return errors.New("OTEL_EXPORTER_OTLP_HEADERS is not a list of name=value")
		}
		e.headers.Add(name, value)
	}
	return nil
}

// ExportSpans is of [sdktrace.SpanExporter]. What cannot be sent is logged and dropped.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	body, err := encode(spans)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		again, err := e.post(ctx, body)
		if err == nil {
			return nil
		}
		if !again || attempt == exportAttempts || ctx.Err() != nil {
			e.log.Warn("spans were not sent", "spans", len(spans), "error", err)
			return nil //nolint:nilerr // the SDK would write it to standard error
		}
		wait(ctx, retryPause<<(attempt-1))
	}
}

// post sends a batch once; again says that the specification has it sent again after this failure.
func (e *exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.endpoint, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	r.Header = e.headers.Clone()
	r.Header.Set("Content-Type", "application/json")
	answer, err := e.client.Do(r)
	if err != nil {
		return true, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	_ = answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	if answer.StatusCode/100 != 2 {
		err = fmt.Errorf("the collector answered %s", answer.Status)
	}
	return again, err
}

// Shutdown is of [sdktrace.SpanExporter].
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
