package volume

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// RestoreSpec says where a backup is restored to: a volume, or a new one of that name.
type RestoreSpec struct{ VolumeID, Name string }

// Restore is a restoration that has begun.
type Restore struct{ BackupID, VolumeID, VolumeName string }

// RestoreBackup gives an available volume, or a new one, a backup's content. The volume is restoring-backup meanwhile, the
// backup restoring.
func (s *Service) RestoreBackup(ctx context.Context, scope Scope, id string, spec RestoreSpec) (*Restore, error) {
	if err := s.needBackups(); err != nil {
		return nil, err
	}
	b, err := s.visibleBackup(s.store.Read(ctx), scope, id)
	if err != nil {
		return nil, err
	}
	if spec.VolumeID == "" {
		return s.restoreToNew(ctx, scope, b, spec.Name)
	}
	r := &Restore{BackupID: id, VolumeID: spec.VolumeID}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, spec.VolumeID)
		if err != nil {
			return err
		}
		r.VolumeName = v.Name
		if v.Status != Available {
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume to be restored to must be available")
		}
		return s.restoreInto(tx, scope, v, id)
	})
	return r, err
}

// restoreToNew makes the volume too, as Cinder does.
func (s *Service) restoreToNew(ctx context.Context, scope Scope, b *Backup, name string) (*Restore, error) {
	if err := restorable(b); err != nil {
		return nil, err
	}
	spec := VolumeSpec{Name: name, Description: b.Source.Description, SizeGiB: b.SizeGiB, BackupID: b.ID, Metadata: b.Source.Metadata}
	if b.EncryptionKeyID != "" {
		spec.Type = b.Source.TypeID
	}
	if name == "" {
		if spec.Name = b.Source.Name; spec.Name == "" {
			spec.Name = "restore_backup_" + b.ID
		}
	}
	v, err := s.CreateVolume(ctx, scope, spec)
	if err != nil {
		return nil, err
	}
	return &Restore{BackupID: b.ID, VolumeID: v.ID, VolumeName: v.Name}, nil
}

func restorable(b *Backup) error {
	if b.Status != Available {
		return fault.Wrap(ErrInvalid, "Invalid backup: Backup status must be available")
	}
	return nil
}

// restoreInto has the volume restored by a job: an existing one, or one that is recorded as creating in
// the same transaction, with no other task.
func (s *Service) restoreInto(tx *record.Tx, scope Scope, v *Volume, backupID string) error {
	b, err := s.visibleBackup(tx, scope, backupID)
	if err != nil {
		return err
	}
	if err := restorable(b); err != nil {
		return err
	}
	if b.SizeGiB > v.SizeGiB {
		return fault.Wrap(ErrInvalid, "Invalid volume: volume size %d is too small to restore backup of size %d.", v.SizeGiB, b.SizeGiB)
	}
	isNew := v.Status == Creating
	if b.EncryptionKeyID != "" && !v.Encrypted {
		return fault.Wrap(ErrInvalid, "Invalid volume: the backup is of an encrypted volume, and volume %s is not encrypted.", v.ID)
	}
	b.Status, b.RestoreVolumeID, b.UpdatedAt = Restoring, v.ID, s.now()
	if err := s.backups.Update(tx, b); err != nil {
		return err
	}
	if !isNew {
		v.Status = RestoringBackup
	}
	v.Task = Task{} // the job makes it too
	if err := s.saveVolume(tx, v); err != nil {
		return err
	}
	return s.startJob(tx, job{
		ID: b.ID, Action: jobRestore, Host: v.Host, VolumeID: v.ID, IsNew: isNew,
		ProjectID: v.ProjectID, RequestID: scope.RequestID,
	})
}

// restore does the job of restoreInto.
func (a *Agent) restore(ctx context.Context, j *job) error {
	s := a.service
	v, err := s.volumes.Get(s.store.Read(ctx), j.VolumeID)
	if err != nil {
		return err
	}
	if v.Status != Creating && v.Status != RestoringBackup {
		return fault.Wrap(ErrInvalid, "volume %s is %s, and not restored any more", v.ID, v.Status)
	}
	chain, b, err := s.chain(ctx, j.ID)
	if err != nil {
		return err
	}
	if b.EncryptionKeyID != "" && j.KeyID == "" { // an encrypted content comes with its key
		key, err := s.cloneKey(ctx, v.ProjectID, b.EncryptionKeyID)
		if err != nil {
			return err
		}
		if err := s.reached(ctx, j, func(j *job) { j.KeyID = key }); err != nil {
			return err
		}
	}
	if j.IsNew {
		if err := a.makeEmpty(ctx, v); err != nil {
			return err
		}
	}
	to, err := a.openRestored(ctx, v, b)
	if err != nil {
		return err
	}
	err = a.restoreTo(ctx, j, chain, b, to)
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	var old string
	err = s.finish(ctx, j, func(tx *record.Tx) error {
		v, err := s.volumes.Get(tx, j.VolumeID)
		if err != nil {
			return err
		}
		if old = ""; j.KeyID != "" && v.EncryptionKeyID != j.KeyID {
			old, v.EncryptionKeyID = v.EncryptionKeyID, j.KeyID
		}
		v.Bootable, v.ImageMetadata = b.Source.Bootable, b.Source.ImageMetadata
		if v.ID != b.VolumeID {
			v.Metadata = withKey(v.Metadata, "src_backup_id", b.ID)
		}
		return s.endedRestore(tx, j, v, Available)
	})
	if err != nil {
		return err
	}
	return s.dropKey(ctx, old)
}

func withKey(m map[string]string, key, value string) map[string]string {
	all := map[string]string{key: value}
	for k, v := range m {
		if k != key {
			all[k] = v
		}
	}
	return all
}

// makeEmpty makes the volume in the pool.
func (a *Agent) makeEmpty(ctx context.Context, v *Volume) error {
	passphrase, err := a.service.passphrase(ctx, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	defer a.turn(v.ID)()
	now, err := a.service.volumes.Get(a.service.store.Read(ctx), v.ID)
	if err != nil || now.Status != Creating { // it is being deleted: nothing may be made behind that
		return errors.Join(err, errNotYet)
	}
	return a.volumes.Apply(ctx, driver.Volume{ID: v.key(), Bytes: int64(v.SizeGiB) * gib, Passphrase: passphrase})
}

// openRestored opens the volume for the content: of an encrypted backup that is the container, else what is inside.
func (a *Agent) openRestored(ctx context.Context, v *Volume, b *Backup) (driver.Device, error) {
	defer a.turn(v.ID)()
	if b.EncryptionKeyID != "" {
		return a.volumes.Open(ctx, v.key(), driver.ReadWrite)
	}
	return a.openPlain(ctx, v.key(), driver.ReadWrite, v.EncryptionKeyID)
}

func (a *Agent) restoreTo(ctx context.Context, j *job, chain backupChain, b *Backup, to driver.Device) error {
	if to.Size() < b.Content.Bytes {
		return fault.Wrap(ErrInvalid, "volume %s has %d bytes, and the backup %d", j.VolumeID, to.Size(), b.Content.Bytes)
	}
	return restore(ctx, chain, b.Content.Bytes, to, int(j.Next), func(next int) error {
		return a.service.reached(ctx, j, func(j *job) { j.Next = int64(next) })
	})
}

// endedRestore ends a restoration of v, which was read in the same transaction.
func (s *Service) endedRestore(tx *record.Tx, j *job, v *Volume, status Status) error {
	v.Status, v.UpdatedAt = status, s.now()
	if j.IsNew && status == Available {
		at := s.now()
		v.LaunchedAt = &at
	}
	if err := s.volumes.Update(tx, v); err != nil {
		return err
	}
	_, err := s.backups.Modify(tx, j.ID, func(b *Backup) error {
		if b.Status == Restoring {
			b.Status, b.UpdatedAt = Available, s.now()
		}
		return nil
	})
	return err
}

// failRestore ends a restoration that has failed. A key that was made for it is not needed.
func (a *Agent) failRestore(ctx context.Context, j *job, cause error) error {
	s := a.service
	if err := s.finish(ctx, j, func(tx *record.Tx) error { return s.restoreFailed(tx, j, cause) }); err != nil {
		return err
	}
	return s.dropKey(ctx, j.KeyID)
}

// restoreFailed records it: what the volume holds is not to be trusted.
func (s *Service) restoreFailed(tx *record.Tx, j *job, cause error) error {
	status := ErrorRestoring
	if j.IsNew {
		status = Errored
	}
	if err := s.endRestore(tx, j, status); err != nil {
		return err
	}
	if _, err := s.backups.Modify(tx, j.ID, func(b *Backup) error {
		b.FailReason = firstLine(cause)
		return nil
	}); err != nil {
		return err
	}
	return s.message(tx, j.ProjectID, j.RequestID, aboutBackup, j.ID, actionBackupRestore, detailRestoreFailed)
}

// endRestore ends a restoration; a volume that is gone does not mind.
func (s *Service) endRestore(tx *record.Tx, j *job, status Status) error {
	v, err := s.volumes.Get(tx, j.VolumeID)
	if errors.Is(err, ErrNotFound) {
		_, err = s.backups.Modify(tx, j.ID, func(b *Backup) error {
			b.Status, b.UpdatedAt = Available, s.now()
			return nil
		})
		return err
	}
	if err != nil {
		return err
	}
	if v.Status != RestoringBackup && v.Status != Creating {
		status = v.Status // an operator has set it meanwhile
	}
	return s.endedRestore(tx, j, v, status)
}
