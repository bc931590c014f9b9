package telemetry_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/kintoun/kintoun/examples/allinone/telemetry"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// TestPrometheusReadsTheMetrics reads them with Prometheus' own parser.
func TestPrometheusReadsTheMetrics(t *testing.T) {
	of, err := telemetry.New(t.Context(), &telemetry.Options{Metrics: true})
	require.NoError(t, err)
	served := of.Handler(`od"d\`+"\n", http.NotFoundHandler())
	for range 3 {
		served.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	w := httptest.NewRecorder()
	of.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.ResponseFormat(w.Header()))
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(w.Body)
	require.NoError(t, err)

	requests := families["kintoun_http_requests_total"].GetMetric()
	require.Len(t, requests, 1)
	require.Equal(t, "3", fmt.Sprint(requests[0].GetCounter().GetValue()))
	labels := map[string]string{}
	for _, l := range requests[0].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	require.Equal(t, map[string]string{"method": "GET", "route": "none", "service": "od\"d\\\n", "status": "404"}, labels)

	seconds := families["kintoun_http_request_duration_seconds"].GetMetric()[0].GetHistogram()
	require.EqualValues(t, 3, seconds.GetSampleCount())
	require.Positive(t, seconds.GetSampleSum())
	last := seconds.GetBucket()[len(seconds.GetBucket())-1]
	require.True(t, math.IsInf(last.GetUpperBound(), 1))
	require.EqualValues(t, 3, last.GetCumulativeCount())
	for i, bucket := range seconds.GetBucket()[1:] {
		require.LessOrEqual(t, seconds.GetBucket()[i].GetCumulativeCount(), bucket.GetCumulativeCount())
	}

	require.Positive(t, families["go_goroutines"].GetMetric()[0].GetGauge().GetValue())
	if runtime.GOOS == "linux" {
		for _, name := range []string{"virtual_memory_bytes", "resident_memory_bytes", "start_time_seconds", "open_fds", "max_fds"} {
			require.Positive(t, families["process_"+name].GetMetric()[0].GetGauge().GetValue(), name)
		}
		require.NotNil(t, families["process_cpu_seconds_total"].GetMetric()[0].GetCounter())
	}
}
