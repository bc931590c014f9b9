package lbaas

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

var monitorFields = map[string]fieldKind{
	"id": textField, "tenant_id": textField, "type": textField, "delay": numberField, "timeout": numberField,
	"max_retries": numberField, "admin_state_up": booleanField,
}

// HealthMonitorSpec is a wish for a monitor.
type HealthMonitorSpec struct {
	// ProjectID is the caller's when empty; only an administrator may wish for another.
	ProjectID string
	// Type is PING, TCP, HTTP or HTTPS.
	Type           string
	Delay, Timeout time.Duration
	MaxRetries     int
	// HTTPMethod, URLPath and ExpectedCodes are GET, / and 200 when empty.
	HTTPMethod, URLPath, ExpectedCodes string
	// AdminStateUp is true when nil, as in the API.
	AdminStateUp *bool
}

// HealthMonitorChange changes what is not nil.
type HealthMonitorChange struct {
	Delay, Timeout                     *time.Duration
	MaxRetries                         *int
	HTTPMethod, URLPath, ExpectedCodes *string
	AdminStateUp                       *bool
}

// CreateHealthMonitor makes a monitor; it does nothing until it is associated with a pool.
func (s *Service) CreateHealthMonitor(ctx context.Context, scope Scope, spec HealthMonitorSpec) (*HealthMonitor, error) {
	project, err := owner(scope, spec.ProjectID)
	if err != nil {
		return nil, err
	}
	monitor := HealthMonitor{
		ID: newID(), ProjectID: project, Type: spec.Type, Delay: spec.Delay, Timeout: spec.Timeout, MaxRetries: spec.MaxRetries,
		HTTPMethod: orDefault(spec.HTTPMethod, "GET"), URLPath: orDefault(spec.URLPath, "/"), ExpectedCodes: orDefault(spec.ExpectedCodes, "200"),
		AdminStateUp: up(spec.AdminStateUp), Status: PendingCreate,
	}
	if err := checkMonitor(&monitor); err != nil {
		return nil, err
	}
	quota, err := s.options.Quota(ctx, project)
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if err := checkQuota(tx, s.monitors, project, "health_monitor", quota.HealthMonitors); err != nil {
			return err
		}
		return s.monitors.Insert(tx, &monitor)
	})
	return &monitor, err
}

func orDefault(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// HealthMonitors lists monitors.
func (s *Service) HealthMonitors(ctx context.Context, scope Scope, q Query) ([]HealthMonitor, error) {
	tx := s.store.Read(ctx)
	monitors, err := list(tx, s.monitors, scope, q, monitorFields)
	if err != nil {
		return nil, err
	}
	pointers := make([]*HealthMonitor, len(monitors))
	for i := range monitors {
		pointers[i] = &monitors[i]
	}
	return monitors, s.fillMonitors(tx, pointers...)
}

// HealthMonitor returns one monitor.
func (s *Service) HealthMonitor(ctx context.Context, scope Scope, id string) (*HealthMonitor, error) {
	tx := s.store.Read(ctx)
	monitor, err := s.monitor(tx, scope, id)
	if err != nil {
		return nil, err
	}
	return monitor, s.fillMonitors(tx, monitor)
}

func (s *Service) monitor(tx *record.Tx, scope Scope, id string) (*HealthMonitor, error) {
	return get(tx, s.monitors, scope, id, "HealthMonitorNotFound", "Health_monitor")
}

// fillMonitors adds to monitors the pools that they watch over.
func (s *Service) fillMonitors(tx *record.Tx, monitors ...*HealthMonitor) error {
	byID := map[string]*HealthMonitor{}
	ids := make([]string, len(monitors))
	for i, m := range monitors {
		byID[m.ID], ids[i] = m, m.ID
		m.Pools = nil
	}
	associations, err := s.associations.List(tx, record.Query{Where: []record.Condition{record.In("monitor_id", ids...)}})
	if err != nil {
		return err
	}
	for _, a := range associations {
		byID[a.MonitorID].Pools = append(byID[a.MonitorID].Pools, a)
	}
	for _, m := range monitors {
		m.Status = overall(m.Pools)
	}
	return nil
}

// overall is a monitor's status: that of its associations where they agree, or else the one that is worth a look.
func overall(associations []Association) Status {
	if len(associations) == 0 {
		return PendingCreate
	}
	for _, status := range []Status{Failed, PendingCreate, PendingUpdate} {
		if slices.ContainsFunc(associations, func(a Association) bool { return a.Status == status }) {
			return status
		}
	}
	return associations[0].Status
}

// UpdateHealthMonitor changes a monitor, for all the pools that it watches over.
func (s *Service) UpdateHealthMonitor(ctx context.Context, scope Scope, id string, change HealthMonitorChange) (monitor *HealthMonitor, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if monitor, err = s.monitor(tx, scope, id); err != nil {
			return err
		}
		set(&monitor.Delay, change.Delay)
		set(&monitor.Timeout, change.Timeout)
		set(&monitor.MaxRetries, change.MaxRetries)
		set(&monitor.HTTPMethod, change.HTTPMethod)
		set(&monitor.URLPath, change.URLPath)
		set(&monitor.ExpectedCodes, change.ExpectedCodes)
		set(&monitor.AdminStateUp, change.AdminStateUp)
		if err := checkMonitor(monitor); err != nil {
			return err
		}
		if err := s.monitors.Update(tx, monitor); err != nil {
			return err
		}
		if err := s.fillMonitors(tx, monitor); err != nil {
			return err
		}
		for i := range monitor.Pools {
			a := &monitor.Pools[i]
			a.Status = a.Status.changed()
			if err := s.associations.Update(tx, a); err != nil {
				return err
			}
		}
		monitor.Status = overall(monitor.Pools)
		return nil
	})
	return monitor, err
}

// DeleteHealthMonitor takes a monitor away. One that watches over a pool is [ErrInUse].
func (s *Service) DeleteHealthMonitor(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		monitor, err := s.monitor(tx, scope, id)
		if err != nil {
			return err
		}
		if err := s.fillMonitors(tx, monitor); err != nil {
			return err
		}
		if len(monitor.Pools) > 0 {
			return named(ErrInUse, "HealthMonitorInUse", "Health monitor %s still has associations with pools", id)
		}
		return s.monitors.Delete(tx, id)
	})
}

// AssociateMonitor has a monitor watch over a pool, and returns all that do.
func (s *Service) AssociateMonitor(ctx context.Context, scope Scope, poolID, monitorID string) (all []string, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		all = nil
		pool, err := s.pool(tx, scope, poolID)
		if err != nil {
			return err
		}
		if err := s.associate(tx, scope, pool, monitorID); err != nil {
			return err
		}
		if err := s.fill(tx, pool); err != nil {
			return err
		}
		for _, a := range pool.Monitors {
			all = append(all, a.MonitorID)
		}
		return nil
	})
	return all, err
}

func (s *Service) associate(tx *record.Tx, scope Scope, pool *Pool, monitorID string) error {
	if _, err := s.monitor(tx, scope, monitorID); err != nil {
		return err
	}
	err := s.associations.Insert(tx, &Association{
		PoolID: pool.ID, MonitorID: monitorID, ProjectID: pool.ProjectID, Status: PendingCreate,
	})
	if errors.Is(err, record.ErrDuplicate) {
		return named(ErrConflict, "PoolMonitorAssociationExists", "health_monitor %s is already associated with pool %s", monitorID, pool.ID)
	}
	return err
}

// DisassociateMonitor ends a monitor's watch over a pool.
func (s *Service) DisassociateMonitor(ctx context.Context, scope Scope, poolID, monitorID string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.pool(tx, scope, poolID); err != nil {
			return err
		}
		return s.disassociate(tx, poolID, monitorID)
	})
}

func (s *Service) disassociate(tx *record.Tx, poolID, monitorID string) error {
	err := s.associations.Delete(tx, associationKey(poolID, monitorID))
	if errors.Is(err, ErrNotFound) {
		return named(ErrNotFound, "PoolMonitorAssociationNotFound", "Monitor %s is not associated with Pool %s", monitorID, poolID)
	}
	if err != nil {
		return err
	}
	return s.touch(tx, poolID)
}

// MonitorOfPool returns one association.
func (s *Service) MonitorOfPool(ctx context.Context, scope Scope, poolID, monitorID string) (*Association, error) {
	pool, err := s.Pool(ctx, scope, poolID)
	if err != nil {
		return nil, err
	}
	for _, a := range pool.Monitors {
		if a.MonitorID == monitorID {
			return &a, nil
		}
	}
	return nil, named(ErrNotFound, "PoolMonitorAssociationNotFound", "Monitor %s is not associated with Pool %s", monitorID, poolID)
}

// setMonitors has exactly these monitors watch over the pool.
func (s *Service) setMonitors(tx *record.Tx, scope Scope, pool *Pool, ids []string) error {
	if err := s.fill(tx, pool); err != nil {
		return err
	}
	for _, a := range pool.Monitors {
		if !slices.Contains(ids, a.MonitorID) {
			if err := s.disassociate(tx, pool.ID, a.MonitorID); err != nil {
				return err
			}
		}
	}
	for _, id := range ids {
		if slices.ContainsFunc(pool.Monitors, func(a Association) bool { return a.MonitorID == id }) {
			continue
		}
		if err := s.associate(tx, scope, pool, id); err != nil {
			return err
		}
	}
	return nil
}
