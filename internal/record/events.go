package record

import (
	"context"
	"errors"
	"iter"

	"github.com/kintoun/kintoun/event"
)

// Events yields what the world is told of the changes after the one numbered after, in order, and waits for more, as
// [event.Source] has it. Numbers that were never given out, from another database say, count as compacted.
func (s *Store) Events(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return func(yield func(event.Event, error) bool) {
		err := s.reached(ctx, after)
		if err == nil {
			for c, failure := range s.Watch(ctx, max(after, 0)) {
				if err = failure; err != nil {
					break
				}
				if c.Event.Type != "" && !yield(s.event(c), nil) {
					return
				}
				after = c.Seq
			}
		}
		if errors.Is(err, ErrCompacted) {
			err = s.compacted(ctx, after)
		}
		if err != nil && ctx.Err() == nil {
			yield(event.Event{}, err)
		}
	}
}

func (s *Store) event(c Change) event.Event {
	id := c.ID
	if c.Event.ID != "" {
		id = c.Event.ID
	}
	return event.Event{
		Seq: c.Seq, Domain: s.domain, Type: c.Event.Type, ID: id, Action: event.Action(c.Op),
		ProjectID: c.Event.Project, Status: c.Event.Status, Time: c.Time,
	}
}

func (s *Store) reached(ctx context.Context, after int64) error {
	head, err := s.Head(ctx)
	if err == nil && after > head {
		return ErrCompacted
	}
	return err
}

func (s *Store) compacted(ctx context.Context, after int64) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	return &event.CompactedError{Domain: s.domain, After: after, Last: head}
}
