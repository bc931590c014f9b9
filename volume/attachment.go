package volume

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// Connector is a host that wants to use a volume, as Nova describes it.
type Connector struct {
	// Host is its name.
	Host       string
	Mountpoint string
	// Mode is "rw" or "ro"; empty is the attachment's.
	Mode      string
	Initiator string
	IP        string
	// Properties are everything that the caller said of it.
	Properties map[string]any
}

// AttachmentStatus is how far an attachment is.
type AttachmentStatus string

// The statuses of attachments.
const (
	AttachmentReserved  AttachmentStatus = "reserved"
	AttachmentAttaching AttachmentStatus = "attaching"
	AttachmentAttached  AttachmentStatus = "attached"
	AttachmentDetaching AttachmentStatus = "detaching"
	AttachmentDetached  AttachmentStatus = "detached"
	AttachmentErrored   AttachmentStatus = "error_attaching"
)

// The tasks of attachments.
const (
	TaskConnect    TaskKind = "connect"
	TaskDisconnect TaskKind = "disconnect"
)

// Attachment is one server's, or host's, use of a volume.
type Attachment struct {
	ID, VolumeID, ProjectID, UserID string
	// ServerID is empty where a host uses the volume itself; then AttachedHost names it.
	ServerID, AttachedHost string
	// Device is the name that the server gives the disk.
	Device string
	// Mode is "rw", "ro", or "null" until it is known.
	Mode   string
	Status AttachmentStatus
	// Connector is what was given last; nil for none.
	Connector *Connector
	// Target says how the connector's host reaches the volume; nil until it does.
	Target *driver.Target
	// Reason is why the connection could not be made.
	Reason string
	// Host is the volume's pool; Shared says that the volume may have others.
	Host   string
	Shared bool
	Task   TaskKind
	// Keep says that the attachment outlives the connection that is being ended.
	Keep                 bool
	AttachedAt           *time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
}

const attachmentsKind = "attachments"

var attachmentSpec = record.Spec[Attachment]{
	Key:      func(a *Attachment) string { return a.ID },
	Revision: func(a *Attachment) *int64 { return &a.Revision },
	Host:     "host",
	Event: func(a *Attachment) record.Event {
		return record.Event{Type: "volume_attachment", Project: a.ProjectID, Status: string(a.Status)}
	},
	// A volume that cannot be shared has one attachment, whoever asks at the same time.
	Claims: func(a *Attachment) []record.Claim {
		if a.Shared {
			return []record.Claim{{Space: "share", Value: a.VolumeID + "/" + a.ID}}
		}
		return []record.Claim{{Space: "volume", Value: a.VolumeID}}
	},
	Unindexed: []string{"updated"},
	Columns: []record.Column[Attachment]{
		{Name: "project", Value: func(a *Attachment) any { return a.ProjectID }},
		{Name: "volume", Value: func(a *Attachment) any { return a.VolumeID }},
		{Name: "server", Value: func(a *Attachment) any { return optional(a.ServerID) }},
		{Name: "attached", Value: func(a *Attachment) any { return optional(a.AttachedHost) }},
		{Name: "status", Value: func(a *Attachment) any { return string(a.Status) }},
		{Name: "host", Value: func(a *Attachment) any { return a.Host }},
		{Name: "task", Value: func(a *Attachment) any { return optional(string(a.Task)) }},
		{Name: "created", Value: func(a *Attachment) any { return a.CreatedAt.UnixMicro() }},
		{Name: "updated", Value: func(a *Attachment) any { return a.UpdatedAt.UnixMicro() }},
	},
}

// AttachmentSpec is an attachment to make.
type AttachmentSpec struct {
	VolumeID, ServerID string
	// Connector connects at once; without it the volume is reserved.
	Connector *Connector
	// Mode is "rw" by default, or "ro".
	Mode string
}

// AttachOptions say how a volume was attached, for [Service.AttachVolume].
type AttachOptions struct {
	// One of them.
	ServerID, Host string
	Device         string
	ReadOnly       bool
}
