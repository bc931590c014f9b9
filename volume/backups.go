package volume

import (
	"context"
	"time"
)

// Backup is a copy of a volume's content elsewhere.
type Backup struct {
	ID, ProjectID, UserID string
	VolumeID, SnapshotID  string
	Name, Description     string
	Status                Status
	SizeGiB               int
	Container             string
	ObjectCount           int
	ParentID              string
	Incremental           bool
	HasDependents         bool
	Metadata              map[string]string
	Zone, FailReason      string
	DataTimestamp         time.Time
	EncryptionKeyID       string
	CreatedAt, UpdatedAt  time.Time
	Revision              int64
}

// BackupSpec is a backup to make.
type BackupSpec struct {
	VolumeID, SnapshotID, Name, Description, Container, Zone string
	Incremental, Force                                       bool
	Metadata                                                 map[string]string
}

// BackupUpdate changes what is not nil.
type BackupUpdate struct {
	Name, Description *string
	Metadata          map[string]string
}

// RestoreSpec says where a backup is restored to: a volume, or a new one of that name.
type RestoreSpec struct{ VolumeID, Name string }

// Restore is a restoration that has begun.
type Restore struct{ BackupID, VolumeID, VolumeName string }

// BackupRecord is a backup to import.
type BackupRecord struct{ Service, URL string }

// CreateBackup makes a backup.
func (s *Service) CreateBackup(ctx context.Context, scope Scope, spec BackupSpec) (*Backup, error) {
	return nil, unsupported("CreateBackup")
}

// Backup returns a backup.
func (s *Service) Backup(ctx context.Context, scope Scope, id string) (*Backup, error) {
	return nil, unsupported("Backup")
}

// Backups lists backups.
func (s *Service) Backups(ctx context.Context, scope Scope, options ListOptions) ([]Backup, error) {
	return nil, unsupported("Backups")
}

// CountBackups counts backups.
func (s *Service) CountBackups(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	return 0, unsupported("CountBackups")
}

// UpdateBackup changes a backup.
func (s *Service) UpdateBackup(ctx context.Context, scope Scope, id string, update BackupUpdate) (*Backup, error) {
	return nil, unsupported("UpdateBackup")
}

// DeleteBackup deletes a backup.
func (s *Service) DeleteBackup(ctx context.Context, scope Scope, id string, force bool) error {
	return unsupported("DeleteBackup")
}

// RestoreBackup gives a volume a backup's content.
func (s *Service) RestoreBackup(ctx context.Context, scope Scope, id string, spec RestoreSpec) (*Restore, error) {
	return nil, unsupported("RestoreBackup")
}

// ResetBackup sets a backup's status (for admins).
func (s *Service) ResetBackup(ctx context.Context, scope Scope, id string, status Status) error {
	return unsupported("ResetBackup")
}

// ExportBackup describes a backup.
func (s *Service) ExportBackup(ctx context.Context, scope Scope, id string) (*BackupRecord, error) {
	return nil, unsupported("ExportBackup")
}

// ImportBackup makes a backup known that was exported.
func (s *Service) ImportBackup(ctx context.Context, scope Scope, record BackupRecord) (*Backup, error) {
	return nil, unsupported("ImportBackup")
}
