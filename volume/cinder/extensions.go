package cinder

import "net/http"

func (a *api) extensionOperations() []operation {
	return []operation{{method: "GET", path: "/extensions", serve: a.listExtensions}}
}

// listExtensions names what was optional once and is now part of the API; only those that are really served.
func (a *api) listExtensions(c *call) error {
	shown := []object{}
	for _, pair := range [][2]string{
		{"OS-SCH-HNT", "SchedulerHints"}, {"backups", "Backups"}, {"capabilities", "Capabilities"}, {"encryption", "VolumeTypeEncryption"},
		{"os-admin-actions", "AdminActions"}, {"os-availability-zone", "AvailabilityZones"}, {"os-extended-services", "ExtendedServices"},
		{"os-extended-snapshot-attributes", "ExtendedSnapshotAttributes"}, {"os-hosts", "Hosts"}, {"os-quota-class-sets", "QuotaClasses"},
		{"os-quota-sets", "Quotas"}, {"os-services", "Services"}, {"os-snapshot-actions", "SnapshotActions"}, {"os-snapshot-manage", "SnapshotManage"},
		{"os-snapshot-unmanage", "SnapshotUnmanage"}, {"os-types-extra-specs", "TypesExtraSpecs"}, {"os-types-manage", "TypesManage"},
		{"os-used-limits", "UsedLimits"}, {"os-vol-host-attr", "VolumeHostAttribute"}, {"os-vol-image-meta", "VolumeImageMetadata"},
		{"os-vol-mig-status-attr", "VolumeMigStatusAttribute"}, {"os-vol-tenant-attr", "VolumeTenantAttribute"},
		{"os-volume-actions", "VolumeActions"}, {"os-volume-encryption-metadata", "VolumeEncryptionMetadata"}, {"os-volume-manage", "VolumeManage"},
		{"os-volume-transfer", "VolumeTransfer"}, {"os-volume-type-access", "VolumeTypeAccess"}, {"os-volume-unmanage", "VolumeUnmanage"},
		{"qos-specs", "Qos_specs_manage"}, {"scheduler-stats", "Scheduler_stats"},
	} {
		shown = append(shown, object{
			"alias": pair[0], "name": pair[1], "description": pair[1] + ".", "links": []object{}, "updated": "2014-06-26T00:00:00Z",
		})
	}
	return c.json(http.StatusOK, object{"extensions": shown})
}
