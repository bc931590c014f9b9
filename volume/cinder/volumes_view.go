package cinder

import (
	"maps"
	"strconv"

	"github.com/kintoun/kintoun/volume"
)

func (c *call) volumeSummary(v *volume.Volume) object {
	return object{"id": v.ID, "name": nilIfEmpty(v.Name), "links": c.links("volumes", v.ID)}
}

// volumeCreated is a volume as the calls that change it show it; [call.volumeDetail] adds what the others show too.
func (c *call) volumeCreated(v *volume.Volume) object {
	o := object{
		"id": v.ID, "status": shownStatus(v.Status), "size": v.SizeGiB, "availability_zone": nilIfEmpty(v.Zone),
		"created_at": timestamp(v.CreatedAt), "updated_at": moment(&v.UpdatedAt), "name": nilIfEmpty(v.Name), "description": nilIfEmpty(v.Description),
		"volume_type": nilIfEmpty(v.TypeName), "snapshot_id": nilIfEmpty(v.SnapshotID), "source_volid": nilIfEmpty(v.SourceVolumeID),
		"metadata": shownMetadata(v), "links": c.links("volumes", v.ID), "user_id": v.UserID, "bootable": strconv.FormatBool(v.Bootable),
		"encrypted": v.Encrypted, "replication_status": nil, "consistencygroup_id": nil, "multiattach": v.Multiattach,
		"attachments": c.attachmentsOf(v),
	}
	admin := c.admin()
	if admin {
		o["migration_status"] = nilIfEmpty(v.MigrationStatus)
	}
	if c.at(13) {
		o["group_id"] = nilIfEmpty(v.GroupID)
	}
	if c.at(21) && admin {
		o["provider_id"] = nil
	}
	if c.at(48) {
		// No host has to keep others from scanning for disks.
		o["shared_targets"], o["service_uuid"] = false, nil
	}
	if c.at(61) && admin {
		o["cluster_name"] = nil
	}
	if c.at(63) {
		o["volume_type_id"] = nilIfEmpty(v.TypeID)
	}
	if c.at(64) && v.EncryptionKeyID != "" {
		o["encryption_key_id"] = v.EncryptionKeyID
	}
	if c.at(65) {
		o["consumes_quota"] = v.ConsumesQuota()
	}
	return o
}

func (c *call) volumeDetail(v *volume.Volume) object {
	o := c.volumeCreated(v)
	o["os-vol-tenant-attr:tenant_id"] = v.ProjectID
	if c.admin() {
		o["os-vol-host-attr:host"] = nilIfEmpty(v.Host)
		o["os-vol-mig-status-attr:migstat"], o["os-vol-mig-status-attr:name_id"] = nilIfEmpty(v.MigrationStatus), nilIfEmpty(v.KeptAs)
	}
	if len(v.ImageMetadata) > 0 {
		o["volume_image_metadata"] = v.ImageMetadata
	}
	return o
}

// shownStatus hides what only operators know of.
func shownStatus(s volume.Status) volume.Status {
	switch s {
	case volume.Managing:
		return volume.Creating
	case volume.ErrorManaging:
		return volume.Errored
	}
	return s
}

// shownMetadata is the user's, and what the service tells of how the volume can be used.
func shownMetadata(v *volume.Volume) map[string]string {
	shown := maps.Clone(pairs(v.Metadata))
	for _, key := range []string{"readonly", "attached_mode"} {
		if value, ok := v.AdminMetadata[key]; ok {
			shown[key] = value
		}
	}
	return shown
}

func (c *call) attachmentsOf(v *volume.Volume) []object {
	shown := []object{}
	for i := range v.Attachments {
		at := &v.Attachments[i]
		if at.Status != volume.AttachmentAttached {
			continue
		}
		o := object{
			"id": v.ID, "attachment_id": at.ID, "volume_id": v.ID, "server_id": nilIfEmpty(at.ServerID), "host_name": nil,
			"device": nilIfEmpty(at.Device), "attached_at": moment(at.AttachedAt),
		}
		if c.trusted() {
			o["host_name"] = nilIfEmpty(at.AttachedHost)
		}
		shown = append(shown, o)
	}
	return shown
}
