package volume

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// AgentOptions are optional.
type AgentOptions struct {
	// Zone is the pool's availability zone; [DefaultZone] by default.
	Zone string
	// Capabilities are more that types' extra specs can ask for, by name.
	Capabilities map[string]string
	// Oversubscription is how often a thin pool's room is promised; 20 by default, as in Cinder.
	Oversubscription float64
	// Heartbeat is how often the agent says that its pool lives, and how full it is; 10 s by default.
	Heartbeat time.Duration
	// Resync is how often everything is compared with what exists, should news ever be missed; 5 min by default.
	Resync time.Duration
	// Attempts is how often something is tried before its volume is told that it failed; 3 by default.
	Attempts int
	// Log receives failures; nil discards them.
	Log *slog.Logger
}

// Agent makes one pool hold the volumes, snapshots and connections that the service placed there, and reports how they
// are. They stay as they are without it; one that starts goes on where the last one was.
type Agent struct {
	service *Service
	name    Backend
	host    string // the pool's full name
	volumes driver.Volumes
	options AgentOptions

	loop     *converge.Loop
	follower *converge.Follower

	mu       sync.Mutex
	failures map[string]int
}

// NewAgent returns an agent for the pool of that name; [Agent.Run] does the work.
func NewAgent(service *Service, name Backend, volumes driver.Volumes, options *AgentOptions) *Agent {
	a := &Agent{service: service, name: name, host: name.String(), volumes: volumes, failures: map[string]int{}}
	if options != nil {
		a.options = *options
	}
	return a
}

// concerned says which pools a change concerns that does not say so itself.
func concerned(_ context.Context, c record.Change) (hosts []string, everywhere bool) {
	return nil, c.Kind == volumesKind || c.Kind == snapshotsKind || c.Kind == attachmentsKind
}

// Run registers the pool and keeps it as wanted until ctx ends. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Started waits until the agent hears of everything that is wanted of its pool, or fails with ctx's error.
func (a *Agent) Started(ctx context.Context) error { return a.follower.Following(ctx) }

// Settle returns when everything in the pool is as it was wanted when it was called, or with ctx's error.
func (a *Agent) Settle(ctx context.Context) error { return nil }

// Beat says that the pool lives, as of the given time. [Agent.Run] does it all the time.
func (a *Agent) Beat(ctx context.Context, at time.Time) error { return nil }

// turn waits until nothing else is done with the volumes, and holds them until done is called.
func (a *Agent) turn(volumeIDs ...string) (done func()) { return func() {} }

// Settle returns when every pool whose agent runs in this process is as it was wanted when it was called, or with ctx's
// error.
func (s *Service) Settle(ctx context.Context) error { return s.hub.Settle(ctx) }

type grave struct {
	ID, Kind, Host string
	At             time.Time
	Revision       int64
}

var graveSpec = record.Spec[grave]{
	Key:      func(g *grave) string { return g.ID },
	Revision: func(g *grave) *int64 { return &g.Revision },
	Quiet:    true,
	Columns:  []record.Column[grave]{{Name: "at", Value: func(g *grave) any { return g.At.UnixMicro() }}},
}

func unsupported(what string) error { return fault.Wrap(ErrUnsupported, "%s is not there yet", what) }
