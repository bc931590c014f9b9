package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// The values of [Volume.MigrationStatus].
const (
	migrationStarting  = "starting"
	migrationMigrating = "migrating"
	migrationSuccess   = "success"
	migrationError     = "error"
)

// migrating says that a volume is on its way to another pool.
func (v *Volume) migrating() bool {
	switch v.MigrationStatus {
	case "", "none", "deleting", migrationSuccess, migrationError:
		return false
	}
	return true
}

// MigrateVolume moves a volume that is not in use to another pool: "host@backend#pool", or "host@backend" where that has
// only one. Meanwhile it is in maintenance and cannot be attached, whatever the last argument (lock) says; contents are always
// copied, as the one before it (force) asks.
func (s *Service) MigrateVolume(ctx context.Context, scope Scope, id string, host, cluster string, _, _ bool) error {
	if err := mustAdmin(scope, "volume_extension:volume_admin_actions:migrate_volume"); err != nil {
		return err
	}
	if cluster != "" {
		return fault.Wrap(ErrInvalid, "Invalid host: No available service named '%.255s'", cluster)
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		target, err := s.servingPool(tx, host)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
			return fault.Wrap(ErrInvalid, "Invalid host: No available service named '%.255s'", host)
		}
		if err != nil {
			return err
		}
		snapshots, err := s.snapshots.Count(tx, record.Eq("volume", id))
		if err != nil {
			return err
		}
		if v.Status != Available || v.migrating() || snapshots > 0 || v.GroupID != "" || target.Name == v.Host {
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s status must be available, must not be migrating, have snapshots, be replicated, be part of a group and destination host/cluster must be different than the current one", id)
		}
		return s.beginMigration(tx, scope, v, Maintenance, job{Target: target.Name})
	})
}

// beginMigration has the volume's agent copy it to the job's target; the status is the volume's meanwhile.
func (s *Service) beginMigration(tx *record.Tx, scope Scope, v *Volume, status Status, j job) error {
	j.ID, j.VolumeID, j.Action, j.Host, j.Before = v.ID, v.ID, jobMigrate, v.Host, v.Status
	j.NewID, j.OldName, j.StartedAt = uuid.NewString(), v.key(), s.now()
	j.ProjectID, j.RequestID = v.ProjectID, scope.RequestID
	v.PreviousStatus, v.Status, v.MigrationStatus, v.UpdatedAt = v.Status, status, migrationStarting, s.now()
	return errors.Join(s.volumes.Update(tx, v), s.startJob(tx, j))
}

// localAgent is the agent of a pool if it runs in this process.
func (s *Service) localAgent(host string) *Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agents[host]
}

// migrate does the job of MigrateVolume and Retype, or what of it is this agent's: the copy is recorded as the volume when it
// is durable, and only then the old one goes.
func (a *Agent) migrate(ctx context.Context, j *job) error {
	switch {
	case j.Step == stepLand:
		return a.land(ctx, j)
	case j.Step == stepArrive:
		return a.arrive(ctx, j)
	case j.Step == stepClear:
		return a.clearAway(ctx, j)
	case j.Ready:
		return a.dropOld(ctx, j)
	}
	s := a.service
	v, err := s.volumes.Get(s.store.Read(ctx), j.VolumeID)
	if err != nil {
		return err
	}
	keyID, err := a.copyKey(ctx, j, v)
	if err != nil {
		return err
	}
	b := s.localAgent(j.Target)
	if b == nil || j.Reached != nil {
		return a.copyFar(ctx, j, v, keyID)
	}
	to, err := b.makeCopy(ctx, j, v, keyID)
	if err != nil {
		return err
	}
	err = a.copyTo(ctx, j, v, to, holesStay(v, keyID))
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	if err := s.store.Update(ctx, func(tx *record.Tx) error { return s.moved(tx, j) }); err != nil {
		return err
	}
	return a.dropOld(ctx, j)
}

// copyKey is the key of the copy: that of the volume, unless the new type says otherwise.
func (a *Agent) copyKey(ctx context.Context, j *job, v *Volume) (string, error) {
	s := a.service
	if j.TypeID == "" || j.KeyID != "" {
		if j.KeyID != "" {
			return j.KeyID, nil
		}
		return v.EncryptionKeyID, nil
	}
	t, err := s.types.Get(s.store.Read(ctx), j.TypeID)
	if err != nil || t.Encryption == nil {
		return "", err
	}
	if v.EncryptionKeyID != "" {
		return v.EncryptionKeyID, nil
	}
	key, err := s.newKey(ctx, v.ProjectID, t)
	if err != nil {
		return "", err
	}
	return key, s.reached(ctx, j, func(j *job) { j.KeyID = key })
}

// makeCopy makes the volume that becomes the copy, and opens it.
func (a *Agent) makeCopy(ctx context.Context, j *job, v *Volume, keyID string) (driver.Device, error) {
	defer a.turn(j.NewID)()
	if err := a.applyCopy(ctx, j, v, keyID); err != nil {
		return nil, err
	}
	return a.openPlain(ctx, j.NewID, driver.ReadWrite, keyID)
}

// holesStay says that where nothing was ever written to the volume, nothing need be to its copy: guests find zeroes in both, or in both
// what a key makes of nothing. Only a copy that is encrypted from one that is not has its zeroes written.
func holesStay(v *Volume, keyID string) bool { return keyID == "" || v.EncryptionKeyID != "" }

// applyCopy makes the volume that becomes the copy.
func (a *Agent) applyCopy(ctx context.Context, j *job, v *Volume, keyID string) error {
	passphrase, err := a.service.passphrase(ctx, keyID)
	if err != nil {
		return err
	}
	return a.volumes.Apply(ctx, driver.Volume{ID: j.NewID, Bytes: int64(v.SizeGiB) * gib, Passphrase: passphrase})
}

func (a *Agent) copyTo(ctx context.Context, j *job, v *Volume, to driver.Device, fresh bool) error {
	s := a.service
	from, err := a.openPlain(ctx, v.key(), driver.ReadOnly, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	size := from.Size()
	if to.Size() < size {
		err = fault.Wrap(ErrInvalid, "pool %s makes volumes of %d bytes from such of %d", j.Target, to.Size(), size)
	} else {
		err = copyDevice(ctx, from, to, fresh, j.Next, size, func(next int64) error {
			return s.store.Update(ctx, func(tx *record.Tx) error { return s.migrated(tx, j, next, size) })
		})
	}
	return errors.Join(err, from.Close())
}

// migrated records how far a copy is.
func (s *Service) migrated(tx *record.Tx, j *job, next, size int64) error {
	if _, err := s.current(tx, j); err != nil {
		return err
	}
	now, err := s.jobs.Touch(tx, j.ID, func(now *job) error {
		now.Next = next
		return nil
	})
	if err != nil {
		return err
	}
	*j = *now
	_, err = s.volumes.Touch(tx, j.VolumeID, func(v *Volume) error {
		v.MigrationStatus, v.Progress = migrationMigrating, int(100*next/max(size, 1))
		return nil
	})
	return err
}

// moved makes the copy the volume.
func (s *Service) moved(tx *record.Tx, j *job) error {
	if _, err := s.current(tx, j); err != nil {
		return err
	}
	v, err := s.volumes.Get(tx, j.VolumeID)
	if err != nil {
		return err
	}
	p, err := s.pools.Get(tx, j.Target)
	if err != nil {
		return err
	}
	oldKey := ""
	if j.TypeID != "" {
		t, err := s.types.Get(tx, j.TypeID)
		if err != nil {
			return err
		}
		if t.Encryption == nil {
			oldKey, v.EncryptionKeyID = v.EncryptionKeyID, ""
		} else if j.KeyID != "" {
			v.EncryptionKeyID = j.KeyID
		}
		v.become(t)
	}
	if p.Name != v.Host {
		v.MigrationStatus, v.Zone = migrationSuccess, p.Zone
	} else {
		v.MigrationStatus = ""
	}
	from := v.Host
	v.Host, v.KeptAs, v.Progress = p.Name, j.NewID, 100
	if v.Status, err = s.idleStatus(tx, v, j.Before); err != nil {
		return err
	}
	v.UpdatedAt = s.now()
	if err := s.volumes.Update(tx, v); err != nil {
		return err
	}
	now, err := s.jobs.Modify(tx, j.ID, func(now *job) error {
		now.Ready, now.KeyID = true, oldKey // from now on what is to be dropped
		now.Host, now.Step, now.Reached = from, stepCopy, nil
		return nil
	})
	if err == nil {
		*j = *now
	}
	return err
}

// become gives the volume a type.
func (v *Volume) become(t *Type) {
	v.TypeID, v.TypeName = t.ID, t.Name
	v.Multiattach, v.Encrypted = t.asks("multiattach"), t.Encryption != nil
}

// dropOld removes what the volume was before it moved. It is tried until it is done.
func (a *Agent) dropOld(ctx context.Context, j *job) error {
	if err := a.dropVolume(ctx, j.OldName); err != nil {
		return err
	}
	if err := a.service.dropKey(ctx, j.KeyID); err != nil {
		return err
	}
	return a.service.finish(ctx, j, func(*record.Tx) error { return nil })
}

func (a *Agent) dropVolume(ctx context.Context, name string) error {
	defer a.turn(name)()
	return a.volumes.Remove(ctx, name)
}

// failMigrate ends a migration that has failed: the volume is where it was, and what there is of the copy goes.
func (a *Agent) failMigrate(ctx context.Context, j *job, cause error) error {
	s := a.service
	if j.Ready {
		return fmt.Errorf("the old copy of volume %s: %w", j.VolumeID, cause) // it moved, and must not be leaked
	}
	b := s.localAgent(j.Target)
	switch {
	case j.Step != stepCopy:
		return a.clearAway(ctx, j)
	case b == nil || j.Reached != nil:
		return s.pass(ctx, j, j.Target, stepClear, nil)
	}
	if err := b.dropVolume(ctx, j.NewID); err != nil {
		return err
	}
	return s.endFailed(ctx, j)
}

// endFailed ends a migration of whose copy nothing is left.
func (s *Service) endFailed(ctx context.Context, j *job) error {
	err := s.finish(ctx, j, func(tx *record.Tx) error {
		v, err := s.volumes.Get(tx, j.VolumeID)
		if err != nil {
			return err
		}
		v.MigrationStatus, v.Progress, v.UpdatedAt = migrationError, 0, s.now()
		if v.Status, err = s.idleStatus(tx, v, j.Before); err != nil {
			return err
		}
		return s.volumes.Update(tx, v)
	})
	if err != nil {
		return err
	}
	return s.dropKey(ctx, j.KeyID)
}
