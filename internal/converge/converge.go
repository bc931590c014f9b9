// Package converge makes things match what is wanted, over and over: the engine that all agents share.
//
// A [Loop] works through identifiers. For each it calls the target's Reconcile, which looks at what is wanted now
// and makes it so (or takes it away when nothing is wanted any more). Work for one identifier never overlaps;
// different identifiers run side by side. A failure is tried again, later each time; a new wish is tried at once.
// At the start, and every so often after, the target's List names everything that is wanted or exists, so that
// what runs already is adopted and leftovers are found. What agents do every so often they do by [Every].
package converge

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Target is what a loop converges.
type Target interface {
	// List names everything that is wanted or that exists.
	List(ctx context.Context) ([]string, error)
	// Reconcile makes the one thing match what is wanted of it now. It is called again if it fails.
	Reconcile(ctx context.Context, id string) error
}

// Options are optional.
type Options struct {
	// Workers is how many identifiers are worked on at once; 8 by default.
	Workers int
	// MinBackoff and MaxBackoff bound the pause after failures; 100 ms and 30 s by default.
	MinBackoff, MaxBackoff time.Duration
	// Resync is how often everything is looked at again, as by [Every]; zero is only at the start.
	Resync time.Duration
	// OnError hears of each failure, with the number of failures in a row.
	OnError func(id string, err error, failures int)
}

// Loop is a queue of identifiers and the workers on it. Create it with [New].
type Loop struct {
	target  Target
	options Options

	mu      sync.Mutex
	items   map[string]*item
	ready   []string
	ctx     context.Context //nolint:containedctx // Run's while it runs, for the workers that are started as work comes
	working sync.WaitGroup
	workers int
	settled chan struct{} // closed and replaced whenever the loop becomes idle; nil while nobody waits for it
	listed  bool          // everything was listed once
}

type state int

const (
	idle state = iota
	queued
	working
	dirty // working, and asked for again meanwhile
	waiting
)

type item struct {
	state    state
	failures int
	timer    *time.Timer
}

// New returns a loop that does nothing until [Loop.Run].
func New(target Target, options *Options) *Loop {
	l := &Loop{target: target, items: map[string]*item{}}
	if options != nil {
		l.options = *options
	}
	if l.options.Workers <= 0 {
		l.options.Workers = 8
	}
	if l.options.MinBackoff <= 0 {
		l.options.MinBackoff = 100 * time.Millisecond
	}
	if l.options.MaxBackoff <= 0 {
		l.options.MaxBackoff = 30 * time.Second
	}
	if l.options.OnError == nil {
		l.options.OnError = func(string, error, int) {}
	}
	return l
}

// Enqueue asks for identifiers to be looked at. It never blocks; asking twice before the work begins is asking once.
func (l *Loop) Enqueue(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.enqueue(id)
	}
}

func (l *Loop) enqueue(id string) {
	it := l.items[id]
	if it == nil {
		it = &item{}
		l.items[id] = it
	}
	switch it.state {
	case queued, dirty:
		return
	case working:
		it.state = dirty
		return
	case waiting:
		it.timer.Stop()
	}
	l.push(id, it)
}

func (l *Loop) push(id string, it *item) {
	it.state = queued
	l.ready = append(l.ready, id)
	l.hire()
}

// hire starts a worker where there is work for one more. A worker leaves when it finds none: an idle loop costs no
// goroutine. The caller holds the lock.
func (l *Loop) hire() {
	if l.ctx == nil || l.ctx.Err() != nil || l.workers >= l.options.Workers {
		return
	}
	l.workers++
	ctx := l.ctx
	l.working.Go(func() { l.work(ctx) })
}

// Run resyncs, and works until ctx ends; then it waits for what is under way and returns. Call it once.
func (l *Loop) Run(ctx context.Context) {
	l.open(ctx)
	l.list(ctx)
	if l.options.Resync > 0 {
		Every(ctx, l.options.Resync, l.list)
	}
	<-ctx.Done()
	l.close()
}

// open lets workers come.
func (l *Loop) open(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
	for range l.ready {
		l.hire()
	}
}

// close lets no more workers come and waits until all have left.
func (l *Loop) close() {
	l.mu.Lock()
	l.ctx = nil
	l.mu.Unlock()
	l.working.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		if it.timer != nil {
			it.timer.Stop()
		}
	}
}

// list enqueues everything. It tries until it can, or ctx ends.
func (l *Loop) list(ctx context.Context) {
	for failures := 1; ; failures++ {
		ids, err := l.target.List(ctx)
		if err == nil {
			l.Enqueue(ids...)
			l.markListed()
			return
		}
		if ctx.Err() != nil {
			return
		}
		l.options.OnError("", err, failures)
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.backoff(failures)):
		}
	}
}

func (l *Loop) markListed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = true
	l.maybeSettled()
}

func (l *Loop) work(ctx context.Context) {
	for {
		id, ok := l.take(ctx)
		if !ok {
			return
		}
		l.done(id, l.target.Reconcile(ctx, id), ctx.Err() != nil)
	}
}

// take returns what is to be worked on next; where there is nothing, the worker has left.
func (l *Loop) take(ctx context.Context) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 || ctx.Err() != nil {
		l.workers--
		return "", false
	}
	id := l.ready[0]
	l.ready = l.ready[1:]
	if len(l.ready) == 0 {
		l.ready = nil // what was behind is let go
	}
	l.items[id].state = working
	return id, true
}

func (l *Loop) done(id string, err error, stopping bool) {
	if err != nil && !stopping {
		l.mu.Lock()
		failures := l.items[id].failures + 1
		l.mu.Unlock()
		l.options.OnError(id, err, failures)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.items[id]
	again := it.state == dirty
	it.state = idle
	switch {
	case again:
		it.failures = 0
		l.enqueue(id)
	case err != nil && !stopping:
		it.failures++
		it.state = waiting
		it.timer = time.AfterFunc(l.backoff(it.failures), func() { l.retry(id, it) })
	default:
		delete(l.items, id)
	}
	l.maybeSettled()
}

func (l *Loop) retry(id string, it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// It may have been asked for, and even forgotten, since the timer fired.
	if l.items[id] == it && it.state == waiting {
		l.push(id, it)
	}
}

// backoff doubles with each failure and varies by a quarter, so that things that failed together part ways.
func (l *Loop) backoff(failures int) time.Duration {
	d := l.options.MinBackoff
	for range failures - 1 {
		if d *= 2; d >= l.options.MaxBackoff {
			d = l.options.MaxBackoff
			break
		}
	}
	return d - time.Duration(rand.Int64N(int64(d)/4+1))
}

func (l *Loop) maybeSettled() {
	if l.listed && len(l.items) == 0 && l.settled != nil {
		close(l.settled)
		l.settled = nil
	}
}

// Settle returns when nothing is queued, under way or waiting to be tried again, or with ctx's error.
func (l *Loop) Settle(ctx context.Context) error {
	l.mu.Lock()
	if l.listed && len(l.items) == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.settled == nil {
		l.settled = make(chan struct{})
	}
	done := l.settled
	l.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
