package cinder

import (
	"encoding/json"
	"net/http"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// connector is a host that wants to use a volume, as clients describe it.
type connector map[string]any

func (k connector) as() volume.Connector {
	get := func(name string) string { s, _ := k[name].(string); return s }
	return volume.Connector{
		Host: get("host"), Mountpoint: get("mountpoint"), Mode: get("mode"), Initiator: get("initiator"), IP: get("ip"), Properties: k,
	}
}

func (k *connector) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*k = nil // a host's name, which says nothing
		return nil
	}
	return json.Unmarshal(data, (*map[string]any)(k))
}

func static(s func() *schema) func(*call) *schema { return func(*call) *schema { return s() } }

func (a *api) volumeActions() map[string]action {
	const admin, misc = "volume_extension:volume_admin_actions:", "volume_extension:volume_actions:"
	id := func(do func(c *call, id string) error) action {
		return plain(func(c *call) error { return do(c, c.id()) })
	}
	forAdmins := func(policy string, since int, act action) action {
		act.policy, act.since = policy, since
		return act
	}
	since := func(since int, act action) action {
		act.since = since
		return act
	}
	return map[string]action{
		"os-attach":                    with(static(attachSchema), a.attachVolume),
		"os-detach":                    with(static(detachSchema), a.detachVolume),
		"os-reserve":                   id(func(c *call, id string) error { return a.volumes.ReserveVolume(c.Context(), c.scope(), id) }),
		"os-unreserve":                 id(func(c *call, id string) error { return a.volumes.UnreserveVolume(c.Context(), c.scope(), id) }),
		"os-begin_detaching":           id(func(c *call, id string) error { return a.volumes.BeginDetaching(c.Context(), c.scope(), id) }),
		"os-roll_detaching":            id(func(c *call, id string) error { return a.volumes.RollDetaching(c.Context(), c.scope(), id) }),
		"os-initialize_connection":     with(static(initializeSchema), a.initializeConnection),
		"os-terminate_connection":      with(static(terminateSchema), a.terminateConnection),
		"os-force_detach":              forAdmins(admin+"force_detach", 0, with(static(forceDetachSchema), a.forceDetach)),
		"os-extend":                    with(static(extendSchema), a.extendVolume),
		"os-retype":                    with(static(retypeSchema), a.retypeVolume),
		"os-set_bootable":              with(static(bootableSchema), a.setBootable),
		"os-update_readonly_flag":      with(static(readOnlySchema), a.setReadOnly),
		"os-volume_upload_image":       with(uploadSchema, a.uploadVolume),
		"os-set_image_metadata":        with(static(imageMetadataSchema), a.setImageMetadata),
		"os-unset_image_metadata":      with(static(imageKeySchema), a.unsetImageMetadata),
		"os-show_image_metadata":       {serve: func(c *call, _ json.RawMessage) error { return a.showImageMetadata(c) }},
		"revert":                       since(40, with(static(revertSchema), a.revertVolume)),
		"os-reset_status":              forAdmins(admin+"reset_status", 0, with(static(resetVolumeSchema), a.resetVolume)),
		"os-migrate_volume":            forAdmins(admin+"migrate_volume", 0, with(migrateSchema, a.migrateVolume)),
		"os-force_delete":              forAdmins(admin+"force_delete", 0, id(a.forceDeleteVolume)),
		"os-unmanage":                  forAdmins("volume_extension:volume_unmanage", 0, id(func(c *call, id string) error { return a.volumes.UnmanageVolume(c.Context(), c.scope(), id) })),
		"os-migrate_volume_completion": {policy: admin + "migrate_volume_completion", unsupported: "The service completes migrations itself."},
		"os-extend_volume_completion":  {policy: admin + "extend_volume_completion", unsupported: "os-extend_volume_completion needs microversion 3.71: the service extends volumes in use itself."},
		"os-reimage":                   since(68, with(static(reimageSchema), a.reimageVolume)),
	}
}

// typeConnector is a host as its client describes it, or something of the other types.
func typeConnector(others ...string) *schema {
	return &schema{Types: append([]string{"object"}, others...), Others: anything()}
}

func attachSchema() *schema {
	s := record(fields{
		"instance_uuid": typeUUID(), "mountpoint": {Types: []string{"string"}, MinLength: 1, MaxLength: 255},
		"host_name": {Types: []string{"string"}, MaxLength: 255}, "mode": words("rw", "ro"),
	}, "mountpoint")
	s.Alternatives = [][]string{{"instance_uuid"}, {"host_name"}}
	return s
}

type attachBody struct {
	ServerID string `json:"instance_uuid"`
	Device   string `json:"mountpoint"`
	Host     string `json:"host_name"`
	Mode     string
}

func (a *api) attachVolume(c *call, in *attachBody) error {
	return c.accepted(a.volumes.AttachVolume(c.Context(), c.scope(), c.id(), volume.AttachOptions{
		ServerID: in.ServerID, Host: in.Host, Device: in.Device, ReadOnly: in.Mode == "ro",
	}))
}

func detachSchema() *schema { return orNull(record(fields{"attachment_id": typeUUIDOrNull()})) }

type detachBody struct {
	AttachmentID text `json:"attachment_id"`
}

func (a *api) detachVolume(c *call, in *detachBody) error {
	return c.accepted(a.volumes.DetachVolume(c.Context(), c.scope(), c.id(), string(in.AttachmentID)))
}

func initializeSchema() *schema {
	return record(fields{"connector": typeConnector("string")}, "connector")
}

func terminateSchema() *schema {
	return record(fields{"connector": typeConnector("string", "null")}, "connector")
}

func forceDetachSchema() *schema {
	return record(fields{"connector": typeConnector("string", "null"), "attachment_id": kind("string", "null")})
}

type connectionBody struct {
	Connector    connector
	AttachmentID text `json:"attachment_id"`
}

func (a *api) initializeConnection(c *call, in *connectionBody) error {
	at, err := a.volumes.InitializeConnection(c.Context(), c.scope(), c.id(), in.Connector.as())
	if err != nil {
		return err
	}
	multipath, _ := in.Connector["enforce_multipath"].(bool)
	kind, data := c.connection(at)
	return c.json(http.StatusOK, object{"connection_info": object{"driver_volume_type": kind, "data": data, "enforce_multipath": multipath}})
}

func (a *api) terminateConnection(c *call, in *connectionBody) error {
	return c.accepted(a.volumes.TerminateConnection(c.Context(), c.scope(), c.id(), in.Connector.as()))
}

func (a *api) forceDetach(c *call, in *connectionBody) error {
	var from *volume.Connector
	if in.Connector != nil {
		k := in.Connector.as()
		from = &k
	}
	return c.accepted(a.volumes.ForceDetach(c.Context(), c.scope(), c.id(), string(in.AttachmentID), from))
}

func extendSchema() *schema { return record(fields{"new_size": typeSize()}, "new_size") }

type extendBody struct {
	Size text `json:"new_size"`
}

func (a *api) extendVolume(c *call, in *extendBody) error {
	if !c.at(42) {
		v, err := a.volumes.Volume(c.Context(), c.scope(), c.id())
		if err != nil {
			return err
		}
		if v.Status == volume.InUse {
			return fault.Wrap(volume.ErrInvalid, "Invalid volume: Volume %s status must be '['available']' to extend, currently in-use.", v.ID)
		}
	}
	return c.accepted(a.volumes.ExtendVolume(c.Context(), c.scope(), c.id(), in.Size.number()))
}

func retypeSchema() *schema {
	return record(fields{
		"new_type":         kind("string"),
		"migration_policy": {Types: []string{"string", "null"}, Enum: []any{"on-demand", "never", nil}},
	}, "new_type")
}

type retypeBody struct {
	Type   string `json:"new_type"`
	Policy text   `json:"migration_policy"`
}

func (a *api) retypeVolume(c *call, in *retypeBody) error {
	return c.accepted(a.volumes.Retype(c.Context(), c.scope(), c.id(), in.Type, string(in.Policy)))
}

func bootableSchema() *schema { return record(fields{"bootable": typeBoolean()}, "bootable") }

func (a *api) setBootable(c *call, in *struct{ Bootable wire.Bool }) error {
	if err := a.volumes.SetBootable(c.Context(), c.scope(), c.id(), bool(in.Bootable)); err != nil {
		return err
	}
	return c.empty(http.StatusOK)
}

func readOnlySchema() *schema { return record(fields{"readonly": typeBoolean()}, "readonly") }

func (a *api) setReadOnly(c *call, in *struct{ ReadOnly wire.Bool }) error {
	return c.accepted(a.volumes.SetReadOnly(c.Context(), c.scope(), c.id(), bool(in.ReadOnly)))
}

func revertSchema() *schema {
	s := record(fields{"snapshot_id": kind("string", "null")})
	s.Others = anything()
	return s
}

func (a *api) revertVolume(c *call, in *struct {
	SnapshotID text `json:"snapshot_id"`
}) error {
	return c.accepted(a.volumes.RevertToSnapshot(c.Context(), c.scope(), c.id(), string(in.SnapshotID)))
}

func reimageSchema() *schema {
	return record(fields{"image_id": typeUUID(), "reimage_reserved": typeBoolean()}, "image_id")
}

type reimageBody struct {
	ImageID  string    `json:"image_id"`
	Reserved wire.Bool `json:"reimage_reserved"`
}

func (a *api) reimageVolume(c *call, in *reimageBody) error {
	return c.accepted(a.volumes.ReimageVolume(c.Context(), c.scope(), c.id(), in.ImageID, bool(in.Reserved)))
}

func migrateSchema(c *call) *schema {
	if !c.at(16) {
		return record(fields{"host": {Types: []string{"string"}, MaxLength: 255}, "force_host_copy": typeBoolean(), "lock_volume": typeBoolean()}, "host")
	}
	return record(fields{"host": typeText(), "force_host_copy": typeBoolean(), "lock_volume": typeBoolean(), "cluster": typeText()})
}

type migrateBody struct {
	Host, Cluster text
	Force         wire.Bool `json:"force_host_copy"`
	Lock          wire.Bool `json:"lock_volume"`
}

func (a *api) migrateVolume(c *call, in *migrateBody) error {
	if (in.Host == "") == (in.Cluster == "") {
		return fault.Wrap(volume.ErrInvalid, "Invalid input received: One and only one of cluster and host must be set.")
	}
	return c.accepted(a.volumes.MigrateVolume(c.Context(), c.scope(), c.id(), string(in.Host), string(in.Cluster), bool(in.Force), bool(in.Lock)))
}

func resetVolumeSchema() *schema {
	s := record(fields{
		"status": statusOrNone(typeStatus("Volume", "creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing",
			"attaching", "in-use", "detaching", "maintenance", "restoring-backup", "error_restoring", "reserved", "awaiting-transfer", "backing-up",
			"error_backing-up", "error_extending", "downloading", "uploading", "retyping", "extending")),
		"attach_status":    statusOrNone(typeStatus("Volume attach", "attached", "detached")),
		"migration_status": statusOrNone(typeStatus("Volume migration", "migrating", "error", "success", "completing", "none", "starting")),
	})
	s.Check = func(value any) string {
		given, _ := value.(map[string]any)
		for _, name := range []string{"status", "attach_status", "migration_status"} {
			if given[name] != nil && given[name] != "" {
				return ""
			}
		}
		return "Must specify 'status', 'attach_status' or 'migration_status' for update."
	}
	return s
}

type resetVolumeBody struct {
	Status    lowered
	Attach    lowered `json:"attach_status"`
	Migration lowered `json:"migration_status"`
}

func (a *api) resetVolume(c *call, in *resetVolumeBody) error {
	return c.accepted(a.volumes.ResetVolume(c.Context(), c.scope(), c.id(), volume.ResetSpec{
		Status: volume.Status(in.Status), AttachStatus: string(in.Attach), MigrationStatus: string(in.Migration),
	}))
}

func (a *api) forceDeleteVolume(c *call, id string) error {
	return a.volumes.DeleteVolume(c.Context(), c.scope(), id, volume.DeleteOptions{Force: true})
}
