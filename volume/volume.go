package volume

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Status is what a volume is doing, in Cinder's words.
type Status string

// The statuses of volumes; snapshots, groups and backups have some of them too.
const (
	Creating        Status = "creating"
	Downloading     Status = "downloading"
	Available       Status = "available"
	Reserved        Status = "reserved"
	Attaching       Status = "attaching"
	InUse           Status = "in-use"
	Detaching       Status = "detaching"
	Maintenance     Status = "maintenance"
	Deleting        Status = "deleting"
	Errored         Status = "error"
	ErrorDeleting   Status = "error_deleting"
	Extending       Status = "extending"
	ErrorExtending  Status = "error_extending"
	BackingUp       Status = "backing-up"
	ErrorBackingUp  Status = "error_backing-up"
	RestoringBackup Status = "restoring-backup"
	ErrorRestoring  Status = "error_restoring"
	Reverting       Status = "reverting"
	Retyping        Status = "retyping"
	Uploading       Status = "uploading"
	AwaitingTransf  Status = "awaiting-transfer"
	Managing        Status = "managing"
	ErrorManaging   Status = "error_managing"
	Unmanaging      Status = "unmanaging"
	ErrorUnmanaging Status = "error_unmanaging"
	Restoring       Status = "restoring"
)

// The values of [Volume.AttachStatus].
const (
	Attached = "attached"
	Detached = "detached"
)

// TaskKind is something that an agent has to do with a volume or snapshot.
type TaskKind string

// The tasks.
const (
	TaskCreate  TaskKind = "create"
	TaskExtend  TaskKind = "extend"
	TaskDelete  TaskKind = "delete"
	TaskRevert  TaskKind = "revert"
	TaskReimage TaskKind = "reimage"
)

// Task is what the agent of a volume's pool has to do with it; the zero value is nothing.
type Task struct {
	Kind TaskKind `json:",omitempty"`
	// ID is what else it is about: the snapshot to go back to, or the new image.
	ID string `json:",omitempty"`
	// SizeGiB is what the volume grows to.
	SizeGiB int `json:",omitempty"`
	// Before is the status to return to.
	Before Status `json:",omitempty"`
	// RequestID is the request that wanted it, for messages.
	RequestID string `json:",omitempty"`
}

// Volume is a disk that outlives servers.
type Volume struct {
	ID, ProjectID, UserID string
	Name, Description     string
	SizeGiB               int
	Status                Status
	// PreviousStatus is the one before a backup began.
	PreviousStatus Status
	// MigrationStatus is empty for a volume that was never moved.
	MigrationStatus string
	// AttachStatus is [Attached] or [Detached].
	AttachStatus string
	Zone         string
	// TypeID and TypeName are its type's.
	TypeID   string
	TypeName string `json:"-"`
	// SnapshotID, SourceVolumeID, ImageID and BackupID are what it was made from; at most one is set.
	SnapshotID, SourceVolumeID, ImageID, BackupID string
	Bootable, ReadOnly, Multiattach, Encrypted    bool
	EncryptionKeyID                               string
	Metadata, AdminMetadata                       map[string]string
	// ImageMetadata is what is known of the image that it was made from; nil without one.
	ImageMetadata map[string]string
	// Host is the pool that keeps it, "host@backend#pool"; empty until it is scheduled.
	Host string
	// GroupID is the group that it is in; empty for none.
	GroupID string
	// KeptAs is the identifier under which the pool keeps it where that is another (after a migration); empty is ID.
	KeptAs string
	// FreeOfQuota volumes do not count.
	FreeOfQuota bool
	// Hints are its maker's wishes for the scheduler, Tried the pools that turned out to be full, while it is made.
	Hints Hints    `json:",omitzero"`
	Tried []string `json:",omitempty"`
	// Progress is how much of the content has been copied, in percent.
	Progress int
	// Task is what is being done with it.
	Task Task
	// Attachments are its attachments, those that are being made too.
	Attachments []Attachment `json:"-"`

	CreatedAt, UpdatedAt time.Time
	LaunchedAt           *time.Time
	Revision             int64
}

// ConsumesQuota says that the volume counts.
func (v *Volume) ConsumesQuota() bool { return !v.FreeOfQuota }

// key is the identifier that the driver knows the volume by.
func (v *Volume) key() string {
	if v.KeptAs != "" {
		return v.KeptAs
	}
	return v.ID
}

const gib = 1 << 30

const volumesKind = "volumes"

var volumeSpec = record.Spec[Volume]{
	Key:      func(v *Volume) string { return v.ID },
	Revision: func(v *Volume) *int64 { return &v.Revision },
	Host:     "host",
	Event: func(v *Volume) record.Event {
		return record.Event{Type: "volume", Project: v.ProjectID, Status: string(v.Status)}
	},
	Unindexed: []string{"size", "bootable", "zone", "updated", "counted", "owner", "migration", "backend", "attached", "multiattach", "encrypted"},
	Indexes:   [][]string{{"project", "created", "id"}, {"created", "id"}},
	Columns: []record.Column[Volume]{
		{Name: "project", Value: func(v *Volume) any { return v.ProjectID }},
		{Name: "owner", Value: func(v *Volume) any { return v.UserID }},
		{Name: "name", Value: func(v *Volume) any { return v.Name }},
		{Name: "status", Value: func(v *Volume) any { return string(v.Status) }},
		{Name: "size", Value: func(v *Volume) any { return int64(v.SizeGiB) }},
		{Name: "type", Value: func(v *Volume) any { return optional(v.TypeID) }},
		{Name: "host", Value: func(v *Volume) any { return v.Host }},
		{Name: "backend", Value: func(v *Volume) any { return backendOf(v.Host) }},
		{Name: "zone", Value: func(v *Volume) any { return optional(v.Zone) }},
		{Name: "snapshot", Value: func(v *Volume) any { return optional(v.SnapshotID) }},
		{Name: "source", Value: func(v *Volume) any { return optional(v.SourceVolumeID) }},
		{Name: "image", Value: func(v *Volume) any { return optional(v.ImageID) }},
		{Name: "grp", Value: func(v *Volume) any { return optional(v.GroupID) }},
		{Name: "task", Value: func(v *Volume) any { return optional(string(v.Task.Kind)) }},
		{Name: "bootable", Value: func(v *Volume) any { return v.Bootable }},
		{Name: "multiattach", Value: func(v *Volume) any { return v.Multiattach }},
		{Name: "encrypted", Value: func(v *Volume) any { return v.Encrypted }},
		{Name: "attached", Value: func(v *Volume) any { return v.AttachStatus }},
		{Name: "migration", Value: func(v *Volume) any { return optional(v.MigrationStatus) }},
		{Name: "kept", Value: func(v *Volume) any { return optional(v.KeptAs) }},
		{Name: "counted", Value: func(v *Volume) any { return !v.FreeOfQuota }},
		{Name: "created", Value: func(v *Volume) any { return v.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(v *Volume) any { return v.UpdatedAt.UnixMicro() }},
	},
}

// VolumeSpec is a volume to make.
type VolumeSpec struct {
	// ID is the UUID that it gets; empty makes one up. One that is taken is [ErrConflict].
	ID                string
	Name, Description string
	// SizeGiB may be zero where the source says how large it is.
	SizeGiB int
	// Type is a type's name or identifier; empty is the source's, or the default one.
	Type string
	Zone string
	// At most one source.
	SnapshotID, SourceVolumeID, ImageID, BackupID string
	GroupID                                       string
	Metadata                                      map[string]string
	Multiattach                                   bool
	Hints                                         Hints
}

// Hints are the caller's wishes for the scheduler.
type Hints struct {
	// SameHost and DifferentHost name volumes.
	SameHost, DifferentHost []string
}

// VolumeUpdate changes what is not nil.
type VolumeUpdate struct {
	Name, Description *string
	// Metadata replaces all of it.
	Metadata map[string]string
}

// DeleteOptions say how a volume is deleted.
type DeleteOptions struct {
	// Cascade deletes its snapshots too; Force deletes whatever its status is (for admins).
	Cascade, Force bool
}

// ResetSpec sets statuses without doing anything else; empty leaves one as it is.
type ResetSpec struct {
	Status          Status
	AttachStatus    string
	MigrationStatus string
}

// VolumesSummary counts the volumes of a list.
type VolumesSummary struct {
	Count, SizeGiB int
	// Metadata holds the values of each key.
	Metadata map[string][]string
}
