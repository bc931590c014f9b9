package volume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// Backend names a pool: "host@backend#pool".
type Backend struct {
	// Host is where the agent runs; Name the backend's, by which types find it (volume_backend_name); Pool is Name by
	// default.
	Host, Name, Pool string
}

// String is the full name of the pool.
func (b Backend) String() string {
	if b.Pool == "" {
		b.Pool = b.Name
	}
	return b.Host + "@" + b.Name + "#" + b.Pool
}

// backendOf is a pool's name without the pool: "host@backend".
func backendOf(name string) string {
	backend, _, _ := strings.Cut(name, "#")
	return backend
}

// hostOf is the machine in a pool's name.
func hostOf(name string) string {
	host, _, _ := strings.Cut(name, "@")
	return host
}

// pool is what is known of a pool and its agent.
type pool struct {
	// Name is "host@backend#pool".
	Name         string
	BackendName  string
	Zone         string
	Kind         string
	Capacity     driver.Capacity
	Capabilities map[string]string
	// Oversubscription is how often a thin pool's room is promised.
	Oversubscription float64
	// Filter and Goodness are its functions, see [AgentOptions]; empty is none.
	Filter, Goodness string
	Reverts, Manages bool
	ManagesSnapshots bool
	Disabled, Frozen bool
	DisabledReason   string
	StartedAt        time.Time
	LastSeen         time.Time
	CreatedAt        time.Time
	UpdatedAt        time.Time
	Revision         int64
}

var poolSpec = record.Spec[pool]{
	Key:      func(p *pool) string { return p.Name },
	Revision: func(p *pool) *int64 { return &p.Revision },
	Event:    func(p *pool) record.Event { return record.Event{Type: "service", ID: p.Name} },
	Columns: []record.Column[pool]{
		{Name: "backend", Value: func(p *pool) any { return backendOf(p.Name) }},
		{Name: "zone", Value: func(p *pool) any { return p.Zone }},
	},
}

// up says whether the pool's agent was heard of lately.
func (s *Service) up(p *pool) bool { return s.now().Sub(p.LastSeen) < s.options.DownAfter }

// poolUp says whether the agent of the pool of that name is alive.
func (s *Service) poolUp(tx *record.Tx, name string) (bool, error) {
	p, err := s.pools.Get(tx, name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && s.up(p), err
}

// capabilities are what the extra specs of types are compared with, in Cinder's words.
func (p *pool) capabilities() map[string]any {
	all := map[string]any{}
	for key, value := range p.Capabilities {
		all[key] = value
	}
	maps.Copy(all, map[string]any{
		"volume_backend_name": p.BackendName, "vendor_name": "Kintoun", "driver_version": "1", "storage_protocol": p.Kind,
		"total_capacity_gb": gibibytes(p.Capacity.Total), "free_capacity_gb": gibibytes(p.Capacity.Free),
		"provisioned_capacity_gb": gibibytes(p.Capacity.Provisioned), "allocated_capacity_gb": gibibytes(p.Capacity.Provisioned),
		"reserved_percentage": 0, "max_over_subscription_ratio": fmt.Sprintf("%.1f", p.Oversubscription),
		"thin_provisioning_support": p.Capacity.Thin, "thick_provisioning_support": !p.Capacity.Thin,
		"multiattach": p.Capacity.Shared, "encryption": p.Capacity.Encryption, "QoS_support": false,
		"online_extend_support": true, "consistent_group_snapshot_enabled": true, "replication_enabled": false,
		"backend_state": "up", "timestamp": p.LastSeen.Format("2006-01-02T15:04:05.000000"),
		"location_info": p.Name, "filter_function": optional(p.Filter), "goodness_function": optional(p.Goodness),
	})
	return all
}

func gibibytes(bytes int64) float64 { return float64(bytes*100/gib) / 100 }

// register makes the pool known, as its agent starts.
func (s *Service) register(ctx context.Context, want pool) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		p, err := s.pools.Get(tx, want.Name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		t := s.now()
		want.StartedAt, want.LastSeen, want.UpdatedAt, want.CreatedAt = t, t, t, t
		if err != nil {
			return s.pools.Insert(tx, &want)
		}
		want.CreatedAt, want.UpdatedAt, want.Revision = p.CreatedAt, p.UpdatedAt, p.Revision
		want.Disabled, want.DisabledReason, want.Frozen = p.Disabled, p.DisabledReason, p.Frozen
		return s.pools.Update(tx, &want)
	})
}

// beat says that the pool's agent is alive, and how full the pool is.
func (s *Service) beat(ctx context.Context, name string, at time.Time, capacity driver.Capacity) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		_, err := s.pools.Touch(tx, name, func(p *pool) error {
			p.LastSeen, p.Capacity = at, capacity
			return nil
		})
		return err
	})
}
