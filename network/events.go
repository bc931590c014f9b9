package network

import (
	"context"
	"iter"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/record"
)

// Watch yields what happens to the resources: the events numbered higher than after, first those that are recorded, then each
// as it happens, in order, until ctx ends or the caller stops. It ends with [*event.CompactedError] if some of them
// are not kept any more, or with the database's error. Types are network, subnet, port, router, floatingip,
// security_group, security_group_rule, subnetpool, rbac_policy, quota and agent.
// Everybody's events are yielded: whoever shows them to a project picks its own by ProjectID.
func (s *Service) Watch(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return s.store.Events(ctx, after)
}

// LastEvent is the number of the newest change, to [Service.Watch] what comes next.
func (s *Service) LastEvent(ctx context.Context) (int64, error) { return s.store.Head(ctx) }

var _ event.Source = (*Service)(nil)

// told is the event of a resource that has no status.
func (m *Meta) told(resource string) record.Event {
	return record.Event{Type: resource, Project: m.ProjectID}
}

// toldIn is the event of a resource with a status.
func (m *Meta) toldIn(resource, status string) record.Event {
	return record.Event{Type: resource, Project: m.ProjectID, Status: status}
}
