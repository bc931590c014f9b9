// Package sse serves events as Server-Sent Events, the stream of text that browsers read with EventSource (WHATWG HTML,
// section 9.2) and that curl -N shows.
//
//	events := sse.New(ctx, event.Sources{"compute": servers}, authorize, nil)
//	mux.Handle("/events", events)
//
// Each event has as its name what happened ("created", "updated" or "deleted"), as its data the [event.Event] in JSON,
// and as its id the position up to which the client has read:
//
//	id: compute=7,network=12
//	event: updated
//	data: {"seq":7,"domain":"compute","type":"server","id":"9f0c…","action":"updated","project_id":"5f7c…","status":"ACTIVE","time":"…"}
//
// A client that comes back with that id, in the header Last-Event-ID as EventSource does by itself or in the query as
// last_event_id, gets what it missed. A new one gets what happens from now on; the id of that moment is the first thing
// it reads, so that it can look at everything and miss nothing. Where events are gone that the client asks for, it gets
// an event "compacted" whose data are the domain and the numbers after which and up to which some are gone; it has to
// look at that domain anew, and the stream goes on:
//
//	event: compacted
//	data: {"domain":"network","after":12,"last":20480}
//
// The query narrows the stream: domain, type, project and id, each may be given several times. What has several names
// must have one of each.
//
// # Who sees what
//
// An [Authorizer] says whose events a request may see, and is asked again with every heartbeat: the stream ends soon
// after its token does. Events of no project (users, flavors, agents) are for those who may see all. The numbers in ids
// count everybody's changes.
//
// # What it needs, and does not do
//
// It needs Sources, an Authorizer and a server that lets an answer flow; of the host nothing, and only the standard
// library. It is no WebSocket, keeps no client's position, and does not tell what a resource is like: the domain's API
// does.
//
// # Errors, concurrency, ends
//
// A stream ends when its client goes, when it reads too slowly ([Options.WriteTimeout]), when its rights or the
// database fail, or with the context that the handler was made with; clients connect again, to another process too, and
// miss nothing. An error before the first event has a status (400, 401, 403, 405, 503) and a JSON body. A [Handler] is
// safe for concurrent use and holds a goroutine and a few events per stream and domain.
package sse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error that an [Authorizer] returns: who makes the request is not known (401), may see nothing (403), or
// cannot be found out now (503). Those of package identity are the same. Any other error is answered with 500.
var (
	ErrUnauthorized = fault.ErrUnauthorized
	ErrForbidden    = fault.ErrForbidden
	ErrUnavailable  = fault.ErrUnavailable
)

// Viewer is whose events a request may see.
type Viewer struct {
	// All sees everything.
	All bool
	// ProjectIDs are the projects whose events it sees otherwise.
	ProjectIDs []string
}

func (v Viewer) sees(e event.Event) bool {
	return v.All || e.ProjectID != "" && slices.Contains(v.ProjectIDs, e.ProjectID)
}

// Authorizer says whose events a request may see.
type Authorizer func(r *http.Request) (Viewer, error)

// Options are optional.
type Options struct {
	// Heartbeat is how often a comment is sent so that nobody takes the connection for dead, and how often the
	// request's rights are looked at again; 15 s by default.
	Heartbeat time.Duration
	// WriteTimeout is how long a client may take to accept what is sent to it; 10 s by default.
	WriteTimeout time.Duration
	// MaxStreams bounds the streams at any one time; 1,000 by default. One more is answered with 503.
	MaxStreams int
	// Log receives failures of the sources and the authorizer; nil discards them.
	Log *slog.Logger
}

// Handler serves streams of events. Create it with [New].
type Handler struct {
	ctx       context.Context // the server's life, not a request's
	sources   event.Sources
	authorize Authorizer
	options   Options
	places    chan struct{}
}

// New returns a handler of GET requests for the sources' events. All its streams end when ctx does; end it before
// [http.Server.Shutdown], which waits for them.
func New(ctx context.Context, sources event.Sources, authorize Authorizer, options *Options) *Handler {
	h := &Handler{ctx: ctx, sources: sources, authorize: authorize}
	if options != nil {
		h.options = *options
	}
	if h.options.Heartbeat <= 0 {
		h.options.Heartbeat = 15 * time.Second
	}
	if h.options.WriteTimeout <= 0 {
		h.options.WriteTimeout = 10 * time.Second
	}
	if h.options.MaxStreams <= 0 {
		h.options.MaxStreams = 1000
	}
	if h.options.Log == nil {
		h.options.Log = slog.New(slog.DiscardHandler)
	}
	h.places = make(chan struct{}, h.options.MaxStreams)
	return h
}

// ServeHTTP streams events until the client goes or the handler's context ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, "events are read with GET")
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "there are too many streams of events")
		return
	}
	s, err := h.open(w, r)
	if err != nil {
		status, text := h.status(err)
		refuse(w, status, text)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	s.run(ctx)
}

// open looks at everything that can be wrong with a request, before the answer begins.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) (*stream, error) {
	s := &stream{handler: h, request: r, w: w, control: http.NewResponseController(w)}
	var err error
	if s.viewer, err = h.authorize(r); err != nil {
		return nil, err
	}
	query := r.URL.Query()
	s.filter = event.Filter{Domains: query["domain"], Types: query["type"], ProjectIDs: query["project"], IDs: query["id"]}
	for _, project := range s.filter.ProjectIDs {
		if !s.viewer.sees(event.Event{ProjectID: project}) {
			return nil, fault.Wrap(ErrForbidden, "you may not see the events of project %q", project)
		}
	}
	if s.sources, err = h.choose(s.filter.Domains); err != nil {
		return nil, err
	}
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = query.Get("last_event_id")
	}
	given, err := event.ParsePosition(last)
	if err != nil {
		return nil, fault.Wrap(fault.ErrInvalid, "Last-Event-ID: %s", err)
	}
	s.position, err = s.sources.Complete(r.Context(), given)
	return s, err
}

func (h *Handler) choose(domains []string) (event.Sources, error) {
	if len(domains) == 0 {
		return h.sources, nil
	}
	chosen := event.Sources{}
	for _, domain := range domains {
		source, ok := h.sources[domain]
		if !ok {
			return nil, fault.Wrap(fault.ErrInvalid, "there are no events of domain %q", domain)
		}
		chosen[domain] = source
	}
	return chosen, nil
}

func (h *Handler) status(err error) (int, string) {
	for kind, status := range map[error]int{
		fault.ErrInvalid: http.StatusBadRequest, ErrUnauthorized: http.StatusUnauthorized,
		ErrForbidden: http.StatusForbidden, ErrUnavailable: http.StatusServiceUnavailable,
	} {
		if errors.Is(err, kind) {
			return status, err.Error()
		}
	}
	h.options.Log.Error("events cannot be served", "error", err)
	return http.StatusInternalServerError, "an unexpected error prevented the server from fulfilling the request"
}

func refuse(w http.ResponseWriter, status int, text string) {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{"code": status, "title": http.StatusText(status), "message": text}})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "%s\n", body)
}
