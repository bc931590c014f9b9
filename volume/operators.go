package volume

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// The binaries of services, as Cinder calls them.
const (
	BinaryVolume    = "cinder-volume"
	BinaryScheduler = "cinder-scheduler"
	BinaryBackup    = "cinder-backup"
)

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

// allPools are the pools by name.
func (s *Service) allPools(tx *record.Tx, where ...record.Condition) ([]pool, error) {
	return s.pools.List(tx, record.Query{Where: where, Order: []record.Order{{Column: "id"}}})
}

// backends are the pools of a backend, named with or without a pool.
func (s *Service) backends(tx *record.Tx, host string) ([]pool, error) {
	pools, err := s.allPools(tx, record.Eq("backend", backendOf(host)))
	if err != nil {
		return nil, err
	}
	if strings.Contains(host, "#") {
		pools = slices.DeleteFunc(pools, func(p pool) bool { return p.Name != host })
	}
	return pools, nil
}

// Services lists the agents and the scheduler.
func (s *Service) Services(ctx context.Context, scope Scope) ([]ServiceInfo, error) {
	if err := mustAdmin(scope, "volume_extension:services:index"); err != nil {
		return nil, err
	}
	pools, err := s.allPools(s.store.Read(ctx))
	if err != nil {
		return nil, err
	}
	var list []ServiceInfo
	seen := map[string]bool{}
	once := func(info ServiceInfo) {
		if key := info.Binary + "/" + info.Host; !seen[key] {
			seen[key] = true
			list = append(list, info)
		}
	}
	for i := range pools {
		once(s.serviceInfo(&pools[i]))
	}
	for i := range pools {
		p := &pools[i]
		info := ServiceInfo{Binary: BinaryScheduler, Host: hostOf(p.Name), Zone: p.Zone, Up: s.up(p), UpdatedAt: p.LastSeen}
		once(info)
		if s.options.Backups != nil {
			info.Binary = BinaryBackup
			once(info)
		}
	}
	return list, nil
}

func (s *Service) serviceInfo(p *pool) ServiceInfo {
	return ServiceInfo{
		Binary: BinaryVolume, Host: backendOf(p.Name), Zone: p.Zone, Disabled: p.Disabled, DisabledReason: p.DisabledReason,
		Frozen: p.Frozen, Up: s.up(p), UpdatedAt: p.LastSeen,
	}
}

// EnableService lets an agent have new volumes, or not. Without a binary, or with that of agents, host is "host@backend".
func (s *Service) EnableService(ctx context.Context, scope Scope, host, binary string, enabled bool, reason string) (info *ServiceInfo, err error) {
	if err := mustAdmin(scope, "volume_extension:services:update"); err != nil {
		return nil, err
	}
	if binary != "" && binary != BinaryVolume {
		return nil, fault.Wrap(ErrNotFound, "Could not find binary %s on host %s.", binary, host)
	}
	err = s.changePools(ctx, host, func(p *pool) error {
		p.Disabled, p.DisabledReason, p.UpdatedAt = !enabled, "", s.now()
		if !enabled {
			p.DisabledReason = reason
		}
		is := s.serviceInfo(p)
		info = &is
		return nil
	})
	return info, err
}

// changePools changes all pools of a backend.
func (s *Service) changePools(ctx context.Context, host string, fn func(p *pool) error) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		pools, err := s.backends(tx, host)
		if err != nil {
			return err
		}
		if len(pools) == 0 {
			return fault.Wrap(ErrNotFound, "Could not find binary %s on host %s.", BinaryVolume, host)
		}
		for i := range pools {
			if err := fn(&pools[i]); err != nil {
				return err
			}
			if err := s.pools.Update(tx, &pools[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// FreezeHost keeps a backend's volumes from being made, changed and deleted through the API; ThawHost takes that back.
func (s *Service) FreezeHost(ctx context.Context, scope Scope, host string) error {
	return s.freeze(ctx, scope, host, true)
}

// ThawHost undoes [Service.FreezeHost].
func (s *Service) ThawHost(ctx context.Context, scope Scope, host string) error {
	return s.freeze(ctx, scope, host, false)
}

func (s *Service) freeze(ctx context.Context, scope Scope, host string, frozen bool) error {
	if err := mustAdmin(scope, "volume:freeze_host"); err != nil {
		return err
	}
	return s.changePools(ctx, host, func(p *pool) error {
		if p.Frozen == frozen {
			return fault.Wrap(ErrInvalid, "Invalid input received: No service could be changed: frozen is %v on host %s.", frozen, host)
		}
		p.Frozen, p.UpdatedAt = frozen, s.now()
		return nil
	})
}

// checkThawed refuses what changes the volumes of a pool that is frozen.
func (s *Service) checkThawed(tx *record.Tx, name string) error {
	if name == "" {
		return nil
	}
	p, err := s.pools.Get(tx, name)
	if err == nil && p.Frozen {
		return fault.Wrap(ErrInvalid, "Invalid input received: Volume service %s is frozen.", backendOf(name))
	}
	return notFoundIsNil(err)
}

// Capabilities says what a backend ("host@backend") or pool can do.
func (s *Service) Capabilities(ctx context.Context, scope Scope, host string) (*CapabilityInfo, error) {
	if err := mustAdmin(scope, "volume_extension:capabilities"); err != nil {
		return nil, err
	}
	pools, err := s.backends(s.store.Read(ctx), host)
	if err != nil {
		return nil, err
	}
	if len(pools) == 0 {
		return nil, fault.Wrap(ErrNotFound, "Can't find service: %s", host)
	}
	p := &pools[0]
	_, pool, _ := strings.Cut(p.Name, "#")
	return &CapabilityInfo{
		Host: backendOf(p.Name), Pool: pool, BackendName: p.BackendName, Kind: p.Kind, Zone: p.Zone,
		Shared: p.Capacity.Shared, Encryption: p.Capacity.Encryption, Thin: p.Capacity.Thin, Reverts: p.Reverts, Manages: p.Manages,
	}, nil
}

// Hosts lists the hosts.
func (s *Service) Hosts(ctx context.Context, scope Scope) ([]HostInfo, error) {
	services, err := s.Services(ctx, scope)
	if err != nil {
		return nil, err
	}
	var list []HostInfo
	for _, v := range services {
		list = append(list, HostInfo{Host: v.Host, Service: v.Binary, Zone: v.Zone, Disabled: v.Disabled, Up: v.Up, UpdatedAt: v.UpdatedAt})
	}
	return list, nil
}

// Host says what a backend ("host@backend") keeps, by project.
func (s *Service) Host(ctx context.Context, scope Scope, host string) (*HostInfo, error) {
	all, err := s.Hosts(ctx, scope)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(h HostInfo) bool { return h.Host == host })
	if i < 0 {
		return nil, fault.Wrap(ErrNotFound, "Host %s could not be found.", host)
	}
	info := &all[i]
	tx := s.store.Read(ctx)
	pools, err := s.backends(tx, host)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range pools {
		names = append(names, pools[i].Name)
	}
	on := record.In("host", names...)
	projects, err := s.volumes.Texts(tx, "project", on)
	if err != nil {
		return nil, err
	}
	for _, id := range projects {
		use := HostUse{ProjectID: id}
		where := []record.Condition{on, record.Eq("project", id)}
		if use.Volumes, err = s.volumes.Count(tx, where...); err != nil {
			return nil, err
		}
		if use.Snapshots, err = s.snapshots.Count(tx, where...); err != nil {
			return nil, err
		}
		volumes, err := s.volumes.Sum(tx, "size", where...)
		if err != nil {
			return nil, err
		}
		snapshots, err := s.snapshots.Sum(tx, "size", where...)
		if err != nil {
			return nil, err
		}
		use.VolumeGiB, use.SnapshotGiB = int(volumes), int(snapshots)
		info.Projects = append(info.Projects, use)
	}
	return info, nil
}

// Zones lists the availability zones: those of pools, available while one of their pools is enabled.
func (s *Service) Zones(ctx context.Context, _ Scope) ([]ZoneInfo, error) {
	pools, err := s.allPools(s.store.Read(ctx))
	if err != nil {
		return nil, err
	}
	available := map[string]bool{}
	var names []string
	for i := range pools {
		p := &pools[i]
		if _, known := available[p.Zone]; !known {
			names = append(names, p.Zone)
		}
		available[p.Zone] = available[p.Zone] || !p.Disabled
	}
	slices.Sort(names)
	var list []ZoneInfo
	for _, name := range names {
		list = append(list, ZoneInfo{Name: name, Available: available[name]})
	}
	return list, nil
}
