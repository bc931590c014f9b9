package cinder

import (
	"net/http"

	"github.com/kintoun/kintoun/volume"
)

func (a *api) messageOperations() []operation {
	return []operation{
		{method: "GET", path: "/messages", serve: a.listMessages, since: 3},
		{method: "GET", path: "/messages/{id}", serve: a.showMessage, since: 3},
		{method: "DELETE", path: "/messages/{id}", serve: a.deleteMessage, since: 3},
	}
}

func (c *call) messageView(m *volume.Message) object {
	o := object{
		"id": m.ID, "event_id": m.EventID, "user_message": m.Text, "message_level": m.Level, "created_at": timestamp(m.CreatedAt),
		"guaranteed_until": timestamp(m.ExpiresAt), "request_id": m.RequestID, "links": c.links("messages", m.ID),
	}
	if m.ResourceType != "" {
		o["resource_type"] = m.ResourceType
	}
	if m.ResourceID != "" {
		o["resource_uuid"] = m.ResourceID
	}
	return o
}

func (a *api) listMessages(c *call) error {
	options := volume.ListOptions{Limit: c.api.options.MaxLimit}
	if c.at(5) {
		var err error
		if options, err = c.listing("message"); err != nil {
			return err
		}
	}
	var messages []volume.Message
	if options.Limit > 0 {
		var err error
		if messages, err = a.volumes.Messages(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	return c.listed("messages", "messages_links", each(messages, c.messageView), options, nil)
}

func (a *api) showMessage(c *call) error {
	m, err := a.volumes.Message(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"message": c.messageView(m)})
}

func (a *api) deleteMessage(c *call) error {
	if err := a.volumes.DeleteMessage(c.Context(), c.scope(), c.id()); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}
