// Package telemetry measures a cloud at its edges: Prometheus metrics of the requests to its APIs and of its events,
// and an OpenTelemetry span for each request. Nothing of it is in the domains, and all of it is off until asked for.
//
//	t, err := telemetry.New(ctx, &telemetry.Options{Metrics: true, Traces: true, Log: log})
//	defer t.Shutdown(ctx)
//	server.Handler = t.Handler("compute", nova.Handler(…))
//	mux.Handle("/metrics", t.Metrics())
//	go t.Count(ctx, event.Sources{"compute": servers})
//
// # Metrics
//
//   - kintoun_http_requests_total, by service, method, route and status;
//   - kintoun_http_request_duration_seconds, a histogram, by service, method and route;
//   - kintoun_http_requests_in_flight, by service;
//   - kintoun_events_total, by domain, type, action and status of the resource: servers that went to ERROR, say;
//   - go_… and process_…, of this process.
//
// A route is the pattern that the request matched ("/v2.1/servers/{id}"), not its path: there are as many series as
// the APIs have routes, whatever clients ask for. What matched nothing is "none"; a method that HTTP does not know is
// "_OTHER"; a request that was broken off has the status "aborted".
//
// They are shown in Prometheus' text format by VictoriaMetrics' library: Prometheus' own client brings Protocol Buffers, two
// megabytes of program.
//
// # Traces
//
// A span is named by method and route, and continues the caller's trace (the header traceparent of W3C Trace
// Context). Spans are sent in the background, by OTLP over HTTP in JSON, to where the environment says, as the
// OpenTelemetry specification has it: OTEL_EXPORTER_OTLP_ENDPOINT (http://localhost:4318 without it), …_HEADERS,
// …_TIMEOUT and …_PROTOCOL, each also as OTEL_EXPORTER_OTLP_TRACES_…; OTEL_TRACES_SAMPLER, OTEL_BSP_…,
// OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES; OTEL_TRACES_EXPORTER=none and OTEL_SDK_DISABLED=true turn them off.
// JSON is the only protocol: OpenTelemetry's own exporter brings Protocol Buffers and gRPC, six megabytes of program.
//
// # Not here
//
// Drivers are not wrapped: what they can do beyond their contract is found by type assertion, which a wrapper would
// hide. Bodies, headers, queries and tokens are never recorded.
package telemetry

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"os"

	"github.com/kintoun/kintoun/event"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Options say what is measured. By default, nothing is.
type Options struct {
	// Metrics are counted and shown by [Telemetry.Metrics].
	Metrics bool
	// Traces are sent to where the OTEL_… variables of the environment say.
	Traces bool
	// Log hears of spans that could not be sent; nil discards that.
	Log *slog.Logger
}

// Telemetry measures. Create it with [New]. It is safe for concurrent use.
type Telemetry struct {
	counted *counted // nil: no metrics

	tracer   trace.Tracer // nil: no traces
	provider *sdktrace.TracerProvider
}

// New returns what the options ask for. An OTEL_… variable that can not be followed is an error.
func New(ctx context.Context, options *Options) (*Telemetry, error) {
	t := &Telemetry{}
	if options == nil {
		return t, nil
	}
	if options.Metrics {
		t.counted = newCounted()
	}
	if options.Traces {
		log := options.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		if err := t.trace(ctx, log); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Telemetry) trace(ctx context.Context, log *slog.Logger) error {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil
	}
	to, err := newExporter(os.Getenv, log)
	if err != nil {
		return err
	}
	own, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(serviceName("kintoun")), resource.WithFromEnv())
	if err != nil {
		return errors.Join(errors.New("OTEL_RESOURCE_ATTRIBUTES cannot be read"), err)
	}
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithBatcher(to), sdktrace.WithResource(own))
	t.tracer = t.provider.Tracer("github.com/kintoun/kintoun/examples/allinone/telemetry")
	return nil
}

// Metrics shows the metrics in Prometheus' format; without [Options.Metrics] it is not found. It names no projects,
// but tells what goes on in the cloud: serve it where only operators reach it.
func (t *Telemetry) Metrics() http.Handler {
	if t.counted == nil {
		return http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.counted.show(w) })
}

// Count counts the sources' events from now on until ctx ends. Without [Options.Metrics] it returns at once.
func (t *Telemetry) Count(ctx context.Context, sources event.Sources) {
	if t.counted == nil {
		return
	}
	for e := range events(ctx, sources) {
		t.counted.event(e.Domain, e.Type, string(e.Action), e.Status)
	}
}

// events are all events from now on. After a failure they go on later, with what happens then.
func events(ctx context.Context, sources event.Sources) iter.Seq[event.Event] {
	return func(yield func(event.Event) bool) {
		for ctx.Err() == nil {
			for e, err := range sources.Watch(ctx, nil) {
				if err == nil && !yield(e) {
					return
				}
			}
			wait(ctx, retryPause)
		}
	}
}

// Shutdown sends the spans that wait, and ends. Requests are served on, unmeasured by traces.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}
