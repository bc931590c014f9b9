package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/event"
)

// Message is a request's body.
type Message struct {
	// Type is "DOMAIN.TYPE.ACTION", as "compute.server.created", or "events.compacted".
	Type string `json:"type"`
	// Timestamp is when it happened.
	Timestamp time.Time `json:"timestamp"`
	// Data is the [event.Event]; of "events.compacted", an [event.CompactedError].
	Data any `json:"data"`
}

// hook is a Hook at work.
type hook struct {
	Hook
	key     []byte
	sources event.Sources
	options Options
	client  *http.Client

	position event.Position
	// unsaved is how many events the position has advanced by since it was saved.
	unsaved int
	// failing is since when all attempts failed; zero when the last one did not.
	failing time.Time
}

// saveEvery is how many events that a filter leaves out are passed over between two saves.
const saveEvery = 500

// errGone says that the receiver wants no more messages.
var errGone = errors.New("the receiver wants no more messages (410)")

func (h *hook) run(ctx context.Context) {
	transport := h.options.Transport
	if transport == nil {
		own := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
		own.DialContext = (&net.Dialer{Timeout: h.options.Timeout}).DialContext
		defer own.CloseIdleConnections()
		transport = own
	}
	h.client = &http.Client{
		Transport: transport, Timeout: h.options.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	log := h.options.Log.With("webhook", h.Name)
	for failures := 1; ctx.Err() == nil; failures++ {
		err := h.begin(ctx)
		if err == nil {
			failures = 1
			err = h.follow(ctx, log)
		}
		if errors.Is(err, errGone) {
			log.Warn("webhook rests until the next start", "error", err)
			return
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("webhook can not read its events", "error", err)
			h.pause(ctx, h.backoff(failures))
		}
	}
}

// begin finds the position to go on from. A new hook's is saved at once, so that it loses nothing from now on.
func (h *hook) begin(ctx context.Context) error {
	saved, err := h.options.Cursor.Load(ctx, h.Name)
	if err != nil {
		return err
	}
	if h.position, err = h.sources.Complete(ctx, saved); err != nil {
		return err
	}
	return h.options.Cursor.Save(ctx, h.Name, h.position)
}

// follow delivers events until they end with an error.
func (h *hook) follow(ctx context.Context, log *slog.Logger) error {
	for e, err := range h.sources.Watch(ctx, h.position) {
		var gone *event.CompactedError
		switch {
		case errors.As(err, &gone):
			err = h.tellCompacted(ctx, log, gone)
		case err == nil:
			err = h.tell(ctx, log, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *hook) tell(ctx context.Context, log *slog.Logger, e event.Event) error {
	if !h.Filter.Match(e) {
		h.position.Advance(e)
		if h.unsaved++; h.unsaved >= saveEvery {
			h.save(ctx, log)
		}
		return nil
	}
	id := fmt.Sprintf("evt_%s_%d_%d", e.Domain, e.Seq, e.Time.UnixMicro())
	m := Message{Type: e.Domain + "." + e.Type + "." + string(e.Action), Timestamp: e.Time, Data: e}
	if err := h.deliver(ctx, log, id, m); err != nil {
		return err
	}
	h.position.Advance(e)
	h.save(ctx, log)
	return nil
}

func (h *hook) tellCompacted(ctx context.Context, log *slog.Logger, gone *event.CompactedError) error {
	log.Warn("events were gone before they were delivered", "domain", gone.Domain, "after", gone.After, "last", gone.Last)
	now := time.Now().UTC()
	id := fmt.Sprintf("gone_%s_%d_%d", gone.Domain, gone.Last, now.UnixMicro())
	m := Message{Type: "events.compacted", Timestamp: now, Data: gone}
	if err := h.deliver(ctx, log, id, m); err != nil {
		return err
	}
	h.position[gone.Domain] = gone.Last
	h.save(ctx, log)
	return nil
}

// save keeps the position. A failure means that messages are sent twice after a restart, which they may be.
func (h *hook) save(ctx context.Context, log *slog.Logger) {
	// What was delivered was delivered, even if ctx has just ended.
	if err := h.options.Cursor.Save(context.WithoutCancel(ctx), h.Name, h.position); err != nil {
		log.Warn("webhook's position can not be saved", "error", err)
		return
	}
	h.unsaved = 0
}

// deliver sends a message until the receiver has it, or it is given up.
func (h *hook) deliver(ctx context.Context, log *slog.Logger, id string, m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	for failures := 1; ; failures++ {
		wait, err := h.attempt(ctx, id, body)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err == nil {
			h.failing = time.Time{}
			return nil
		}
		if errors.Is(err, errGone) {
			return err
		}
		if h.failing.IsZero() {
			h.failing = time.Now()
		}
		log.Warn("webhook was not delivered", "message", id, "failures", failures, "error", err)
		h.pause(ctx, min(max(wait, h.backoff(failures)), h.options.MaxBackoff))
		if h.options.GiveUpAfter >= 0 && time.Since(h.failing) >= h.options.GiveUpAfter {
			log.Error("webhook's message is dropped", "message", id, "type", m.Type, "failing_since", h.failing)
			return ctx.Err()
		}
	}
}

// maxAnswer is how much of an answer is read, so that its connection can be used again.
const maxAnswer = 64 << 10

// attempt sends a message once. After a failure, wait is how long the receiver wants to be left in peace.
func (h *hook) attempt(ctx context.Context, id string, body []byte) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "kintoun-webhook")
	r.Header.Set(HeaderID, id)
	r.Header.Set(HeaderTimestamp, timestamp)
	r.Header.Set(HeaderSignature, sign(h.key, id, timestamp, body))
	answer, err := h.client.Do(r)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // URLs have been secrets
		}
		return 0, err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer))
	_ = answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusGone:
		return 0, errGone
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return retryAfter(answer.Header), fmt.Errorf("the receiver answered %s", answer.Status)
	}
	return 0, nil
}

// retryAfter reads the header of RFC 9110, section 10.2.3; zero where there is none.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

// backoff doubles with each failure and varies by a half, so that hooks that failed together part ways.
func (h *hook) backoff(failures int) time.Duration {
	d := h.options.MinBackoff
	for i := 1; i < failures && d < h.options.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, h.options.MaxBackoff)
	return d - rand.N(d/2+1)
}

func (h *hook) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
