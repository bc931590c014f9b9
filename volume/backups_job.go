package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// placeOf is where the objects of a backup are.
func (s *Service) placeOf(b *Backup) *backupPlace {
	return &backupPlace{
		store: s.options.Backups, project: b.Content.ProjectID, container: b.Container, prefix: b.Content.Prefix,
		backupID: b.ID, volumeID: b.VolumeID, chunk: b.Content.Chunk, pieces: b.Content.Pieces,
	}
}

// maxChain bounds how many backups build on each other.
const maxChain = 10_000

// chain is a backup and those that it builds on, the full one first.
func (s *Service) chain(ctx context.Context, id string) (backupChain, *Backup, error) {
	if err := s.needBackups(); err != nil {
		return nil, nil, err
	}
	tx := s.store.Read(ctx)
	var chain backupChain
	var last *Backup
	for id != "" {
		b, err := s.backups.Get(tx, id)
		if err != nil {
			return nil, nil, err
		}
		if last == nil {
			last = b
		}
		if len(chain) == maxChain || b.Content.Chunk != last.Content.Chunk || b.Content.Chunk <= 0 || b.Content.Chunk > maxChunk {
			return nil, nil, damaged(nil, "its parents do not fit together")
		}
		chain = append(chain, s.placeOf(b))
		id = b.ParentID
	}
	slices.Reverse(chain)
	return chain, last, nil
}

// backUp does the job of CreateBackup.
func (a *Agent) backUp(ctx context.Context, j *job) error {
	s := a.service
	chain, b, err := s.chain(ctx, j.ID)
	if err != nil {
		return err
	}
	from, err := a.openSource(ctx, j)
	if err != nil {
		return err
	}
	err = a.copyOut(ctx, j, chain, b, from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	if err := a.putMetadata(ctx, b); err != nil {
		return err
	}
	if err := a.dropTemporary(ctx, j); err != nil {
		return err
	}
	return s.finish(ctx, j, func(tx *record.Tx) error {
		b, err := s.backups.Modify(tx, j.ID, func(b *Backup) error {
			b.Status, b.UpdatedAt, b.ObjectCount, b.FailReason = Available, s.now(), len(b.Content.Pieces), ""
			return nil
		})
		if err != nil {
			return err
		}
		return s.releaseSource(tx, j, b.Status)
	})
}

// temporaryOf is the name of the snapshot that is read in place of a connected volume: that of a backup, which no volume has.
func temporaryOf(j *job) string {
	if j.NewID != "" {
		return j.NewID
	}
	return j.ID
}

// openSource opens what is to be backed up, as it was at one moment. After a kill it is the same moment.
func (a *Agent) openSource(ctx context.Context, j *job) (driver.Device, error) {
	defer a.turn(j.VolumeID)()
	if j.SnapshotID != "" {
		return a.volumes.Open(ctx, j.SnapshotID, driver.ReadOnly)
	}
	v, err := a.service.volumes.Get(a.service.store.Read(ctx), j.VolumeID)
	if err != nil {
		return nil, err
	}
	if !j.Live {
		return a.volumes.Open(ctx, v.key(), driver.ReadOnly)
	}
	if err := a.volumes.ApplySnapshots(ctx, driver.Snapshot{ID: temporaryOf(j), VolumeID: v.key()}); err != nil {
		return nil, err
	}
	return a.volumes.Open(ctx, temporaryOf(j), driver.ReadOnly)
}

// dropTemporary removes the snapshot of openSource.
func (a *Agent) dropTemporary(ctx context.Context, j *job) error {
	if j.SnapshotID != "" {
		return nil
	}
	defer a.turn(j.VolumeID)()
	return a.volumes.RemoveSnapshot(ctx, temporaryOf(j))
}

// copyOut writes the objects of a backup, from where it stopped.
func (a *Agent) copyOut(ctx context.Context, j *job, chain backupChain, b *Backup, from driver.Device) error {
	to, parents := chain[len(chain)-1], chain[:len(chain)-1]
	b.Content.Bytes = from.Size()
	progress := backupProgress{Next: b.Content.Next, Pieces: b.Content.Pieces}
	return backUp(ctx, from, to, parents, progress, func(p backupProgress) error {
		return a.service.store.Update(ctx, func(tx *record.Tx) error {
			if _, err := a.service.current(tx, j); err != nil {
				return err
			}
			now, err := a.service.backups.Touch(tx, b.ID, func(b *Backup) error {
				b.Content.Bytes, b.Content.Next, b.Content.Pieces, b.ObjectCount = from.Size(), p.Next, p.Pieces, len(p.Pieces)
				return nil
			})
			if err == nil {
				*b = *now
			}
			return err
		})
	})
}

// metadataObject is the object that says what the others of a backup are: all that is needed where the database is lost.
func metadataObject(b *Backup) string { return b.Content.Prefix + "_metadata" }

func (a *Agent) putMetadata(ctx context.Context, b *Backup) error {
	doc, err := json.Marshal(exported(b))
	if err != nil {
		return err
	}
	err = a.service.options.Backups.Put(ctx, b.Content.ProjectID, b.Container, metadataObject(b), newObjectReader(doc))
	if err != nil {
		return fmt.Errorf("object %s: %w", metadataObject(b), err)
	}
	return nil
}

// releaseSource lets what was backed up go on as it was before; a volume or snapshot that is gone does not mind. Without a
// status of the backup, it failed.
func (s *Service) releaseSource(tx *record.Tx, j *job, status Status) error {
	if j.SnapshotID != "" {
		p, err := s.snapshots.Get(tx, j.SnapshotID)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil || p.Status != BackingUp {
			return err
		}
		p.Status, p.UpdatedAt = Available, s.now()
		return s.snapshots.Update(tx, p)
	}
	v, err := s.volumes.Get(tx, j.VolumeID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil || v.Status != BackingUp {
		return err
	}
	v.PreviousStatus = BackingUp
	if status != Available {
		v.PreviousStatus = ErrorBackingUp
	}
	if v.Status, err = s.idleStatus(tx, v, j.Before); err != nil {
		return err
	}
	v.UpdatedAt = s.now()
	return s.volumes.Update(tx, v)
}

// idleStatus is that of a volume which is left alone again: before, unless its attachments have changed meanwhile.
func (s *Service) idleStatus(tx *record.Tx, v *Volume, before Status) (Status, error) {
	if before != InUse && before != Available {
		return before, nil
	}
	attached, err := s.attachments.Count(tx, record.Eq("volume", v.ID), record.Eq("status", string(AttachmentAttached)))
	if err != nil {
		return before, err
	}
	if attached > 0 {
		return InUse, nil
	}
	return Available, nil
}

// failBackup ends a backup that has failed.
func (s *Service) failBackup(tx *record.Tx, j *job, cause error) error {
	if err := s.releaseSource(tx, j, Errored); err != nil {
		return err
	}
	if err := s.markBackup(tx, j.ID, Errored, cause); err != nil {
		return err
	}
	return s.message(tx, j.ProjectID, j.RequestID, aboutBackup, j.ID, actionBackupCreate, detailBackupFailed)
}

func (s *Service) failDeleteBackup(tx *record.Tx, j *job, cause error) error {
	if err := s.markBackup(tx, j.ID, ErrorDeleting, cause); err != nil {
		return err
	}
	return s.message(tx, j.ProjectID, j.RequestID, aboutBackup, j.ID, actionBackupDelete, detailBackupStays)
}

func (s *Service) failImport(tx *record.Tx, j *job, cause error) error {
	return s.markBackup(tx, j.ID, Errored, cause)
}

// markBackup says how a backup is, and why.
func (s *Service) markBackup(tx *record.Tx, id string, status Status, cause error) error {
	_, err := s.backups.Modify(tx, id, func(b *Backup) error {
		b.Status, b.FailReason, b.UpdatedAt = status, firstLine(cause), s.now()
		return nil
	})
	return err
}

// firstLine is the part of an error that users see.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), 255)]
}

// deleteBackup does the job of DeleteBackup.
func (a *Agent) deleteBackup(ctx context.Context, j *job) error {
	s := a.service
	b, err := s.backups.Get(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	if err := a.dropTemporary(ctx, j); err != nil {
		return err
	}
	sharers, err := s.backups.Count(s.store.Read(ctx), record.Eq("prefix", b.Content.Prefix), record.Ne("id", b.ID))
	if err != nil {
		return err
	}
	if sharers == 0 { // else an imported record of the same backup needs them
		if err := a.deleteObjects(ctx, b); err != nil {
			return err
		}
	}
	err = s.finish(ctx, j, func(tx *record.Tx) error { return s.backups.Delete(tx, j.ID) })
	if err != nil || sharers > 0 {
		return err
	}
	return s.dropKey(ctx, b.EncryptionKeyID)
}

// deleteObjects deletes what a backup has in the store, and what a killed agent may have put there unrecorded.
func (a *Agent) deleteObjects(ctx context.Context, b *Backup) error {
	if err := a.service.needBackups(); err != nil {
		return err
	}
	place := a.service.placeOf(b)
	for _, number := range append(slices.Clone(b.Content.Pieces), b.Content.Next) {
		if err := place.store.Delete(ctx, place.project, place.container, place.object(number)); err != nil {
			return fmt.Errorf("object %s: %w", place.object(number), err)
		}
	}
	// Last, because it says what the others are.
	if err := place.store.Delete(ctx, place.project, place.container, metadataObject(b)); err != nil {
		return fmt.Errorf("object %s: %w", metadataObject(b), err)
	}
	return nil
}

// importBackup does the job of ImportBackup: the store must have what the record says.
func (a *Agent) importBackup(ctx context.Context, j *job) error {
	s := a.service
	b, err := s.backups.Get(s.store.Read(ctx), j.ID)
	if err != nil {
		return err
	}
	if err := s.needBackups(); err != nil {
		return err
	}
	r, err := s.options.Backups.Open(ctx, b.Content.ProjectID, b.Container, metadataObject(b))
	if err != nil {
		return fmt.Errorf("object %s: %w", metadataObject(b), err)
	}
	doc, err := io.ReadAll(io.LimitReader(r, maxExported))
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	var kept exportedBackup
	if err := json.Unmarshal(doc, &kept); err != nil {
		return damaged(err, "its metadata is not JSON")
	}
	if kept.VolumeID != b.VolumeID || kept.Content.Prefix != b.Content.Prefix || !slices.Equal(kept.Content.Pieces, b.Content.Pieces) {
		return fault.Wrap(ErrInvalid, "Invalid backup: the record is not that of what is stored at %s", b.Content.Prefix)
	}
	return s.finish(ctx, j, func(tx *record.Tx) error {
		_, err := s.backups.Modify(tx, j.ID, func(b *Backup) error {
			b.Status, b.UpdatedAt = Available, s.now()
			return nil
		})
		return err
	})
}
