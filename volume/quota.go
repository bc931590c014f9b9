package volume

import "github.com/kintoun/kintoun/internal/record"

// Quota bounds what a project may have, by OpenStack's names: "volumes", "snapshots", "gigabytes", "backups",
// "backup_gigabytes", "groups", "per_volume_gigabytes", and "volumes_TYPE", "gigabytes_TYPE", "snapshots_TYPE" for the
// volumes of one type. A negative number, and for a type a missing one, is no bound.
type Quota map[string]int

// DefaultQuota is Cinder's.
func DefaultQuota() Quota {
	return Quota{
		"volumes": 10, "snapshots": 10, "gigabytes": 1000, "backups": 10, "backup_gigabytes": 1000, "groups": 10,
		"per_volume_gigabytes": -1,
	}
}

// QuotaUse is a bound and what is used of it.
type QuotaUse struct{ Limit, InUse, Reserved int }

type projectQuota struct {
	ProjectID string
	Quota     Quota
	Revision  int64
}

var quotaSpec = record.Spec[projectQuota]{
	Key:      func(q *projectQuota) string { return q.ProjectID },
	Revision: func(q *projectQuota) *int64 { return &q.Revision },
	Event:    func(q *projectQuota) record.Event { return record.Event{Type: "quota_set", Project: q.ProjectID} },
}
