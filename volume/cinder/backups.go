package cinder

import (
	"net/http"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) backupOperations() []operation {
	const policy = "volume_extension:backup_admin_actions:"
	reset := with(static(func() *schema { return record(fields{"status": typeStatus("Backup", "available", "error")}, "status") }), a.resetBackup)
	reset.policy = policy + "reset_status"
	remove := plain(func(c *call) error { return a.volumes.DeleteBackup(c.Context(), c.scope(), c.id(), true) })
	remove.policy = policy + "force_delete"
	return []operation{
		{method: "GET", path: "/backups", serve: a.listBackups},
		{method: "GET", path: "/backups/detail", serve: a.listBackups},
		{method: "POST", path: "/backups", serve: a.createBackup},
		{method: "GET", path: "/backups/{id}", serve: a.showBackup},
		{method: "PUT", path: "/backups/{id}", serve: a.updateBackup, since: 9},
		{method: "DELETE", path: "/backups/{id}", serve: a.deleteBackup},
		{method: "POST", path: "/backups/{id}/restore", serve: a.restoreBackup},
		{method: "GET", path: "/backups/{id}/export_record", serve: a.exportBackup, policy: "backup:export-import"},
		{method: "POST", path: "/backups/import_record", serve: a.importBackup, policy: "backup:export-import"},
		{method: "POST", path: "/backups/{id}/action", actions: map[string]action{"os-reset_status": reset, "os-force_delete": remove}},
	}
}

func (c *call) backupSummary(b *volume.Backup) object {
	return object{"id": b.ID, "name": nilIfEmpty(b.Name), "links": c.links("backups", b.ID)}
}

func (c *call) backupDetail(b *volume.Backup) object {
	o := c.backupSummary(b)
	for key, value := range (object{
		"status": b.Status, "size": b.SizeGiB, "object_count": b.ObjectCount, "availability_zone": nilIfEmpty(b.Zone), "container": nilIfEmpty(b.Container),
		"created_at": timestamp(b.CreatedAt), "updated_at": moment(&b.UpdatedAt), "description": nilIfEmpty(b.Description),
		"fail_reason": nilIfEmpty(b.FailReason), "volume_id": b.VolumeID, "is_incremental": b.Incremental, "has_dependent_backups": b.HasDependents,
		"snapshot_id": nilIfEmpty(b.SnapshotID), "data_timestamp": moment(&b.DataTimestamp),
	}) {
		o[key] = value
	}
	if c.at(43) {
		o["metadata"] = pairs(b.Metadata)
	}
	if c.at(64) && b.EncryptionKeyID != "" {
		o["encryption_key_id"] = b.EncryptionKeyID
	}
	if c.at(18) && c.admin() {
		o["os-backup-project-attr:project_id"] = b.ProjectID
	}
	if c.at(56) && c.admin() {
		o["user_id"] = b.UserID
	}
	return o
}

func (a *api) listBackups(c *call) error {
	options, err := c.listing("backup")
	if err != nil {
		return err
	}
	count, err := c.counted(options, func(o volume.ListOptions) (int, error) { return a.volumes.CountBackups(c.Context(), c.scope(), o) })
	if err != nil {
		return err
	}
	var backups []volume.Backup
	if options.Limit > 0 {
		if backups, err = a.volumes.Backups(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.backupSummary
	if c.detailed() {
		show = c.backupDetail
	}
	return c.listed("backups", "backups_links", each(backups, show), options, count)
}

func (a *api) createBackup(c *call) error {
	inner := record(fields{
		"volume_id": typeUUID(), "container": typeText(), "description": typeDescription(), "incremental": typeBoolean(), "force": typeBoolean(),
		"name": typeText(), "snapshot_id": typeUUIDOrNull(),
	}, "volume_id")
	if c.at(43) {
		inner.Properties["metadata"] = typeMetadataOrNull()
	}
	if c.at(51) {
		inner.Properties["availability_zone"] = typeText()
	}
	var body struct {
		Backup struct {
			VolumeID           string `json:"volume_id"`
			SnapshotID         text   `json:"snapshot_id"`
			Name, Description  trimmed
			Container          text
			Zone               text `json:"availability_zone"`
			Incremental, Force wire.Bool
			Metadata           map[string]string
		}
	}
	if err := c.body(wrap("backup", inner), &body); err != nil {
		return err
	}
	in := &body.Backup
	b, err := a.volumes.CreateBackup(c.Context(), c.scope(), volume.BackupSpec{
		VolumeID: in.VolumeID, SnapshotID: string(in.SnapshotID), Name: string(in.Name), Description: string(in.Description),
		Container: string(in.Container), Zone: string(in.Zone), Incremental: bool(in.Incremental), Force: bool(in.Force), Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"backup": c.backupSummary(b)})
}

func (a *api) showBackup(c *call) error {
	b, err := a.volumes.Backup(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"backup": c.backupDetail(b)})
}

func (a *api) updateBackup(c *call) error {
	inner := orNull(record(fields{"name": typeText(), "description": typeDescription()}))
	if c.at(43) {
		inner.Properties["metadata"] = typeMetadata()
	}
	var body struct {
		Backup struct {
			Name, Description *trimmed
			Metadata          map[string]string
		}
	}
	if err := c.body(wrap("backup", inner), &body); err != nil {
		return err
	}
	in := &body.Backup
	b, err := a.volumes.UpdateBackup(c.Context(), c.scope(), c.id(), volume.BackupUpdate{
		Name: textOf(in.Name), Description: textOf(in.Description), Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"backup": c.backupSummary(b)})
}

func (a *api) deleteBackup(c *call) error {
	return c.accepted(a.volumes.DeleteBackup(c.Context(), c.scope(), c.id(), false))
}

func (a *api) restoreBackup(c *call) error {
	var body struct {
		Restore struct {
			Name     trimmed
			VolumeID text `json:"volume_id"`
		}
	}
	s := wrap("restore", orNull(record(fields{"name": typeText(), "volume_id": typeUUIDOrNull()})))
	if err := c.body(s, &body); err != nil {
		return err
	}
	r, err := a.volumes.RestoreBackup(c.Context(), c.scope(), c.id(), volume.RestoreSpec{VolumeID: string(body.Restore.VolumeID), Name: string(body.Restore.Name)})
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"restore": object{"backup_id": r.BackupID, "volume_id": r.VolumeID, "volume_name": r.VolumeName}})
}

func (a *api) exportBackup(c *call) error {
	r, err := a.volumes.ExportBackup(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"backup-record": object{"backup_service": r.Service, "backup_url": r.URL}})
}

func (a *api) importBackup(c *call) error {
	var body struct {
		Record struct {
			Service string `json:"backup_service"`
			URL     string `json:"backup_url"`
		} `json:"backup-record"`
	}
	s := wrap("backup-record", record(fields{
		"backup_service": {Types: []string{"string"}, MaxLength: 255},
		"backup_url":     {Types: []string{"string"}, MinLength: 1, Format: wire.FormatBase64()},
	}, "backup_service", "backup_url"))
	if err := c.body(s, &body); err != nil {
		return err
	}
	b, err := a.volumes.ImportBackup(c.Context(), c.scope(), volume.BackupRecord{Service: body.Record.Service, URL: body.Record.URL})
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, object{"backup": c.backupSummary(b)})
}

func (a *api) resetBackup(c *call, in *statusBody) error {
	return c.accepted(a.volumes.ResetBackup(c.Context(), c.scope(), c.id(), volume.Status(in.Status)))
}
