package identity

import (
	"context"
	"iter"
	"strings"

	"github.com/kintoun/kintoun/event"
	"github.com/kintoun/kintoun/internal/record"
)

// Watch yields what happens to users, projects and what they may do: the events numbered higher than after, first
// those that are recorded, then each as it happens, in order, until ctx ends or the caller stops. It ends with
// [*event.CompactedError] if some of them are not kept any more, or with the database's error. Types are project, domain, user, group, group_member, role,
// role_implication, role_assignment, service, endpoint, region, credential, trust, application_credential, access_rule,
// policy, limit and the like. Only a project's own events have a ProjectID.
// Everybody's events are yielded: whoever shows them to a project picks its own by ProjectID.
func (s *Service) Watch(ctx context.Context, after int64) iter.Seq2[event.Event, error] {
	return s.store.Events(ctx, after)
}

// LastEvent is the number of the newest change, to [Service.Watch] what comes next.
func (s *Service) LastEvent(ctx context.Context) (int64, error) { return s.store.Head(ctx) }

var _ event.Source = (*Service)(nil)

func (p *Project) told() record.Event {
	if p.IsDomain {
		return record.Event{Type: "domain"}
	}
	return record.Event{Type: "project", Project: p.ID}
}

func (d *Document) told() record.Event {
	return record.Event{Type: strings.ReplaceAll(d.Kind, " ", "_"), ID: d.ID}
}

// told is the event of what belongs to no project, or to one user within it.
func told[T any](resource string) func(*T) record.Event {
	return func(*T) record.Event { return record.Event{Type: resource} }
}
