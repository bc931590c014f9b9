package sse_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
	"github.com/kintoun/kintoun/event/sse"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// byName sees what the header X-Project names; "admin" sees all.
func byName(r *http.Request) (sse.Viewer, error) {
	switch project := r.Header.Get("X-Project"); project {
	case "":
		return sse.Viewer{}, sse.ErrUnauthorized
	case "admin":
		return sse.Viewer{All: true}, nil
	case "outcast":
		return sse.Viewer{}, sse.ErrForbidden
	case "broken":
		return sse.Viewer{}, errors.New("secret of the database")
	default:
		return sse.Viewer{ProjectIDs: []string{project}}, nil
	}
}

type cloud struct {
	compute, network *memfeed.Feed
	url              string
	stop             context.CancelFunc
}

func serve(t *testing.T, authorize sse.Authorizer, options *sse.Options) *cloud {
	t.Helper()
	c := &cloud{compute: &memfeed.Feed{Domain: "compute"}, network: &memfeed.Feed{Domain: "network"}}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	server := httptest.NewServer(sse.New(ctx, event.Sources{"compute": c.compute, "network": c.network}, authorize, options))
	c.url = server.URL
	t.Cleanup(func() { stop(); server.Close() })
	return c
}

// block is what a client reads between two empty lines.
type block struct{ id, name, data, comment string }

// client reads a stream.
type client struct {
	t    *testing.T
	body io.ReadCloser
	scan *bufio.Scanner
}

func (c *cloud) get(t *testing.T, project, query, last string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+query, nil)
	require.NoError(t, err)
	r.Header.Set("X-Project", project)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultTransport.(*http.Transport).RoundTrip(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close(); http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	return answer
}

func (c *cloud) connect(t *testing.T, project, query, last string) (*client, string) {
	t.Helper()
	answer := c.get(t, project, query, last)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	reader := &client{t: t, body: answer.Body, scan: bufio.NewScanner(answer.Body)}
	first, ok := reader.next()
	require.True(t, ok)
	require.Empty(t, first.name)
	return reader, first.id
}

// next reads a block; false is the end of the stream.
func (c *client) next() (b block, ok bool) {
	c.t.Helper()
	for c.scan.Scan() {
		line := c.scan.Text()
		if line == "" {
			return b, true
		}
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "id":
			b.id = value
		case "event":
			b.name = value
		case "data":
			b.data = value
		case "":
			b.comment = value
		case "retry":
			require.Equal(c.t, "2000", value)
		default:
			require.Fail(c.t, "unknown field", line)
		}
	}
	return b, false
}

// event reads the next event beyond heartbeats.
func (c *client) event() (event.Event, block) {
	c.t.Helper()
	for {
		b, ok := c.next()
		require.True(c.t, ok, "the stream has ended")
		if b.name == "" {
			continue
		}
		var e event.Event
		require.NoError(c.t, json.Unmarshal([]byte(b.data), &e))
		return e, b
	}
}

func TestEventsStreamAndResume(t *testing.T) {
	c := serve(t, byName, nil)
	c.compute.Add(event.Event{Type: "server", ID: "past"})
	stream, id := c.connect(t, "admin", "", "")
	require.Equal(t, "compute=1,network=0", id)
	want := c.compute.Add(event.Event{Type: "server", ID: "a", Action: event.Created, ProjectID: "red", Status: "BUILD"})
	got, b := stream.event()
	require.Equal(t, want, got)
	require.Equal(t, block{id: "compute=2,network=0", name: "created", data: b.data}, b)
	require.JSONEq(t, `{"seq":2,"domain":"compute","type":"server","id":"a","action":"created","project_id":"red","status":"BUILD","time":"2026-07-01T12:00:02Z"}`, b.data)
	require.NoError(t, stream.body.Close())

	missed := c.network.Add(event.Event{Type: "port", ID: "p", Action: event.Deleted})
	for _, again := range []struct{ query, header string }{{"", b.id}, {"?last_event_id=" + b.id, ""}, {"?domain=network", b.id}} {
		stream, _ = c.connect(t, "admin", again.query, again.header)
		got, _ = stream.event()
		require.Equal(t, missed, got)
	}
}

func TestAProjectSeesItsOwnOnly(t *testing.T) {
	c := serve(t, byName, nil)
	stream, _ := c.connect(t, "red", "", "")
	c.compute.Add(event.Event{ID: "blue server", ProjectID: "blue"})
	c.compute.Add(event.Event{ID: "flavor"})
	c.compute.Add(event.Event{ID: "red server", ProjectID: "red", Action: event.Updated})
	got, b := stream.event()
	require.Equal(t, "red server", got.ID)
	require.Equal(t, "compute=3,network=0", b.id)
	nobody, _ := c.connect(t, "admin", "?id=flavor", "compute=0,network=0")
	got, _ = nobody.event()
	require.Equal(t, "flavor", got.ID)
}

func TestTheQueryNarrows(t *testing.T) {
	c := serve(t, byName, nil)
	stream, id := c.connect(t, "admin", "?domain=compute&type=server&type=flavor&project=red&id=a", "")
	require.Equal(t, "compute=0", id)
	c.network.Add(event.Event{Type: "server", ID: "a", ProjectID: "red"})
	c.compute.Add(event.Event{Type: "keypair", ID: "a", ProjectID: "red", Action: event.Created})
	c.compute.Add(event.Event{Type: "server", ID: "a", ProjectID: "blue", Action: event.Created})
	c.compute.Add(event.Event{Type: "server", ID: "b", ProjectID: "red", Action: event.Created})
	want := c.compute.Add(event.Event{Type: "server", ID: "a", ProjectID: "red", Action: event.Created})
	got, _ := stream.event()
	require.Equal(t, want, got)
}

func TestWhatIsGoneIsSaidAndTheStreamGoesOn(t *testing.T) {
	c := serve(t, byName, nil)
	for range 5 {
		c.network.Add(event.Event{Action: event.Created})
	}
	c.network.Compact(3)
	stream, _ := c.connect(t, "red", "", "compute=0,network=1")
	b, ok := stream.next()
	require.True(t, ok)
	require.Equal(t, block{id: "compute=0,network=5", name: "compacted", data: `{"domain":"network","after":1,"last":5}`}, b)
	want := c.network.Add(event.Event{ProjectID: "red", Action: event.Created})
	got, _ := stream.event()
	require.Equal(t, want, got)
}

func TestHeartbeatsTellThePosition(t *testing.T) {
	c := serve(t, byName, &sse.Options{Heartbeat: 5 * time.Millisecond})
	stream, _ := c.connect(t, "red", "", "")
	b, ok := stream.next()
	require.True(t, ok)
	require.Equal(t, block{comment: "heartbeat"}, b)
	c.compute.Add(event.Event{ProjectID: "blue"})
	for b.id == "" {
		b, ok = stream.next()
		require.True(t, ok)
	}
	require.Equal(t, block{comment: "heartbeat", id: "compute=1,network=0"}, b)
}

func TestAStreamEndsWithItsRights(t *testing.T) {
	var ended atomic.Bool
	c := serve(t, func(r *http.Request) (sse.Viewer, error) {
		if ended.Load() {
			return sse.Viewer{}, sse.ErrUnauthorized
		}
		return byName(r)
	}, &sse.Options{Heartbeat: 5 * time.Millisecond})
	stream, _ := c.connect(t, "red", "", "")
	ended.Store(true)
	for ok := true; ok; _, ok = stream.next() {
	}
}

func TestAStreamEndsWithTheServerAndWithItsSources(t *testing.T) {
	c := serve(t, byName, nil)
	stream, _ := c.connect(t, "red", "", "")
	c.network.Fail(errors.New("disk on fire"))
	_, ok := stream.next()
	require.False(t, ok)
	c.network.Fail(nil)
	stream, _ = c.connect(t, "red", "", "")
	c.stop()
	_, ok = stream.next()
	require.False(t, ok)
}

func TestRequestsAreRefusedBeforeTheStreamBegins(t *testing.T) {
	c := serve(t, byName, &sse.Options{MaxStreams: 1})
	for _, r := range []struct {
		project, query, last string
		status               int
		says                 string
	}{
		{"", "", "", 401, "unauthorized"},
		{"outcast", "", "", 403, "forbidden"},
		{"broken", "", "", 500, "an unexpected error prevented the server from fulfilling the request"},
		{"red", "?project=blue", "", 403, `you may not see the events of project "blue"`},
		{"red", "?domain=volume", "", 400, `there are no events of domain "volume"`},
		{"red", "", "what", 400, `Last-Event-ID: event position "what": "what" is not a domain and a number`},
	} {
		answer := c.get(t, r.project, r.query, r.last)
		require.Equal(t, r.status, answer.StatusCode, r.says)
		var body struct {
			Error struct{ Message string }
		}
		require.NoError(t, json.NewDecoder(answer.Body).Decode(&body))
		require.Equal(t, r.says, body.Error.Message)
		_ = answer.Body.Close()
	}
	c.connect(t, "red", "", "")
	answer := c.get(t, "red", "", "")
	require.Equal(t, 503, answer.StatusCode)
	require.Equal(t, "5", answer.Header.Get("Retry-After"))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url, nil)
	require.NoError(t, err)
	answer, err = http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 405, answer.StatusCode)
	_ = answer.Body.Close()
}

// TestASlowClientIsLeft has a client that reads nothing: its stream ends, and frees its place.
func TestASlowClientIsLeft(t *testing.T) {
	c := serve(t, byName, &sse.Options{WriteTimeout: 20 * time.Millisecond, MaxStreams: 1})
	c.connect(t, "admin", "", "")
	for range 20_000 {
		c.compute.Add(event.Event{ID: strings.Repeat("x", 1000)})
	}
	for {
		answer := c.get(t, "admin", "", "")
		if answer.StatusCode == http.StatusOK {
			return
		}
		_ = answer.Body.Close()
	}
}
