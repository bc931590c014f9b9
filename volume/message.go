package volume

import (
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Message tells a project why something went wrong after its request had been accepted.
type Message struct {
	ID, ProjectID, RequestID string
	// EventID is Cinder's code, "VOLUME_VOLUME_001_002"; ActionID and DetailID are its parts.
	EventID, ActionID, DetailID string
	// ResourceType is "VOLUME", "VOLUME_SNAPSHOT" or "VOLUME_BACKUP".
	ResourceType, ResourceID string
	Level                    string
	Text                     string
	CreatedAt, ExpiresAt     time.Time
	Revision                 int64
}

var messageSpec = record.Spec[Message]{
	Key:      func(m *Message) string { return m.ID },
	Revision: func(m *Message) *int64 { return &m.Revision },
	Event: func(m *Message) record.Event {
		return record.Event{Type: "message", Project: m.ProjectID, Status: m.Level}
	},
	Indexes: [][]string{{"project", "created", "id"}},
	Columns: []record.Column[Message]{
		{Name: "project", Value: func(m *Message) any { return m.ProjectID }},
		{Name: "event", Value: func(m *Message) any { return m.EventID }},
		{Name: "resource", Value: func(m *Message) any { return m.ResourceType }},
		{Name: "about", Value: func(m *Message) any { return m.ResourceID }},
		{Name: "level", Value: func(m *Message) any { return m.Level }},
		{Name: "request", Value: func(m *Message) any { return optional(m.RequestID) }},
		{Name: "expires", Value: func(m *Message) any { return m.ExpiresAt.UnixMicro() }},
		{Name: "created", Value: func(m *Message) any { return m.CreatedAt.UnixMicro() }},
	},
}
