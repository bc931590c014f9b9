package lbaas

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// wish is everything that is wanted of one balancer, as it was read at one time.
type wish struct {
	pool         *Pool
	vip          *VIP
	members      []Member
	associations []Association
	monitors     map[string]HealthMonitor
}

// wish reads what is wanted of a pool's balancer; [ErrNotFound] where there is no such pool.
func (s *Service) wish(ctx context.Context, id string) (*wish, error) {
	tx := s.store.Read(ctx)
	pool, err := s.pools.Get(tx, id)
	if err != nil {
		return nil, err
	}
	w := &wish{pool: pool, monitors: map[string]HealthMonitor{}}
	if pool.VIPID != "" {
		if w.vip, err = s.vips.Get(tx, pool.VIPID); err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	of := record.Query{Where: []record.Condition{record.Eq("pool_id", id)}}
	if w.members, err = s.members.List(tx, of); err != nil {
		return nil, err
	}
	if w.associations, err = s.associations.List(tx, of); err != nil {
		return nil, err
	}
	var ids []string
	for _, a := range w.associations {
		ids = append(ids, a.MonitorID)
	}
	monitors, err := s.monitors.List(tx, record.Query{Where: []record.Condition{record.In("id", ids...)}})
	for _, m := range monitors {
		w.monitors[m.ID] = m
	}
	return w, err
}

// balancer puts the wish in the driver's words.
func (w *wish) balancer(port Port) driver.Balancer {
	b := driver.Balancer{
		ID: w.pool.ID, Method: w.pool.Method, Protocol: w.pool.Protocol, Persistence: w.vip.Persistence,
		Frontend: driver.Frontend{
			PortID: port.ID, MAC: port.MAC, MTU: port.MTU, Address: port.Address, Gateway: port.Gateway,
			Port: w.vip.ProtocolPort, ConnectionLimit: w.vip.ConnectionLimit, Disabled: !w.vip.AdminStateUp,
		},
	}
	for _, m := range w.members {
		b.Members = append(b.Members, driver.Member{
			ID: m.ID, Address: m.Address, Port: m.Port, Weight: m.Weight, Disabled: !m.AdminStateUp,
		})
	}
	for _, a := range w.associations {
		if m, ok := w.monitors[a.MonitorID]; ok && m.AdminStateUp {
			b.Monitors = append(b.Monitors, driver.Monitor{
				ID: m.ID, Type: m.Type, Delay: m.Delay, Timeout: m.Timeout, MaxRetries: m.MaxRetries,
				HTTPMethod: m.HTTPMethod, URLPath: m.URLPath, ExpectedCodes: m.ExpectedCodes,
			})
		}
	}
	return b
}

// statusIf is active where up, or else inactive.
func statusIf(up bool) Status {
	if up {
		return Active
	}
	return Inactive
}

// applied records that a balancer runs as wished. What was changed since the wish was read stays as it is: the
// change has the agent come again.
func (s *Service) applied(ctx context.Context, w *wish, up map[string]bool) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		errs := []error{
			observe(tx, s.pools, *w.pool, Active, "", poolStatus),
			observe(tx, s.vips, *w.vip, statusIf(w.vip.AdminStateUp), "", vipStatus),
		}
		for _, m := range w.members {
			errs = append(errs, observe(tx, s.members, m, statusIf(m.AdminStateUp && up[m.ID]), "", memberStatus))
		}
		for _, a := range w.associations {
			errs = append(errs, observe(tx, s.associations, a, statusIf(w.monitors[a.MonitorID].AdminStateUp), "", associationStatus))
		}
		return errors.Join(errs...)
	})
}

// removed records that a pool has no balancer. What never had one goes on waiting.
func (s *Service) removed(ctx context.Context, w *wish) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		var errs []error
		if w.pool.Status != PendingCreate || !w.pool.AdminStateUp {
			errs = append(errs, observe(tx, s.pools, *w.pool, Inactive, "", poolStatus))
		}
		if w.vip != nil {
			errs = append(errs, observe(tx, s.vips, *w.vip, Inactive, "", vipStatus))
		}
		for _, m := range w.members {
			if m.Status != PendingCreate {
				errs = append(errs, observe(tx, s.members, m, Inactive, "", memberStatus))
			}
		}
		for _, a := range w.associations {
			if a.Status != PendingCreate {
				errs = append(errs, observe(tx, s.associations, a, Inactive, "", associationStatus))
			}
		}
		return errors.Join(errs...)
	})
}

// failed records that a balancer could not be made as wished.
func (s *Service) failed(ctx context.Context, id, agent string, reason error) error {
	w, err := s.wish(ctx, id)
	if errors.Is(err, ErrNotFound) || (err == nil && w.pool.AgentID != agent) {
		return nil
	}
	if err != nil {
		return err
	}
	text := shorten(reason.Error())
	return s.store.Update(ctx, func(tx *record.Tx) error {
		err := observe(tx, s.pools, *w.pool, Failed, text, poolStatus)
		if w.vip != nil {
			err = errors.Join(err, observe(tx, s.vips, *w.vip, Failed, text, vipStatus))
		}
		return err
	})
}

// shorten keeps a description to what the API allows.
func shorten(text string) string {
	for len(text) > maxText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// sighted records the health of members. Those that wait for a change to be made, or are switched off, are left to
// whoever makes the change.
func (s *Service) sighted(ctx context.Context, poolID string, up map[string]bool) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		members, err := s.members.List(tx, record.Query{Where: []record.Condition{record.Eq("pool_id", poolID)}})
		if err != nil {
			return err
		}
		for _, m := range members {
			answers, known := up[m.ID]
			if !known || m.Status.pending() || !m.AdminStateUp {
				continue
			}
			if err := observe(tx, s.members, m, statusIf(answers), "", memberStatus); err != nil {
				return err
			}
		}
		return nil
	})
}

// counted writes a pool's counters down, where they changed.
func (s *Service) counted(ctx context.Context, poolID string, now driver.Stats) error {
	fresh := Stats{
		PoolID: poolID, BytesIn: now.BytesIn, BytesOut: now.BytesOut,
		ActiveConnections: now.ActiveConnections, TotalConnections: now.TotalConnections,
	}
	old, err := s.stats.Get(s.store.Read(ctx), poolID)
	if err == nil {
		fresh.Revision = old.Revision
		if *old == fresh {
			return nil
		}
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.pools.Get(tx, poolID); errors.Is(err, ErrNotFound) {
			return nil
		}
		if old == nil {
			return s.stats.Insert(tx, &fresh)
		}
		_, err := s.stats.Touch(tx, poolID, func(p *Stats) error {
			fresh.Revision = p.Revision
			*p = fresh
			return nil
		})
		return err
	})
}

// statusOf points to a resource's status and its description.
type statusOf[T any] func(*T) (*Status, *string)

func poolStatus(p *Pool) (*Status, *string)     { return &p.Status, &p.StatusDescription }
func vipStatus(v *VIP) (*Status, *string)       { return &v.Status, &v.StatusDescription }
func memberStatus(m *Member) (*Status, *string) { return &m.Status, &m.StatusDescription }
func associationStatus(a *Association) (*Status, *string) {
	return &a.Status, &a.StatusDescription
}

// observe writes a status, unless it is so already, or the resource was changed or deleted since it was read.
func observe[T any](tx *record.Tx, table *record.Table[T], r T, status Status, description string, of statusOf[T]) error {
	haveStatus, haveDescription := of(&r)
	if *haveStatus == status && *haveDescription == description {
		return nil
	}
	*haveStatus, *haveDescription = status, description
	if err := table.Update(tx, &r); !errors.Is(err, record.ErrStale) {
		return err
	}
	return nil
}
