package converge

import (
	"context"
	"errors"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// followPause is how long Follow waits before it reads a feed again that failed.
const followPause = time.Second

// Follow calls changed for every change of the store until ctx ends. When changes were missed, or the database
// failed, it calls missed, which has to look at everything.
func Follow(ctx context.Context, store *record.Store, changed func(record.Change), missed func()) {
	for ctx.Err() == nil {
		head, err := store.Head(ctx)
		if err == nil {
			missed()
			for change, failure := range store.Watch(ctx, head) {
				if err = failure; err == nil {
					changed(change)
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
