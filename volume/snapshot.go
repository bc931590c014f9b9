package volume

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Snapshot is a moment of a volume.
type Snapshot struct {
	ID, VolumeID, ProjectID, UserID string
	Name, Description               string
	// SizeGiB is the volume's at that moment.
	SizeGiB int
	Status  Status
	// Progress is in percent.
	Progress        int
	Metadata        map[string]string
	GroupSnapshotID string
	TypeID          string
	EncryptionKeyID string
	// Host is the volume's pool.
	Host string
	// FreeOfQuota snapshots do not count.
	FreeOfQuota          bool
	Task                 Task
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

// ConsumesQuota says that the snapshot counts.
func (p *Snapshot) ConsumesQuota() bool { return !p.FreeOfQuota }

const snapshotsKind = "snapshots"

var snapshotSpec = record.Spec[Snapshot]{
	Key:      func(p *Snapshot) string { return p.ID },
	Revision: func(p *Snapshot) *int64 { return &p.Revision },
	Host:     "host",
	Event: func(p *Snapshot) record.Event {
		return record.Event{Type: "snapshot", Project: p.ProjectID, Status: string(p.Status)}
	},
	Unindexed: []string{"size", "updated", "counted", "owner"},
	Indexes:   [][]string{{"project", "created", "id"}, {"created", "id"}},
	Columns: []record.Column[Snapshot]{
		{Name: "project", Value: func(p *Snapshot) any { return p.ProjectID }},
		{Name: "owner", Value: func(p *Snapshot) any { return p.UserID }},
		{Name: "volume", Value: func(p *Snapshot) any { return p.VolumeID }},
		{Name: "name", Value: func(p *Snapshot) any { return p.Name }},
		{Name: "status", Value: func(p *Snapshot) any { return string(p.Status) }},
		{Name: "size", Value: func(p *Snapshot) any { return int64(p.SizeGiB) }},
		{Name: "type", Value: func(p *Snapshot) any { return optional(p.TypeID) }},
		{Name: "host", Value: func(p *Snapshot) any { return p.Host }},
		{Name: "grp", Value: func(p *Snapshot) any { return optional(p.GroupSnapshotID) }},
		{Name: "task", Value: func(p *Snapshot) any { return optional(string(p.Task.Kind)) }},
		{Name: "counted", Value: func(p *Snapshot) any { return !p.FreeOfQuota }},
		{Name: "created", Value: func(p *Snapshot) any { return p.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(p *Snapshot) any { return p.UpdatedAt.UnixMicro() }},
	},
}

// SnapshotSpec is a snapshot to take.
type SnapshotSpec struct {
	VolumeID, Name, Description string
	// Force takes it of a volume that is in use.
	Force    bool
	Metadata map[string]string
}

// SnapshotUpdate changes what is not nil.
type SnapshotUpdate struct {
	Name, Description *string
	Metadata          map[string]string
}
