package compute

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Action is something that was asked of a server, and what came of it.
type Action struct {
	// RequestID is that of the request which asked.
	RequestID, ServerID string
	// Name is Nova's: "create", "stop", "reboot", …
	Name              string
	ProjectID, UserID string
	// Message is set once the action has failed.
	Message   *string
	StartedAt time.Time
	UpdatedAt time.Time
	Event     Event
	Revision  int64
}

// Event is the part of an action that a host did.
type Event struct {
	Name       string
	Host       string
	StartedAt  time.Time
	FinishedAt *time.Time
	// Result is "Success" or "Error", empty while under way.
	Result  string
	Details *string
}

var actionSpec = record.Spec[Action]{
	Key:      func(a *Action) string { return a.ServerID + "/" + a.RequestID },
	Revision: func(a *Action) *int64 { return &a.Revision },
	Quiet:    true,
	// Only a server's own are looked at.
	Unindexed: []string{"started", "updated", "finished"},
	Columns: []record.Column[Action]{
		{Name: "server", Value: func(a *Action) any { return a.ServerID }},
		{Name: "started", Value: func(a *Action) any { return a.StartedAt.UnixMicro() }},
		{Name: "updated", Value: func(a *Action) any { return a.UpdatedAt.UnixMicro() }},
		{Name: "finished", Value: func(a *Action) any { return a.Event.FinishedAt != nil }},
	},
}

// The names of the actions that make images: see [Service.finish].
const (
	actionCreateImage  = "createImage"
	actionCreateBackup = "createBackup"
)

// begin records that something is asked of a server.
func (s *Service) begin(tx *record.Tx, scope Scope, v *Server, name, event string) error {
	_, err := s.open(tx, scope, v, name, event)
	return err
}

// open is [Service.begin], and returns the action's identifier.
func (s *Service) open(tx *record.Tx, scope Scope, v *Server, name, event string) (requestID string, err error) {
	id := scope.RequestID
	if id == "" {
		id = "req-" + uuid.NewString()
	}
	t := s.now()
	a := &Action{
		RequestID: id, ServerID: v.ID, Name: name, ProjectID: scope.ProjectID, UserID: scope.UserID, StartedAt: t, UpdatedAt: t,
		Event: Event{Name: event, Host: v.Host, StartedAt: t},
	}
	if _, err := s.actions.Get(tx, v.ID+"/"+id); err == nil {
		a.RequestID = "req-" + uuid.NewString()
	}
	return a.RequestID, s.actions.Insert(tx, a)
}

// finish closes the server's open actions; cause is why they failed, nil for success. While an image of the server is being
// made, the action of that stays open: [Service.close] ends it.
func (s *Service) finish(tx *record.Tx, v *Server, cause error) error {
	open, err := s.actions.List(tx, record.Query{Where: []record.Condition{record.Eq("server", v.ID), record.Eq("finished", false)}})
	if err != nil {
		return err
	}
	for i := range open {
		a := &open[i]
		if v.TaskState.imaging() && (a.Name == actionCreateImage || a.Name == actionCreateBackup) {
			continue
		}
		if err := s.close(tx, a, v.Host, cause); err != nil {
			return err
		}
	}
	return nil
}

// close ends an action that a host has done.
func (s *Service) close(tx *record.Tx, a *Action, host string, cause error) error {
	t := s.now()
	a.UpdatedAt, a.Event.FinishedAt, a.Event.Result, a.Event.Host = t, &t, "Success", host
	if cause != nil {
		message, details := "Error", cause.Error()
		a.Message, a.Event.Details, a.Event.Result = &message, &details, "Error"
	}
	return s.actions.Update(tx, a)
}

// ActionFilter narrows a server's list of actions.
type ActionFilter struct {
	Since, Before *time.Time
	// Marker is the request identifier of the last action of the page before.
	Marker string
	Limit  int
}

// Actions lists what was asked of a server, latest first. It knows deleted servers too.
func (s *Service) Actions(ctx context.Context, scope Scope, serverID string, filter ActionFilter) ([]Action, error) {
	if err := s.known(ctx, scope, serverID); err != nil {
		return nil, err
	}
	q := record.Query{
		Where: []record.Condition{record.Eq("server", serverID)},
		Order: []record.Order{{Column: "started", Descending: true}}, Limit: filter.Limit,
	}
	if filter.Since != nil {
		q.Where = append(q.Where, record.Ge("updated", filter.Since.UnixMicro()))
	}
	if filter.Before != nil {
		q.Where = append(q.Where, record.Lt("updated", filter.Before.UnixMicro()+1))
	}
	if filter.Marker != "" {
		q.After = serverID + "/" + filter.Marker
	}
	list, err := s.actions.List(s.store.Read(ctx), q)
	if errors.Is(err, ErrInvalid) {
		return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", filter.Marker)
	}
	return list, err
}

// Action returns one action by the request that asked for it.
func (s *Service) Action(ctx context.Context, scope Scope, serverID, requestID string) (*Action, error) {
	if err := s.known(ctx, scope, serverID); err != nil {
		return nil, err
	}
	a, err := s.actions.Get(s.store.Read(ctx), serverID+"/"+requestID)
	if err != nil {
		return nil, notFound(err, "Action %s not found", requestID)
	}
	return a, nil
}

func (s *Service) known(ctx context.Context, scope Scope, serverID string) error {
	v, err := s.servers.Get(s.store.Read(ctx), serverID)
	if err == nil && !scope.sees(v.ProjectID) {
		err = ErrNotFound
	}
	return notFound(err, "Instance %s could not be found.", serverID)
}
