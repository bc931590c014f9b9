package event

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// Source has one domain's events. The Service of every domain is one.
type Source interface {
	// LastEvent returns the number of the newest change; the events after it have not happened yet.
	LastEvent(ctx context.Context) (int64, error)
	// Watch yields the events numbered higher than after, in order, waits for more, and returns when ctx ends or the
	// caller stops. It ends with [*CompactedError] if some of them are not kept any more, or with the database's error.
	Watch(ctx context.Context, after int64) iter.Seq2[Event, error]
}

// Sources are the sources of a cloud, by the name of their domain.
type Sources map[string]Source

// Last is the position of what has not happened yet.
func (s Sources) Last(ctx context.Context) (Position, error) { return s.Complete(ctx, nil) }

// Watch yields the events of all sources that come after the position, each as soon as it is there, until ctx ends or
// the caller stops. A domain that the position does not have is watched from its newest event on; one that is in the
// position only is not watched. The position itself is left as it is: see [Position.Advance].
//
// The first source that fails ends it all with that source's error, such as [*CompactedError]. Sources are read no
// faster than the caller takes events: two or so per domain are held in memory, besides the page that was read.
func (s Sources) Watch(ctx context.Context, after Position) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		start, err := s.Complete(ctx, after)
		if err != nil {
			if ctx.Err() == nil {
				yield(Event{}, err)
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		items := make(chan item)
		for domain, source := range s {
			running.Go(func() { read(ctx, source, start[domain], items) })
		}
		go func() { running.Wait(); close(items) }()
		for next := range items {
			if ctx.Err() != nil || !yield(next.event, next.err) || next.err != nil {
				return
			}
		}
	}
}

type item struct {
	event Event
	err   error
}

func read(ctx context.Context, source Source, after int64, items chan<- item) {
	for e, err := range source.Watch(ctx, after) {
		select {
		case items <- item{e, err}:
		case <-ctx.Done():
			return
		}
	}
}

// Complete returns the position of these sources: what is given of each, and the newest event of those that are not.
func (s Sources) Complete(ctx context.Context, given Position) (Position, error) {
	p := Position{}
	for domain, source := range s {
		last, known := given[domain]
		if !known {
			var err error
			if last, err = source.LastEvent(ctx); err != nil {
				return nil, fmt.Errorf("last event of %s: %w", domain, err)
			}
		}
		p[domain] = last
	}
	return p, nil
}
