package compute

import (
	"context"
	"errors"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// abandonedAfter is how long a creation may take to make its ports; its process has died if it takes longer.
const abandonedAfter = 5 * time.Minute

// tidyBatch bounds the work of one heartbeat.
const tidyBatch = 100

// endAbandoned ends creations that were cut short on the host.
func (s *Service) endAbandoned(ctx context.Context, host string) error {
	abandoned, err := s.servers.List(s.store.Read(ctx), record.Query{Where: []record.Condition{
		record.Eq("host", host), record.Eq("task", string(Networking)), record.Lt("created", s.now().Add(-abandonedAfter).UnixMicro()),
	}, Limit: tidyBatch})
	if err != nil {
		return err
	}
	for i := range abandoned {
		// Nobody is to wait for volumes that were promised to a server that does not come.
		if err := s.dropVolumes(ctx, &abandoned[i], true); err != nil {
			return err
		}
		if err := s.gaveUp(ctx, &abandoned[i], errors.New("the creation was cut short")); err != nil {
			return err
		}
	}
	return nil
}

// tidy forgets servers that were deleted long ago, and keeps the change feed short.
func (s *Service) tidy(ctx context.Context) error {
	old, err := s.servers.List(s.store.Read(ctx), record.Query{Where: []record.Condition{
		record.Eq("deleted", true), record.Lt("terminated", s.now().Add(-s.options.KeepDeleted).UnixMicro()),
	}, Limit: tidyBatch})
	if err != nil {
		return err
	}
	for i := range old {
		if err := s.store.Update(ctx, func(tx *record.Tx) error {
			if err := s.forgetActions(tx, old[i].ID); err != nil {
				return err
			}
			return s.servers.Delete(tx, old[i].ID)
		}); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return s.store.Compact(ctx)
}
