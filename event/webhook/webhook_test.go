package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/internal/memfeed"
	"github.com/kintoun/kintoun/event/webhook"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

// receiver is a Transport whose requests never leave the test: answer decides about each.
type receiver struct {
	mu     sync.Mutex
	got    []attempt
	answer func(n int, r *http.Request, m message) (*http.Response, error)
}

type attempt struct {
	id string
	at time.Time
	message
}

type message struct {
	Type      string
	Timestamp time.Time
	Data      event.Event
}

func status(code int, header ...string) *http.Response {
	answer := &http.Response{StatusCode: code, Status: strconv.Itoa(code) + " " + http.StatusText(code), Header: http.Header{}, Body: http.NoBody}
	for i := 0; i+1 < len(header); i += 2 {
		answer.Header.Set(header[i], header[i+1])
	}
	return answer
}

func (rc *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := webhook.Verify(secret, r.Header, body, time.Now()); err != nil {
		return nil, err
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	rc.mu.Lock()
	rc.got = append(rc.got, attempt{r.Header.Get("webhook-id"), time.Now(), m})
	n := len(rc.got)
	rc.mu.Unlock()
	if rc.answer == nil {
		return status(204), nil
	}
	return rc.answer(n, r, m)
}

// attempts are those so far.
func (rc *receiver) attempts() []attempt {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.got)
}

// types are the messages' types in the order of the attempts.
func (rc *receiver) types() (list []string) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	for _, a := range rc.got {
		list = append(list, a.Type+" "+a.Data.ID)
	}
	return list
}

// run sends the feed's events until the test has done its part.
func run(t *testing.T, feed *memfeed.Feed, hooks []webhook.Hook, options *webhook.Options, part func()) {
	t.Helper()
	sender, err := webhook.New(event.Sources{feed.Domain: feed}, hooks, options)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); sender.Run(ctx) }()
	synctest.Wait()
	part()
	stop()
	<-done
}

// pass lets time pass, and what it brings about happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func one(filter event.Filter) []webhook.Hook {
	return []webhook.Hook{{Name: "one", URL: "http://receiver.test/hook", Secret: secret, Filter: filter}}
}

func server(id string) event.Event {
	return event.Event{Type: "server", ID: id, Action: event.Created}
}

func TestMessagesComeInOrderAndTheNextRunGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		feed.Add(server("past"))
		cursor, to := &webhook.MemoryCursor{}, &receiver{}
		options := &webhook.Options{Cursor: cursor, Transport: to}
		run(t, feed, one(event.Filter{Types: []string{"server"}}), options, func() {
			feed.Add(server("a"))
			feed.Add(event.Event{Type: "flavor"})
			feed.Add(server("b"))
			synctest.Wait()
		})
		feed.Add(server("c"))
		run(t, feed, one(event.Filter{}), options, func() { synctest.Wait() })
		require.Equal(t, []string{"compute.server.created a", "compute.server.created b", "compute.server.created c"}, to.types())
		require.Equal(t, "evt_compute_2_1782907202000000", to.attempts()[0].id)
		require.Equal(t, to.attempts()[0].Data.Time, to.attempts()[0].Timestamp)
		at, err := cursor.Load(t.Context(), "one")
		require.NoError(t, err)
		require.Equal(t, event.Position{"compute": 5}, at)
	})
}

func TestFailuresAreRepeatedLaterEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		to := &receiver{answer: func(n int, _ *http.Request, _ message) (*http.Response, error) {
			switch n {
			case 1:
				return status(500), nil
			case 2:
				return nil, errors.New("connection refused")
			case 3:
				return status(302, "Location", "http://elsewhere.test/"), nil
			case 4:
				return status(429, "Retry-After", "100"), nil
			}
			return status(200), nil
		}}
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to}, func() {
			feed.Add(server("a"))
			feed.Add(server("b"))
			pass(10 * time.Minute)
		})
		require.Len(t, to.attempts(), 6)
		for i, bounds := range [][2]time.Duration{{500 * time.Millisecond, time.Second}, {time.Second, 2 * time.Second}, {2 * time.Second, 4 * time.Second}, {100 * time.Second, 100 * time.Second}} {
			require.Equal(t, to.attempts()[i].id, to.attempts()[i+1].id)
			pause := to.attempts()[i+1].at.Sub(to.attempts()[i].at)
			require.True(t, bounds[0] <= pause && pause <= bounds[1], "pause %d: %s", i, pause)
		}
		require.Equal(t, "b", to.attempts()[5].Data.ID)
	})
}

func TestAMessageThatCanNotBeTakenIsDroppedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		to := &receiver{answer: func(_ int, _ *http.Request, m message) (*http.Response, error) {
			if m.Data.ID == "poison" {
				return status(400), nil
			}
			return status(200), nil
		}}
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to, GiveUpAfter: time.Hour}, func() {
			feed.Add(server("poison"))
			feed.Add(server("b"))
			pass(59 * time.Minute)
			require.NotContains(t, to.types(), "compute.server.created b")
			pass(7 * time.Minute)
			require.Contains(t, to.types(), "compute.server.created b")
		})
		require.Less(t, len(to.attempts()), 40)
	})
}

func TestAReceiverThatIsGoneIsLeftInPeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		to := &receiver{answer: func(int, *http.Request, message) (*http.Response, error) { return status(410), nil }}
		cursor := &webhook.MemoryCursor{}
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to, Cursor: cursor}, func() {
			feed.Add(server("a"))
			pass(time.Hour)
			require.Len(t, to.attempts(), 1)
		})
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to, Cursor: cursor}, func() { synctest.Wait() })
		require.Equal(t, []string{"compute.server.created a", "compute.server.created a"}, to.types())
	})
}

func TestHooksDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		var slow atomic.Int32
		to := &receiver{answer: func(_ int, r *http.Request, _ message) (*http.Response, error) {
			if r.URL.Host == "slow.test" {
				slow.Add(1)
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return status(200), nil
		}}
		hooks := append(one(event.Filter{}), webhook.Hook{Name: "slow", URL: "http://slow.test/", Secret: secret})
		run(t, feed, hooks, &webhook.Options{Transport: to, Timeout: time.Minute}, func() {
			feed.Add(server("a"))
			feed.Add(server("b"))
			synctest.Wait()
			require.Len(t, to.attempts(), 3)
			pass(90 * time.Second)
			require.EqualValues(t, 2, slow.Load())
		})
	})
}

func TestWhatIsGoneIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		for range 5 {
			feed.Add(server("past"))
		}
		feed.Compact(4)
		cursor := &webhook.MemoryCursor{}
		require.NoError(t, cursor.Save(t.Context(), "one", event.Position{"compute": 1}))
		var bodies []string
		to := &receiver{answer: func(_ int, r *http.Request, _ message) (*http.Response, error) {
			body, err := r.GetBody()
			if err == nil {
				text, _ := io.ReadAll(body)
				bodies = append(bodies, string(text))
			}
			return status(200), err
		}}
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to, Cursor: cursor}, func() {
			synctest.Wait()
			feed.Add(server("next"))
			synctest.Wait()
		})
		require.Len(t, bodies, 2)
		require.Contains(t, bodies[0], `{"type":"events.compacted",`)
		require.Contains(t, bodies[0], `"data":{"domain":"compute","after":1,"last":5}}`)
		require.Contains(t, bodies[1], `"id":"next"`)
	})
}

// brokenCursor fails to load at first, and to save always.
type brokenCursor struct{ loads int }

func (c *brokenCursor) Load(context.Context, string) (event.Position, error) {
	if c.loads++; c.loads == 1 {
		return nil, errors.New("no disk")
	}
	return event.Position{"compute": 0}, nil
}

func (c *brokenCursor) Save(context.Context, string, event.Position) error {
	if c.loads < 3 {
		return errors.New("disk full")
	}
	return nil
}

func TestFailingSourcesAndCursorsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &memfeed.Feed{Domain: "compute"}
		feed.Add(server("a"))
		to, cursor := &receiver{}, &brokenCursor{}
		run(t, feed, one(event.Filter{}), &webhook.Options{Transport: to, Cursor: cursor}, func() {
			pass(time.Minute)
			require.Equal(t, 3, cursor.loads)
			feed.Fail(errors.New("disk on fire"))
			pass(time.Second)
			feed.Fail(nil)
			pass(time.Minute)
		})
		require.Equal(t, "compute.server.created a", to.types()[0])
		require.Less(t, cursor.loads, 8)
	})
}

func TestFileCursor(t *testing.T) {
	dir := t.TempDir()
	cursor := webhook.FileCursor(dir + "/hooks")
	at, err := cursor.Load(t.Context(), "one")
	require.NoError(t, err)
	require.Nil(t, at)
	for _, p := range []event.Position{{"compute": 1}, {"compute": 2, "network": 7}, {}} {
		require.NoError(t, cursor.Save(t.Context(), "one", p))
		at, err = webhook.FileCursor(dir+"/hooks").Load(t.Context(), "one")
		require.NoError(t, err)
		require.Equal(t, p, at)
	}
	require.NoError(t, cursor.Save(t.Context(), "two", event.Position{"compute": 9}))
	require.FileExists(t, dir+"/hooks/two.position")
	require.Error(t, webhook.FileCursor(dir+"/hooks/two.position").Save(t.Context(), "one", nil))
	_, err = webhook.FileCursor(dir+"/hooks/two.position").Load(t.Context(), "one")
	require.Error(t, err)
}

func TestHooksThatCanNotBe(t *testing.T) {
	good := one(event.Filter{})[0]
	for _, change := range []func(h *webhook.Hook){
		func(h *webhook.Hook) { h.Name = "" }, func(h *webhook.Hook) { h.Name = "../etc" }, func(h *webhook.Hook) { h.Name = ".." },
		func(h *webhook.Hook) { h.Name = strings.Repeat("n", 65) },
		func(h *webhook.Hook) { h.URL = "ftp://receiver.test" }, func(h *webhook.Hook) { h.URL = "http:///x" }, func(h *webhook.Hook) { h.URL = ":" },
		func(h *webhook.Hook) { h.Secret = "" }, func(h *webhook.Hook) { h.Secret = "whsec_c2hvcnQ=" },
		func(h *webhook.Hook) { h.Secret = strings.TrimPrefix(secret, "whsec_") },
	} {
		h := good
		change(&h)
		_, err := webhook.New(nil, []webhook.Hook{h}, nil)
		require.ErrorIs(t, err, webhook.ErrInvalid)
		if h.Secret != "" {
			require.NotContains(t, err.Error(), h.Secret)
		}
	}
	_, err := webhook.New(nil, []webhook.Hook{good, good}, nil)
	require.ErrorIs(t, err, webhook.ErrInvalid)
}

// TestStandardWebhooksLibrariesVerifyMessages sends a message over real HTTP to a receiver with the standard's own library.
func TestStandardWebhooksLibrariesVerifyMessages(t *testing.T) {
	secret := webhook.NewSecret()
	library, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	verdict := make(chan error, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verdict <- errors.Join(library.Verify(body, r.Header), webhook.Verify(secret, r.Header, body, time.Now()))
	}))
	defer receiver.Close()
	feed := &memfeed.Feed{Domain: "compute"}
	feed.Add(server("a"))
	cursor := webhook.FileCursor(t.TempDir())
	require.NoError(t, cursor.Save(t.Context(), "one", event.Position{"compute": 0}))
	sender, err := webhook.New(event.Sources{"compute": feed}, []webhook.Hook{{Name: "one", URL: receiver.URL, Secret: secret}}, &webhook.Options{Cursor: cursor})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); sender.Run(ctx) }()
	require.NoError(t, <-verdict)
	stop()
	<-done
}

func TestVerifyRefusesWhatWasNotSent(t *testing.T) {
	library, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	now := time.Unix(1_782_907_202, 0)
	body := []byte(`{"type":"compute.server.created"}`)
	signature, err := library.Sign("msg", now, body)
	require.NoError(t, err)
	header := func(id, timestamp, signature string) http.Header {
		h := http.Header{}
		h.Set(webhook.HeaderID, id)
		h.Set(webhook.HeaderTimestamp, timestamp)
		h.Set(webhook.HeaderSignature, signature)
		return h
	}
	stamp := "1782907202"
	require.NoError(t, webhook.Verify(secret, header("msg", stamp, signature), body, now))
	require.NoError(t, webhook.Verify(secret, header("msg", stamp, "v1,bm8= v1a,eA== "+signature), body, now.Add(4*time.Minute)))
	for _, bad := range []http.Header{
		header("other", stamp, signature), header("msg", "1782907203", signature), header("msg", stamp, ""), header("msg", stamp, "v1,"),
		header("", stamp, signature), header("msg", "soon", signature), header("msg", stamp, strings.Repeat("v1,x ", 50)+signature),
	} {
		require.ErrorIs(t, webhook.Verify(secret, bad, body, now), webhook.ErrUnauthorized)
	}
	require.ErrorIs(t, webhook.Verify(secret, header("msg", stamp, signature), append(body, ' '), now), webhook.ErrUnauthorized)
	require.ErrorIs(t, webhook.Verify(secret, header("msg", stamp, signature), body, now.Add(6*time.Minute)), webhook.ErrUnauthorized)
	require.ErrorIs(t, webhook.Verify(secret, header("msg", stamp, signature), body, now.Add(-6*time.Minute)), webhook.ErrUnauthorized)
	require.ErrorIs(t, webhook.Verify("none", header("msg", stamp, signature), body, now), webhook.ErrInvalid)
}
