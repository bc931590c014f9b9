package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/converge"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// jobAction is what a job does.
type jobAction string

// The actions.
const (
	jobBackUp              jobAction = "backup"
	jobRestore             jobAction = "restore"
	jobDeleteBackup        jobAction = "delete_backup"
	jobImportBackup        jobAction = "import_backup"
	jobCreateGroup         jobAction = "create_group"
	jobDeleteGroup         jobAction = "delete_group"
	jobCreateGroupSnapshot jobAction = "create_group_snapshot"
	jobDeleteGroupSnapshot jobAction = "delete_group_snapshot"
	jobUpload              jobAction = "upload"
	jobMigrate             jobAction = "migrate"
	jobManage              jobAction = "manage"
	jobUnmanage            jobAction = "unmanage"
	jobManageSnapshot      jobAction = "manage_snapshot"
	jobUnmanageSnapshot    jobAction = "unmanage_snapshot"
)

// job is work for the agent of a pool that takes long, or that concerns several volumes. It goes on after a kill where
// its progress says, and its record is deleted in the transaction that records its end.
type job struct {
	// ID is that of what the job is about (a backup, a volume, a group …), which thus has one job at a time. An agent
	// never works on one job twice at once: an action that replaces another begins when that has stopped.
	ID     string
	Action jobAction
	// Host is the pool whose agent does it.
	Host string
	// VolumeID and SnapshotID are what is read or written.
	VolumeID   string `json:",omitempty"`
	SnapshotID string `json:",omitempty"`
	// Name is a reference in the pool, for those that adopt; ImageID the image of an upload.
	Name    string `json:",omitempty"`
	ImageID string `json:",omitempty"`
	// Target is the pool to which a volume moves, NewID what it is called there, and TypeID its new type.
	Target string `json:",omitempty"`
	NewID  string `json:",omitempty"`
	TypeID string `json:",omitempty"`
	// Step is what of a migration is to be done next, by the agent of Host; Reached is how the host that the volume leaves
	// reaches its copy, where their agents are in two processes.
	Step    migrationStep  `json:",omitempty"`
	Reached *driver.Target `json:",omitempty"`
	// IsNew says that the volume was made for the job; Before is the status to return to.
	IsNew  bool   `json:",omitempty"`
	Before Status `json:",omitempty"`
	// Live says that the volume is connected: a snapshot is read in its place.
	Live bool `json:",omitempty"`
	// Next is where to go on: a piece of a backup, or an offset.
	Next int64 `json:",omitempty"`
	// Ready says that the copy is whole, and only what it replaces is to be cleared away.
	Ready bool `json:",omitempty"`
	// KeyID is the key of the copy where that is encrypted; OldName what the volume was called before it moved.
	KeyID, OldName string `json:",omitempty"`
	// StartedAt is when the job was wanted, for those that wait.
	StartedAt time.Time
	// ProjectID and RequestID are whose it is, for messages.
	ProjectID, RequestID string
	Revision             int64
}

const jobsKind = "jobs"

var jobSpec = record.Spec[job]{
	Key:      func(j *job) string { return j.ID },
	Revision: func(j *job) *int64 { return &j.Revision },
	Host:     "host",
	Columns: []record.Column[job]{
		{Name: "host", Value: func(j *job) any { return j.Host }},
		{Name: "volume", Value: func(j *job) any { return optional(j.VolumeID) }},
		{Name: "action", Value: func(j *job) any { return string(j.Action) }},
		{Name: "old", Value: func(j *job) any { return optional(j.OldName) }},
		{Name: "new", Value: func(j *job) any { return optional(j.NewID) }},
	},
}

// Details of messages, as Cinder has them.
const (
	detailBackupFailed  messageDetail = "020:Backup driver failed to create backup."
	detailBackupStays   messageDetail = "025:Backup driver failed to delete backup."
	detailRestoreFailed messageDetail = "026:Backup driver failed to restore backup."
)

// errReplaced ends a job whose record has gone, or says something else now.
var errReplaced = errors.New("the job is not wanted any more")

// errNotYet is a job that waits for something else. It is looked at again.
var errNotYet = errors.New("not yet")

// startJob records a job, in place of one that is about the same.
func (s *Service) startJob(tx *record.Tx, j job) error {
	old, err := s.jobs.Get(tx, j.ID)
	if errors.Is(err, ErrNotFound) {
		return s.jobs.Insert(tx, &j)
	}
	if err != nil {
		return err
	}
	if old.Step != stepCopy {
		return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s is in the midst of a migration, which has to end first.", j.ID)
	}
	j.Host, j.Revision = old.Host, old.Revision // its agent may be in the midst of the old one
	return s.jobs.Update(tx, &j)
}

// current is the job as it is recorded, if it still is the one that is being done.
func (s *Service) current(tx *record.Tx, j *job) (*job, error) {
	now, err := s.jobs.Get(tx, j.ID)
	if errors.Is(err, ErrNotFound) || err == nil && now.Action != j.Action {
		return nil, errReplaced
	}
	return now, err
}

// finish ends a job in the transaction that records what came of it.
func (s *Service) finish(ctx context.Context, j *job, save func(tx *record.Tx) error) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.current(tx, j); err != nil {
			return err
		}
		if err := save(tx); err != nil {
			return err
		}
		return s.jobs.Delete(tx, j.ID)
	})
}

// reached records how far a job is. Nobody else has to hear of that.
func (s *Service) reached(ctx context.Context, j *job, change func(j *job)) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.current(tx, j); err != nil {
			return err
		}
		now, err := s.jobs.Touch(tx, j.ID, func(now *job) error {
			change(now)
			return nil
		})
		if err == nil {
			*j = *now
		}
		return err
	})
}

// isTemporary says that a job made what a pool has under the identifier, and still needs it: the moment that it reads, or the
// copy that it makes.
func (s *Service) isTemporary(tx *record.Tx, id string) (bool, error) {
	jobs, err := s.jobs.Count(tx, record.Any(record.Eq("id", id), record.Eq("new", id), record.Eq("old", id)))
	if err != nil || jobs > 0 {
		return jobs > 0, err
	}
	making, err := s.jobs.List(tx, record.Query{Where: []record.Condition{record.Eq("action", string(jobCreateGroup))}})
	if err != nil {
		return false, err
	}
	for i := range making {
		members, err := s.members(tx, making[i].ID)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(members, func(v Volume) bool { return copiedFrom(v.ID) == id }) {
			return true, nil
		}
	}
	return false, nil
}

// jobWorkers is how many jobs a pool's agent does at once: each has some buffers of the size of a backup's objects.
const jobWorkers = 2

// jobRunner does the jobs of a pool.
type jobRunner struct {
	agent *Agent
	loop  *converge.Loop

	mu       sync.Mutex
	failures map[string]int
}

func newJobRunner(a *Agent) *jobRunner {
	r := &jobRunner{agent: a, failures: map[string]int{}}
	r.loop = converge.New(r, &converge.Options{Workers: jobWorkers, Resync: a.options.Resync, OnError: func(id string, err error, failures int) {
		a.options.Log.Warn("job not done", "job", id, "pool", a.host, "error", err, "failures", failures)
	}})
	return r
}

// List names the jobs of the pool.
func (r *jobRunner) List(ctx context.Context) ([]string, error) {
	s := r.agent.service
	return s.jobs.Texts(s.store.Read(ctx), "id", record.Eq("host", r.agent.host))
}

// Reconcile does a job, or goes on with it. One that fails too often ends with what it is about in error.
func (r *jobRunner) Reconcile(ctx context.Context, id string) error {
	s := r.agent.service
	j, err := s.jobs.Get(s.store.Read(ctx), id)
	if errors.Is(err, ErrNotFound) || err == nil && j.Host != r.agent.host {
		r.forget(id)
		return nil
	}
	if err != nil {
		return err
	}
	act, known := r.agent.action(j.Action)
	if !known {
		return fmt.Errorf("job %s: %w: %s", j.ID, ErrUnsupported, j.Action)
	}
	err = act.do(ctx, j)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil || errors.Is(err, errReplaced) {
		r.forget(id)
		return nil
	}
	if errors.Is(err, errNotYet) {
		return err
	}
	if r.failed(id) < r.agent.options.Attempts && !hopeless(err) {
		return err
	}
	r.agent.options.Log.Error("giving up", "job", id, "action", j.Action, "pool", r.agent.host, "error", err)
	if err := act.giveUp(ctx, j, err); err != nil && !errors.Is(err, errReplaced) {
		return err
	}
	r.forget(id)
	return nil
}

// hopeless says of a failure that it will be the same the next time.
func hopeless(err error) bool {
	return final(err) || errors.Is(err, errDamaged)
}

func (r *jobRunner) failed(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[id]++
	return r.failures[id]
}

func (r *jobRunner) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failures, id)
}

// action is how a job is done, and how it ends when that has failed for good.
type action struct {
	do     func(ctx context.Context, j *job) error
	giveUp func(ctx context.Context, j *job, cause error) error
}

// ending records a failure in the transaction that ends the job.
func (a *Agent) ending(save func(tx *record.Tx, j *job, cause error) error) func(context.Context, *job, error) error {
	return func(ctx context.Context, j *job, cause error) error {
		return a.service.finish(ctx, j, func(tx *record.Tx) error { return save(tx, j, cause) })
	}
}

func (a *Agent) action(of jobAction) (action, bool) {
	s := a.service
	known := map[jobAction]action{
		jobBackUp: {a.backUp, func(ctx context.Context, j *job, cause error) error {
			if err := a.dropTemporary(ctx, j); err != nil {
				return err
			}
			return a.ending(s.failBackup)(ctx, j, cause)
		}},
		jobRestore:             {a.restore, a.failRestore},
		jobDeleteBackup:        {a.deleteBackup, a.ending(s.failDeleteBackup)},
		jobImportBackup:        {a.importBackup, a.ending(s.failImport)},
		jobCreateGroup:         {a.createGroup, a.ending(s.failGroup)},
		jobDeleteGroup:         {a.deleteGroup, a.ending(s.failGroup)},
		jobCreateGroupSnapshot: {a.createGroupSnapshot, a.ending(s.failGroupSnapshot)},
		jobDeleteGroupSnapshot: {a.deleteGroupSnapshot, a.ending(s.failGroupSnapshot)},
		jobUpload: {a.upload, func(ctx context.Context, j *job, cause error) error {
			if err := a.dropTemporary(ctx, j); err != nil {
				return err
			}
			return a.ending(s.endUpload)(ctx, j, cause)
		}},
		jobMigrate:  {a.migrate, a.failMigrate},
		jobManage:   {a.manage, a.failManage},
		jobUnmanage: {a.unmanage, a.ending(s.failUnmanage)},

		jobManageSnapshot:   {a.manageSnapshot, a.failManageSnapshot},
		jobUnmanageSnapshot: {a.unmanageSnapshot, a.ending(s.failUnmanageSnapshot)},
	}
	found, ok := known[of]
	return found, ok
}
