package volume

import (
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
func (b Backend) String() string { return b.backend() + "#" + b.pool() }

func (b Backend) backend() string { return b.Host + "@" + b.Name }

func (b Backend) pool() string {
	if b.Pool == "" {
		return b.Name
	}
	return b.Pool
}

// backendOf is a pool's name without the pool: "host@backend".
func backendOf(name string) string {
	backend, _, _ := strings.Cut(name, "#")
	return backend
}

// pool is what is known of a pool and its agent.
type pool struct {
	// Name is "host@backend#pool".
	Name           string
	BackendName    string
	Zone           string
	Kind           string
	Capacity       driver.Capacity
	Capabilities   map[string]string
	Oversubscribed float64
	Reverts        bool
	Manages        bool

	Disabled, Frozen     bool
	DisabledReason       string
	StartedAt, LastSeen  time.Time
	CreatedAt, UpdatedAt time.Time
	Revision             int64
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

// ServiceInfo is an agent or the scheduler, as operators see it.
type ServiceInfo struct {
	// Binary is "cinder-volume", "cinder-scheduler" or "cinder-backup"; Host is "host@backend" for volumes.
	Binary, Host, Zone string
	Disabled, Frozen   bool
	DisabledReason     string
	Up                 bool
	UpdatedAt          time.Time
}

// PoolInfo is a pool as the scheduler sees it.
type PoolInfo struct {
	// Name is "host@backend#pool".
	Name string
	// Capabilities are what types' extra specs are compared with.
	Capabilities map[string]any
	Up, Enabled  bool
}

// HostInfo is a host as os-hosts shows it.
type HostInfo struct {
	Host, Service, Zone string
	Disabled, Up        bool
	UpdatedAt           time.Time
	// Projects are what each project has there.
	Projects []HostUse
}

// HostUse is what a project has on a host.
type HostUse struct {
	ProjectID                                  string
	Volumes, VolumeGiB, Snapshots, SnapshotGiB int
}

// ZoneInfo is an availability zone.
type ZoneInfo struct {
	Name      string
	Available bool
}

// CapabilityInfo is what a backend can do.
type CapabilityInfo struct {
	// Host is "host@backend"; Pool the pool's name.
	Host, Pool, BackendName, Kind string
	Zone                          string
	Shared, Encryption, Thin      bool
	Reverts, Manages              bool
}

// Limits are a project's bounds and what it uses.
type Limits struct {
	Quota Quota
	// Used are volumes, gigabytes, snapshots, backups and backup_gigabytes.
	Used map[string]int
}
