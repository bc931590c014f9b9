package cinder

import (
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/volume"
)

func (a *api) attachmentOperations() []operation {
	complete := action{serve: func(c *call, _ json.RawMessage) error {
		if err := a.volumes.CompleteAttachment(c.Context(), c.scope(), c.id()); err != nil {
			return err
		}
		return c.empty(http.StatusNoContent)
	}}
	return []operation{
		{method: "GET", path: "/attachments", serve: a.listAttachments, since: 27},
		{method: "GET", path: "/attachments/detail", serve: a.listAttachments, since: 27},
		{method: "POST", path: "/attachments", serve: a.createAttachment, since: 27},
		{method: "GET", path: "/attachments/{id}", serve: a.showAttachment, since: 27},
		{method: "PUT", path: "/attachments/{id}", serve: a.updateAttachment, since: 27},
		{method: "DELETE", path: "/attachments/{id}", serve: a.deleteAttachment, since: 27},
		{method: "POST", path: "/attachments/{id}/action", actions: map[string]action{"os-complete": complete}, since: 44},
	}
}

func (c *call) attachmentSummary(at *volume.Attachment) object {
	return object{"id": at.ID, "status": at.Status, "instance": nilIfEmpty(at.ServerID), "volume_id": at.VolumeID}
}

func (c *call) attachmentDetail(at *volume.Attachment) object {
	o := c.attachmentSummary(at)
	o["attached_at"], o["detached_at"], o["attach_mode"] = momentOrEmpty(at.AttachedAt), "", nilIfEmpty(at.Mode)
	info := object{}
	if at.Target != nil {
		var kind string
		kind, info = c.connection(at)
		info["driver_volume_type"], info["attachment_id"] = kind, at.ID
	}
	o["connection_info"] = info
	return o
}

func momentOrEmpty(t *time.Time) any {
	if t == nil || t.IsZero() {
		return ""
	}
	return timestamp(*t)
}

// connection says how the attachment's host reaches the volume: "local" with a device_path, "nbd" with the export of a
// server of block devices, or "rbd" as Cinder's own driver for Ceph says it. Credentials are shown to operators and other
// services only.
func (c *call) connection(at *volume.Attachment) (kind string, data object) {
	data = object{"volume_id": at.VolumeID, "access_mode": accessMode(at), "encrypted": false, "qos_specs": nil, "cacheable": false}
	target := at.Target
	if target == nil {
		return "local", data
	}
	data["format"], data["encrypted"] = target.Format, target.Format == "luks"
	if target.ReadOnly {
		data["access_mode"] = "ro"
	}
	switch {
	case target.NBD != nil:
		c.addNBD(data, at)
		return "nbd", data
	case target.RBD != nil:
		c.addRBD(data, at)
		return "rbd", data
	}
	data["device_path"] = target.Path
	return "local", data
}

func (c *call) addNBD(data object, at *volume.Attachment) {
	n := at.Target.NBD
	data["export"], data["address"], data["socket"], data["tls"] = n.Export, nilIfEmpty(n.Address), nilIfEmpty(n.Socket), n.TLS != nil
	if n.TLS != nil && c.trusted() {
		data["tls_ca"], data["tls_certificate"], data["tls_key"] = string(n.TLS.CA), string(n.TLS.Certificate), string(n.TLS.Key)
	}
}

func (c *call) addRBD(data object, at *volume.Attachment) {
	r := at.Target.RBD
	image := r.Pool + "/" + r.Image
	if r.Namespace != "" {
		image = r.Pool + "/" + r.Namespace + "/" + r.Image
	}
	hosts, ports := []string{}, []string{}
	for _, monitor := range r.Monitors {
		if host, port, err := net.SplitHostPort(monitor); err == nil {
			hosts, ports = append(hosts, host), append(ports, port)
		}
	}
	data["name"], data["hosts"], data["ports"], data["cluster_name"] = image, hosts, ports, "ceph"
	data["auth_enabled"], data["auth_username"], data["secret_type"] = r.User != "", nilIfEmpty(r.User), "ceph"
	if c.trusted() {
		data["keyring"] = nilIfEmpty(r.Key)
	}
}

func accessMode(at *volume.Attachment) string {
	if at.Mode == "ro" {
		return "ro"
	}
	return "rw"
}

func (a *api) listAttachments(c *call) error {
	options, err := c.listing("attachment")
	if err != nil {
		return err
	}
	if status, ok := options.Equal["attach_status"]; ok {
		delete(options.Equal, "attach_status")
		options.Equal["status"] = status
	}
	var attachments []volume.Attachment
	if options.Limit > 0 {
		if attachments, err = a.volumes.Attachments(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.attachmentSummary
	if c.detailed() {
		show = c.attachmentDetail
	}
	return c.json(http.StatusOK, object{"attachments": each(attachments, show)})
}

func (a *api) createAttachment(c *call) error {
	inner := record(fields{"instance_uuid": typeUUIDOrNull(), "connector": typeConnector("null"), "volume_uuid": typeUUID()}, "volume_uuid")
	if c.at(54) {
		inner.Properties["mode"] = words("rw", "ro")
	}
	var body struct {
		Attachment struct {
			ServerID  text `json:"instance_uuid"`
			VolumeID  text `json:"volume_uuid"`
			Connector connector
			Mode      string
		}
	}
	if err := c.body(wrap("attachment", inner), &body); err != nil {
		return err
	}
	in := &body.Attachment
	spec := volume.AttachmentSpec{VolumeID: string(in.VolumeID), ServerID: string(in.ServerID), Mode: in.Mode}
	if len(in.Connector) > 0 {
		from := in.Connector.as()
		spec.Connector = &from
	}
	at, err := a.volumes.CreateAttachment(c.Context(), c.scope(), spec)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"attachment": c.attachmentDetail(at)})
}

func (a *api) showAttachment(c *call) error {
	at, err := a.volumes.Attachment(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"attachment": c.attachmentDetail(at)})
}

func (a *api) updateAttachment(c *call) error {
	var body struct{ Attachment struct{ Connector connector } }
	s := wrap("attachment", record(fields{"connector": {Types: []string{"object"}, Others: anything(), MinProperties: 1}}, "connector"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	at, err := a.volumes.UpdateAttachment(c.Context(), c.scope(), c.id(), body.Attachment.Connector.as())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"attachment": c.attachmentDetail(at)})
}

func (a *api) deleteAttachment(c *call) error {
	at, err := a.volumes.Attachment(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	if err := a.volumes.DeleteAttachment(c.Context(), c.scope(), c.id()); err != nil {
		return err
	}
	others, err := a.volumes.Attachments(c.Context(), c.scope(), volume.ListOptions{AllProjects: c.admin(), Equal: map[string]string{"volume_id": at.VolumeID}})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"attachments": each(others, c.attachmentSummary)})
}
