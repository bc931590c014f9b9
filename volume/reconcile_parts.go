package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// reconcileSnapshot takes a snapshot, or takes it away. Those of a group are taken together, by a job of the group's.
func (a *Agent) reconcileSnapshot(ctx context.Context, id string) error {
	s := a.service
	p, err := s.snapshots.Get(s.store.Read(ctx), id)
	if errors.Is(err, ErrNotFound) || err == nil && (p.Host != a.host || p.Task.Kind == "") {
		a.succeeded(snapshotsKind + "/" + id)
		return nil
	}
	if err != nil {
		return err
	}
	if p.Task.Kind == TaskDelete {
		err = a.deleteSnapshot(ctx, p)
	} else {
		err = a.takeSnapshot(ctx, p)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errWait) {
		return nil
	}
	if err == nil {
		a.succeeded(snapshotsKind + "/" + id)
		a.measure(ctx)
		return nil
	}
	if !a.failed(snapshotsKind+"/"+id, err) {
		return err
	}
	a.options.Log.Error("giving up", "snapshot", id, "task", p.Task.Kind, "pool", a.host, "error", err)
	return s.snapshotFailed(ctx, p, err)
}

func (a *Agent) takeSnapshot(ctx context.Context, p *Snapshot) error {
	if p.GroupSnapshotID != "" {
		return nil
	}
	s := a.service
	v, err := s.volumes.Get(s.store.Read(ctx), p.VolumeID)
	if err != nil {
		return err
	}
	if err := a.applySnapshot(ctx, driver.Snapshot{ID: p.ID, VolumeID: v.key()}, v.ID); err != nil {
		return err
	}
	return s.reportSnapshot(ctx, p, func(_ *record.Tx, p *Snapshot) error {
		p.Status, p.Progress = Available, 100
		return nil
	})
}

func (a *Agent) applySnapshot(ctx context.Context, want driver.Snapshot, volumeID string) error {
	defer a.turn(volumeID)()
	return a.volumes.ApplySnapshots(ctx, want)
}

func (a *Agent) deleteSnapshot(ctx context.Context, p *Snapshot) error {
	if copied, err := a.service.isCopied(a.service.store.Read(ctx), "snapshot", p.ID); err != nil {
		return err
	} else if copied {
		return errWait
	}
	if err := a.removeSnapshot(ctx, p.ID, p.VolumeID); err != nil {
		return err
	}
	s := a.service
	return notFoundIsNil(s.store.Update(ctx, func(tx *record.Tx) error {
		if err := s.buried(tx, p.ID, p.Host); err != nil {
			return err
		}
		if err := s.snapshots.Delete(tx, p.ID); err != nil {
			return err
		}
		return s.wake(tx, p.VolumeID)
	}))
}

func (a *Agent) removeSnapshot(ctx context.Context, id, volumeID string) error {
	defer a.turn(volumeID)()
	return a.volumes.RemoveSnapshot(ctx, id)
}

// reportSnapshot ends a snapshot's task, unless something else has been asked since.
func (s *Service) reportSnapshot(ctx context.Context, was *Snapshot, fn func(tx *record.Tx, p *Snapshot) error) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		p, err := s.snapshots.Get(tx, was.ID)
		if err != nil {
			return err
		}
		if p.Task != was.Task {
			return errNothing
		}
		if err := fn(tx, p); err != nil {
			return err
		}
		p.Task, p.UpdatedAt = Task{}, s.now()
		return errors.Join(s.snapshots.Report(tx, p), s.wake(tx, p.VolumeID))
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (s *Service) snapshotFailed(ctx context.Context, was *Snapshot, cause error) error {
	return s.reportSnapshot(ctx, was, func(tx *record.Tx, p *Snapshot) error {
		action, detail := actionSnapshotCreate, detailSnapshotFailed
		p.Status = Errored
		if was.Task.Kind == TaskDelete {
			p.Status, action, detail = ErrorDeleting, actionSnapshotDelete, detailSnapshotStays
			if errors.Is(cause, driver.ErrBusy) {
				p.Status, detail = Available, detailSnapshotBusy
			}
			if err := s.cannotDelete(tx, p.VolumeID); err != nil {
				return err
			}
		}
		return s.message(tx, p.ProjectID, was.Task.RequestID, aboutSnapshot, p.ID, action, detail)
	})
}

// cannotDelete ends the deletion of a volume whose snapshot stays.
func (s *Service) cannotDelete(tx *record.Tx, volumeID string) error {
	v, err := s.volumes.Get(tx, volumeID)
	if err != nil || v.Task.Kind != TaskDelete {
		return notFoundIsNil(err)
	}
	v.Status, v.Task = ErrorDeleting, Task{}
	return s.saveVolume(tx, v)
}

// reconcileAttachment makes or ends a connection, and mends those that the last agent made.
func (a *Agent) reconcileAttachment(ctx context.Context, id string) error {
	s := a.service
	at, err := s.attachments.Get(s.store.Read(ctx), id)
	if errors.Is(err, ErrNotFound) || err == nil && at.Host != a.host {
		a.unsee(id)
		a.succeeded(attachmentsKind + "/" + id)
		return nil
	}
	if err != nil {
		return err
	}
	v, err := s.volumes.Get(s.store.Read(ctx), at.VolumeID)
	if err != nil {
		return notFoundIsNil(err)
	}
	switch {
	case at.Task == TaskDisconnect:
		if err := a.disconnect(ctx, v, id); err != nil {
			return err
		}
		return s.ended(ctx, at)
	case at.Task == TaskConnect:
		return a.connect(ctx, v, at)
	case at.Target != nil && !a.connectedHere(id):
		return a.renew(ctx, v, at)
	}
	return nil
}

func (a *Agent) connectedHere(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[id]
}

func (a *Agent) see(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[id] = true
}

func (a *Agent) unsee(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, id)
}

// target has the driver make or mend a connection.
func (a *Agent) target(ctx context.Context, v *Volume, at *Attachment) (driver.Target, error) {
	defer a.turn(v.ID)()
	target, err := a.volumes.Connect(ctx, driver.Connection{
		ID: at.ID, VolumeID: v.key(), Host: at.AttachedHost, ReadOnly: at.Mode == "ro", Shared: at.Shared,
	})
	if err == nil {
		a.see(at.ID)
	}
	return target, err
}

func (a *Agent) connect(ctx context.Context, v *Volume, at *Attachment) error {
	target, err := a.target(ctx, v, at)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !a.failed(attachmentsKind+"/"+at.ID, err) && !errors.Is(err, driver.ErrBusy) {
		return err
	}
	if err != nil {
		a.options.Log.Error("giving up", "attachment", at.ID, "volume", v.ID, "pool", a.host, "error", err)
		return a.service.reportAttachment(ctx, at, func(tx *record.Tx, at *Attachment) error {
			if at.Reason = firstLine(err); at.Target == nil {
				at.Connector = nil
			}
			if at.Status == AttachmentAttaching {
				at.Status = AttachmentErrored
			}
			return a.service.message(tx, v.ProjectID, "", aboutVolume, v.ID, actionConnect, detailUnknown)
		})
	}
	a.succeeded(attachmentsKind + "/" + at.ID)
	return a.service.reportAttachment(ctx, at, func(_ *record.Tx, at *Attachment) error {
		at.Target, at.Reason = &target, ""
		return nil
	})
}

// renew mends a connection that is in use. Its target may be another then.
func (a *Agent) renew(ctx context.Context, v *Volume, at *Attachment) error {
	target, err := a.target(ctx, v, at)
	if err != nil {
		return fmt.Errorf("connection %s of volume %s: %w", at.ID, v.ID, err)
	}
	return a.service.reportAttachment(ctx, at, func(_ *record.Tx, at *Attachment) error {
		if reflect.DeepEqual(at.Target, &target) {
			return errNothing
		}
		at.Target = &target
		return nil
	})
}

func (a *Agent) disconnect(ctx context.Context, v *Volume, id string) error {
	defer a.turn(v.ID)()
	if err := a.volumes.Disconnect(ctx, v.key(), id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("connection %s of volume %s: %w", id, v.ID, err)
	}
	a.unsee(id)
	return nil
}

// reportAttachment changes an attachment as the agent left it at was, unless something else has been asked since.
func (s *Service) reportAttachment(ctx context.Context, was *Attachment, fn func(tx *record.Tx, at *Attachment) error) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		at, err := s.attachments.Get(tx, was.ID)
		if err != nil {
			return err
		}
		if at.Task != was.Task {
			return errNothing
		}
		if err := fn(tx, at); err != nil {
			return err
		}
		at.Task, at.UpdatedAt = "", s.now()
		return s.attachments.Report(tx, at)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// ended records that a connection has ended, and with it, unless it is kept, the attachment.
func (s *Service) ended(ctx context.Context, was *Attachment) error {
	return notFoundIsNil(s.store.Update(ctx, func(tx *record.Tx) error {
		at, err := s.attachments.Get(tx, was.ID)
		if err != nil || at.Task != TaskDisconnect {
			return err
		}
		if at.Keep && at.Status == AttachmentAttached {
			at.Task, at.Keep, at.Connector, at.Target = "", false, nil, nil
			return s.saveAttachment(tx, at)
		}
		if err := s.attachments.Delete(tx, at.ID); err != nil {
			return err
		}
		v, err := s.volumes.Get(tx, at.VolumeID)
		if err != nil {
			return err
		}
		return s.afterDetach(tx, v)
	}))
}

// reconcileLeftover looks at something that the driver holds. What was deleted for good, or never made wholly, is taken
// away; what nobody knows is left alone: it may be somebody else's data.
func (a *Agent) reconcileLeftover(ctx context.Context, name string) error {
	kind, id, _ := strings.Cut(name, "/")
	known, volumeID, err := a.service.keeps(ctx, driver.Kind(kind), id, a.host)
	if err != nil {
		return err
	}
	observed, exists, err := a.observe(ctx, driver.Kind(kind), id)
	if err != nil || !exists {
		return err
	}
	if known {
		return a.endStrays(ctx, volumeID, observed)
	}
	_, err = a.service.graves.Get(a.service.store.Read(ctx), id)
	if notFoundIsNil(err) != nil {
		return err
	}
	if err != nil && !observed.Partial {
		a.options.Log.Warn("the pool holds what nobody knows; it is left alone", "kind", kind, "id", id, "pool", a.host)
		return nil
	}
	a.options.Log.Info("removing what was deleted", "kind", kind, "id", id, "pool", a.host)
	if driver.Kind(kind) == driver.KindSnapshot {
		return a.removeSnapshot(ctx, id, observed.VolumeID)
	}
	return a.remove(ctx, id, id)
}

// keeps says whether a record wants what the driver calls id, in any pool: what moves is in two for a while.
func (s *Service) keeps(ctx context.Context, kind driver.Kind, id, host string) (known bool, volumeID string, err error) {
	tx := s.store.Read(ctx)
	if kind == driver.KindSnapshot {
		p, err := s.snapshots.Get(tx, id)
		if errors.Is(err, ErrNotFound) {
			known, err := s.isTemporary(tx, id)
			return known, "", err
		}
		if err != nil {
			return false, "", err
		}
		return true, p.VolumeID, nil
	}
	found, err := s.volumes.List(tx, record.Query{Where: []record.Condition{record.Any(record.Eq("id", id), record.Eq("kept", id))}, Limit: 1})
	if err != nil {
		return false, "", err
	}
	if len(found) == 0 {
		known, err := s.isTemporary(tx, id)
		return known, "", err
	}
	if found[0].Host != host {
		return true, "", nil
	}
	return true, found[0].ID, nil
}

// endStrays ends connections of a volume that no attachment is for.
func (a *Agent) endStrays(ctx context.Context, volumeID string, o driver.Observed) error {
	if volumeID == "" || len(o.Connections) == 0 {
		return nil
	}
	attachments, err := a.service.attachmentsOf(a.service.store.Read(ctx), volumeID)
	if err != nil {
		return err
	}
	for _, id := range o.Connections {
		if slices.ContainsFunc(attachments, func(at Attachment) bool { return at.ID == id }) {
			continue
		}
		a.options.Log.Info("ending a connection that nobody has", "connection", id, "volume", volumeID, "pool", a.host)
		if err := a.volumes.Disconnect(ctx, o.ID, id); err != nil {
			return err
		}
	}
	return nil
}

// observe returns what the driver says of one thing.
func (a *Agent) observe(ctx context.Context, kind driver.Kind, id string) (driver.Observed, bool, error) {
	all, err := a.volumes.List(ctx)
	if err != nil {
		return driver.Observed{}, false, err
	}
	for _, o := range all {
		if o.Kind == kind && o.ID == id {
			return o, true, nil
		}
	}
	return driver.Observed{}, false, nil
}
