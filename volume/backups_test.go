package volume

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/stretchr/testify/require"
)

func (w *workshop) backup(spec BackupSpec) *Backup {
	w.t.Helper()
	b, err := w.service.CreateBackup(w.t.Context(), w.demo, spec)
	require.NoError(w.t, err)
	require.Equal(w.t, Creating, b.Status)
	w.work(w.t.Context())
	return w.madeBackup(b.ID)
}

func (w *workshop) madeBackup(id string) *Backup {
	w.t.Helper()
	b, err := w.service.Backup(w.t.Context(), w.demo, id)
	require.NoError(w.t, err)
	return b
}

func TestABackupIsRestoredToAnotherVolume(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(func(v *Volume) {
		v.Bootable, v.ImageMetadata, v.Metadata = true, map[string]string{"image_name": "cirros"}, map[string]string{"a": "b"}
	})
	w.scribble(v.ID, 1, 30)
	full := w.backup(BackupSpec{VolumeID: v.ID, Name: "full"})
	require.Equal(t, Available, full.Status)
	require.Equal(t, Available, w.get(v.ID).Status)
	require.Equal(t, len(full.Content.Pieces), full.ObjectCount)
	require.Len(t, w.store.names(), full.ObjectCount+1)

	w.scribble(v.ID, 2, 3)
	next := w.backup(BackupSpec{VolumeID: v.ID, Incremental: true})
	require.True(t, next.Incremental)
	require.Equal(t, full.ID, next.ParentID)
	require.LessOrEqual(t, next.ObjectCount, 6, "only what has changed is kept")
	require.True(t, w.madeBackup(full.ID).HasDependents)

	to := w.volume(func(v *Volume) { v.SizeGiB = 2 })
	w.scribble(to.ID, 3, 30)
	r, err := w.service.RestoreBackup(t.Context(), w.demo, next.ID, RestoreSpec{VolumeID: to.ID})
	require.NoError(t, err)
	require.Equal(t, &Restore{BackupID: next.ID, VolumeID: to.ID, VolumeName: "v"}, r)
	require.Equal(t, RestoringBackup, w.get(to.ID).Status)
	require.Equal(t, Restoring, w.madeBackup(next.ID).Status)
	w.work(t.Context())
	w.same(v.ID, to.ID)
	got := w.get(to.ID)
	require.Equal(t, Available, got.Status)
	require.True(t, got.Bootable)
	require.Equal(t, "cirros", got.ImageMetadata["image_name"])
	require.Equal(t, Available, w.madeBackup(next.ID).Status)
	w.nothingLeft()

	require.ErrorContains(t, w.service.DeleteBackup(t.Context(), w.demo, full.ID, false), "Incremental backups exist for this backup.")
	for _, id := range []string{next.ID, full.ID} {
		require.NoError(t, w.service.DeleteBackup(t.Context(), w.demo, id, false))
		w.work(t.Context())
		_, err = w.service.Backup(t.Context(), w.demo, id)
		require.ErrorIs(t, err, ErrNotFound)
	}
	require.Empty(t, w.store.names())
}

func TestAVolumeInUseIsBackedUpAsItWasAtOneMoment(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(func(v *Volume) { v.Status, v.AttachStatus = InUse, Attached })
	d := w.driver("one")
	w.scribble(v.ID, 1, 10)
	twin := w.volume(nil)
	w.scribble(twin.ID, 1, 10)
	_, err := d.Connect(t.Context(), driver.Connection{ID: uuid.NewString(), VolumeID: v.ID, Host: "h"})
	require.NoError(t, err)
	_, err = w.service.CreateBackup(t.Context(), w.demo, BackupSpec{VolumeID: v.ID})
	require.ErrorContains(t, err, "Backing up an in-use volume must use the force flag.")
	require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error {
		return w.service.attachments.Insert(tx, &Attachment{ID: uuid.NewString(), VolumeID: v.ID, ProjectID: "demo", Status: AttachmentAttached, Host: v.Host})
	}))

	b, err := w.service.CreateBackup(t.Context(), w.demo, BackupSpec{VolumeID: v.ID, Force: true})
	require.NoError(t, err)
	// The agent is killed after each third object: what it reads is the same moment ever after.
	kills := 0
	for w.madeBackup(b.ID).Status == Creating {
		ctx, kill := context.WithCancel(t.Context())
		puts := 0
		w.store.before = func(call, _ string) error {
			if puts++; call == "put" && puts == 3 {
				kill()
			}
			return nil
		}
		w.work(ctx)
		kill()
		w.restart("one")
		kills++
	}
	w.store.before = nil
	require.Greater(t, kills, 2)
	require.Equal(t, Available, w.madeBackup(b.ID).Status)
	require.Equal(t, InUse, w.get(v.ID).Status)
	w.nothingLeft()
	to := w.volume(nil)
	_, err = w.service.RestoreBackup(t.Context(), w.demo, b.ID, RestoreSpec{VolumeID: to.ID})
	require.NoError(t, err)
	w.work(t.Context())
	w.same(twin.ID, to.ID)
}

func TestARestorationGoesOnAfterAKill(t *testing.T) {
	w := newWorkshop(t)
	v, to := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 40)
	w.scribble(to.ID, 2, 40)
	b := w.backup(BackupSpec{VolumeID: v.ID})
	_, err := w.service.RestoreBackup(t.Context(), w.demo, b.ID, RestoreSpec{VolumeID: to.ID})
	require.NoError(t, err)
	kills := 0
	for w.get(to.ID).Status == RestoringBackup {
		ctx, kill := context.WithCancel(t.Context())
		opens := 0
		w.store.before = func(string, string) error {
			if opens++; opens == 4 {
				kill()
			}
			return nil
		}
		w.work(ctx)
		kill()
		w.restart("one")
		kills++
	}
	require.Greater(t, kills, 2)
	w.same(v.ID, to.ID)
	w.nothingLeft()
}

func TestABackupThatFailsLeavesTheVolumeAndCanBeDeleted(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(func(v *Volume) { v.Status = InUse })
	w.scribble(v.ID, 1, 40)
	puts := 0
	w.store.before = func(call, _ string) error {
		if puts++; call == "put" && puts > 4 {
			return errors.New("no room left")
		}
		return nil
	}
	b := w.backup(BackupSpec{VolumeID: v.ID, Force: true})
	require.Equal(t, Errored, b.Status)
	require.Contains(t, b.FailReason, "no room left")
	require.Equal(t, Available, w.get(v.ID).Status, "nothing is attached any more")
	require.Equal(t, ErrorBackingUp, w.get(v.ID).PreviousStatus)
	messages, err := w.service.Messages(t.Context(), w.demo, ListOptions{})
	require.NoError(t, err)
	require.Len(t, messages, 1)
	require.Equal(t, "create backup:Backup driver failed to create backup.", messages[0].Text)
	w.nothingLeft()
	w.store.before = nil
	require.NoError(t, w.service.DeleteBackup(t.Context(), w.demo, b.ID, false))
	w.work(t.Context())
	require.Empty(t, w.store.names())
}

func TestABackupIsDeletedInTheMidstOfBeingMade(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(func(v *Volume) { v.Status = InUse })
	w.scribble(v.ID, 1, 40)
	b, err := w.service.CreateBackup(t.Context(), w.demo, BackupSpec{VolumeID: v.ID, Force: true})
	require.NoError(t, err)
	puts := 0
	w.store.before = func(call, _ string) error {
		if puts++; call == "put" && puts == 4 {
			require.ErrorContains(t, w.service.DeleteBackup(t.Context(), w.demo, b.ID, false), "must be available or error")
			require.NoError(t, w.service.DeleteBackup(t.Context(), w.demo, b.ID, true))
			require.Equal(t, Available, w.get(v.ID).Status)
		}
		return nil
	}
	w.work(t.Context())
	_, err = w.service.Backup(t.Context(), w.demo, b.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, w.store.names())
	w.nothingLeft()
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	w := newWorkshop(t)
	v, to := w.volume(nil), w.volume(nil)
	w.scribble(v.ID, 1, 40)
	b := w.backup(BackupSpec{VolumeID: v.ID})
	name := "demo/" + b.Container + "/" + w.service.placeOf(b).object(b.Content.Pieces[3])
	object := w.store.kept[name]
	object[len(object)/2] ^= 1
	_, err := w.service.RestoreBackup(t.Context(), w.demo, b.ID, RestoreSpec{VolumeID: to.ID})
	require.NoError(t, err)
	w.work(t.Context())
	require.Equal(t, ErrorRestoring, w.get(to.ID).Status)
	b = w.madeBackup(b.ID)
	require.Equal(t, Available, b.Status)
	require.Contains(t, b.FailReason, "the backup is damaged")
	w.nothingLeft()
}

func TestFaultsOfTheDriverAreTriedAgain(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(func(v *Volume) { v.Status = InUse })
	w.scribble(v.ID, 1, 5)
	for _, step := range []string{"snapshot apply", "volume open", "snapshot remove"} {
		w.faults.Add(inject.Fault{Step: step, Times: 2})
		b := w.backup(BackupSpec{VolumeID: v.ID, Force: true})
		require.Equal(t, Available, b.Status, step)
		w.nothingLeft()
		require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error {
			_, err := w.service.volumes.Modify(tx, v.ID, func(v *Volume) error { v.Status = InUse; return nil })
			return err
		}))
	}
}

func TestABackupIsExportedAndImported(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(nil)
	w.scribble(v.ID, 1, 5)
	b := w.backup(BackupSpec{VolumeID: v.ID, Name: "b"})
	_, err := w.service.ExportBackup(t.Context(), w.demo, b.ID)
	require.ErrorIs(t, err, ErrForbidden)
	exported, err := w.service.ExportBackup(t.Context(), w.admin, b.ID)
	require.NoError(t, err)
	_, err = w.service.ImportBackup(t.Context(), w.admin, *exported)
	require.ErrorContains(t, err, "Backup already exists in database.")
	// The database is lost.
	require.NoError(t, w.service.store.Update(t.Context(), func(tx *record.Tx) error { return w.service.backups.Delete(tx, b.ID) }))
	again, err := w.service.ImportBackup(t.Context(), w.admin, *exported)
	require.NoError(t, err)
	require.Equal(t, b.ID, again.ID)
	w.work(t.Context())
	again, err = w.service.Backup(t.Context(), w.admin, b.ID)
	require.NoError(t, err)
	require.Equal(t, Available, again.Status)
	to := w.volume(nil)
	_, err = w.service.RestoreBackup(t.Context(), w.admin, b.ID, RestoreSpec{VolumeID: to.ID})
	require.NoError(t, err)
	w.work(t.Context())
	w.same(v.ID, to.ID)
	for _, url := range []string{"", "!", "e30=", "eyJpZCI6IngifQ=="} {
		_, err = w.service.ImportBackup(t.Context(), w.admin, BackupRecord{Service: exported.Service, URL: url})
		require.ErrorIs(t, err, ErrInvalid, url)
	}
}

func TestWhatCannotBeBackedUpIsRefused(t *testing.T) {
	w := newWorkshop(t)
	v := w.volume(nil)
	_, err := w.service.CreateBackup(t.Context(), Scope{ProjectID: "other"}, BackupSpec{VolumeID: v.ID})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = w.service.CreateBackup(t.Context(), w.demo, BackupSpec{VolumeID: v.ID, Incremental: true})
	require.ErrorContains(t, err, "No backups available to do an incremental backup.")
	require.Equal(t, Available, w.get(v.ID).Status, "nothing half-made")
	_, err = w.service.SetQuota(t.Context(), "demo", map[string]int{"backup_gigabytes": 1})
	require.NoError(t, err)
	w.backup(BackupSpec{VolumeID: v.ID})
	_, err = w.service.CreateBackup(t.Context(), w.demo, BackupSpec{VolumeID: v.ID})
	require.ErrorIs(t, err, ErrQuota)
	require.ErrorContains(t, err, "Requested backup exceeds allowed Backup gigabytes quota. Requested 1G, quota is 1G and 1G has been consumed.")
	small := w.volume(func(v *Volume) { v.Status = InUse })
	backups, err := w.service.Backups(t.Context(), w.demo, ListOptions{Equal: map[string]string{"volume_id": v.ID}})
	require.NoError(t, err)
	require.Len(t, backups, 1)
	_, err = w.service.RestoreBackup(t.Context(), w.demo, backups[0].ID, RestoreSpec{VolumeID: small.ID})
	require.ErrorContains(t, err, "Volume to be restored to must be available")
}
