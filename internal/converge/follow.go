package converge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// followPause is how long a follower waits before it reads a feed again that failed.
const followPause = time.Second

// Follower hears of every change of a store, and tells how far it has heard. Create it with [NewFollower].
type Follower struct {
	store *record.Store

	mu       sync.Mutex
	seen     int64
	progress chan struct{} // closed and replaced when seen grows
}

// NewFollower returns a follower that hears nothing until [Follower.Run].
func NewFollower(store *record.Store) *Follower {
	return &Follower{store: store, progress: make(chan struct{})}
}

// Run calls changed for every change of the store until ctx ends. When changes were missed, or the database failed, it
// calls missed, which has to look at everything. Call it once.
func (f *Follower) Run(ctx context.Context, changed func(record.Change), missed func()) {
	for ctx.Err() == nil {
		head, err := f.store.Head(ctx)
		if err == nil {
			missed()
			f.saw(head)
			for change, failure := range f.store.Watch(ctx, head) {
				if err = failure; err == nil {
					changed(change)
					f.saw(change.Seq)
				}
			}
		}
		if err != nil && !errors.Is(err, record.ErrCompacted) {
			select {
			case <-ctx.Done():
			case <-time.After(followPause):
			}
		}
	}
}

func (f *Follower) saw(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = max(f.seen, seq)
	close(f.progress)
	f.progress = make(chan struct{})
}

// CatchUp returns when everything that was written before the call was heard of, or with ctx's error.
func (f *Follower) CatchUp(ctx context.Context) error {
	head, err := f.store.Head(ctx)
	if err != nil {
		return err
	}
	for {
		f.mu.Lock()
		seen, progress := f.seen, f.progress
		f.mu.Unlock()
		if seen >= head {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
