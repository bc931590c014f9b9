// Package webhook delivers events to URLs: each by a POST, signed as Standard Webhooks has it
// (https://www.standardwebhooks.com), until the receiver says that it has it.
//
//	sender, err := webhook.New(event.Sources{"compute": compute}, []webhook.Hook{{
//		Name: "billing", URL: receiver.URL, Secret: secret, Filter: event.Filter{Types: []string{"server"}},
//	}}, &webhook.Options{Cursor: cursor})
//	sender.Run(ctx)
//
// # What a receiver gets
//
// The body is a [Message] in JSON:
//
//	{"type":"compute.server.updated","timestamp":"2026-07-01T12:00:02Z","data":{"seq":2,"domain":"compute","type":"server",…}}
//
// The headers are webhook-id, the message's identifier, the same at every attempt; webhook-timestamp, the time of the
// attempt in seconds since 1970; and webhook-signature, "v1," and the base64 of the HMAC-SHA256, under the hook's
// secret, of "ID.TIMESTAMP.BODY". [Verify] checks them, and so does every Standard Webhooks library. The secret is
// "whsec_" and the base64 of 24 to 64 bytes; [NewSecret] makes one.
//
// A status of 2xx says that the receiver has the message. 410 says that it wants no more: the hook rests until the next
// Run. Everything else, redirects too, is a failure. Where events are gone before they were delivered, the receiver
// gets a message of the type "events.compacted" with the domain and the numbers after which and up to which some are
// gone, and has to look at that domain anew.
//
// # What is promised
//
// A hook's messages come one at a time, in order, at least once: a receiver should know a webhook-id that it had
// before. A failed attempt is repeated after a pause that doubles up to [Options.MaxBackoff] and varies, or that the
// receiver's Retry-After asks for. When all attempts of [Options.GiveUpAfter] failed, messages are dropped that fail
// once more, and logged, so that one that a receiver can not take does not hold up the others for ever. Hooks do not
// wait for each other. How far each is, is kept by the [Cursor]; a new hook begins with what happens from then on.
//
// # What it needs, and does not do
//
// It needs Sources, of which it asks nothing but their changes, and a Cursor: [FileCursor] keeps it in a directory,
// [MemoryCursor] not at all. It needs nothing else of the host. Requests go wherever a hook's URL says: whoever lets
// others choose it must check it, or give a Transport that does. It is no queue that others read, and does not tell
// hooks to each other.
//
// # Errors, concurrency, ends
//
// New refuses a hook that can not be with [ErrInvalid]; failures of delivery are no errors but are logged and repeated.
// A [Sender] holds a goroutine, a connection and a few events per hook, and has one Run at a time; [Verify] is safe for
// concurrent use. A sender that is killed goes on, in another process too, from where its Cursor is: a message may come
// twice, and none is left out.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/fault"
)

// ErrInvalid is a hook that can not be: its name, URL or secret.
var ErrInvalid = fault.ErrInvalid

// Hook is where events go.
type Hook struct {
	// Name tells hooks apart, in the Cursor and in the log: letters, digits, dots, dashes and underscores, at most 64.
	Name string
	// URL takes the POST requests; its scheme is http or https.
	URL string
	// Secret signs them: "whsec_" and the base64 of 24 to 64 bytes.
	Secret string
	// Filter picks the events; the zero Filter takes all.
	Filter event.Filter
}

// Options are optional.
type Options struct {
	// Cursor keeps how far the hooks are; by default a [MemoryCursor], which begins anew with each process.
	Cursor Cursor
	// Timeout bounds one request, from the connection to the end of the answer; 15 s by default.
	Timeout time.Duration
	// MinBackoff and MaxBackoff bound the pause after a failure; 1 s and 5 min by default.
	MinBackoff, MaxBackoff time.Duration
	// GiveUpAfter is how long a hook may fail until messages are dropped; 24 h by default, negative is for ever.
	GiveUpAfter time.Duration
	// Transport makes the requests; by default one of the hook's own, with the proxy that the environment names.
	Transport http.RoundTripper
	// Log hears of failures; nil discards them.
	Log *slog.Logger
}

func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.Cursor == nil {
		full.Cursor = &MemoryCursor{}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&full.Timeout, 15 * time.Second}, {&full.MinBackoff, time.Second}, {&full.MaxBackoff, 5 * time.Minute}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if full.GiveUpAfter == 0 {
		full.GiveUpAfter = 24 * time.Hour
	}
	if full.Log == nil {
		full.Log = slog.New(slog.DiscardHandler)
	}
	return full
}

// Sender delivers events to hooks. Create it with [New].
type Sender struct {
	hooks []*hook
}

// New returns a sender of the sources' events. A hook that can not be is [ErrInvalid].
func New(sources event.Sources, hooks []Hook, options *Options) (*Sender, error) {
	s := &Sender{}
	full := options.withDefaults()
	names := map[string]bool{}
	for _, h := range hooks {
		key, err := h.check()
		if err != nil {
			return nil, fmt.Errorf("webhook %q: %w", h.Name, err)
		}
		if names[h.Name] {
			return nil, fault.Wrap(ErrInvalid, "two webhooks are named %q", h.Name)
		}
		names[h.Name] = true
		own := event.Sources{}
		for domain, source := range sources {
			if len(h.Filter.Domains) == 0 || slices.Contains(h.Filter.Domains, domain) {
				own[domain] = source
			}
		}
		s.hooks = append(s.hooks, &hook{Hook: h, key: key, sources: own, options: full})
	}
	return s, nil
}

// Run delivers until ctx ends; requests under way end then, and their messages are sent again by the next Run. Call
// it once at a time.
func (s *Sender) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, h := range s.hooks {
		running.Go(func() { h.run(ctx) })
	}
	running.Wait()
}

const (
	maxName     = 64
	nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
)

// check returns the key that the secret is.
func (h *Hook) check() ([]byte, error) {
	if h.Name == "" || len(h.Name) > maxName || strings.Trim(h.Name, nameLetters) != "" || strings.HasPrefix(h.Name, ".") {
		return nil, fault.Wrap(ErrInvalid, "its name is not 1 to %d letters, digits, dots, dashes and underscores", maxName)
	}
	u, err := url.Parse(h.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fault.Wrap(ErrInvalid, "its URL is not one of http or https")
	}
	return parseSecret(h.Secret)
}
