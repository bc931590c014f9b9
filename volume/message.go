package volume

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/record"
)

// Message tells a project why something went wrong after its request had been accepted.
type Message struct {
	ID, ProjectID, RequestID string
	// EventID is Cinder's code, "VOLUME_VOLUME_001_003"; ActionID and DetailID are its parts.
	EventID, ActionID, DetailID string
	// ResourceType is "VOLUME", "VOLUME_SNAPSHOT" or "VOLUME_BACKUP".
	ResourceType, ResourceID string
	Level                    string
	// Text is what went wrong, "schedule allocate volume:Could not find any available weighted backend."
	Text                 string
	CreatedAt, ExpiresAt time.Time
	Revision             int64
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

var messageKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "event_id": "event", "resource_type": "resource", "resource_uuid": "about", "message_level": "level", "request_id": "request",
}, numbers: map[string]string{"created_at": "created", "guaranteed_until": "expires"}}

// What messages are about.
const (
	aboutVolume   = "VOLUME"
	aboutSnapshot = "VOLUME_SNAPSHOT"
	aboutBackup   = "VOLUME_BACKUP"
)

// messageAction and messageDetail are a code and its words, as Cinder has them.
type (
	messageAction string
	messageDetail string
)

// The actions.
const (
	actionSchedule       messageAction = "001:schedule allocate volume"
	actionAttach         messageAction = "002:attach volume"
	actionUpload         messageAction = "003:copy volume to image"
	actionConnect        messageAction = "004:update attachment"
	actionDownload       messageAction = "005:copy image to volume"
	actionUnmanage       messageAction = "006:unmanage volume"
	actionExtend         messageAction = "007:extend volume"
	actionCreate         messageAction = "008:create volume from backend storage"
	actionSnapshotCreate messageAction = "009:create snapshot"
	actionSnapshotDelete messageAction = "010:delete snapshot"
	actionBackupCreate   messageAction = "013:create backup"
	actionBackupDelete   messageAction = "014:delete backup"
	actionBackupRestore  messageAction = "015:restore backup"
	actionReimage        messageAction = "016:reimage volume"
)

// The details.
const (
	detailUnknown        messageDetail = "001:An unknown error occurred."
	detailNoBackend      messageDetail = "003:Could not find any available weighted backend."
	detailUploadFailed   messageDetail = "004:Failed to upload volume to image at backend."
	detailAttachMode     messageDetail = "005:Volume's attach mode is invalid."
	detailQuota          messageDetail = "006:Not enough quota resource for operation."
	detailNoSpace        messageDetail = "007:Image used for creating volume exceeds available space."
	detailEncrypted      messageDetail = "008:Unmanaging encrypted volumes is not supported."
	detailServerUnaware  messageDetail = "009:Compute service failed to extend volume."
	detailExtendFailed   messageDetail = "010:Volume Driver failed to extend volume."
	detailCreateFailed   messageDetail = "012:Driver failed to create the volume."
	detailSnapshotFailed messageDetail = "013:Snapshot failed to create."
	detailSnapshotBusy   messageDetail = "015:Snapshot is busy."
	detailSnapshotStays  messageDetail = "016:Snapshot failed to delete."
)

// messagesKept is how long messages are kept, as in Cinder.
const messagesKept = 30 * 24 * time.Hour

// message leaves a message for the project, of the request that wanted what went wrong.
func (s *Service) message(tx *record.Tx, projectID, requestID, resourceType, resourceID string, action messageAction, detail messageDetail) error {
	actionID, what, _ := strings.Cut(string(action), ":")
	detailID, why, _ := strings.Cut(string(detail), ":")
	t := s.now()
	return s.messages.Insert(tx, &Message{
		ID: uuid.NewString(), ProjectID: projectID, RequestID: requestID,
		EventID: "VOLUME_" + resourceType + "_" + actionID + "_" + detailID, ActionID: actionID, DetailID: detailID,
		ResourceType: resourceType, ResourceID: resourceID, Level: "ERROR", Text: what + ":" + why,
		CreatedAt: t, ExpiresAt: t.Add(messagesKept),
	})
}

// Messages lists the project's messages, those of everybody for admins who ask for them.
func (s *Service) Messages(ctx context.Context, scope Scope, options ListOptions) ([]Message, error) {
	return find(s.store.Read(ctx), s.messages, messageKeys, scope, options, nil)
}

// Message returns a message.
func (s *Service) Message(ctx context.Context, scope Scope, id string) (*Message, error) {
	m, err := s.messages.Get(s.store.Read(ctx), id)
	if err == nil && !scope.sees(m.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Message %s could not be found.", id)
	}
	return m, nil
}

// DeleteMessage deletes a message.
func (s *Service) DeleteMessage(ctx context.Context, scope Scope, id string) error {
	if _, err := s.Message(ctx, scope, id); err != nil {
		return err
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.messages.Delete(tx, id) })
	return notFound(err, "Message %s could not be found.", id)
}

// tidyBatch bounds the work of one heartbeat.
const tidyBatch = 100

// tidy forgets old messages and graves, and keeps the change feed short.
func (s *Service) tidy(ctx context.Context) error {
	old, err := s.messages.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Lt("expires", s.now().UnixMicro())}, Limit: tidyBatch})
	if err != nil {
		return err
	}
	graves, err := s.graves.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Lt("at", s.now().Add(-messagesKept).UnixMicro())}, Limit: tidyBatch})
	if err != nil {
		return err
	}
	if len(old)+len(graves) > 0 {
		err = s.store.Update(ctx, func(tx *record.Tx) error {
			for i := range old {
				if err := s.messages.Delete(tx, old[i].ID); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
			for i := range graves {
				if err := s.graves.Delete(tx, graves[i].ID); err != nil && !errors.Is(err, ErrNotFound) {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(err, s.store.Compact(ctx))
}
