package compute

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// AgentOptions are optional.
type AgentOptions struct {
	// Resources are what the host has. Without them it takes no servers.
	Resources Resources
	// Resume starts servers again that ran when the host went down. Without it they are stopped, as in Nova.
	Resume bool
	// Heartbeat is how often the agent says that its host lives; 10 s by default.
	Heartbeat time.Duration
	// Resync is how often everything is compared with what runs, should news ever be missed; 5 min by default.
	Resync time.Duration
	// Attempts is how often something is tried before its server is told that it failed; 3 by default.
	Attempts int
	// Connector gets volumes to the host; without it the host's servers have none.
	Connector Connector
	// Log receives failures; nil discards them.
	Log *slog.Logger
}

// Agent makes one host run the servers that the service placed there, and reports how they are.
// Servers go on without it; one that starts adopts those that run, untouched.
type Agent struct {
	service *Service
	host    string
	servers driver.Servers
	plugger Plugger
	files   ImageFiles
	options AgentOptions
	loop    *converge.Loop
	images  *imageRunner

	follower *converge.Follower

	mu       sync.Mutex
	known    bool            // to the service, with its resources
	unsure   map[string]bool // whose state has to be looked up before it is trusted
	seen     map[string]bool // looked up since the agent started
	failures map[string]int
	busy     map[string]*attempt
}

// attempt is a task under way.
type attempt struct {
	of     Server
	cancel context.CancelFunc
}

// workers is how many servers are worked on at once. Most of the time a worker waits for a guest to shut down.
const workers = 32

// NewAgent returns an agent for the host of that name; [Agent.Run] does the work.
func NewAgent(service *Service, host string, servers driver.Servers, plugger Plugger, files ImageFiles, options *AgentOptions) *Agent {
	a := &Agent{
		service: service, host: host, servers: servers, plugger: plugger, files: files,
		unsure: map[string]bool{}, seen: map[string]bool{}, failures: map[string]int{}, busy: map[string]*attempt{},
	}
	if options != nil {
		a.options = *options
	}
	if a.options.Heartbeat <= 0 {
		a.options.Heartbeat = 10 * time.Second
	}
	if a.options.Resync <= 0 {
		a.options.Resync = 5 * time.Minute
	}
	if a.options.Attempts <= 0 {
		a.options.Attempts = 3
	}
	if a.options.Log == nil {
		a.options.Log = slog.New(slog.DiscardHandler)
	}
	a.loop = converge.New(a, &converge.Options{Workers: workers, Resync: a.options.Resync, OnError: func(id string, err error, failures int) {
		a.options.Log.Warn("server not as wanted", "server", id, "host", host, "error", err, "failures", failures)
	}})
	a.images = newImageRunner(a)
	a.follower = service.hub.Follower(host, a.settleAll)
	return a
}

// Run registers the host and keeps it as wanted until ctx ends. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	if _, err := a.introduce(ctx); err != nil {
		return fmt.Errorf("register host %s: %w", a.host, err)
	}
	leave, err := a.follower.Follow(ctx, func(c record.Change) { a.changed(ctx, c) }, func() { a.enqueueAll(ctx) })
	if err != nil {
		return err
	}
	defer leave()
	a.service.attach(a)
	defer a.service.detach(a)
	var wg sync.WaitGroup
	wg.Go(func() { a.loop.Run(ctx) })
	wg.Go(func() { a.images.loop.Run(ctx) })
	wg.Go(func() { converge.Every(ctx, a.options.Heartbeat, a.beat) })
	if w, ok := a.servers.(driver.Watcher); ok {
		wg.Go(func() { a.watch(ctx, w) })
	}
	wg.Wait()
	return nil
}

// concerned says which hosts a change concerns that does not say so itself: agents hear of servers only.
func concerned(_ context.Context, c record.Change) (hosts []string, everywhere bool) {
	return nil, c.Kind == serversKind
}

// changed looks again at what has changed.
func (a *Agent) changed(ctx context.Context, c record.Change) {
	if c.Kind == imageJobsKind {
		a.images.loop.Enqueue(c.ID)
		return
	}
	a.interrupt(ctx, c.ID)
	a.images.interrupt(ctx, c.ID)
	a.loop.Enqueue(c.ID)
}

// Started waits until the agent hears of everything that is wanted of its host, or fails with ctx's error.
func (a *Agent) Started(ctx context.Context) error { return a.follower.Following(ctx) }

// Settle returns when everything on the host is as it was wanted when it was called, or with ctx's error.
func (a *Agent) Settle(ctx context.Context) error {
	if err := a.follower.CatchUp(ctx); err != nil {
		return err
	}
	return a.settleAll(ctx)
}

func (a *Agent) settleAll(ctx context.Context) error {
	if err := errors.Join(a.loop.Settle(ctx), a.images.loop.Settle(ctx)); err != nil {
		return err
	}
	// The end of an image may have given the other loop something to do.
	if err := a.service.hub.CatchUp(ctx); err != nil {
		return err
	}
	return a.loop.Settle(ctx)
}

// Settle returns when every host whose agent runs in this process is as it was wanted when it was called, or with ctx's
// error.
func (s *Service) Settle(ctx context.Context) error { return s.hub.Settle(ctx) }

// interrupt ends a task under way when something else has been asked for since: a guest that is slow to shut down
// does not keep its server from being deleted.
func (a *Agent) interrupt(ctx context.Context, id string) {
	a.mu.Lock()
	t := a.busy[id]
	a.mu.Unlock()
	if t == nil {
		return
	}
	v, err := a.service.servers.Get(a.service.store.Read(ctx), id)
	if err != nil || !v.sameWish(&t.of) {
		t.cancel()
	}
}

func (a *Agent) enqueueAll(ctx context.Context) {
	ids, err := a.List(ctx)
	images, listing := a.images.List(ctx)
	if err = errors.Join(err, listing); err != nil && ctx.Err() == nil {
		a.options.Log.Warn("servers could not be listed", "host", a.host, "error", err)
	}
	a.loop.Enqueue(ids...)
	a.images.loop.Enqueue(images...)
}

// Beat says that the host lives, as of the given time. [Agent.Run] does it all the time; a program whose clock is about
// to jump ([Options].Now) says with the time to which it jumps that its hosts live then too.
func (a *Agent) Beat(ctx context.Context, at time.Time) error {
	was, err := a.introduce(ctx)
	if err != nil || !was && !at.After(a.service.now()) {
		return err
	}
	err = a.service.beat(ctx, a.host, at)
	if errors.Is(err, ErrNotFound) {
		err = a.service.register(ctx, a.host, a.options.Resources)
	}
	return err
}

// introduce makes the host known, once, and says whether it was.
func (a *Agent) introduce(ctx context.Context) (was bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known {
		return true, nil
	}
	err = a.service.register(ctx, a.host, a.options.Resources)
	a.known = err == nil
	return false, err
}

// beat says that the host lives, and looks after what processes that died left.
func (a *Agent) beat(ctx context.Context) {
	err := a.Beat(ctx, a.service.now())
	err = errors.Join(err, a.service.endAbandoned(ctx, a.host))
	if a.service.tidying.Mine(a.service.now(), a.options.Heartbeat/2) {
		err = errors.Join(err, a.service.tidy(ctx))
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Warn("heartbeat failed", "host", a.host, "error", err)
	}
}

// watchPause is how long the agent waits before it watches a driver again whose watch failed.
const watchPause = time.Second

func (a *Agent) watch(ctx context.Context, w driver.Watcher) {
	for ctx.Err() == nil {
		err := w.Watch(ctx, func(id string) {
			a.doubt(id)
			a.loop.Enqueue(id)
		})
		if ctx.Err() != nil {
			return
		}
		a.options.Log.Warn("watching servers failed", "host", a.host, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
			a.enqueueAll(ctx)
		}
	}
}

// doubt says that a server may not be as it was last seen.
func (a *Agent) doubt(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unsure[id] = true
}

// List names the servers that are wanted on this host and those that the driver knows.
func (a *Agent) List(ctx context.Context) ([]string, error) {
	wanted, err := a.service.servers.List(a.service.store.Read(ctx), record.Query{
		Where: []record.Condition{record.Eq("host", a.host), record.Eq("deleted", false)},
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range wanted {
		ids = append(ids, wanted[i].ID)
	}
	observed, err := a.servers.List(ctx)
	if err != nil {
		return ids, err
	}
	for _, o := range observed {
		ids = append(ids, o.ID)
	}
	for _, id := range ids {
		a.doubt(id)
	}
	return ids, nil
}

// ConsoleLog returns the last lines of a server's console.
func (a *Agent) ConsoleLog(ctx context.Context, id string, lines int) ([]byte, error) {
	consoles, ok := a.servers.(driver.Consoles)
	if !ok {
		return nil, fault.Wrap(ErrUnsupported, "Console output is not kept on host %s.", a.host)
	}
	return consoles.ConsoleLog(ctx, id, lines)
}

func (s *Service) attach(a *Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[a.host] = a
}

func (s *Service) detach(a *Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agents[a.host] == a {
		delete(s.agents, a.host)
	}
}

// ConsoleOutput returns the last lines of a server's console, or with zero all that is kept. Only servers on the
// hosts of this process can be asked; others are [ErrUnavailable].
func (s *Service) ConsoleOutput(ctx context.Context, scope Scope, id string, lines int) ([]byte, error) {
	v, err := s.Server(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	if v.Host == "" || v.LaunchedAt == nil {
		return nil, fault.Wrap(ErrConflict, "Instance %s is not ready", id)
	}
	s.mu.Lock()
	a := s.agents[v.Host]
	s.mu.Unlock()
	if a == nil {
		return nil, fault.Wrap(ErrUnavailable, "The console of instance %s is on host %s, which cannot be asked from here.", id, v.Host)
	}
	output, err := a.ConsoleLog(ctx, id, lines)
	if err != nil {
		return nil, notFound(err, "Console log output could not be retrieved for instance %s. Reason: it has none.", id)
	}
	return output, nil
}
