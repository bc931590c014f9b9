package compute

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Quota bounds what a project may have; a negative number is no bound.
type Quota struct {
	Instances, Cores, RAMMiB                              int
	MetadataItems, KeyPairs                               int
	ServerGroups, ServerGroupMembers                      int
	InjectedFiles, InjectedFileBytes, InjectedFilePathLen int
}

// DefaultQuota is Nova's.
func DefaultQuota() Quota {
	return Quota{
		Instances: 10, Cores: 20, RAMMiB: 51200, MetadataItems: 128, KeyPairs: 100,
		ServerGroups: 10, ServerGroupMembers: 10,
		InjectedFiles: 5, InjectedFileBytes: 10240, InjectedFilePathLen: 255,
	}
}

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

// Usage is what a project has.
type Usage struct{ Instances, Cores, RAMMiB, ServerGroups int }

// Quota returns what a project may have.
func (s *Service) Quota(ctx context.Context, projectID string) (Quota, error) {
	return s.quota(s.store.Read(ctx), projectID)
}

// DefaultQuota returns what a project may have without a quota of its own.
func (s *Service) DefaultQuota() Quota { return *s.options.Quota }

func (s *Service) quota(tx *record.Tx, projectID string) (Quota, error) {
	q, err := s.quotas.Get(tx, projectID)
	if errors.Is(err, ErrNotFound) {
		return *s.options.Quota, nil
	}
	if err != nil {
		return Quota{}, err
	}
	return q.Quota, nil
}

// SetQuota changes what a project may have. Unless forced, no bound may fall below what the project has.
func (s *Service) SetQuota(ctx context.Context, projectID string, force bool, change func(q *Quota)) (Quota, error) {
	var changed Quota
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		quota, err := s.quota(tx, projectID)
		if err != nil {
			return err
		}
		usage, err := s.usage(tx, projectID)
		if err != nil {
			return err
		}
		change(&quota)
		changed = quota
		if err := checkLowered(quota, usage); err != nil && !force {
			return err
		}
		q, err := s.quotas.Get(tx, projectID)
		if errors.Is(err, ErrNotFound) {
			return s.quotas.Insert(tx, &projectQuota{ProjectID: projectID, Quota: quota})
		}
		if err != nil {
			return err
		}
		q.Quota = quota
		return s.quotas.Update(tx, q)
	})
	return changed, err
}

func checkLowered(q Quota, u Usage) error {
	for _, r := range []struct {
		name        string
		limit, used int
	}{{"instances", q.Instances, u.Instances}, {"cores", q.Cores, u.Cores}, {"ram", q.RAMMiB, u.RAMMiB}, {"server_groups", q.ServerGroups, u.ServerGroups}} {
		if r.limit < -1 {
			return fault.Wrap(ErrInvalid, "Quota limit %d for %s must be -1 or greater.", r.limit, r.name)
		}
		if r.limit >= 0 && r.limit < r.used {
			return fault.Wrap(ErrInvalid, "Quota limit %d for %s must be greater than or equal to already used and reserved %d.", r.limit, r.name, r.used)
		}
	}
	return nil
}

// DeleteQuota gives a project the default quota again.
func (s *Service) DeleteQuota(ctx context.Context, projectID string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.quotas.Delete(tx, projectID) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// Usage returns what a project has.
func (s *Service) Usage(ctx context.Context, projectID string) (Usage, error) {
	return s.usage(s.store.Read(ctx), projectID)
}

func (s *Service) usage(tx *record.Tx, projectID string) (u Usage, err error) {
	alive := []record.Condition{record.Eq("project", projectID), record.Eq("deleted", false)}
	if u.Instances, err = s.servers.Count(tx, alive...); err != nil {
		return u, err
	}
	cores, err := s.servers.Sum(tx, "vcpus", alive...)
	if err != nil {
		return u, err
	}
	memory, err := s.servers.Sum(tx, "memory", alive...)
	if err != nil {
		return u, err
	}
	u.Cores, u.RAMMiB = int(cores), int(memory)
	u.ServerGroups, err = s.groups.Count(tx, record.Eq("project", projectID))
	return u, err
}

// affordable returns how many servers of the flavor the project may still make, up to wanted; fewer than least is
// an error that says which bound stands in the way.
func (s *Service) affordable(tx *record.Tx, projectID string, f *Flavor, least, wanted int) (int, error) {
	quota, err := s.quota(tx, projectID)
	if err != nil {
		return 0, err
	}
	if quota.Cores < 0 && quota.Instances < 0 && quota.RAMMiB < 0 {
		return wanted, nil
	}
	usage, err := s.usage(tx, projectID)
	if err != nil {
		return 0, err
	}
	count := wanted
	for _, r := range []struct {
		name              string
		limit, used, each int
	}{{"cores", quota.Cores, usage.Cores, f.VCPUs}, {"instances", quota.Instances, usage.Instances, 1}, {"ram", quota.RAMMiB, usage.RAMMiB, f.MemoryMiB}} {
		if r.limit < 0 {
			continue
		}
		fits := max(0, (r.limit-r.used)/r.each)
		if fits < least {
			return 0, fault.Wrap(ErrQuota, "Quota exceeded for %s: Requested %d, but already used %d of %d %s", r.name, least*r.each, r.used, r.limit, r.name)
		}
		count = min(count, fits)
	}
	return count, nil
}
