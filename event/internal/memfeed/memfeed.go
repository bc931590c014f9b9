// Package memfeed has a source of events that is in memory and does what a test says.
package memfeed

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/event"
)

// Feed is a source of one domain's events. The zero Feed is empty; it is safe for concurrent use.
type Feed struct {
	Domain string

	mu      sync.Mutex
	last    int64
	kept    []event.Event
	failure error
	changed chan struct{}
}

// Add appends an event, with the next number, and returns it. What it leaves out is filled in.
func (f *Feed) Add(e event.Event) event.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	e.Seq, e.Domain = f.last, f.Domain
	if e.Action == "" {
		e.Action = event.Updated
	}
	if e.Time.IsZero() {
		e.Time = time.Date(2026, 7, 1, 12, 0, int(f.last), 0, time.UTC)
	}
	f.kept = append(f.kept, e)
	f.wake()
	return e
}

// Compact forgets the events up to and with the one numbered seq.
func (f *Feed) Compact(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = slices.DeleteFunc(f.kept, func(e event.Event) bool { return e.Seq <= seq })
}

// Fail makes every reader fail, until it is called with nil.
func (f *Feed) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
	f.wake()
}

func (f *Feed) wake() {
	if f.changed != nil {
		close(f.changed)
	}
	f.changed = make(chan struct{})
}

// LastEvent is of [event.Source].
func (f *Feed) LastEvent(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.failure
}

// Watch is of [event.Source].
func (f *Feed) Watch(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		for ctx.Err() == nil {
			list, wake, err := f.next(after)
			if err != nil {
				yield(event.Event{}, err)
				return
			}
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			select {
			case <-ctx.Done():
			case <-wake:
			}
		}
	}
}

func (f *Feed) next(after int64) ([]event.Event, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed == nil {
		f.changed = make(chan struct{})
	}
	if f.failure != nil {
		return nil, nil, f.failure
	}
	first := f.last + 1
	if len(f.kept) > 0 {
		first = f.kept[0].Seq
	}
	if after+1 < first || after > f.last {
		return nil, nil, &event.CompactedError{Domain: f.Domain, After: after, Last: f.last}
	}
	return slices.Clone(f.kept[after+1-first:]), f.changed, nil
}
