package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func two() (compute, network *memfeed.Feed, all event.Sources) {
	compute, network = &memfeed.Feed{Domain: "compute"}, &memfeed.Feed{Domain: "network"}
	return compute, network, event.Sources{"compute": compute, "network": network}
}

func TestSourcesAreMergedInEachOnesOrder(t *testing.T) {
	compute, network, all := two()
	want := event.Position{}
	for range 50 {
		want.Advance(compute.Add(event.Event{Type: "server"}))
		want.Advance(network.Add(event.Event{Type: "port"}))
	}
	read := event.Position{"compute": 10, "network": 0, "gone": 3}
	n := 0
	for e, err := range all.Watch(t.Context(), read) {
		require.NoError(t, err)
		require.Equal(t, read[e.Domain]+1, e.Seq)
		read.Advance(e)
		if n++; n == 90 {
			break
		}
	}
	delete(read, "gone")
	require.Equal(t, want, read)
}

func TestDomainsWithoutAPositionBeginNow(t *testing.T) {
	compute, network, all := two()
	compute.Add(event.Event{ID: "old"})
	network.Add(event.Event{ID: "missed"})
	last, err := all.Last(t.Context())
	require.NoError(t, err)
	require.Equal(t, event.Position{"compute": 1, "network": 1}, last)
	var ids []string
	for e, err := range all.Watch(t.Context(), event.Position{"network": 0}) {
		require.NoError(t, err)
		ids = append(ids, e.ID)
		if len(ids) == 1 {
			compute.Add(event.Event{ID: "new"})
			continue
		}
		break
	}
	require.Equal(t, []string{"missed", "new"}, ids)
}

func TestAWatchEndsWithItsContext(t *testing.T) {
	compute, _, all := two()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	compute.Add(event.Event{})
	for _, err := range all.Watch(ctx, event.Position{"compute": 0}) {
		require.NoError(t, err)
		n++
		cancel()
	}
	require.Equal(t, 1, n)
	for range all.Watch(ctx, nil) {
		t.Fatal("an event after the end")
	}
	for range (event.Sources{}).Watch(t.Context(), nil) {
		t.Fatal("an event from nowhere")
	}
}

func TestTheFirstFailureEndsAWatch(t *testing.T) {
	compute, network, all := two()
	compute.Add(event.Event{})
	compute.Add(event.Event{})
	compute.Compact(1)
	for _, err := range all.Watch(t.Context(), event.Position{"compute": 0}) {
		require.ErrorIs(t, err, event.ErrCompacted)
		require.ErrorContains(t, err, "compute events after 0")
	}
	broken := errors.New("disk on fire")
	network.Fail(broken)
	n := 0
	for _, err := range all.Watch(t.Context(), event.Position{"compute": 2, "network": 0}) {
		require.ErrorIs(t, err, broken)
		n++
	}
	for _, err := range all.Watch(t.Context(), nil) {
		require.ErrorIs(t, err, broken)
		require.ErrorContains(t, err, "network")
		n++
	}
	require.Equal(t, 2, n)
}

func TestFilterWantsOneOfEachList(t *testing.T) {
	e := event.Event{Domain: "compute", Type: "server", ID: "a", ProjectID: "red"}
	for _, f := range []event.Filter{{}, {Domains: []string{"network", "compute"}}, {Types: []string{"server"}, IDs: []string{"a"}, ProjectIDs: []string{"red"}}} {
		require.True(t, f.Match(e), f)
	}
	for _, f := range []event.Filter{{Domains: []string{"network"}}, {Types: []string{"server"}, IDs: []string{"b"}}, {ProjectIDs: []string{""}}} {
		require.False(t, f.Match(e), f)
	}
}

func TestPositionsAreTextAndBack(t *testing.T) {
	p := event.Position{"network": 12, "compute": 7}
	require.Equal(t, "compute=7,network=12", p.String())
	data, err := json.Marshal(map[string]event.Position{"at": p})
	require.NoError(t, err)
	require.JSONEq(t, `{"at":"compute=7,network=12"}`, string(data))
	var back map[string]event.Position
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, p, back["at"])
	for _, bad := range []string{"compute", "compute=", "compute=x", "compute=-1", "=1", "compute=1,compute=2", "compute=1,", "a b=1", "COMPUTE=1", string(make([]byte, 5000))} {
		_, err := event.ParsePosition(bad)
		require.Error(t, err, bad)
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"", "compute=7,network=12", "a=9223372036854775807", "a=1,a=1", "=,="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := event.ParsePosition(text)
		if err != nil {
			return
		}
		again, err := event.ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func BenchmarkSources(b *testing.B) {
	compute, network, all := two()
	for range 5000 {
		compute.Add(event.Event{Type: "server", Time: time.Unix(1, 0)})
		network.Add(event.Event{Type: "port", Time: time.Unix(1, 0)})
	}
	for b.Loop() {
		n := 0
		for range all.Watch(b.Context(), event.Position{"compute": 0, "network": 0}) {
			if n++; n == 10_000 {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/event")
}
