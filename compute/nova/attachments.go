package nova

import (
	"net/http"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) attachmentOperations() []operation {
	return []operation{
		{method: "GET", path: "/servers/{id}/os-volume_attachments", serve: a.listAttachments},
		{method: "POST", path: "/servers/{id}/os-volume_attachments", serve: a.attachVolume},
		{method: "GET", path: "/servers/{id}/os-volume_attachments/{volume}", serve: a.showAttachment},
		{method: "PUT", path: "/servers/{id}/os-volume_attachments/{volume}", serve: a.updateAttachment},
		{method: "DELETE", path: "/servers/{id}/os-volume_attachments/{volume}", serve: a.detachVolume},
		{method: "POST", path: "/os-assisted-volume-snapshots", serve: a.assistSnapshot, policy: "os_compute_api:os-assisted-volume-snapshots:create"},
		{method: "DELETE", path: "/os-assisted-volume-snapshots/{snapshot}", serve: a.assistSnapshot, policy: "os_compute_api:os-assisted-volume-snapshots:delete"},
	}
}

// volumes are what a server's own view shows of them.
func (v *viewer) volumes(s *compute.Server) []object {
	shown := []object{}
	for _, at := range s.AttachedVolumes() {
		o := object{"id": at.VolumeID}
		if v.at(3) {
			o["delete_on_termination"] = at.DeleteOnTermination
		}
		shown = append(shown, o)
	}
	return shown
}

func (c *call) volumeAttachment(serverID string, at *compute.AttachedVolume) object {
	o := object{"volumeId": at.VolumeID, "serverId": serverID, "device": at.Device}
	if !c.at(89) {
		o["id"] = at.VolumeID
	} else {
		o["attachment_id"], o["bdm_uuid"] = at.AttachmentID, at.ID
	}
	return c.tagged(o, at)
}

// tagged adds what later versions show.
func (c *call) tagged(o object, at *compute.AttachedVolume) object {
	if c.at(70) {
		o["tag"] = nilIfEmpty(at.Tag)
	}
	if c.at(79) {
		o["delete_on_termination"] = at.DeleteOnTermination
	}
	return o
}

func (a *api) listAttachments(c *call) error {
	if err := c.onlyQuery("limit", "offset"); err != nil {
		return err
	}
	list, err := a.compute.VolumeAttachments(c.Context(), c.scope(), c.PathValue("id"))
	if err != nil {
		return err
	}
	shown := []object{}
	for i := range list {
		if c.at(89) && list[i].AttachmentID == "" {
			continue
		}
		shown = append(shown, c.volumeAttachment(c.PathValue("id"), &list[i]))
	}
	from, to, err := c.window(len(shown))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volumeAttachments": shown[from:to]})
}

// window is the part of a list of n that limit and offset ask for.
func (c *call) window(n int) (from, to int, err error) {
	limit, _, err := c.page()
	if err != nil {
		return 0, 0, err
	}
	if text := c.URL.Query().Get("offset"); text != "" {
		var offset wire.Int
		if err := offset.UnmarshalJSON([]byte(text)); err != nil || offset < 0 {
			return 0, 0, fault.Wrap(compute.ErrInvalid, "offset param must be an integer")
		}
		from = min(int(offset), n)
	}
	return from, min(from+limit, n), nil
}

func (a *api) showAttachment(c *call) error {
	at, err := a.compute.VolumeAttachment(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("volume"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volumeAttachment": c.volumeAttachment(c.PathValue("id"), &at)})
}

func attachmentSchema(minor int) *wire.Schema {
	properties := map[string]*wire.Schema{"volumeId": typeUUID(), "device": {Types: []string{"string", "null"}, Pattern: deviceName}}
	if minor >= 49 {
		properties["tag"] = typeTag()
	}
	if minor >= 79 {
		properties["delete_on_termination"] = typeBoolean()
	}
	return wrap("volumeAttachment", record(properties, "volumeId"))
}

func (a *api) attachVolume(c *call) error {
	var body struct {
		VolumeAttachment struct {
			VolumeID            string `json:"volumeId"`
			Tag                 string
			DeleteOnTermination wire.Bool `json:"delete_on_termination"`
		}
	}
	if err := c.body(attachmentSchema(c.minor), &body); err != nil {
		return err
	}
	in := body.VolumeAttachment
	at, err := a.compute.AttachVolume(c.Context(), c.scope(), c.PathValue("id"), compute.VolumeAttach{
		VolumeID: in.VolumeID, Tag: in.Tag, DeleteOnTermination: bool(in.DeleteOnTermination), NoShared: !c.at(60),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volumeAttachment": c.tagged(object{
		"id": at.VolumeID, "serverId": c.PathValue("id"), "volumeId": at.VolumeID, "device": at.Device,
	}, &at)})
}

func changeSchema(minor int) *wire.Schema {
	properties := map[string]*wire.Schema{"volumeId": typeUUID()}
	if minor >= 85 {
		properties = map[string]*wire.Schema{
			"volumeId": typeUUID(), "device": {Types: []string{"string", "null"}, Pattern: deviceName}, "tag": typeTag(),
			"delete_on_termination": typeBoolean(), "serverId": typeUUID(), "id": typeUUID(),
		}
	}
	return wrap("volumeAttachment", record(properties, "volumeId"))
}

// updateAttachment says whether a volume is deleted with its server, or puts another in its place.
func (a *api) updateAttachment(c *call) error {
	var body struct {
		VolumeAttachment struct {
			VolumeID     string `json:"volumeId"`
			Device, Tag  *string
			ID, ServerID *string
			Delete       *wire.Bool `json:"delete_on_termination"`
		}
	}
	if err := c.body(changeSchema(c.minor), &body); err != nil {
		return err
	}
	in, serverID, volumeID := body.VolumeAttachment, c.PathValue("id"), c.PathValue("volume")
	swap := !c.at(85) || in.VolumeID != volumeID
	if swap && !c.caller.IsAdmin() {
		return forbidden("os_compute_api:os-volumes-attachments:swap")
	}
	at, err := a.compute.VolumeAttachment(c.Context(), c.scope(), serverID, volumeID)
	if err != nil {
		return err
	}
	if !c.at(85) {
		return a.compute.SwapVolume(c.Context(), c.scope(), serverID, volumeID, in.VolumeID)
	}
	for _, fixed := range []struct {
		name string
		said *string
		is   string
	}{{"id", in.ID, volumeID}, {"serverId", in.ServerID, serverID}, {"device", in.Device, at.Device}, {"tag", in.Tag, at.Tag}} {
		if fixed.said != nil && *fixed.said != fixed.is {
			return fault.Wrap(compute.ErrInvalid, "The %s property is not mutable", fixed.name)
		}
	}
	if in.Delete != nil {
		if err := a.compute.UpdateVolumeAttachment(c.Context(), c.scope(), serverID, volumeID, bool(*in.Delete)); err != nil {
			return err
		}
	}
	if swap {
		return a.compute.SwapVolume(c.Context(), c.scope(), serverID, volumeID, in.VolumeID)
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) detachVolume(c *call) error {
	if err := a.compute.DetachVolume(c.Context(), c.scope(), c.PathValue("id"), c.PathValue("volume")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

// assistSnapshot is for volume drivers that need the hypervisor's help to make a snapshot; those here do without.
func (a *api) assistSnapshot(*call) error {
	return fault.Wrap(compute.ErrInvalid, "Snapshots are made without the help of the compute service here.")
}
