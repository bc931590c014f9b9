package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
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
	// FilterFunction says which volumes the pool takes, GoodnessFunction how good it is for one, from 0 to 100: formulas in
	// the language of package formula over volume.size and other properties of the volume, extra.* and qos.* of its type, and
	// the pool's stats.* and capabilities.*, see [Service.Pools]. Without a function the pool takes everything, and is 0 good.
	// [Agent.Run] refuses what is no formula.
	FilterFunction, GoodnessFunction string
	// Heartbeat is how often the agent says that its pool lives, and how full it is; 10 s by default.
	Heartbeat time.Duration
	// Resync is how often everything is compared with what exists, should news ever be missed; 5 min by default.
	Resync time.Duration
	// Attempts is how often something is tried before its volume is told that it failed; 3 by default.
	Attempts int
	// Reach opens, for reading and writing, what [driver.Volumes.Connect] of another process's pool made for this host: a volume
	// migrates by it from here to there. By default it opens exports of NBD servers, and files and devices of this host's that are
	// raw or LUKS; volumes move between pools that are reached in other ways only if one process has both agents.
	Reach func(ctx context.Context, target driver.Target) (driver.Device, error)
	// Log receives failures; nil discards them.
	Log *slog.Logger
}

func (o *AgentOptions) setDefaults() {
	if o.Zone == "" {
		o.Zone = DefaultZone
	}
	if o.Oversubscription <= 0 {
		o.Oversubscription = 20
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.Resync <= 0 {
		o.Resync = 5 * time.Minute
	}
	if o.Attempts <= 0 {
		o.Attempts = 3
	}
	if o.Reach == nil {
		o.Reach = reach
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
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
	jobs     *jobRunner
	follower *converge.Follower
	turns    turns

	mu       sync.Mutex
	known    bool // to the service
	failures map[string]int
	busy     map[string]*attempt // what is being done with volumes
	seen     map[string]bool     // connections that were made or mended since everything was looked at
}

// attempt is a task under way.
type attempt struct {
	task   Task
	cancel context.CancelFunc
}

// workers is how many volumes, snapshots and connections are worked on at once.
const workers = 16

// NewAgent returns an agent for the pool of that name; [Agent.Run] does the work.
func NewAgent(service *Service, name Backend, volumes driver.Volumes, options *AgentOptions) *Agent {
	a := &Agent{
		service: service, name: name, host: name.String(), volumes: volumes, turns: turns{held: map[string]bool{}},
		failures: map[string]int{}, busy: map[string]*attempt{}, seen: map[string]bool{},
	}
	if options != nil {
		a.options = *options
	}
	a.options.setDefaults()
	a.loop = converge.New(a, &converge.Options{Workers: workers, Resync: a.options.Resync, OnError: func(id string, err error, failures int) {
		a.options.Log.Warn("not as wanted", "what", id, "pool", a.host, "error", err, "failures", failures)
	}})
	a.jobs = newJobRunner(a)
	a.follower = service.hub.Follower(a.host, a.settleAll)
	return a
}

// concerned says which pools a change concerns that does not say so itself: none.
func concerned(context.Context, record.Change) (hosts []string, everywhere bool) { return nil, false }

// Run registers the pool and keeps it as wanted until ctx ends. Call it once.
func (a *Agent) Run(ctx context.Context) error {
	if _, err := a.introduce(ctx); err != nil {
		return fmt.Errorf("register pool %s: %w", a.host, err)
	}
	leave, err := a.follower.Follow(ctx, func(c record.Change) { a.changed(ctx, c) }, func() { a.enqueueAll(ctx) })
	if err != nil {
		return err
	}
	defer leave()
	defer a.meet()()
	var wg sync.WaitGroup
	wg.Go(func() { a.loop.Run(ctx) })
	wg.Go(func() { a.jobs.loop.Run(ctx) })
	wg.Go(func() { converge.Every(ctx, a.options.Heartbeat, a.beat) })
	if w, ok := a.volumes.(driver.Watcher); ok {
		wg.Go(func() { a.watch(ctx, w) })
	}
	wg.Wait()
	return nil
}

// watchPause is how long the agent waits before it watches a driver again whose watch failed.
const watchPause = time.Second

// watch mends connections when the driver says that they need it.
func (a *Agent) watch(ctx context.Context, w driver.Watcher) {
	for {
		err := w.Watch(ctx, func(id string) {
			a.unsee(id)
			a.loop.Enqueue(attachmentsKind + "/" + id)
		})
		if ctx.Err() != nil {
			return
		}
		a.options.Log.Warn("watching connections failed", "pool", a.host, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
			a.enqueueAll(ctx)
		}
	}
}

// meet lets the other agents of this process find this one, until what it returns is called.
func (a *Agent) meet() (part func()) {
	s := a.service
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[a.host] = a
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.agents[a.host] == a {
			delete(s.agents, a.host)
		}
	}
}

// changed looks again at what has changed.
func (a *Agent) changed(ctx context.Context, c record.Change) {
	switch c.Kind {
	case volumesKind:
		a.interrupt(ctx, c.ID)
		a.loop.Enqueue(c.Kind + "/" + c.ID)
	case snapshotsKind, attachmentsKind:
		a.loop.Enqueue(c.Kind + "/" + c.ID)
	case jobsKind:
		a.jobs.loop.Enqueue(c.ID)
	}
}

// Started waits until the agent hears of everything that is wanted of its pool, or fails with ctx's error.
func (a *Agent) Started(ctx context.Context) error { return a.follower.Following(ctx) }

// Settle returns when everything in the pool is as it was wanted when it was called, or with ctx's error.
func (a *Agent) Settle(ctx context.Context) error {
	if err := a.follower.CatchUp(ctx); err != nil {
		return err
	}
	return a.settleAll(ctx)
}

func (a *Agent) settleAll(ctx context.Context) error {
	if err := a.loop.Settle(ctx); err != nil {
		return err
	}
	if err := a.jobs.loop.Settle(ctx); err != nil {
		return err
	}
	// The end of a job may have given the other loop something to do.
	if err := a.service.hub.CatchUp(ctx); err != nil {
		return err
	}
	return a.loop.Settle(ctx)
}

// Settle returns when every pool whose agent runs in this process is as it was wanted when it was called, or with ctx's
// error.
func (s *Service) Settle(ctx context.Context) error { return s.hub.Settle(ctx) }

// interrupt ends a task under way when something else has been asked for since: a volume that is being made can be
// deleted.
func (a *Agent) interrupt(ctx context.Context, id string) {
	a.mu.Lock()
	t := a.busy[id]
	a.mu.Unlock()
	if t == nil {
		return
	}
	v, err := a.service.volumes.Get(a.service.store.Read(ctx), id)
	if err != nil || v.Task != t.task {
		t.cancel()
	}
}

func (a *Agent) enqueueAll(ctx context.Context) {
	ids, err := a.List(ctx)
	if err == nil {
		var jobs []string
		if jobs, err = a.jobs.List(ctx); err == nil {
			a.jobs.loop.Enqueue(jobs...)
		}
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Warn("volumes could not be listed", "pool", a.host, "error", err)
	}
	a.loop.Enqueue(ids...)
}

// Beat says that the pool lives, as of the given time, and how full it is. [Agent.Run] does it all the time; a program
// whose clock is about to jump ([Options].Now) says with the time to which it jumps that its pools live then too.
func (a *Agent) Beat(ctx context.Context, at time.Time) error {
	was, err := a.introduce(ctx)
	if err != nil || !was && !at.After(a.service.now()) {
		return err
	}
	capacity, err := a.volumes.Capacity(ctx)
	if err != nil {
		return fmt.Errorf("capacity of pool %s: %w", a.host, err)
	}
	err = a.service.beat(ctx, a.host, at, capacity)
	if errors.Is(err, ErrNotFound) {
		err = a.service.register(ctx, a.describe(capacity))
	}
	return err
}

// introduce makes the pool known, once, and says whether it was.
func (a *Agent) introduce(ctx context.Context) (was bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known {
		return true, nil
	}
	capacity, err := a.volumes.Capacity(ctx)
	if err != nil {
		return false, fmt.Errorf("capacity of pool %s: %w", a.host, err)
	}
	described := a.describe(capacity)
	if err := described.checkFunctions(); err != nil {
		return false, err
	}
	err = a.service.register(ctx, described)
	a.known = err == nil
	return false, err
}

func (a *Agent) describe(capacity driver.Capacity) pool {
	_, reverts := a.volumes.(driver.Reverter)
	_, manages := a.volumes.(driver.Manager)
	_, managesSnapshots := a.volumes.(driver.SnapshotManager)
	return pool{
		Name: a.host, BackendName: a.name.Name, Zone: a.options.Zone, Kind: a.volumes.Kind(), Capacity: capacity,
		Capabilities: a.options.Capabilities, Oversubscription: a.options.Oversubscription,
		Filter: a.options.FilterFunction, Goodness: a.options.GoodnessFunction, Reverts: reverts, Manages: manages, ManagesSnapshots: managesSnapshots,
	}
}

// beat says that the pool lives, and now and then forgets what is old.
func (a *Agent) beat(ctx context.Context) {
	err := a.Beat(ctx, a.service.now())
	if a.service.tidying.Mine(a.service.now(), a.options.Heartbeat/2) {
		err = errors.Join(err, a.service.tidy(ctx))
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Warn("heartbeat failed", "pool", a.host, "error", err)
	}
}

// measure reports how full the pool is after something has changed in it.
func (a *Agent) measure(ctx context.Context) {
	if err := a.Beat(ctx, a.service.now()); err != nil && ctx.Err() == nil {
		a.options.Log.Warn("capacity not reported", "pool", a.host, "error", err)
	}
}

// The kinds of identifiers that the agent's loop works on, besides those of records: what the driver holds and nobody
// wants.
const leftoversKind = "leftovers"

// List names what is to be done in this pool, the connections to mend, and what the driver has that nobody wants.
func (a *Agent) List(ctx context.Context) ([]string, error) {
	a.mu.Lock()
	clear(a.seen) // a connection may have ended since
	a.mu.Unlock()
	s := a.service
	tx := s.store.Read(ctx)
	var ids []string
	add := func(kind string, texts []string, err error) error {
		for _, id := range texts {
			ids = append(ids, kind+"/"+id)
		}
		return err
	}
	here := record.Eq("host", a.host)
	volumes, err := s.volumes.Texts(tx, "id", here, record.Ne("task", nil))
	if err := add(volumesKind, volumes, err); err != nil {
		return nil, err
	}
	snapshots, err := s.snapshots.Texts(tx, "id", here, record.Ne("task", nil))
	if err := add(snapshotsKind, snapshots, err); err != nil {
		return nil, err
	}
	attachments, err := s.attachments.Texts(tx, "id", here)
	if err := add(attachmentsKind, attachments, err); err != nil {
		return nil, err
	}
	strange, err := a.strange(ctx, attachments)
	return append(ids, strange...), err
}

// strange names what the driver holds that no record of this pool seems to want. Each is looked at by itself then.
func (a *Agent) strange(ctx context.Context, attachments []string) ([]string, error) {
	s := a.service
	observed, err := a.volumes.List(ctx)
	if err != nil {
		return nil, err
	}
	tx, here := s.store.Read(ctx), record.Eq("host", a.host)
	wanted := map[driver.Kind]map[string]bool{driver.KindVolume: {}, driver.KindSnapshot: {}}
	for _, of := range []struct {
		kind driver.Kind
		list func() ([]string, error)
	}{
		{driver.KindVolume, func() ([]string, error) { return s.volumes.Texts(tx, "id", here) }},
		{driver.KindVolume, func() ([]string, error) { return s.volumes.Texts(tx, "kept", here) }},
		{driver.KindSnapshot, func() ([]string, error) { return s.snapshots.Texts(tx, "id", here) }},
	} {
		texts, err := of.list()
		if err != nil {
			return nil, err
		}
		for _, id := range texts {
			wanted[of.kind][id] = true
		}
	}
	connections := map[string]bool{}
	for _, id := range attachments {
		connections[id] = true
	}
	var ids []string
	for _, o := range observed {
		if !wanted[o.Kind][o.ID] || slices.ContainsFunc(o.Connections, func(id string) bool { return !connections[id] }) {
			ids = append(ids, leftoversKind+"/"+string(o.Kind)+"/"+o.ID)
		}
	}
	return ids, nil
}

// Reconcile makes one thing in the pool match what is wanted of it.
func (a *Agent) Reconcile(ctx context.Context, id string) error {
	kind, id, _ := strings.Cut(id, "/")
	switch kind {
	case volumesKind:
		return a.reconcileVolume(ctx, id)
	case snapshotsKind:
		return a.reconcileSnapshot(ctx, id)
	case attachmentsKind:
		return a.reconcileAttachment(ctx, id)
	}
	return a.reconcileLeftover(ctx, id)
}

// failed counts a failure, and says whether to give up.
func (a *Agent) failed(id string, err error) (giveUp bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures[id]++
	if a.failures[id] < a.options.Attempts && !final(err) {
		return false
	}
	delete(a.failures, id)
	return true
}

func (a *Agent) succeeded(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failures, id)
}
