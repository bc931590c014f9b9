package lbaas

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// AgentOptions are what may differ between agents.
type AgentOptions struct {
	// PollEvery is how often balancers are asked for the health of members; by default every second.
	PollEvery time.Duration
	// StatsEvery is how often counters are written down; by default every 10 seconds.
	StatsEvery time.Duration
	// HeartbeatEvery is how often the agent gives a sign of life; by default every 30 seconds.
	HeartbeatEvery time.Duration
	// Resync is how often everything is looked at again, changed or not; by default every minute.
	Resync time.Duration
	// Log hears what goes wrong; nil discards it.
	Log *slog.Logger
}

func (o *AgentOptions) withDefaults() AgentOptions {
	var out AgentOptions
	if o != nil {
		out = *o
	}
	orDefault := func(d *time.Duration, other time.Duration) {
		if *d <= 0 {
			*d = other
		}
	}
	orDefault(&out.PollEvery, time.Second)
	orDefault(&out.StatsEvery, 10*time.Second)
	orDefault(&out.HeartbeatEvery, 30*time.Second)
	orDefault(&out.Resync, time.Minute)
	if out.Log == nil {
		out.Log = slog.New(slog.DiscardHandler)
	}
	return out
}

// Agent makes one host's balancers match what the service wants of it. Create it with [NewAgent].
type Agent struct {
	service   *Service
	host, id  string
	balancers driver.Balancers
	options   AgentOptions
	loop      *converge.Loop
	follower  *converge.Follower
	started   time.Time

	mu sync.Mutex
	// running are the balancers on this host, with the health of members as it was last reported.
	running map[string]*sighting
	// more has a token when there may be more of them.
	more chan struct{}
	// plugged says which balancer has a port.
	plugged map[string]string
}

// sighting is what was last seen of a balancer.
type sighting struct {
	portID  string
	members map[string]bool
	stats   driver.Stats
}

// NewAgent returns the agent of a host; it does nothing until [Agent.Run]. A host has one agent at a time.
func NewAgent(service *Service, host string, balancers driver.Balancers, options *AgentOptions) *Agent {
	a := &Agent{
		service: service, host: host, id: agentID(host), balancers: balancers, options: options.withDefaults(),
		running: map[string]*sighting{}, more: make(chan struct{}, 1), plugged: map[string]string{}, started: service.now(),
	}
	a.loop = converge.New(a, &converge.Options{Resync: a.options.Resync, OnError: a.failed})
	a.follower = service.hub.Follower(a.id, a.loop.Settle)
	return a
}

// Run works until ctx ends. The balancers go on without it.
func (a *Agent) Run(ctx context.Context) {
	a.beat(ctx, true)
	leave, err := a.follower.Follow(ctx, a.changed, a.missed)
	if err != nil {
		return // ctx ended
	}
	defer leave()
	var wg sync.WaitGroup
	wg.Go(func() { a.loop.Run(ctx) })
	wg.Go(func() { a.watch(ctx) })
	wg.Go(func() {
		converge.Every(ctx, a.options.HeartbeatEvery, func(ctx context.Context) { a.beat(ctx, false) })
	})
	wg.Wait()
}

// Started waits until the agent hears of everything that is wanted of its host, or fails with ctx's error.
func (a *Agent) Started(ctx context.Context) error { return a.follower.Following(ctx) }

// Settle returns when the host's balancers are as they were wanted when it was called, or with ctx's error.
func (a *Agent) Settle(ctx context.Context) error {
	if err := a.follower.CatchUp(ctx); err != nil {
		return err
	}
	return a.loop.Settle(ctx)
}

// Settle returns when the balancers of every host whose agent runs in this process are as they were wanted when it was
// called, or with ctx's error.
func (s *Service) Settle(ctx context.Context) error { return s.hub.Settle(ctx) }

// Beat says that the host lives, as of the given time. [Agent.Run] does it all the time; a program whose clock is about
// to jump ([Options].Now) says with the time to which it jumps that its hosts live then too.
func (a *Agent) Beat(ctx context.Context, at time.Time) error {
	_, err := a.service.heartbeat(ctx, a.host, a.started, at)
	return err
}

// beat gives a sign of life; now and then an agent, and one that comes, looks for pools without a host.
func (a *Agent) beat(ctx context.Context, starts bool) {
	back, err := a.service.heartbeat(ctx, a.host, a.started, a.service.now())
	if err == nil && (starts || back || a.service.moving.Mine(a.service.now(), a.options.HeartbeatEvery/2)) {
		err = a.service.Reschedule(ctx)
	}
	if err != nil && ctx.Err() == nil {
		a.options.Log.Error("load balancer agent cannot give a sign of life", "host", a.host, "error", err)
	}
}

// missed looks at everything, because changes were missed.
func (a *Agent) missed() {
	ids, err := a.List(context.Background())
	if err != nil {
		a.options.Log.Error("list balancers", "host", a.host, "error", err)
	}
	a.loop.Enqueue(ids...)
}

// changed asks for the pool that a change is about to be looked at.
func (a *Agent) changed(c record.Change) {
	if id, err := a.service.poolOf(a.service.store.Read(context.Background()), c); err == nil && id != "" {
		a.loop.Enqueue(id)
	}
}

// poolOf finds the pool that a change is about; empty where it is about none. When a member or a virtual address is
// deleted, its pool is changed too.
func (s *Service) poolOf(tx *record.Tx, c record.Change) (string, error) {
	switch c.Kind {
	case s.pools.Kind():
		return c.ID, nil
	case s.associations.Kind():
		pool, _, _ := strings.Cut(c.ID, " ")
		return pool, nil
	case s.members.Kind():
		m, err := s.members.Get(tx, c.ID)
		if err != nil {
			return "", err
		}
		return m.PoolID, nil
	case s.vips.Kind():
		v, err := s.vips.Get(tx, c.ID)
		if err != nil {
			return "", err
		}
		return v.PoolID, nil
	}
	return "", nil
}

// concerned finds the agent that has the pool that a change is about.
func (s *Service) concerned(ctx context.Context, c record.Change) (agents []string, everywhere bool) {
	if c.Kind == s.pools.Kind() {
		return nil, true // written before changes said whose they are
	}
	tx := s.store.Read(ctx)
	id, err := s.poolOf(tx, c)
	if err == nil && id != "" {
		agents, err = s.pools.Texts(tx, "agent_id", record.Eq("id", id))
	}
	return agents, err != nil && !errors.Is(err, ErrNotFound)
}

// List names the pools that this host should have, and those that it has.
func (a *Agent) List(ctx context.Context) ([]string, error) {
	pools, err := a.service.pools.List(a.service.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("agent_id", a.id)}})
	if err != nil {
		return nil, err
	}
	ids, err := a.balancers.List(ctx)
	for _, p := range pools {
		ids = append(ids, p.ID)
	}
	return ids, err
}

// Reconcile makes one balancer match what is wanted of it.
func (a *Agent) Reconcile(ctx context.Context, id string) error {
	w, err := a.service.wish(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil || w.pool.AgentID != a.id || w.vip == nil || !w.pool.AdminStateUp {
		return a.remove(ctx, id, w)
	}
	if err := a.claimPort(w.vip.PortID, id); err != nil {
		return err
	}
	port, err := a.service.ports.BindVIPPort(ctx, w.vip.PortID, a.host)
	if err != nil {
		return err
	}
	if err := a.balancers.Apply(ctx, w.balancer(port)); err != nil {
		return err
	}
	status, err := a.balancers.Status(ctx, id)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.running[id] = &sighting{portID: w.vip.PortID, members: status.Members, stats: status.Stats}
	a.mu.Unlock()
	select {
	case a.more <- struct{}{}:
	default:
	}
	return a.service.applied(ctx, w, status.Members)
}

// remove takes a balancer away that should not be here.
func (a *Agent) remove(ctx context.Context, id string, w *wish) error {
	if err := a.balancers.Remove(ctx, id); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.running, id)
	maps.DeleteFunc(a.plugged, func(_, pool string) bool { return pool == id })
	a.mu.Unlock()
	if w == nil || w.pool.AgentID != a.id {
		return nil
	}
	return a.service.removed(ctx, w)
}

// claimPort keeps a port with one balancer at a time, while a virtual address moves between pools.
func (a *Agent) claimPort(portID, id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.plugged[portID]; other != "" && other != id {
		a.loop.Enqueue(other)
		return named(ErrUnavailable, "PortInUse", "port %s is still with the balancer of pool %s", portID, other)
	}
	a.plugged[portID] = id
	return nil
}

// failuresToReport spares users what mends itself in the next moment, such as a port that is just being made.
const failuresToReport = 3

// failed hears of every failure of the loop.
func (a *Agent) failed(id string, err error, failures int) {
	a.options.Log.Warn("balancer does not match what is wanted", "host", a.host, "pool", id, "failures", failures, "error", err)
	if id == "" || failures < failuresToReport {
		return
	}
	if err := a.service.failed(context.Background(), id, a.id, err); err != nil {
		a.options.Log.Error("report failure", "pool", id, "error", err)
	}
}

// pollers bounds how many balancers are asked at once, so that one that hangs does not keep the others waiting.
const pollers = 8

// watch polls and counts while there are balancers: a host without any costs nothing.
func (a *Agent) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.more:
		}
		a.watchUntilNone(ctx)
	}
}

func (a *Agent) watchUntilNone(ctx context.Context) {
	poll, stats := time.NewTicker(a.options.PollEvery), time.NewTicker(a.options.StatsEvery)
	defer poll.Stop()
	defer stats.Stop()
	for a.any() {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			a.poll(ctx)
		case <-stats.C:
			a.writeStats(ctx)
		}
	}
}

func (a *Agent) any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.running) > 0
}

// poll asks every balancer for the health of its members.
func (a *Agent) poll(ctx context.Context) {
	a.mu.Lock()
	seen := maps.Clone(a.running)
	a.mu.Unlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, pollers)
	for id, before := range seen {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a.look(ctx, id, before)
		})
	}
	wg.Wait()
}

func (a *Agent) look(ctx context.Context, id string, before *sighting) {
	status, err := a.balancers.Status(ctx, id)
	if ctx.Err() != nil {
		return
	}
	if err != nil || status.PID == 0 {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.options.Log.Warn("balancer does not answer", "host", a.host, "pool", id, "error", err)
		}
		a.loop.Enqueue(id)
		return
	}
	if !maps.Equal(before.members, status.Members) {
		if err := a.service.sighted(ctx, id, status.Members); err != nil {
			a.options.Log.Warn("report members", "pool", id, "error", err)
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Reconcile may have seen it later than we did.
	if a.running[id] == before {
		a.running[id] = &sighting{portID: before.portID, members: status.Members, stats: status.Stats}
	}
}

func (a *Agent) writeStats(ctx context.Context) {
	a.mu.Lock()
	seen := maps.Clone(a.running)
	a.mu.Unlock()
	for id, s := range seen {
		if err := a.service.counted(ctx, id, s.stats); err != nil && ctx.Err() == nil {
			a.options.Log.Warn("write counters", "pool", id, "error", err)
		}
	}
}
