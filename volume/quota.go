package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

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

// projectQuota is what was set for a project, or under defaultsOf for all that have nothing of their own.
type projectQuota struct {
	ProjectID string
	Quota     Quota
	Revision  int64
}

const defaultsOf = "default"

var quotaSpec = record.Spec[projectQuota]{
	Key:      func(q *projectQuota) string { return q.ProjectID },
	Revision: func(q *projectQuota) *int64 { return &q.Revision },
	Event:    func(q *projectQuota) record.Event { return record.Event{Type: "quota_set", Project: q.ProjectID} },
}

// perType are the resources that each type has bounds of its own for.
func perType() []string { return []string{"volumes", "gigabytes", "snapshots"} }

// Quota returns what a project may have, with the bounds of every type.
func (s *Service) Quota(ctx context.Context, projectID string) (Quota, error) {
	return s.quota(s.store.Read(ctx), projectID)
}

// DefaultQuotas returns what a project may have without a quota of its own.
func (s *Service) DefaultQuotas(ctx context.Context) (Quota, error) {
	return s.quota(s.store.Read(ctx), defaultsOf)
}

func (s *Service) quota(tx *record.Tx, projectID string) (Quota, error) {
	quota := Quota{}
	types, err := s.types.Texts(tx, "name")
	if err != nil {
		return nil, err
	}
	for _, name := range types {
		for _, resource := range perType() {
			quota[resource+"_"+name] = -1
		}
	}
	maps.Copy(quota, s.options.Quota)
	for _, of := range slices.Compact([]string{defaultsOf, projectID}) {
		set, err := s.quotas.Get(tx, of)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err == nil {
			maps.Copy(quota, set.Quota)
		}
	}
	return quota, nil
}

// SetQuota changes what a project may have.
func (s *Service) SetQuota(ctx context.Context, projectID string, change map[string]int) (quota Quota, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if quota, err = s.quota(tx, projectID); err != nil {
			return err
		}
		for name, limit := range change {
			if _, known := quota[name]; !known {
				return fault.Wrap(ErrInvalid, "Bad key(s) in quota set: %s", name)
			}
			if limit < -1 {
				return fault.Wrap(ErrInvalid, "Invalid input received: Quota limit must be -1 or greater.")
			}
		}
		maps.Copy(quota, change)
		set, err := s.quotas.Get(tx, projectID)
		if errors.Is(err, ErrNotFound) {
			return s.quotas.Insert(tx, &projectQuota{ProjectID: projectID, Quota: change})
		}
		if err != nil {
			return err
		}
		maps.Copy(set.Quota, change)
		return s.quotas.Update(tx, set)
	})
	return quota, err
}

// SetDefaultQuotas changes what projects without a quota of their own may have.
func (s *Service) SetDefaultQuotas(ctx context.Context, change map[string]int) (Quota, error) {
	return s.SetQuota(ctx, defaultsOf, change)
}

// DeleteQuota gives a project the default quota again.
func (s *Service) DeleteQuota(ctx context.Context, projectID string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.quotas.Delete(tx, projectID) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// QuotaUsage returns what a project may have and what it uses.
func (s *Service) QuotaUsage(ctx context.Context, projectID string) (map[string]QuotaUse, error) {
	tx := s.store.Read(ctx)
	quota, err := s.quota(tx, projectID)
	if err != nil {
		return nil, err
	}
	usage := map[string]QuotaUse{}
	for name, limit := range quota {
		used, err := s.used(tx, projectID, name)
		if err != nil {
			return nil, err
		}
		usage[name] = QuotaUse{Limit: limit, InUse: used}
	}
	return usage, nil
}

// Limits returns the bounds of the scope's project and what it uses.
func (s *Service) Limits(ctx context.Context, scope Scope) (*Limits, error) {
	tx := s.store.Read(ctx)
	quota, err := s.quota(tx, scope.ProjectID)
	if err != nil {
		return nil, err
	}
	limits := &Limits{Quota: quota, Used: map[string]int{}}
	for _, name := range []string{"volumes", "gigabytes", "snapshots", "backups", "backup_gigabytes"} {
		if limits.Used[name], err = s.used(tx, scope.ProjectID, name); err != nil {
			return nil, err
		}
	}
	return limits, nil
}

// used is what a project has of a resource of quotas.
func (s *Service) used(tx *record.Tx, projectID, name string) (int, error) {
	resource, typeName, typed := strings.Cut(name, "_")
	if name == "backup_gigabytes" || name == "per_volume_gigabytes" || name == "backups" || name == "groups" {
		return s.usedByExtras(tx, projectID, name)
	}
	where := []record.Condition{record.Eq("project", projectID), record.Eq("counted", true)}
	if typed {
		t, err := s.typeByName(tx, typeName)
		if errors.Is(err, ErrNotFound) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		where = append(where, record.Eq("type", t.ID))
	}
	switch resource {
	case "volumes":
		return s.volumes.Count(tx, where...)
	case "snapshots":
		return s.snapshots.Count(tx, where...)
	case "gigabytes":
		volumes, err := s.volumes.Sum(tx, "size", where...)
		if err != nil {
			return 0, err
		}
		snapshots, err := s.snapshots.Sum(tx, "size", where...)
		return int(volumes + snapshots), err
	}
	return 0, nil
}

// reserve refuses what would be more than the project may have. What is wanted of a type is counted for the type too,
// where its name is given.
func (s *Service) reserve(tx *record.Tx, projectID, typeName string, want map[string]int) error {
	quota, err := s.quota(tx, projectID)
	if err != nil {
		return err
	}
	all := maps.Clone(want)
	for _, resource := range perType() {
		if n := want[resource]; n > 0 && typeName != "" {
			all[resource+"_"+typeName] = n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		limit, bound := quota[name]
		if !bound || limit < 0 || all[name] <= 0 {
			continue
		}
		used, err := s.used(tx, projectID, name)
		if err != nil {
			return err
		}
		if used+all[name] > limit {
			return overQuota(name, all[name], used, limit)
		}
	}
	return nil
}

// overQuota says in Cinder's words what would be too much.
func overQuota(name string, want, used, limit int) error {
	resource, _, _ := strings.Cut(name, "_")
	switch {
	case name == "backup_gigabytes":
		return fault.Wrap(ErrQuota, "Requested backup exceeds allowed Backup gigabytes quota. Requested %dG, quota is %dG and %dG has been consumed.", want, limit, used)
	case resource == "gigabytes":
		return fault.Wrap(ErrQuota, "Requested volume or snapshot exceeds allowed %s quota. Requested %dG, quota is %dG and %dG has been consumed.", name, want, limit, used)
	case resource == "volumes":
		return fault.Wrap(ErrQuota, "VolumeLimitExceeded: Maximum number of volumes allowed (%d) exceeded for quota '%s'.", limit, name)
	case resource == "snapshots":
		return fault.Wrap(ErrQuota, "SnapshotLimitExceeded: Maximum number of snapshots allowed (%d) exceeded for quota '%s'.", limit, name)
	case resource == "backups":
		return fault.Wrap(ErrQuota, "BackupLimitExceeded: Maximum number of backups allowed (%d) exceeded", limit)
	}
	return fault.Wrap(ErrQuota, "Quota exceeded: the project may have %d %s, and has %d", limit, name, used)
}

// checkSize refuses a volume that is larger than any may be.
func (s *Service) checkSize(tx *record.Tx, projectID string, sizeGiB int) error {
	quota, err := s.quota(tx, projectID)
	if err != nil {
		return err
	}
	if limit := quota["per_volume_gigabytes"]; limit >= 0 && sizeGiB > limit {
		return fault.Wrap(ErrQuota, "VolumeSizeExceedsLimit: Requested volume size %d is larger than maximum allowed limit %d.", sizeGiB, limit)
	}
	return nil
}
