package lbaas

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/record"
)

// Provider is the name of the one provider of load balancing.
const Provider = "haproxy"

var poolFields = map[string]fieldKind{
	"id": textField, "tenant_id": textField, "name": textField, "description": textField, "subnet_id": textField,
	"protocol": textField, "lb_method": textField, "provider": textField, "admin_state_up": booleanField,
	"status": textField, "vip_id": textField,
}

// PoolSpec is a wish for a pool.
type PoolSpec struct {
	// ProjectID is the caller's when empty; only an administrator may wish for another.
	ProjectID         string
	Name, Description string
	SubnetID          string
	Protocol          Protocol
	Method            Method
	// Provider is [Provider] when empty.
	Provider string
	// AdminStateUp is true when nil, as in the API.
	AdminStateUp *bool
	MonitorIDs   []string
}

// PoolChange changes what is not nil.
type PoolChange struct {
	Name, Description *string
	Method            *Method
	AdminStateUp      *bool
	MonitorIDs        *[]string
}

// CreatePool makes a pool; it waits for a virtual address to become active.
func (s *Service) CreatePool(ctx context.Context, scope Scope, spec PoolSpec) (*Pool, error) {
	project, err := owner(scope, spec.ProjectID)
	if err != nil {
		return nil, err
	}
	if spec.Provider == "" {
		spec.Provider = Provider
	}
	pool := Pool{
		ID: newID(), ProjectID: project, Name: spec.Name, Description: spec.Description, SubnetID: spec.SubnetID,
		Protocol: spec.Protocol, Method: spec.Method, Provider: spec.Provider, AdminStateUp: up(spec.AdminStateUp), Status: PendingCreate,
	}
	err = errors.Join(checkTexts(pool.Name, pool.Description), checkProtocol(pool.Protocol), checkMethod(pool.Method))
	if err != nil {
		return nil, err
	}
	if pool.Provider != Provider {
		return nil, named(ErrNotFound, "ServiceProviderNotFound", "Service provider '%s' could not be found for service type LOADBALANCER", pool.Provider)
	}
	if err := s.ports.Subnet(ctx, scope, pool.SubnetID); err != nil {
		return nil, err
	}
	quota, err := s.options.Quota(ctx, project)
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if err := checkQuota(tx, s.pools, project, "pool", quota.Pools); err != nil {
			return err
		}
		if pool.AgentID, err = s.choose(tx); err != nil {
			return err
		}
		if err := s.pools.Insert(tx, &pool); err != nil {
			return err
		}
		if err := s.setMonitors(tx, scope, &pool, spec.MonitorIDs); err != nil {
			return err
		}
		return s.fill(tx, &pool)
	})
	return &pool, err
}

// Pools lists pools.
func (s *Service) Pools(ctx context.Context, scope Scope, q Query) ([]Pool, error) {
	tx := s.store.Read(ctx)
	pools, err := list(tx, s.pools, scope, q, poolFields)
	if err != nil {
		return nil, err
	}
	pointers := make([]*Pool, len(pools))
	for i := range pools {
		pointers[i] = &pools[i]
	}
	return pools, s.fill(tx, pointers...)
}

// Pool returns one pool.
func (s *Service) Pool(ctx context.Context, scope Scope, id string) (*Pool, error) {
	tx := s.store.Read(ctx)
	pool, err := s.pool(tx, scope, id)
	if err != nil {
		return nil, err
	}
	return pool, s.fill(tx, pool)
}

func (s *Service) pool(tx *record.Tx, scope Scope, id string) (*Pool, error) {
	return get(tx, s.pools, scope, id, "PoolNotFound", "Pool")
}

// fill adds members and monitors to pools.
func (s *Service) fill(tx *record.Tx, pools ...*Pool) error {
	byID := map[string]*Pool{}
	ids := make([]string, len(pools))
	for i, p := range pools {
		byID[p.ID], ids[i] = p, p.ID
		p.MemberIDs, p.Monitors = nil, nil
	}
	of := record.Query{Where: []record.Condition{record.In("pool_id", ids...)}}
	members, err := s.members.List(tx, of)
	if err != nil {
		return err
	}
	for _, m := range members {
		byID[m.PoolID].MemberIDs = append(byID[m.PoolID].MemberIDs, m.ID)
	}
	associations, err := s.associations.List(tx, of)
	if err != nil {
		return err
	}
	for _, a := range associations {
		byID[a.PoolID].Monitors = append(byID[a.PoolID].Monitors, a)
	}
	return nil
}

// UpdatePool changes a pool.
func (s *Service) UpdatePool(ctx context.Context, scope Scope, id string, change PoolChange) (pool *Pool, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if pool, err = s.pool(tx, scope, id); err != nil {
			return err
		}
		set(&pool.Name, change.Name)
		set(&pool.Description, change.Description)
		set(&pool.Method, change.Method)
		set(&pool.AdminStateUp, change.AdminStateUp)
		if err := errors.Join(checkTexts(pool.Name, pool.Description), checkMethod(pool.Method)); err != nil {
			return err
		}
		pool.Status = pool.Status.changed()
		if err := s.pools.Update(tx, pool); err != nil {
			return err
		}
		if change.MonitorIDs != nil {
			if err := s.setMonitors(tx, scope, pool, *change.MonitorIDs); err != nil {
				return err
			}
		}
		return s.fill(tx, pool)
	})
	return pool, err
}

func set[T any](target *T, value *T) {
	if value != nil {
		*target = *value
	}
}

// DeletePool takes the pool away, and its members with it. One that has a virtual address is [ErrInUse].
func (s *Service) DeletePool(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		pool, err := s.pool(tx, scope, id)
		if err != nil {
			return err
		}
		if pool.VIPID != "" {
			return named(ErrInUse, "PoolInUse", "Pool %s is still in use", id)
		}
		of := record.Query{Where: []record.Condition{record.Eq("pool_id", id)}}
		members, err := s.members.List(tx, of)
		if err != nil {
			return err
		}
		for _, m := range members {
			if err := s.members.Delete(tx, m.ID); err != nil {
				return err
			}
		}
		associations, err := s.associations.List(tx, of)
		if err != nil {
			return err
		}
		for _, a := range associations {
			if err := s.associations.Delete(tx, associationKey(a.PoolID, a.MonitorID)); err != nil {
				return err
			}
		}
		if err := s.stats.Delete(tx, id); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return s.pools.Delete(tx, id)
	})
}

// PoolStats returns the pool's counters; zeros while no balancer has reported any.
func (s *Service) PoolStats(ctx context.Context, scope Scope, id string) (Stats, error) {
	tx := s.store.Read(ctx)
	if _, err := s.pool(tx, scope, id); err != nil {
		return Stats{}, err
	}
	stats, err := s.stats.Get(tx, id)
	if errors.Is(err, ErrNotFound) {
		return Stats{PoolID: id}, nil
	}
	if err != nil {
		return Stats{}, err
	}
	return *stats, nil
}

// touch has the pool's agent look at it again.
func (s *Service) touch(tx *record.Tx, poolID string) error {
	_, err := s.pools.Modify(tx, poolID, func(p *Pool) error { p.Status = p.Status.changed(); return nil })
	return err
}
