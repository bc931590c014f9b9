package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Backup is a copy of a volume's content elsewhere.
type Backup struct {
	ID, ProjectID, UserID string
	VolumeID, SnapshotID  string
	Name, Description     string
	// Status is creating, available, restoring, deleting, error or error_deleting.
	Status      Status
	SizeGiB     int
	Container   string
	ObjectCount int
	// ParentID is the backup that an incremental one builds on.
	ParentID    string
	Incremental bool
	// HasDependents says that others build on it.
	HasDependents bool `json:"-"`
	Metadata      map[string]string
	Zone          string
	FailReason    string
	// DataTimestamp is the moment of the content.
	DataTimestamp   time.Time
	EncryptionKeyID string
	// RestoreVolumeID is what it was restored to last.
	RestoreVolumeID      string
	CreatedAt, UpdatedAt time.Time

	// Host is the pool whose agent made it.
	Host string
	// Content says where the content is, and Source what the volume was like.
	Content  BackupContent
	Source   BackupSource
	Revision int64
}

// BackupContent says where the objects of a backup are.
type BackupContent struct {
	// ProjectID and the backup's Container have the objects, whose names begin with Prefix.
	ProjectID, Prefix string
	// Bytes is the size of the content; Chunk how much of it an object covers.
	Bytes, Chunk int64
	// Next is the first piece that is not done yet, and Pieces are those done that have an object.
	Next   int
	Pieces []int
}

// BackupSource is what a new volume takes over from the one that was backed up.
type BackupSource struct {
	Name, Description       string
	TypeID                  string
	Bootable                bool
	Metadata, ImageMetadata map[string]string
}

var backupSpec = record.Spec[Backup]{
	Key:      func(b *Backup) string { return b.ID },
	Revision: func(b *Backup) *int64 { return &b.Revision },
	Event: func(b *Backup) record.Event {
		return record.Event{Type: "backup", Project: b.ProjectID, Status: string(b.Status)}
	},
	Columns: []record.Column[Backup]{
		{Name: "project", Value: func(b *Backup) any { return b.ProjectID }},
		{Name: "volume", Value: func(b *Backup) any { return b.VolumeID }},
		{Name: "snapshot", Value: func(b *Backup) any { return optional(b.SnapshotID) }},
		{Name: "parent", Value: func(b *Backup) any { return optional(b.ParentID) }},
		{Name: "prefix", Value: func(b *Backup) any { return optional(b.Content.Prefix) }},
		{Name: "name", Value: func(b *Backup) any { return b.Name }},
		{Name: "status", Value: func(b *Backup) any { return string(b.Status) }},
		{Name: "size", Value: func(b *Backup) any { return int64(b.SizeGiB) }},
		{Name: "container", Value: func(b *Backup) any { return optional(b.Container) }},
		{Name: "zone", Value: func(b *Backup) any { return optional(b.Zone) }},
		{Name: "moment", Value: func(b *Backup) any { return b.DataTimestamp.UnixMicro() }},
		{Name: "created", Value: func(b *Backup) any { return b.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(b *Backup) any { return b.UpdatedAt.UnixMicro() }},
	},
	Unindexed: []string{"size", "container", "zone", "moment", "updated"},
}

var backupKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "status": "status", "volume_id": "volume", "snapshot_id": "snapshot", "parent_id": "parent", "container": "container", "availability_zone": "zone",
}, numbers: map[string]string{"size": "size", "data_timestamp": "moment", "created_at": "created", "updated_at": "updated"}}

// BackupSpec is a backup to make.
type BackupSpec struct {
	// VolumeID is what is backed up, as it is or, with SnapshotID, as it was then.
	VolumeID, SnapshotID string
	Name, Description    string
	// Container is where the objects are put; "volumebackups" by default.
	Container, Zone string
	// Incremental keeps what differs from the newest backup; Force backs up a volume that is in use.
	Incremental, Force bool
	Metadata           map[string]string
}

// BackupUpdate changes what is not nil.
type BackupUpdate struct {
	Name, Description *string
	Metadata          map[string]string
}

// defaultContainer is Cinder's (backup_swift_container).
const defaultContainer = "volumebackups"

func (s *Service) needBackups() error {
	if s.options.Backups == nil {
		return fault.Wrap(ErrUnavailable, "Service cinder-backup could not be found.")
	}
	return nil
}

// CreateBackup has a volume or snapshot backed up: meanwhile it is backing-up.
func (s *Service) CreateBackup(ctx context.Context, scope Scope, spec BackupSpec) (*Backup, error) {
	if err := s.needBackups(); err != nil {
		return nil, err
	}
	if err := checkKeys(spec.Metadata); err != nil {
		return nil, err
	}
	var b *Backup
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, p, err := s.backedUp(tx, scope, spec)
		if err != nil {
			return err
		}
		if err := s.reserve(tx, scope.ProjectID, "", map[string]int{"backups": 1, "backup_gigabytes": v.SizeGiB}); err != nil {
			return err
		}
		b = s.newBackup(scope, spec, v)
		j := job{ID: b.ID, Action: jobBackUp, Host: v.Host, VolumeID: v.ID, ProjectID: b.ProjectID, RequestID: scope.RequestID}
		if p != nil {
			b.DataTimestamp, b.SizeGiB, b.EncryptionKeyID = p.CreatedAt, p.SizeGiB, p.EncryptionKeyID
			p.Status, p.UpdatedAt, j.SnapshotID = BackingUp, s.now(), p.ID
			err = s.snapshots.Update(tx, p)
		} else {
			j.Live, j.Before = v.Status == InUse, v.Status
			v.PreviousStatus, v.Status, v.UpdatedAt = v.Status, BackingUp, s.now()
			err = s.volumes.Update(tx, v)
		}
		if err != nil {
			return err
		}
		if err := s.chooseParent(tx, b, spec); err != nil {
			return err
		}
		return errors.Join(s.backups.Insert(tx, b), s.startJob(tx, j))
	})
	return b, err
}

// backedUp is what is to be backed up: a snapshot is nil where it is the volume itself.
func (s *Service) backedUp(tx *record.Tx, scope Scope, spec BackupSpec) (*Volume, *Snapshot, error) {
	v, err := s.visibleVolume(tx, scope, spec.VolumeID)
	if err != nil {
		return nil, nil, err
	}
	if spec.SnapshotID == "" {
		switch {
		case v.Status != Available && v.Status != InUse:
			return nil, nil, fault.Wrap(ErrInvalid, "Invalid volume: Volume to be backed up must be available or in-use, but the current status is \"%s\".", v.Status)
		case v.Status == InUse && !spec.Force:
			return nil, nil, fault.Wrap(ErrInvalid, "Invalid volume: Backing up an in-use volume must use the force flag.")
		}
		return v, nil, nil
	}
	p, err := s.snapshots.Get(tx, spec.SnapshotID)
	if err == nil && !scope.sees(p.ProjectID) {
		err = ErrNotFound
	}
	switch {
	case err != nil:
		return nil, nil, notFound(err, "Snapshot %s could not be found.", spec.SnapshotID)
	case p.VolumeID != v.ID:
		return nil, nil, fault.Wrap(ErrInvalid, "Invalid volume: Volume %s does not match with snapshot.volume_id %s.", v.ID, p.VolumeID)
	case p.Status != Available:
		return nil, nil, fault.Wrap(ErrInvalid, "Invalid snapshot: Snapshot to be backed up must be available, but the current status is \"%s\".", p.Status)
	}
	return v, p, nil
}

func (s *Service) newBackup(scope Scope, spec BackupSpec, v *Volume) *Backup {
	b := &Backup{
		ID: uuid.NewString(), ProjectID: scope.ProjectID, UserID: scope.UserID, VolumeID: v.ID, SnapshotID: spec.SnapshotID,
		Name: spec.Name, Description: spec.Description, Status: Creating, SizeGiB: v.SizeGiB, Container: spec.Container,
		Metadata: spec.Metadata, Zone: spec.Zone, EncryptionKeyID: v.EncryptionKeyID, Host: v.Host, CreatedAt: s.now(),
		Source: BackupSource{Name: v.Name, Description: v.Description, TypeID: v.TypeID, Bootable: v.Bootable, Metadata: v.Metadata, ImageMetadata: v.ImageMetadata},
	}
	b.UpdatedAt, b.DataTimestamp = b.CreatedAt, b.CreatedAt
	if b.Container == "" {
		b.Container = defaultContainer
	}
	if b.Zone == "" {
		b.Zone = v.Zone
	}
	b.Content = BackupContent{ProjectID: b.ProjectID, Chunk: defaultBackupChunk}
	b.Content.Prefix = fmt.Sprintf("volume_%s/%s/az_%s_backup_%s", v.ID, b.CreatedAt.Format("20060102150405"), b.Zone, b.ID)
	return b
}

// chooseParent finds what an incremental backup builds on: the newest backup of the volume of before its moment.
func (s *Service) chooseParent(tx *record.Tx, b *Backup, spec BackupSpec) error {
	if !spec.Incremental {
		return nil
	}
	where := []record.Condition{
		record.Eq("project", b.ProjectID), record.Eq("volume", b.VolumeID), record.Eq("status", string(Available)),
	}
	if spec.SnapshotID != "" {
		where = append(where, record.Lt("moment", b.DataTimestamp.UnixMicro()))
	}
	newest, err := s.backups.List(tx, record.Query{Where: where, Order: []record.Order{{Column: "moment", Descending: true}, {Column: "created", Descending: true}}, Limit: 1})
	if err != nil {
		return err
	}
	if len(newest) == 0 {
		return fault.Wrap(ErrInvalid, "Invalid backup: No backups available to do an incremental backup.")
	}
	b.ParentID, b.Incremental, b.Content.Chunk = newest[0].ID, true, newest[0].Content.Chunk
	return nil
}

// Backup returns a backup.
func (s *Service) Backup(ctx context.Context, scope Scope, id string) (*Backup, error) {
	tx := s.store.Read(ctx)
	b, err := s.visibleBackup(tx, scope, id)
	if err != nil {
		return nil, err
	}
	b.HasDependents, err = s.hasDependents(tx, id)
	return b, err
}

func (s *Service) hasDependents(tx *record.Tx, id string) (bool, error) {
	n, err := s.backups.Count(tx, record.Eq("parent", id))
	return n > 0, err
}

func (s *Service) visibleBackup(tx *record.Tx, scope Scope, id string) (*Backup, error) {
	b, err := s.backups.Get(tx, id)
	if err == nil && !scope.sees(b.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Backup %s could not be found.", id)
	}
	return b, nil
}

// Backups lists backups.
func (s *Service) Backups(ctx context.Context, scope Scope, options ListOptions) ([]Backup, error) {
	tx := s.store.Read(ctx)
	all, err := find(tx, s.backups, backupKeys, scope, options, backupLabels)
	if err != nil || len(all) == 0 {
		return all, err
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	parents, err := s.backups.Texts(tx, "parent", record.In("parent", ids...))
	if err != nil {
		return nil, err
	}
	having := map[string]bool{}
	for _, id := range parents {
		having[id] = true
	}
	for i := range all {
		all[i].HasDependents = having[all[i].ID]
	}
	return all, nil
}

// CountBackups counts what Backups lists without Limit, Offset and Marker.
func (s *Service) CountBackups(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	return count(s.store.Read(ctx), s.backups, backupKeys, scope, options, backupLabels)
}

func backupLabels(b *Backup) (string, map[string]string) { return b.ID, b.Metadata }

// UpdateBackup changes a backup's name, description or metadata.
func (s *Service) UpdateBackup(ctx context.Context, scope Scope, id string, update BackupUpdate) (*Backup, error) {
	if err := checkKeys(update.Metadata); err != nil {
		return nil, err
	}
	var changed *Backup
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		b, err := s.visibleBackup(tx, scope, id)
		if err != nil {
			return err
		}
		if update.Name != nil {
			b.Name = *update.Name
		}
		if update.Description != nil {
			b.Description = *update.Description
		}
		if update.Metadata != nil {
			b.Metadata = update.Metadata
		}
		b.UpdatedAt = s.now()
		changed = b
		return s.backups.Update(tx, b)
	})
	return changed, err
}

// DeleteBackup has a backup's objects deleted: it is gone when they are. Force ends whatever is being done with it.
func (s *Service) DeleteBackup(ctx context.Context, scope Scope, id string, force bool) error {
	if err := s.needBackups(); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		b, err := s.visibleBackup(tx, scope, id)
		if err != nil {
			return err
		}
		if !force && b.Status != Available && b.Status != Errored {
			return fault.Wrap(ErrInvalid, "Invalid backup: Backup status must be available or error")
		}
		dependents, err := s.hasDependents(tx, id)
		if err != nil {
			return err
		}
		if dependents {
			return fault.Wrap(ErrInvalid, "Invalid backup: Incremental backups exist for this backup.")
		}
		host, err := s.hostForBackup(tx, b)
		if err != nil {
			return err
		}
		if err := s.interruptBackup(tx, b); err != nil {
			return err
		}
		b.Status, b.UpdatedAt = Deleting, s.now()
		if err := s.backups.Update(tx, b); err != nil {
			return err
		}
		return s.startJob(tx, job{ID: b.ID, Action: jobDeleteBackup, Host: host, VolumeID: b.VolumeID, ProjectID: b.ProjectID, RequestID: scope.RequestID})
	})
}

// interruptBackup gives back what the job of a backup holds that is to be deleted in the midst of it.
func (s *Service) interruptBackup(tx *record.Tx, b *Backup) error {
	j, err := s.jobs.Get(tx, b.ID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	switch j.Action {
	case jobBackUp:
		return s.releaseSource(tx, j, "")
	case jobRestore:
		return s.endRestore(tx, j, ErrorRestoring)
	}
	return nil
}

// ResetBackup sets a backup's status (for admins): "available" or "error".
func (s *Service) ResetBackup(ctx context.Context, scope Scope, id string, status Status) error {
	if err := mustAdmin(scope, "volume_extension:backup_admin_actions:reset_status"); err != nil {
		return err
	}
	if status != Available && status != Errored {
		return fault.Wrap(ErrInvalid, "Invalid input for field/attribute status. Value: %.40s. '%.40s' is not one of ['available', 'error']", status, status)
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		b, err := s.visibleBackup(tx, scope, id)
		if err != nil {
			return err
		}
		b.Status, b.UpdatedAt = status, s.now()
		return s.backups.Update(tx, b)
	})
}
