package volume

import (
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

// PoolFilter narrows a list of pools; its zero value does not.
type PoolFilter struct {
	// Name is a pool's.
	Name string
	// Type names a volume type, or gives its identifier: the pools that can have such volumes.
	Type string
	// Detail asks for what is known of the pools.
	Detail bool
}

// Pools lists the pools.
func (s *Service) Pools(ctx context.Context, scope Scope, filter PoolFilter) ([]PoolInfo, error) {
	if err := mustAdmin(scope, "scheduler_extension:scheduler_stats:get_pools"); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	pools, err := s.allPools(tx)
	if err != nil {
		return nil, err
	}
	if pools, err = s.filtered(tx, scope, pools, filter); err != nil {
		return nil, err
	}
	var list []PoolInfo
	for i := range pools {
		p := &pools[i]
		info := PoolInfo{Name: p.Name, Up: s.up(p), Enabled: !p.Disabled}
		if filter.Detail {
			if info.Capabilities, err = s.tell(tx, p); err != nil {
				return nil, err
			}
		}
		list = append(list, info)
	}
	return list, nil
}

func (s *Service) filtered(tx *record.Tx, scope Scope, pools []pool, filter PoolFilter) ([]pool, error) {
	if filter.Name != "" {
		pools = slices.DeleteFunc(pools, func(p pool) bool { return p.Name != filter.Name })
	}
	if filter.Type == "" {
		return pools, nil
	}
	t, err := s.visibleType(tx, scope, filter.Type)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pools, func(p pool) bool { return !t.suits(&p) }), nil
}
