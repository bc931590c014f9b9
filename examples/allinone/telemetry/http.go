package telemetry

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Handler measures the requests that next serves, under the service's name. With nothing to measure it is next.
//
// The route is what next leaves in [http.Request.Pattern], as [http.ServeMux] and the handlers of this module do.
func (t *Telemetry) Handler(service string, next http.Handler) http.Handler {
	if t.counted == nil && t.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := &measurement{telemetry: t, service: service, began: time.Now()}
		if t.tracer != nil {
			r = m.start(r)
		}
		if c := t.counted; c != nil {
			gauge := c.inFlight(service)
			gauge.Inc()
			defer gauge.Dec()
		}
		answer := &writer{ResponseWriter: w}
		defer func() { m.end(r, answer) }()
		next.ServeHTTP(answer, r)
		answer.complete = true
	})
}

// measurement is of one request.
type measurement struct {
	telemetry *Telemetry
	service   string
	began     time.Time
	span      trace.Span
}

// start begins the request's span; the request's context has it from then on.
func (m *measurement) start(r *http.Request) *http.Request {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, m.span = m.telemetry.tracer.Start(ctx, method(r), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method(r)),
		attribute.String("url.path", r.URL.Path),
		attribute.String("url.scheme", scheme(r)),
		attribute.String("server.address", r.Host),
		attribute.String("client.address", client(r)),
		attribute.String("network.protocol.version", strconv.Itoa(r.ProtoMajor)+"."+strconv.Itoa(r.ProtoMinor)),
		attribute.String("user_agent.original", r.UserAgent()),
		attribute.String("kintoun.service", m.service),
	))
	return r.WithContext(ctx)
}

func (m *measurement) end(r *http.Request, answer *writer) {
	name, status := route(r.Pattern), answer.label()
	if c := m.telemetry.counted; c != nil {
		c.request(time.Since(m.began).Seconds(), m.service, method(r), name, status)
	}
	if m.span == nil {
		return
	}
	m.span.SetName(method(r) + " " + name)
	m.span.SetAttributes(attribute.String("http.route", name))
	if answer.complete {
		m.span.SetAttributes(attribute.Int("http.response.status_code", answer.code()))
	}
	if !answer.complete || answer.code() >= 500 {
		m.span.SetStatus(codes.Error, status)
	}
	if id := answer.Header().Get("X-Openstack-Request-Id"); id != "" {
		m.span.SetAttributes(attribute.String("openstack.request_id", id))
	}
	m.span.End()
}

// route is a pattern without its method: the method is told by itself.
func route(pattern string) string {
	if pattern == "" {
		return "none"
	}
	return pattern[strings.Index(pattern, "/"):]
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}

// method is the request's, if HTTP has it: clients may write any word there.
func method(r *http.Request) string {
	if slices.Contains(methods, r.Method) {
		return r.Method
	}
	return "_OTHER"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// writer remembers the status. It can whatever the one inside can, by [http.ResponseController].
type writer struct {
	http.ResponseWriter
	status   int
	complete bool
}

func (w *writer) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

func (w *writer) label() string {
	if !w.complete {
		return "aborted"
	}
	return strconv.Itoa(w.code())
}

func (w *writer) WriteHeader(status int) {
	// 1xx come before the answer.
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// ReadFrom lets files go to the connection without being copied (sendfile), as before.
func (w *writer) ReadFrom(from io.Reader) (int64, error) { return io.Copy(w.ResponseWriter, from) }

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush is for those who look for an [http.Flusher].
func (w *writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }
