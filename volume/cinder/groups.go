package cinder

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

const noReplication = "Volumes are not replicated here."

func (a *api) groupOperations() []operation {
	remove := with(static(deleteGroupSchema), a.deleteGroup)
	remove.since = 13
	reset := with(static(func() *schema { return record(fields{"status": groupStatus("Group", "in-use")}, "status") }), a.resetGroup)
	reset.policy, reset.since = "group:reset_status", 20
	actions := map[string]action{"delete": remove, "reset_status": reset}
	for _, name := range []string{"enable_replication", "disable_replication", "failover_replication", "list_replication_targets"} {
		actions[name] = action{since: 38, unsupported: noReplication}
	}
	from := with(static(groupSourceSchema), a.createGroupFromSource)
	from.since = 14
	resetSnapshot := with(static(func() *schema { return record(fields{"status": groupStatus("Group snapshot")}, "status") }), a.resetGroupSnapshot)
	resetSnapshot.policy, resetSnapshot.since = "group:reset_group_snapshot_status", 19
	return []operation{
		{method: "GET", path: "/groups", serve: a.listGroups, since: 13},
		{method: "GET", path: "/groups/detail", serve: a.listGroups, since: 13},
		{method: "POST", path: "/groups", serve: a.createGroup, since: 13},
		{method: "POST", path: "/groups/action", actions: map[string]action{"create-from-src": from}, since: 14},
		{method: "GET", path: "/groups/{id}", serve: a.showGroup, since: 13},
		{method: "PUT", path: "/groups/{id}", serve: a.updateGroup, since: 13},
		{method: "POST", path: "/groups/{id}/action", actions: actions, since: 13},

		{method: "GET", path: "/group_snapshots", serve: a.listGroupSnapshots, since: 14},
		{method: "GET", path: "/group_snapshots/detail", serve: a.listGroupSnapshots, since: 14},
		{method: "POST", path: "/group_snapshots", serve: a.createGroupSnapshot, since: 14},
		{method: "GET", path: "/group_snapshots/{id}", serve: a.showGroupSnapshot, since: 14},
		{method: "DELETE", path: "/group_snapshots/{id}", serve: a.deleteGroupSnapshot, since: 14},
		{method: "POST", path: "/group_snapshots/{id}/action", actions: map[string]action{"reset_status": resetSnapshot}, since: 14},
	}
}

func groupStatus(what string, more ...string) *schema {
	return typeStatus(what, append([]string{"error", "available", "creating", "deleting", "deleted", "updating", "error_deleting"}, more...)...)
}

func (c *call) groupSummary(g *volume.Group) object {
	return object{"id": g.ID, "name": nilIfEmpty(g.Name)}
}

func (c *call) groupDetail(g *volume.Group) object {
	o := object{
		"id": g.ID, "status": g.Status, "availability_zone": nilIfEmpty(g.Zone), "created_at": timestamp(g.CreatedAt), "name": nilIfEmpty(g.Name),
		"description": nilIfEmpty(g.Description), "group_type": g.TypeID, "volume_types": texts(g.VolumeTypes),
	}
	if c.at(14) {
		o["group_snapshot_id"], o["source_group_id"] = nilIfEmpty(g.GroupSnapshotID), nilIfEmpty(g.SourceGroupID)
	}
	if c.at(25) && c.flag("list_volume") {
		o["volumes"] = texts(g.VolumeIDs)
	}
	if c.at(38) {
		o["replication_status"] = "disabled"
	}
	if c.at(58) && c.admin() {
		o["project_id"] = g.ProjectID
	}
	return o
}

// texts is a list that is shown even if it is empty.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *api) listGroups(c *call) error {
	options, err := c.listing("group")
	if err != nil {
		return err
	}
	var groups []volume.Group
	if options.Limit > 0 {
		if groups, err = a.volumes.Groups(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.groupSummary
	if c.detailed() {
		show = c.groupDetail
	}
	return c.listed("groups", "group_links", each(groups, show), options, nil)
}

func (a *api) createGroup(c *call) error {
	types := list(&schema{Types: []string{"string"}, MaxLength: 255})
	types.MinItems = 1
	s := wrap("group", record(fields{
		"description": typeDescription(), "group_type": {Types: []string{"string"}, MinLength: 1, MaxLength: 255}, "name": typeText(),
		"volume_types": types, "availability_zone": {Types: []string{"string", "null"}, MinLength: 1, MaxLength: 255},
	}, "group_type", "volume_types"))
	var body struct {
		Group struct {
			Name, Description trimmed
			Type              string   `json:"group_type"`
			VolumeTypes       []string `json:"volume_types"`
			Zone              trimmed  `json:"availability_zone"`
		}
	}
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := &body.Group
	g, err := a.volumes.CreateGroup(c.Context(), c.scope(), volume.GroupSpec{
		Name: string(in.Name), Description: string(in.Description), TypeID: in.Type, Zone: string(in.Zone), VolumeTypes: in.VolumeTypes,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"group": c.groupSummary(g)})
}

func groupSourceSchema() *schema {
	s := record(fields{"description": typeDescription(), "name": typeText(), "source_group_id": typeUUID(), "group_snapshot_id": typeUUID()})
	s.Alternatives, s.OneAlternative = [][]string{{"group_snapshot_id"}, {"source_group_id"}}, true
	return s
}

type groupSourceBody struct {
	Name, Description trimmed
	GroupID           string `json:"source_group_id"`
	SnapshotID        string `json:"group_snapshot_id"`
}

func (a *api) createGroupFromSource(c *call, in *groupSourceBody) error {
	g, err := a.volumes.CreateGroupFromSource(c.Context(), c.scope(), volume.GroupSource{
		Name: string(in.Name), Description: string(in.Description), SourceGroupID: in.GroupID, GroupSnapshotID: in.SnapshotID,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"group": c.groupSummary(g)})
}

func (a *api) showGroup(c *call) error {
	g, err := a.volumes.Group(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group": c.groupDetail(g)})
}

func (a *api) updateGroup(c *call) error {
	long := func() *schema { return kind("string", "null") }
	inner := record(fields{"description": typeDescription(), "name": typeText(), "add_volumes": long(), "remove_volumes": long()})
	inner.Alternatives = [][]string{{"name"}, {"description"}, {"add_volumes"}, {"remove_volumes"}}
	var body struct {
		Group struct {
			Name, Description *trimmed
			Add               volumeList `json:"add_volumes"`
			Remove            volumeList `json:"remove_volumes"`
		}
	}
	if err := c.body(wrap("group", inner), &body); err != nil {
		return err
	}
	in := &body.Group
	return c.accepted(a.volumes.UpdateGroup(c.Context(), c.scope(), c.id(), volume.GroupUpdate{
		Name: textOf(in.Name), Description: textOf(in.Description), AddVolumes: in.Add, RemoveVolumes: in.Remove,
	}))
}

// volumeList is identifiers with commas between them.
type volumeList []string

func (l *volumeList) UnmarshalJSON(data []byte) error {
	var given string
	if err := json.Unmarshal(data, &given); err != nil {
		return err
	}
	for _, id := range strings.Split(given, ",") {
		if id = strings.TrimSpace(id); id != "" {
			*l = append(*l, id)
		}
	}
	return nil
}

func deleteGroupSchema() *schema { return record(fields{"delete-volumes": typeBoolean()}) }

func (a *api) deleteGroup(c *call, in *struct {
	Volumes wire.Bool `json:"delete-volumes"`
}) error {
	return c.accepted(a.volumes.DeleteGroup(c.Context(), c.scope(), c.id(), bool(in.Volumes)))
}

func (a *api) resetGroup(c *call, in *statusBody) error {
	return c.accepted(a.volumes.ResetGroup(c.Context(), c.scope(), c.id(), volume.Status(in.Status)))
}

func (c *call) groupSnapshotBrief(s *volume.GroupSnapshot) object {
	return object{"id": s.ID, "name": nilIfEmpty(s.Name)}
}

func (c *call) groupSnapshotCreated(s *volume.GroupSnapshot) object {
	o := c.groupSnapshotBrief(s)
	o["group_type_id"] = s.GroupTypeID
	return o
}

func (c *call) groupSnapshotDetail(s *volume.GroupSnapshot) object {
	o := c.groupSnapshotCreated(s)
	o["group_id"], o["status"], o["created_at"], o["description"] = s.GroupID, s.Status, timestamp(s.CreatedAt), nilIfEmpty(s.Description)
	if c.at(58) && c.admin() {
		o["project_id"] = s.ProjectID
	}
	return o
}

func (a *api) listGroupSnapshots(c *call) error {
	options := volume.ListOptions{Limit: c.api.options.MaxLimit}
	var err error
	if c.at(29) {
		if options, err = c.listing("group_snapshot"); err != nil {
			return err
		}
	} else if options.AllProjects, err = c.allProjects(c.URL.Query()); err != nil {
		return err
	}
	var snapshots []volume.GroupSnapshot
	if options.Limit > 0 {
		if snapshots, err = a.volumes.GroupSnapshots(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.groupSnapshotBrief
	if c.detailed() {
		show = c.groupSnapshotDetail
	}
	return c.listed("group_snapshots", "group_snapshot_links", each(snapshots, show), options, nil)
}

func (a *api) createGroupSnapshot(c *call) error {
	var body struct {
		Snapshot struct {
			GroupID           string `json:"group_id"`
			Name, Description trimmed
		} `json:"group_snapshot"`
	}
	s := wrap("group_snapshot", record(fields{"group_id": typeUUID(), "name": typeText(), "description": typeDescription()}, "group_id"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	in := &body.Snapshot
	made, err := a.volumes.CreateGroupSnapshot(c.Context(), c.scope(), volume.GroupSnapshotSpec{
		GroupID: in.GroupID, Name: string(in.Name), Description: string(in.Description),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"group_snapshot": c.groupSnapshotCreated(made)})
}

func (a *api) showGroupSnapshot(c *call) error {
	s, err := a.volumes.GroupSnapshot(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"group_snapshot": c.groupSnapshotDetail(s)})
}

func (a *api) deleteGroupSnapshot(c *call) error {
	return c.accepted(a.volumes.DeleteGroupSnapshot(c.Context(), c.scope(), c.id()))
}

func (a *api) resetGroupSnapshot(c *call, in *statusBody) error {
	return c.accepted(a.volumes.ResetGroupSnapshot(c.Context(), c.scope(), c.id(), volume.Status(in.Status)))
}
