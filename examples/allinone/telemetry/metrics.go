package telemetry

import (
	"net/http"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// counted are the metrics of a cloud.
type counted struct{ set *metrics.Set }

func newCounted() *counted {
	metrics.ExposeMetadata(true) // types; the library has this for all sets at once
	return &counted{set: metrics.NewSet()}
}

// durations are the bounds of a histogram's buckets, in seconds.
var durations = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}

func (c *counted) inFlight(service string) *metrics.Gauge {
	return c.set.GetOrCreateGauge(series("kintoun_http_requests_in_flight", "service", service), nil)
}

// request counts one that was answered.
func (c *counted) request(seconds float64, service, method, route, status string) {
	c.set.GetOrCreateCounter(series("kintoun_http_requests_total", "method", method, "route", route, "service", service, "status", status)).Inc()
	c.set.GetOrCreatePrometheusHistogramExt(series("kintoun_http_request_duration_seconds", "method", method, "route", route, "service", service), durations).Update(seconds)
}

// event counts a change of a resource, by what happened and the status afterwards.
func (c *counted) event(domain, kind, action, status string) {
	c.set.GetOrCreateCounter(series("kintoun_events_total", "action", action, "domain", domain, "status", status, "type", kind)).Inc()
}

// show writes all, and what is known of the process.
func (c *counted) show(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	c.set.WritePrometheus(w)
	metrics.WriteProcessMetrics(w)
	metrics.WriteFDMetrics(w)
}

// escaped is what label values hide from the format.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// series names a metric with labels, each a name and a value: name{label="value"}.
func series(name string, labels ...string) string {
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(labels[i] + `="`)
		_, _ = escaped.WriteString(&b, labels[i+1])
		b.WriteByte('"')
	}
	return b.String() + "}"
}
