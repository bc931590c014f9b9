package cinder

import (
	"net/http"
	"strconv"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) snapshotOperations() []operation {
	return []operation{
		{method: "GET", path: "/snapshots", serve: a.listSnapshots},
		{method: "GET", path: "/snapshots/detail", serve: a.listSnapshots},
		{method: "POST", path: "/snapshots", serve: a.createSnapshot},
		{method: "GET", path: "/snapshots/{id}", serve: a.showSnapshot},
		{method: "PUT", path: "/snapshots/{id}", serve: a.updateSnapshot},
		{method: "DELETE", path: "/snapshots/{id}", serve: a.deleteSnapshot},
		{method: "POST", path: "/snapshots/{id}/action", actions: a.snapshotActions()},
	}
}

func (c *call) snapshotSummary(s *volume.Snapshot) object {
	return object{
		"id": s.ID, "created_at": timestamp(s.CreatedAt), "updated_at": moment(&s.UpdatedAt), "name": nilIfEmpty(s.Name),
		"description": nilIfEmpty(s.Description), "volume_id": s.VolumeID, "status": s.Status, "size": s.SizeGiB, "metadata": pairs(s.Metadata),
	}
}

// snapshotCreated is a snapshot as the calls that change it show it; [call.snapshotDetail] adds what the others show too.
func (c *call) snapshotCreated(s *volume.Snapshot) object {
	o := c.snapshotSummary(s)
	if c.at(14) {
		o["group_snapshot_id"] = nilIfEmpty(s.GroupSnapshotID)
	}
	if c.at(41) {
		o["user_id"] = s.UserID
	}
	if c.at(65) {
		o["consumes_quota"] = s.ConsumesQuota()
	}
	return o
}

func (c *call) snapshotDetail(s *volume.Snapshot) object {
	o := c.snapshotCreated(s)
	o["os-extended-snapshot-attributes:progress"] = strconv.Itoa(s.Progress) + "%"
	o["os-extended-snapshot-attributes:project_id"] = s.ProjectID
	return o
}

func (a *api) listSnapshots(c *call) error {
	options, err := c.listing("snapshot")
	if err != nil {
		return err
	}
	count, err := c.counted(options, func(o volume.ListOptions) (int, error) { return a.volumes.CountSnapshots(c.Context(), c.scope(), o) })
	if err != nil {
		return err
	}
	var snapshots []volume.Snapshot
	if options.Limit > 0 {
		if snapshots, err = a.volumes.Snapshots(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.snapshotSummary
	if c.detailed() {
		show = c.snapshotDetail
	}
	return c.listed("snapshots", "snapshots_links", each(snapshots, show), options, count)
}

func (a *api) createSnapshot(c *call) error {
	var body struct {
		Snapshot struct {
			naming
			VolumeID text `json:"volume_id"`
			Force    *wire.Bool
			Metadata map[string]string
		}
	}
	s := wrap("snapshot", record(fields{
		"name": typeText(), "display_name": typeText(), "description": typeDescription(), "volume_id": typeUUIDOrNull(),
		"force": typeBoolean(), "metadata": typeMetadataOrNull(),
	}, "volume_id"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := &body.Snapshot
	force := in.Force != nil && bool(*in.Force)
	if c.at(66) {
		if in.Force != nil && !force {
			return fault.Wrap(volume.ErrInvalid, "Since microversion 3.66 the 'force' flag is invalid for this request, unless it is true, which is ignored.")
		}
		force = true
	}
	made, err := a.volumes.CreateSnapshot(c.Context(), c.scope(), volume.SnapshotSpec{
		VolumeID: string(in.VolumeID), Name: orEmpty(in.name()), Description: orEmpty(in.description()), Force: force, Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"snapshot": c.snapshotCreated(made)})
}

func (a *api) showSnapshot(c *call) error {
	s, err := a.volumes.Snapshot(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"snapshot": c.snapshotDetail(s)})
}

func (a *api) updateSnapshot(c *call) error {
	inner := record(fields{"name": typeText(), "description": typeDescription(), "display_name": typeText(), "display_description": typeDescription()})
	inner.Alternatives = [][]string{{"name"}, {"description"}, {"display_name"}, {"display_description"}}
	var body struct{ Snapshot struct{ naming } }
	if err := c.body(wrap("snapshot", inner), &body); err != nil {
		return err
	}
	s, err := a.volumes.UpdateSnapshot(c.Context(), c.scope(), c.id(), volume.SnapshotUpdate{Name: body.Snapshot.name(), Description: body.Snapshot.description()})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"snapshot": c.snapshotCreated(s)})
}

func (a *api) deleteSnapshot(c *call) error {
	return c.accepted(a.volumes.DeleteSnapshot(c.Context(), c.scope(), c.id(), false))
}

func (a *api) snapshotActions() map[string]action {
	const policy = "volume_extension:snapshot_admin_actions:"
	reset := with(static(resetSnapshotSchema), a.resetSnapshot)
	reset.policy = policy + "reset_status"
	remove := plain(func(c *call) error { return a.volumes.DeleteSnapshot(c.Context(), c.scope(), c.id(), true) })
	remove.policy = policy + "force_delete"
	unmanage := plain(func(c *call) error { return a.volumes.UnmanageSnapshot(c.Context(), c.scope(), c.id()) })
	unmanage.policy = "snapshot_extension:snapshot_unmanage"
	return map[string]action{
		"os-reset_status": reset, "os-force_delete": remove, "os-unmanage": unmanage,
		"os-update_snapshot_status": with(static(progressSchema), a.updateSnapshotStatus),
	}
}

// statusBody is the argument of the actions that set a status.
type statusBody struct{ Status lowered }

func resetSnapshotSchema() *schema {
	return record(fields{"status": typeStatus("Snapshot", "error", "available", "creating", "deleting", "deleted", "updating", "error_deleting", "unmanaging", "backing-up", "restoring")}, "status")
}

func (a *api) resetSnapshot(c *call, in *statusBody) error {
	return c.accepted(a.volumes.ResetSnapshot(c.Context(), c.scope(), c.id(), volume.Status(in.Status)))
}

func progressSchema() *schema {
	progress := &schema{Types: []string{"string", "null"}, Check: func(value any) string {
		if text, ok := value.(string); ok && text != "" && !percentage.MatchString(text) {
			return "progress must be an integer percentage between 0 and 100"
		}
		return ""
	}}
	return record(fields{"status": kind("string"), "progress": progress}, "status")
}

type progressBody struct {
	Status   string
	Progress text
}

func (a *api) updateSnapshotStatus(c *call, in *progressBody) error {
	return c.accepted(a.volumes.UpdateSnapshotStatus(c.Context(), c.scope(), c.id(), volume.Status(in.Status), string(in.Progress)))
}
