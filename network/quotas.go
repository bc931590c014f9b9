package network

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/record"
)

// defaultQuotas are Neutron's.
var defaultQuotas = map[string]int{
	"network": 100, "subnet": 100, "port": 500, "router": 10, "floatingip": 50, "security_group": 10, "security_group_rule": 100,
	"subnetpool": -1, "rbac_policy": 10,
}

// limits are a project's own quotas.
type limits struct {
	ProjectID string
	Limits    map[string]int
	Revision  int64
}

// QuotaDetail is a limit and how much of it is used.
type QuotaDetail struct {
	Limit, Used int
}

func (s *Service) defineRest() {
	s.limits = record.Define(s.store, "quotas", record.Spec[limits]{
		Key: func(l *limits) string { return l.ProjectID }, Revision: func(l *limits) *int64 { return &l.Revision },
		Event: func(l *limits) record.Event { return record.Event{Type: "quota", Project: l.ProjectID} },
	})
	s.pools = record.Define(s.store, "subnetpools", record.Spec[SubnetPool]{
		Key: func(p *SubnetPool) string { return p.ID }, Revision: func(p *SubnetPool) *int64 { return &p.Revision }, Unindexed: unindexed,
		Event: func(p *SubnetPool) record.Event { return p.told("subnetpool") },
		Columns: columns(func(p *SubnetPool) *Meta { return &p.Meta }, map[string]func(*SubnetPool) any{
			"shared": func(p *SubnetPool) any { return p.Shared }, "is_default": func(p *SubnetPool) any { return p.Default },
			"ip_version": func(p *SubnetPool) any { return p.Version() }, "default_prefixlen": func(p *SubnetPool) any { return p.DefaultLength },
			"min_prefixlen": func(p *SubnetPool) any { return p.MinLength }, "max_prefixlen": func(p *SubnetPool) any { return p.MaxLength },
		}),
	})
	s.policies = record.Define(s.store, "rbac_policies", record.Spec[RBACPolicy]{
		Key: func(p *RBACPolicy) string { return p.ID }, Revision: func(p *RBACPolicy) *int64 { return &p.Revision }, Unindexed: unindexed,
		Event: func(p *RBACPolicy) record.Event { return p.told("rbac_policy") },
		Columns: columns(func(p *RBACPolicy) *Meta { return &p.Meta }, map[string]func(*RBACPolicy) any{
			"object_type": func(p *RBACPolicy) any { return p.ObjectType }, "object_id": func(p *RBACPolicy) any { return p.ObjectID },
			"action": func(p *RBACPolicy) any { return p.Action }, "target_tenant": func(p *RBACPolicy) any { return p.Target },
		}),
		Claims: func(p *RBACPolicy) []record.Claim {
			return []record.Claim{{Space: "rbac/" + p.ObjectID, Value: p.Action + " " + p.Target}}
		},
	})
}

// charge refuses n more of a resource than the project may have.
func (s *Service) charge(tx *record.Tx, project, resource string, n int) error {
	if project == "" {
		return nil
	}
	all, err := s.quota(tx, project)
	if err != nil {
		return err
	}
	limit := all[resource]
	if limit < 0 {
		return nil
	}
	used, err := s.used(tx, project, resource)
	if err != nil {
		return err
	}
	if used+n > limit {
		return refuse(ErrQuota, "OverQuota", "Quota exceeded for resources: ['%s'].", resource)
	}
	return nil
}

func (s *Service) used(tx *record.Tx, project, resource string) (int, error) {
	own := record.Eq("project_id", project)
	switch resource {
	case "network":
		return s.networks.Count(tx, own)
	case "subnet":
		return s.subnets.Count(tx, own)
	case "port":
		return s.ports.Count(tx, own)
	case "router":
		return s.routers.Count(tx, own)
	case "floatingip":
		return s.floating.Count(tx, own)
	case "security_group":
		return s.groups.Count(tx, own)
	case "security_group_rule":
		return s.rules.Count(tx, own)
	case "subnetpool":
		return s.pools.Count(tx, own)
	}
	return s.policies.Count(tx, own)
}

func (s *Service) quota(tx *record.Tx, project string) (map[string]int, error) {
	all := s.DefaultQuota()
	own, err := s.limits.Get(tx, project)
	if errors.Is(err, ErrNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	for resource, limit := range own.Limits {
		all[resource] = limit
	}
	return all, nil
}

// DefaultQuota is what projects may have that were given nothing else; -1 is no limit.
func (s *Service) DefaultQuota() map[string]int {
	all := map[string]int{}
	for resource, limit := range defaultQuotas {
		all[resource] = limit
	}
	for resource, limit := range s.options.Quotas {
		all[resource] = limit
	}
	return all
}

// Quota is what a project may have.
func (s *Service) Quota(ctx context.Context, scope Scope, project string) (map[string]int, error) {
	if !scope.Admin && project != scope.ProjectID {
		return nil, forbidden("get_quota")
	}
	return s.quota(s.store.Read(ctx), project)
}

// QuotaDetails is what a project may have, and has.
func (s *Service) QuotaDetails(ctx context.Context, scope Scope, project string) (map[string]QuotaDetail, error) {
	all, err := s.Quota(ctx, scope, project)
	if err != nil {
		return nil, err
	}
	details := map[string]QuotaDetail{}
	for resource, limit := range all {
		used, err := s.used(s.store.Read(ctx), project, resource)
		if err != nil {
			return nil, err
		}
		details[resource] = QuotaDetail{limit, used}
	}
	return details, nil
}

// Quotas lists the projects with limits of their own, for admins.
func (s *Service) Quotas(ctx context.Context, scope Scope) (map[string]map[string]int, error) {
	if !scope.Admin {
		return nil, forbidden("get_quota")
	}
	own, err := s.limits.List(s.store.Read(ctx), record.Query{})
	all := map[string]map[string]int{}
	for i := range own {
		all[own[i].ProjectID] = s.DefaultQuota()
		for resource, limit := range own[i].Limits {
			all[own[i].ProjectID][resource] = limit
		}
	}
	return all, err
}

// SetQuota changes some of a project's limits, for admins.
func (s *Service) SetQuota(ctx context.Context, scope Scope, project string, change map[string]int) (map[string]int, error) {
	if !scope.Admin {
		return nil, forbidden("update_quota")
	}
	for resource, limit := range change {
		if _, known := defaultQuotas[resource]; !known {
			return nil, refuse(ErrInvalid, "QuotaResourceUnknown", "Unknown quota resources ['%s'].", resource)
		}
		if limit < -1 || limit > 1<<31-1 {
			return nil, invalid("Quota limit %d for %s must be -1 or more, up to 2147483647", limit, resource)
		}
	}
	var all map[string]int
	err := s.update(ctx, func(tx *record.Tx) error {
		own, err := s.limits.Get(tx, project)
		fresh := errors.Is(err, ErrNotFound)
		if fresh {
			own, err = &limits{ProjectID: project, Limits: map[string]int{}}, nil
		}
		if err != nil {
			return err
		}
		for resource, limit := range change {
			own.Limits[resource] = limit
		}
		save := s.limits.Update
		if fresh {
			save = s.limits.Insert
		}
		if err := save(tx, own); err != nil {
			return err
		}
		all, err = s.quota(tx, project)
		return err
	})
	return all, err
}

// ResetQuota gives a project the default limits again, for admins.
func (s *Service) ResetQuota(ctx context.Context, scope Scope, project string) error {
	if !scope.Admin {
		return forbidden("delete_quota")
	}
	return s.update(ctx, func(tx *record.Tx) error {
		err := s.limits.Delete(tx, project)
		if errors.Is(err, ErrNotFound) {
			return refuse(ErrNotFound, "TenantQuotaNotFound", "Quota for tenant %s could not be found.", project)
		}
		return err
	})
}
