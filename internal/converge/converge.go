// Package converge makes things match what is wanted, over and over: the engine that all agents share.
//
// A [Loop] works through identifiers. For each it calls the target's Reconcile, which looks at what is wanted now
// and makes it so (or takes it away when nothing is wanted any more). Work for one identifier never overlaps;
// different identifiers run side by side. A failure is tried again, later each time; a new wish is tried at once.
// At the start, and every so often after, the target's List names everything that is wanted or exists, so that
// what runs already is adopted and leftovers are found.
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
	// Resync is how often everything is looked at again; zero is only at the start.
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
	wake    chan struct{} // holds one token while ready may be non-empty
	settled chan struct{} // closed and replaced whenever the loop becomes idle
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
	l := &Loop{target: target, items: map[string]*item{}, wake: make(chan struct{}, 1), settled: make(chan struct{})}
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
	it.state = queued
	l.ready = append(l.ready, id)
	l.poke()
}

func (l *Loop) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run resyncs, and works until ctx ends; then it waits for what is under way and returns. Call it once.
func (l *Loop) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range l.options.Workers {
		wg.Go(func() { l.work(ctx) })
	}
	l.resync(ctx)
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.items {
		if it.timer != nil {
			it.timer.Stop()
		}
	}
}

// resync enqueues everything, at once and then every Options.Resync, until ctx ends.
func (l *Loop) resync(ctx context.Context) {
	pause := l.options.MinBackoff
	for {
		next := l.options.Resync
		if ids, err := l.target.List(ctx); err == nil {
			pause = l.options.MinBackoff
			l.Enqueue(ids...)
			l.markListed()
		} else if ctx.Err() == nil {
			l.options.OnError("", err, 1)
			next = pause
			pause = min(2*pause, l.options.MaxBackoff)
		}
		if next <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
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
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for ctx.Err() == nil {
			id, ok := l.take()
			if !ok {
				break
			}
			l.done(id, l.target.Reconcile(ctx, id), ctx.Err() != nil)
		}
	}
}

func (l *Loop) take() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ready) == 0 {
		return "", false
	}
	id := l.ready[0]
	l.ready = l.ready[1:]
	l.items[id].state = working
	if len(l.ready) > 0 {
		l.poke() // let another worker help
	}
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
		it.state = queued
		l.ready = append(l.ready, id)
		l.poke()
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
	if l.listed && len(l.items) == 0 {
		close(l.settled)
		l.settled = make(chan struct{})
	}
}

// Settle returns when nothing is queued, under way or waiting to be tried again, or with ctx's error.
func (l *Loop) Settle(ctx context.Context) error {
	l.mu.Lock()
	done := l.settled
	busy := !l.listed || len(l.items) > 0
	l.mu.Unlock()
	if !busy {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
