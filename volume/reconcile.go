package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// final says of a failure that it will be the same the next time.
func final(err error) bool {
	return errors.Is(err, driver.ErrFull) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, ErrUnsupported) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrNotFound)
}

// reconcileVolume does what a volume's task says, and reports its end.
func (a *Agent) reconcileVolume(ctx context.Context, id string) error {
	v, err := a.service.volumes.Get(a.service.store.Read(ctx), id)
	if errors.Is(err, ErrNotFound) || err == nil && (v.Host != a.host || v.Task.Kind == "") {
		a.succeeded(volumesKind + "/" + id)
		return nil
	}
	if err != nil {
		return err
	}
	err = a.attempt(ctx, v)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errWait) {
		return nil // what is wanted now is looked at next
	}
	if err == nil {
		a.succeeded(volumesKind + "/" + id)
		if v.Task.Kind == TaskExtend || v.Task.Kind == TaskDelete {
			a.measure(ctx)
		}
		return nil
	}
	if !a.failed(volumesKind+"/"+id, err) {
		return err
	}
	if errors.Is(err, driver.ErrFull) && v.elsewhere() {
		return a.makeElsewhere(ctx, v, err)
	}
	a.options.Log.Error("giving up", "volume", id, "task", v.Task.Kind, "pool", a.host, "error", err)
	return a.service.gaveUp(ctx, v, err)
}

// errWait says that something else has to happen first, or is wanted by now, which is heard of.
var errWait = errors.New("something else comes first")

// attempt does the task that the volume has, and can be interrupted.
func (a *Agent) attempt(ctx context.Context, v *Volume) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := a.do(ctx, v, cancel)
	if err != nil && ctx.Err() != nil {
		return errWait
	}
	return err
}

func (a *Agent) do(ctx context.Context, v *Volume, cancel context.CancelFunc) error {
	a.mu.Lock()
	a.busy[v.ID] = &attempt{task: v.Task, cancel: cancel}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.busy, v.ID)
	}()
	if v.Task.Kind != TaskCreate {
		if err := a.service.comesFirst(a.service.store.Read(ctx), v); err != nil {
			return err
		}
	}
	switch v.Task.Kind {
	case TaskCreate:
		return a.create(ctx, v)
	case TaskExtend:
		return a.extend(ctx, v)
	case TaskRevert:
		return a.revert(ctx, v)
	case TaskReimage:
		return a.reimage(ctx, v)
	case TaskDelete:
		return a.delete(ctx, v)
	}
	return fmt.Errorf("task %q of volume %s: %w", v.Task.Kind, v.ID, ErrUnsupported)
}

// create makes the volume and its content.
func (a *Agent) create(ctx context.Context, v *Volume) error {
	want, others, err := a.want(ctx, v)
	if err != nil {
		return err
	}
	if v.ImageID != "" {
		return a.createFromImage(ctx, v, want)
	}
	if err := a.apply(ctx, want, others...); err != nil {
		return err
	}
	a.measure(ctx) // before the promise of its room ends
	return a.service.done(ctx, v, func(_ *record.Tx, v *Volume) error {
		if v.BackupID != "" {
			return nil // the restoration ends the creation
		}
		v.Status = Available
		return nil
	})
}

// want is the volume as the driver needs to know it, and the volumes that it is made from.
func (a *Agent) want(ctx context.Context, v *Volume) (w driver.Volume, others []string, err error) {
	w = driver.Volume{ID: v.key(), Bytes: int64(v.SizeGiB) * gib}
	tx := a.service.store.Read(ctx)
	switch {
	case v.SnapshotID != "":
		w.Source.SnapshotID = v.SnapshotID
		p, err := a.service.snapshots.Get(tx, v.SnapshotID)
		if err != nil {
			return w, nil, err
		}
		others = append(others, p.VolumeID)
	case v.SourceVolumeID != "":
		source, err := a.service.volumes.Get(tx, v.SourceVolumeID)
		if err != nil {
			return w, nil, err
		}
		w.Source.VolumeID = source.key()
		others = append(others, source.ID)
	}
	w.Passphrase, err = a.service.passphrase(ctx, v.EncryptionKeyID)
	return w, append(others, v.ID), err
}

func (a *Agent) apply(ctx context.Context, want driver.Volume, ids ...string) error {
	defer a.turn(ids...)()
	return a.volumes.Apply(ctx, want)
}

// extend makes the volume larger, and tells the servers that use it.
func (a *Agent) extend(ctx context.Context, v *Volume) error {
	passphrase, err := a.service.passphrase(ctx, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	if err := a.apply(ctx, driver.Volume{ID: v.key(), Bytes: int64(v.Task.SizeGiB) * gib, Passphrase: passphrase}, v.ID); err != nil {
		return err
	}
	if v.Task.Before == InUse {
		if err := a.tellServers(ctx, v); err != nil {
			return err
		}
	}
	return a.service.done(ctx, v, func(tx *record.Tx, v *Volume) error {
		v.SizeGiB, v.PreviousStatus = v.Task.SizeGiB, ""
		return a.service.settle(tx, v) // it may have been detached meanwhile
	})
}

// tellServers lets connections and servers know that the volume has grown. One that cannot grow is as it was for its
// guest until that starts again.
func (a *Agent) tellServers(ctx context.Context, v *Volume) error {
	attachments, err := a.service.attachmentsOf(a.service.store.Read(ctx), v.ID)
	if err != nil {
		return err
	}
	for i := range attachments {
		at := &attachments[i]
		if at.Target != nil {
			if err := a.renew(ctx, v, at); err != nil {
				return err
			}
		}
		if at.ServerID == "" || a.service.options.Servers == nil {
			continue
		}
		if err := a.service.options.Servers.VolumeExtended(ctx, at.ServerID, v.ID, v.Task.SizeGiB); err != nil {
			a.options.Log.Warn("a server was not told that its volume has grown", "server", at.ServerID, "volume", v.ID, "error", err)
			if err := a.service.store.Update(ctx, func(tx *record.Tx) error {
				return a.service.message(tx, v.ProjectID, v.Task.RequestID, aboutVolume, v.ID, actionExtend, detailServerUnaware)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// revert gives the volume its snapshot's content again.
func (a *Agent) revert(ctx context.Context, v *Volume) error {
	if err := a.revertContent(ctx, v); err != nil {
		return err
	}
	return a.service.done(ctx, v, func(tx *record.Tx, v *Volume) error {
		v.Status = v.Task.Before
		return a.service.wentBack(tx, v.Task.ID)
	})
}

// wentBack makes a snapshot available again that a volume went back to.
func (s *Service) wentBack(tx *record.Tx, snapshotID string) error {
	p, err := s.snapshots.Get(tx, snapshotID)
	if err != nil || p.Status != Restoring {
		return notFoundIsNil(err)
	}
	p.Status = Available
	return s.saveSnapshot(tx, p)
}

func (a *Agent) revertContent(ctx context.Context, v *Volume) error {
	passphrase, err := a.service.passphrase(ctx, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	defer a.turn(v.ID)()
	if r, ok := a.volumes.(driver.Reverter); ok {
		if err := r.Revert(ctx, v.key(), v.Task.ID); err != nil {
			return err
		}
		// Its size is the snapshot's now; a volume that has grown since stays as large.
		return a.volumes.Apply(ctx, driver.Volume{ID: v.key(), Bytes: int64(v.SizeGiB) * gib, Passphrase: passphrase})
	}
	return a.copyBack(ctx, v)
}

// delete takes the volume away, once its snapshots and connections are gone.
func (a *Agent) delete(ctx context.Context, v *Volume) error {
	s := a.service
	snapshots, err := s.snapshotsOf(s.store.Read(ctx), v.ID)
	if err != nil {
		return err
	}
	for i := range snapshots {
		if snapshots[i].Task.Kind != TaskDelete {
			return fmt.Errorf("volume %s has snapshot %s: %w", v.ID, snapshots[i].ID, driver.ErrBusy)
		}
	}
	if len(snapshots) > 0 {
		return errWait // the last one's end wakes the volume
	}
	attachments, err := s.attachmentsOf(s.store.Read(ctx), v.ID)
	if err != nil {
		return err
	}
	for i := range attachments {
		if err := a.disconnect(ctx, v, attachments[i].ID); err != nil {
			return err
		}
	}
	if err := a.remove(ctx, v.key(), v.ID); err != nil {
		return err
	}
	if err := s.dropKey(ctx, v.EncryptionKeyID); err != nil {
		return err
	}
	return notFoundIsNil(s.store.Update(ctx, func(tx *record.Tx) error {
		now, err := s.volumes.Get(tx, v.ID)
		if err != nil {
			return err
		}
		return s.bury(tx, now)
	}))
}

// comesFirst lets what is being made of a volume be made before the volume changes: snapshots of the size that was asked
// for, and copies.
func (s *Service) comesFirst(tx *record.Tx, v *Volume) error {
	copies, err := s.isCopied(tx, "source", v.ID)
	if err != nil {
		return err
	}
	snapshots, err := s.snapshots.Count(tx, record.Eq("volume", v.ID), record.Eq("task", string(TaskCreate)), record.Eq("grp", nil))
	if err == nil && (copies || snapshots > 0) {
		err = errWait
	}
	return err
}

// isCopied says that a volume is being made from what has that identifier.
func (s *Service) isCopied(tx *record.Tx, column, id string) (bool, error) {
	n, err := s.volumes.Count(tx, record.Eq(column, id), record.Eq("task", string(TaskCreate)))
	return n > 0, err
}

// copied lets the agent look again at what waits until the volume is made.
func (s *Service) copied(tx *record.Tx, v *Volume) error {
	switch {
	case v.Task.Kind != TaskCreate && v.Task.Kind != TaskDelete:
		return nil
	case v.SourceVolumeID != "":
		return s.wake(tx, v.SourceVolumeID)
	case v.SnapshotID == "":
		return nil
	}
	p, err := s.snapshots.Get(tx, v.SnapshotID)
	if err != nil || p.Task.Kind != TaskDelete {
		return notFoundIsNil(err)
	}
	return s.saveSnapshot(tx, p)
}

// wake lets the agent look again at a volume that has to wait for what is made of it.
func (s *Service) wake(tx *record.Tx, volumeID string) error {
	v, err := s.volumes.Get(tx, volumeID)
	if err != nil || v.Task.Kind == "" || v.Task.Kind == TaskCreate {
		return notFoundIsNil(err)
	}
	return s.volumes.Update(tx, v)
}

// remove takes a volume out of the pool.
func (a *Agent) remove(ctx context.Context, key, id string) error {
	defer a.turn(id)()
	return a.volumes.Remove(ctx, key)
}
