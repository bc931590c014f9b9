package volume

import (
	"context"
	"iter"

	"github.com/kintoun/kintoun/event"
)

// Watch yields what happens to the resources: the events numbered higher than after, first those that are recorded, then
// each as it happens, in order, until ctx ends or the caller stops. It ends with [*event.CompactedError] if some of them
// are not kept any more, or with the database's error. Types are volume, snapshot, volume_attachment, volume_type, message,
// service, quota_set, and those of backups, groups and transfers.
// Everybody's events are yielded: whoever shows them to a project picks its own by ProjectID.
func (s *Service) Watch(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return s.store.Events(ctx, after)
}

// LastEvent is the number of the newest change, to [Service.Watch] what comes next.
func (s *Service) LastEvent(ctx context.Context) (int64, error) { return s.store.Head(ctx) }

var _ event.Source = (*Service)(nil)
