// Package observe lets a whole cloud be watched and measured: its events over HTTP (package event/sse) and to webhooks
// (event/webhook), its metrics and traces (package telemetry). All of it is off until asked for.
//
//	o, err := observe.New(ctx, &observe.Options{Metrics: listener})
//	defer o.Close()
//	c, err := cloud.Start(ctx, cloud.Options{Wrap: o.Wrap, …})
//	err = o.Run(ctx, c)
//
// Events are at /events, for whoever has a token: a project sees its own, an administrator all. Metrics are at /metrics,
// for whoever reaches the address.
package observe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/event/sse"
	"github.com/kintoun/kintoun/event/webhook"
	"github.com/kintoun/kintoun/examples/allinone/cloud"
	"github.com/kintoun/kintoun/examples/allinone/telemetry"
	"github.com/kintoun/kintoun/identity"
	"golang.org/x/sync/errgroup"
)

// Options say what is observed. By default, nothing is.
type Options struct {
	// Events and Metrics are where they are served; none turns them off. [Observer.Run] closes them.
	Events, Metrics []net.Listener
	// Traces are sent to where the OTEL_… variables of the environment say.
	Traces bool
	// Webhooks are what events are delivered to, and Cursor keeps how far each is; nil forgets with the process.
	Webhooks []webhook.Hook
	Cursor   webhook.Cursor
	// Log hears what happens; nil discards it.
	Log *slog.Logger
}

// Observer observes one cloud. Create it with [New].
type Observer struct {
	options   Options
	telemetry *telemetry.Telemetry
}

// New returns an observer of a cloud that is yet to start. A hook that can not be, or an OTEL_… variable that can not be
// followed, is an error.
func New(ctx context.Context, options *Options) (*Observer, error) {
	o := &Observer{}
	if options != nil {
		o.options = *options
	}
	if o.options.Log == nil {
		o.options.Log = slog.New(slog.DiscardHandler)
	}
	// What is wrong with a hook is to be known before anything starts.
	if _, err := o.sender(nil); err != nil {
		return nil, err
	}
	var err error
	o.telemetry, err = telemetry.New(ctx, &telemetry.Options{Metrics: len(o.options.Metrics) > 0, Traces: o.options.Traces, Log: o.options.Log})
	return o, err
}

// Wrap is for [cloud.Options]: it measures the requests to a service.
func (o *Observer) Wrap(service cloud.Service, handler http.Handler) http.Handler {
	return o.telemetry.Handler(string(service), handler)
}

// Run tells of the cloud until ctx ends. An error says that a listener failed.
func (o *Observer) Run(ctx context.Context, c *cloud.Cloud) error {
	sources := event.Sources{"identity": c.Identity, "image": c.Image, "compute": c.Compute, "network": c.Network, "lbaas": c.LBaaS, "objectstore": c.Objects, "volume": c.Volumes}
	sender, err := o.sender(sources)
	if err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	if len(o.options.Webhooks) > 0 {
		running.Go(func() error { sender.Run(ctx); return nil })
	}
	if len(o.options.Metrics) > 0 {
		running.Go(func() error { o.telemetry.Count(ctx, sources); return nil })
		o.serve(ctx, running, o.options.Metrics, "/metrics", o.telemetry.Metrics())
	}
	if len(o.options.Events) > 0 {
		// Streams end with this context, and so before the server waits for them.
		o.serve(ctx, running, o.options.Events, "/events", sse.New(ctx, sources, byToken(c.Identity), &sse.Options{Log: o.options.Log}))
	}
	<-ctx.Done()
	return running.Wait()
}

func (o *Observer) sender(sources event.Sources) (*webhook.Sender, error) {
	return webhook.New(sources, o.options.Webhooks, &webhook.Options{Cursor: o.options.Cursor, Log: o.options.Log})
}

const (
	headerPatience   = 10 * time.Second
	shutdownPatience = 5 * time.Second
)

// serve answers under the path on the listeners until ctx ends.
func (o *Observer) serve(ctx context.Context, running *errgroup.Group, listeners []net.Listener, path string, handler http.Handler) {
	mux := http.NewServeMux()
	mux.Handle(path, handler)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: headerPatience, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(o.options.Log.Handler(), slog.LevelDebug),
	}
	for _, l := range listeners {
		running.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	running.Go(func() error {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPatience)
		defer cancel()
		if err := server.Shutdown(ending); err != nil {
			return server.Close()
		}
		return nil
	})
}

// Close sends the spans that wait, and ends.
func (o *Observer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownPatience)
	defer cancel()
	return o.telemetry.Shutdown(ctx)
}

// byToken lets a token's project see its own events, and administrators all.
func byToken(auth identity.Authenticator) sse.Authorizer {
	return func(r *http.Request) (sse.Viewer, error) {
		token := r.Header.Get("X-Auth-Token")
		if token == "" {
			return sse.Viewer{}, sse.ErrUnauthorized
		}
		caller, err := auth.Validate(r.Context(), token)
		if err != nil {
			return sse.Viewer{}, err
		}
		return sse.Viewer{All: caller.IsAdmin(), ProjectIDs: []string{caller.ProjectID}}, nil
	}
}
