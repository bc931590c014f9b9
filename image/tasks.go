package image

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// TaskStatus is how far a task is.
type TaskStatus string

// The states.
const (
	TaskPending    TaskStatus = "pending"
	TaskProcessing TaskStatus = "processing"
	TaskSuccess    TaskStatus = "success"
	TaskFailure    TaskStatus = "failure"
)

// taskLife is how long a task is remembered after its end, as in Glance.
const taskLife = 48 * time.Hour

// Task is an import that was asked for: see [Service.Import].
type Task struct {
	ID, ImageID, ProjectID string
	Import                 ImportSpec
	Status                 TaskStatus
	// Message says what went wrong, if something did.
	Message string
	// Host is the service that does it: see [Options].
	Host                 string
	CreatedAt, UpdatedAt time.Time
	// ExpiresAt is when an ended task may be forgotten; zero before.
	ExpiresAt time.Time
	Revision  int64
}

var taskTable = record.Spec[Task]{
	Key:      func(t *Task) string { return t.ID },
	Revision: func(t *Task) *int64 { return &t.Revision },
	Columns: []record.Column[Task]{
		{Name: "image", Value: func(t *Task) any { return t.ImageID }},
		{Name: "status", Value: func(t *Task) any { return string(t.Status) }},
		{Name: "created_at", Value: func(t *Task) any { return stamp(t.CreatedAt) }},
		{Name: "expires_at", Value: func(t *Task) any {
			if t.ExpiresAt.IsZero() {
				return nil
			}
			return stamp(t.ExpiresAt)
		}},
	},
	Quiet: true,
}

// Tasks lists all tasks, the newest first, for administrators; those after the one that marker names, limit of them at
// most (zero: all).
func (s *Service) Tasks(ctx context.Context, scope Scope, marker string, limit int) ([]Task, error) {
	if !scope.Admin {
		return nil, fault.Wrap(ErrForbidden, "You are not authorized to complete tasks_api_access action.")
	}
	return s.tasks.List(s.records.Read(ctx), record.Query{
		Order: []record.Order{{Column: "created_at", Descending: true}}, After: marker, Limit: limit,
	})
}

// Task returns a task, for administrators.
func (s *Service) Task(ctx context.Context, scope Scope, id string) (*Task, error) {
	if !scope.Admin {
		return nil, fault.Wrap(ErrForbidden, "You are not authorized to complete tasks_api_access action.")
	}
	t, err := s.tasks.Get(s.records.Read(ctx), id)
	if errors.Is(err, ErrNotFound) {
		return nil, fault.Wrap(ErrNotFound, "task %.80s not found", id)
	}
	return t, err
}

// ImageTasks lists the tasks of an image, the newest first.
func (s *Service) ImageTasks(ctx context.Context, scope Scope, id string) ([]Task, error) {
	tx := s.records.Read(ctx)
	if _, err := s.changeable(tx, scope, id); err != nil {
		return nil, err
	}
	return s.tasks.List(tx, record.Query{
		Where: []record.Condition{record.Eq("image", id)}, Order: []record.Order{{Column: "created_at", Descending: true}},
	})
}

// forget removes the tasks whose time has come.
func (s *Service) forget(tx *record.Tx) error {
	old, err := s.tasks.List(tx, record.Query{Where: []record.Condition{record.Lt("expires_at", stamp(s.now()))}, Limit: maxDefinitions})
	if err != nil {
		return err
	}
	for i := range old {
		if err := s.tasks.Delete(tx, old[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// end ends a task; a message makes it a failure.
func (s *Service) end(tx *record.Tx, id, message string) error {
	_, err := s.tasks.Modify(tx, id, func(t *Task) error {
		t.Status, t.Message, t.UpdatedAt = TaskSuccess, message, s.now()
		if message != "" {
			t.Status = TaskFailure
		}
		t.ExpiresAt = t.UpdatedAt.Add(taskLife)
		return nil
	})
	return err
}

// begun says whether this host was in the midst of a task.
func (s *Service) begun(tx *record.Tx, id string) bool {
	t, err := s.tasks.Get(tx, id)
	return err != nil || t.Status == TaskProcessing
}

// endTasks ends the tasks that this host was in the midst of when it was killed.
func (s *Service) endTasks(tx *record.Tx) error {
	cut, err := s.tasks.List(tx, record.Query{Where: []record.Condition{record.Eq("status", string(TaskProcessing))}})
	if err != nil {
		return err
	}
	for i := range cut {
		if cut[i].Host != s.options.Host {
			continue
		}
		if err := s.end(tx, cut[i].ID, "the service was restarted in the midst of it"); err != nil {
			return err
		}
	}
	return nil
}

// parallel is how many tasks one service works at.
const parallel = 4

// Run does the tasks of this host ([Options.Host]), those first that are left from before, and fills caches, until ctx
// ends. It runs once.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { s.fillCache(ctx) })
	done := make(chan string, parallel)
	working := map[string]bool{}
	for {
		pending, err := s.pending(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, t := range pending {
			if len(working) < parallel && !working[t.ID] {
				working[t.ID] = true
				running.Go(func() { s.work(ctx, &t); done <- t.ID })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case id := <-done:
			delete(working, id)
		}
	}
}

// pending are the tasks that wait for this host, the oldest first.
func (s *Service) pending(ctx context.Context) ([]Task, error) {
	all, err := s.tasks.List(s.records.Read(ctx), record.Query{
		Where: []record.Condition{record.Eq("status", string(TaskPending))}, Order: []record.Order{{Column: "created_at"}},
	})
	return slices.DeleteFunc(all, func(t Task) bool { return t.Host != s.options.Host }), err
}

// poke wakes whoever waits for the channel, now or next.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
