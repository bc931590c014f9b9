package telemetry

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// kind is what Prometheus does with a metric's values.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// metric has a value for each combination of its labels' values that was met. It shows itself in Prometheus' text format,
// https://prometheus.io/docs/instrumenting/exposition_formats/.
type metric struct {
	kind       kind
	name, help string
	labels     []string
	// bounds are the largest values that a histogram's buckets take.
	bounds []float64

	mu     sync.Mutex
	series map[string]*series // by their labels, as they are shown
}

// series is a value over time.
type series struct {
	value  float64  // a histogram's sum
	counts []uint64 // what fell into each of a histogram's buckets, and above the last
}

func newMetric(kind kind, name, help string, labels ...string) *metric {
	return &metric{kind: kind, name: name, help: help, labels: labels, series: map[string]*series{}}
}

// add adds n to the value for the labels' values, which are in the order of the labels.
func (m *metric) add(n float64, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(values).value += n
}

// observe counts a value into its bucket.
func (m *metric) observe(v float64, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.of(values)
	if s.counts == nil {
		s.counts = make([]uint64, len(m.bounds)+1)
	}
	bucket, _ := slices.BinarySearch(m.bounds, v)
	s.counts[bucket]++
	s.value += v
}

func (m *metric) of(values []string) *series {
	labels := m.show(values)
	s := m.series[labels]
	if s == nil {
		s = &series{}
		m.series[labels] = s
	}
	return s
}

// escaped is what label values hide from the format.
var escaped = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (m *metric) show(values []string) string {
	var b strings.Builder
	for i, label := range m.labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(label + `="`)
		_, _ = escaped.WriteString(&b, values[i])
		b.WriteByte('"')
	}
	return b.String()
}

// write shows the metric; one that nothing was met of has nothing to show.
func (m *metric) write(b *bytes.Buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.series) == 0 {
		return
	}
	writeHead(b, m.kind, m.name, m.help)
	for _, labels := range slices.Sorted(maps.Keys(m.series)) {
		s := m.series[labels]
		if m.kind != histogram {
			writeSample(b, m.name, labels, s.value)
			continue
		}
		var count uint64
		for i, n := range s.counts {
			bound := math.Inf(1)
			if i < len(m.bounds) {
				bound = m.bounds[i]
			}
			count += n
			writeSample(b, m.name+"_bucket", labels+`,le="`+number(bound)+`"`, float64(count))
		}
		writeSample(b, m.name+"_sum", labels, s.value)
		writeSample(b, m.name+"_count", labels, float64(count))
	}
}

func writeHead(b *bytes.Buffer, kind kind, name, help string) {
	b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + string(kind) + "\n")
}

func writeSample(b *bytes.Buffer, name, labels string, value float64) {
	b.WriteString(name)
	if labels != "" {
		b.WriteString("{" + labels + "}")
	}
	b.WriteString(" " + number(value) + "\n")
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
