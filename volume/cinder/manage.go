package cinder

import (
	"encoding/json"
	"net/http"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// manageOperations are served under the extensions' names, and since 3.8 under those of the API.
func (a *api) manageOperations() []operation {
	var all []operation
	for _, one := range []struct {
		volumes, snapshots string
		since              int
	}{{"/os-volume-manage", "/os-snapshot-manage", 0}, {"/manageable_volumes", "/manageable_snapshots", 8}} {
		all = append(all, []operation{
			{method: "GET", path: one.volumes, serve: a.listManageable("volumes"), since: one.since, policy: "volume_extension:list_manageable"},
			{method: "GET", path: one.volumes + "/detail", serve: a.listManageable("volumes"), since: one.since, policy: "volume_extension:list_manageable"},
			{method: "POST", path: one.volumes, serve: a.manageVolume, since: one.since, policy: "volume_extension:volume_manage"},
			{method: "GET", path: one.snapshots, serve: a.listManageable("snapshots"), since: one.since, policy: "snapshot_extension:list_manageable"},
			{method: "GET", path: one.snapshots + "/detail", serve: a.listManageable("snapshots"), since: one.since, policy: "snapshot_extension:list_manageable"},
			{method: "POST", path: one.snapshots, serve: a.manageSnapshot, since: one.since, policy: "snapshot_extension:snapshot_manage"},
		}...)
	}
	return all
}

func (a *api) listManageable(what string) func(c *call) error {
	return func(c *call) error {
		query := c.URL.Query()
		host := query.Get("host")
		if host == "" {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: One and only one of cluster and host must be set.")
		}
		options, err := c.page("reference")
		if err != nil {
			return err
		}
		for _, by := range options.Sort {
			if by.Key != "reference" && by.Key != "size" {
				return fault.Wrap(volume.ErrInvalid, "Invalid parameter: Invalid sort keys passed: %s", by.Key)
			}
		}
		find := a.volumes.ManageableVolumes
		if what == "snapshots" {
			find = a.volumes.ManageableSnapshots
		}
		var found []volume.Manageable
		if options.Limit > 0 {
			if found, err = find(c.Context(), c.scope(), host, options); err != nil {
				return err
			}
		}
		return c.json(http.StatusOK, object{"manageable-" + what: each(found, func(m *volume.Manageable) object {
			return c.manageable(m, what == "snapshots")
		})})
	}
}

func (c *call) manageable(m *volume.Manageable, snapshot bool) object {
	o := object{"reference": object{"source-name": m.Name}, "size": m.SizeGiB, "safe_to_manage": m.Safe}
	if snapshot {
		o["source_reference"] = object{"source-name": m.SourceName}
	}
	if c.detailed() {
		o["reason_not_safe"], o["cinder_id"], o["extra_info"] = nilIfEmpty(m.Reason), nilIfEmpty(m.VolumeID), nil
	}
	return o
}

// reference is what a pool calls something: a name, or {"source-name": NAME} or {"source-id": NAME}.
type reference string

func (r *reference) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*string)(r)) == nil {
		return nil
	}
	var by map[string]any
	if err := json.Unmarshal(data, &by); err != nil {
		return err
	}
	for _, key := range []string{"source-name", "source-id"} {
		if name, ok := by[key].(string); ok {
			*r = reference(name)
		}
	}
	return nil
}

func (a *api) manageVolume(c *call) error {
	inner := record(fields{
		"description": typeDescription(), "availability_zone": typeText(), "bootable": typeBoolean(), "volume_type": typeText(), "name": typeText(),
		"host": typeHost(), "ref": {Types: []string{"object", "string"}, Others: anything()}, "metadata": typeMetadataOrNull(),
	}, "ref")
	if c.at(16) {
		inner.Properties["cluster"] = typeText()
	}
	var body struct {
		Volume struct {
			Name, Description trimmed
			Host              text
			Ref               reference
			Type              text `json:"volume_type"`
			Zone              text `json:"availability_zone"`
			Bootable          wire.Bool
			Metadata          map[string]string
		}
	}
	if err := c.body(wrap("volume", inner), &body); err != nil {
		return err
	}
	in := &body.Volume
	if in.Host == "" {
		return fault.Wrap(volume.ErrInvalid, "Invalid input received: One and only one of cluster and host must be set.")
	}
	v, err := a.volumes.ManageVolume(c.Context(), c.scope(), volume.ManageSpec{
		Host: string(in.Host), Name: string(in.Ref), VolumeName: string(in.Name), Description: string(in.Description), Type: string(in.Type),
		Zone: string(in.Zone), Metadata: in.Metadata, Bootable: bool(in.Bootable),
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"volume": c.volumeCreated(v)})
}

func (a *api) manageSnapshot(c *call) error {
	inner := record(fields{
		"description": typeDescription(), "name": typeText(), "volume_id": typeUUID(), "metadata": typeMetadataOrNull(),
		"ref": {Types: []string{"object", "string"}, Others: anything()},
	}, "ref", "volume_id")
	var body struct {
		Snapshot struct {
			Name, Description trimmed
			VolumeID          string `json:"volume_id"`
			Ref               reference
			Metadata          map[string]string
		}
	}
	if err := c.body(wrap("snapshot", inner), &body); err != nil {
		return err
	}
	in := &body.Snapshot
	made, err := a.volumes.ManageSnapshot(c.Context(), c.scope(), volume.ManageSnapshotSpec{
		VolumeID: in.VolumeID, Name: string(in.Ref), SnapshotName: string(in.Name), Description: string(in.Description), Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"snapshot": c.snapshotCreated(made)})
}
