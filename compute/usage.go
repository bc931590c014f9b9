package compute

import (
	"context"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// ServerUsage is what a server used within a period.
type ServerUsage struct {
	Server Server
	// Hours is how long it existed within the period, until now at most.
	Hours float64
	// EndedAt is nil while it exists.
	EndedAt *time.Time
}

// ServerUsages returns what the project's servers used from start to stop, deleted ones too; an empty project is
// every project.
func (s *Service) ServerUsages(ctx context.Context, projectID string, start, stop time.Time) ([]ServerUsage, error) {
	q := record.Query{
		Where: []record.Condition{
			record.Lt("created", stop.UnixMicro()), record.Ne("launched", nil),
			record.Any(record.Eq("terminated", nil), record.Ge("terminated", start.UnixMicro())),
		},
		Order: []record.Order{{Column: "project"}, {Column: "created"}},
	}
	if projectID != "" {
		q.Where = append(q.Where, record.Eq("project", projectID))
	}
	list, err := s.servers.List(s.store.Read(ctx), q)
	if err != nil {
		return nil, err
	}
	usages := make([]ServerUsage, 0, len(list))
	for i := range list {
		v := list[i]
		from, to := *v.LaunchedAt, stop
		if from.Before(start) {
			from = start
		}
		if t := s.now(); t.Before(to) { // reports are asked for until the end of today
			to = t
		}
		if v.TerminatedAt != nil && v.TerminatedAt.Before(to) {
			to = *v.TerminatedAt
		}
		usages = append(usages, ServerUsage{Server: v, Hours: max(0, to.Sub(from).Hours()), EndedAt: v.TerminatedAt})
	}
	return usages, nil
}
