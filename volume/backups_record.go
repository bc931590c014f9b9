package volume

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// BackupRecord is a backup to import. URL is its description, opaque to users: JSON in base64, as Cinder's.
type BackupRecord struct{ Service, URL string }

const (
	// backupService is how the service that keeps backups calls itself; clients look for Cinder's prefix.
	backupService = "cinder.backup.drivers.swift.SwiftBackupDriver"
	maxExported   = 8 << 20
)

// exportedBackup is what is written down of a backup outside the database.
type exportedBackup struct {
	ID            string            `json:"id"`
	VolumeID      string            `json:"volume_id"`
	SnapshotID    string            `json:"snapshot_id,omitempty"`
	ParentID      string            `json:"parent_id,omitempty"`
	Name          string            `json:"display_name"`
	Description   string            `json:"display_description"`
	SizeGiB       *int              `json:"size"`
	Container     string            `json:"container"`
	Zone          string            `json:"availability_zone"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	DataTimestamp time.Time         `json:"data_timestamp"`
	KeyID         string            `json:"encryption_key_id,omitempty"`
	Content       BackupContent     `json:"content"`
	Source        BackupSource      `json:"source"`
}

func exported(b *Backup) exportedBackup {
	return exportedBackup{
		ID: b.ID, VolumeID: b.VolumeID, SnapshotID: b.SnapshotID, ParentID: b.ParentID, Name: b.Name, Description: b.Description,
		SizeGiB: &b.SizeGiB, Container: b.Container, Zone: b.Zone, Metadata: b.Metadata, DataTimestamp: b.DataTimestamp,
		KeyID: b.EncryptionKeyID, Content: b.Content, Source: b.Source,
	}
}

// ExportBackup describes a backup so that it can be imported again when the database is lost (for admins).
func (s *Service) ExportBackup(ctx context.Context, scope Scope, id string) (*BackupRecord, error) {
	if err := mustAdmin(scope, "backup:export-import"); err != nil {
		return nil, err
	}
	b, err := s.visibleBackup(s.store.Read(ctx), scope, id)
	if err != nil {
		return nil, err
	}
	if b.Status != Available {
		return nil, fault.Wrap(ErrInvalid, "Invalid backup: Backup status must be available and not %s.", b.Status)
	}
	doc, err := json.Marshal(exported(b))
	if err != nil {
		return nil, err
	}
	return &BackupRecord{Service: backupService, URL: base64.StdEncoding.EncodeToString(doc)}, nil
}

// ImportBackup makes a backup known that was exported, under the identifier that it had (for admins). It is creating until
// the store was found to have it.
func (s *Service) ImportBackup(ctx context.Context, scope Scope, from BackupRecord) (*Backup, error) {
	if err := mustAdmin(scope, "backup:backup-import"); err != nil {
		return nil, err
	}
	if err := s.needBackups(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(from.Service, "cinder.backup.drivers.") {
		return nil, fault.Wrap(ErrUnavailable, "Service %.80s could not be found.", from.Service)
	}
	e, err := decodeExported(from.URL)
	if err != nil {
		return nil, err
	}
	b := &Backup{
		ID: e.ID, ProjectID: scope.ProjectID, UserID: scope.UserID, VolumeID: e.VolumeID, SnapshotID: e.SnapshotID,
		ParentID: e.ParentID, Incremental: e.ParentID != "", Name: e.Name, Description: e.Description, Status: Creating,
		SizeGiB: *e.SizeGiB, Container: e.Container, Zone: e.Zone, Metadata: e.Metadata, DataTimestamp: e.DataTimestamp,
		EncryptionKeyID: e.KeyID, ObjectCount: len(e.Content.Pieces), Content: e.Content, Source: e.Source, CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.backups.Get(tx, b.ID); !errors.Is(err, ErrNotFound) {
			if err != nil {
				return err
			}
			return fault.Wrap(ErrInvalid, "Invalid backup: Backup already exists in database.")
		}
		if err := s.reserve(tx, scope.ProjectID, "", map[string]int{"backups": 1, "backup_gigabytes": b.SizeGiB}); err != nil {
			return err
		}
		host, err := s.hostForBackup(tx, b)
		if err != nil {
			return err
		}
		b.Host = host
		return errors.Join(s.backups.Insert(tx, b), s.startJob(tx, job{ID: b.ID, Action: jobImportBackup, Host: host, ProjectID: b.ProjectID, RequestID: scope.RequestID}))
	})
	return b, err
}

// decodeExported reads a description, and believes none of it.
func decodeExported(url string) (*exportedBackup, error) {
	if len(url) > maxExported {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Can't decode backup record.")
	}
	doc, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(url), ""))
	if err != nil {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Can't decode backup record.")
	}
	var e exportedBackup
	if err := json.Unmarshal(doc, &e); err != nil {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Can't parse backup record.")
	}
	if e.ID == "" {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Provided backup record is missing an id")
	}
	if e.SizeGiB == nil {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Provided backup record is missing size attribute")
	}
	if !e.plausible() {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Provided backup record makes no sense")
	}
	return &e, nil
}

// plausible says whether a backup of this service can be so.
func (e *exportedBackup) plausible() bool {
	c := &e.Content
	for _, id := range []string{e.ID, e.VolumeID} {
		if uuid.Validate(id) != nil || strings.ToLower(id) != id {
			return false
		}
	}
	if e.ParentID == e.ID || *e.SizeGiB <= 0 || *e.SizeGiB > 1<<20 || e.Container == "" || c.ProjectID == "" {
		return false
	}
	if c.Chunk < backupBlock || c.Chunk > maxChunk || c.Chunk%backupBlock != 0 || c.Bytes <= 0 || c.Bytes > 1<<50 {
		return false
	}
	if !strings.HasPrefix(c.Prefix, "volume_"+e.VolumeID+"/") || strings.Contains(c.Prefix, "..") || len(c.Prefix) > 512 {
		return false
	}
	pieces := pieceCount(c.Bytes, c.Chunk)
	if c.Next != pieces || len(c.Pieces) > pieces || !slices.IsSorted(c.Pieces) || len(slices.Compact(slices.Clone(c.Pieces))) != len(c.Pieces) {
		return false
	}
	return len(c.Pieces) == 0 || c.Pieces[0] >= 0 && c.Pieces[len(c.Pieces)-1] < pieces
}
