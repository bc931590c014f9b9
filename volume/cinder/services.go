package cinder

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) serviceOperations() []operation {
	const all, change = "volume_extension:services:index", "volume_extension:services:update"
	return []operation{
		{method: "GET", path: "/os-services", serve: a.listServices, policy: all},
		{method: "PUT", path: "/os-services/enable", serve: a.changeService(true, false), policy: change},
		{method: "PUT", path: "/os-services/disable", serve: a.changeService(false, false), policy: change},
		{method: "PUT", path: "/os-services/disable-log-reason", serve: a.changeService(false, true), policy: change},
		{method: "PUT", path: "/os-services/freeze", serve: a.changeHost(a.volumes.FreezeHost), policy: change},
		{method: "PUT", path: "/os-services/thaw", serve: a.changeHost(a.volumes.ThawHost), policy: change},
		{method: "PUT", path: "/os-services/failover_host", policy: change, unsupported: "Volumes are not replicated here: no host can take over from another."},
		{method: "PUT", path: "/os-services/get-log", policy: change, since: 32, unsupported: "The levels of logs are set where the program is started."},
		{method: "PUT", path: "/os-services/set-log", policy: change, since: 32, unsupported: "The levels of logs are set where the program is started."},
		{method: "GET", path: "/os-availability-zone", serve: a.listZones},
		{method: "GET", path: "/os-hosts", serve: a.listHosts, policy: "volume_extension:hosts"},
		{method: "GET", path: "/os-hosts/{id}", serve: a.showHost, policy: "volume_extension:hosts"},
		{method: "GET", path: "/scheduler-stats/get_pools", serve: a.listPools, policy: "scheduler_extension:scheduler_stats:get_pools"},
		{method: "GET", path: "/capabilities/{id}", serve: a.showCapabilities, policy: "volume_extension:capabilities"},
	}
}

const volumeBinary = "cinder-volume"

func enabledWord(disabled bool) string {
	if disabled {
		return "disabled"
	}
	return "enabled"
}

func upWord(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func (c *call) serviceView(s *volume.ServiceInfo) object {
	o := object{
		"binary": s.Binary, "host": s.Host, "zone": s.Zone, "status": enabledWord(s.Disabled), "state": upWord(s.Up),
		"updated_at": timestamp(s.UpdatedAt), "disabled_reason": nilIfEmpty(s.DisabledReason),
	}
	if c.at(7) {
		o["cluster"] = nil
	}
	if s.Binary == volumeBinary {
		o["replication_status"], o["active_backend_id"], o["frozen"] = "disabled", nil, s.Frozen
		if c.at(49) {
			o["backend_state"] = upWord(s.Up)
		}
	}
	return o
}

func (a *api) listServices(c *call) error {
	services, err := a.volumes.Services(c.Context(), c.scope())
	if err != nil {
		return err
	}
	query := c.URL.Query()
	shown := []object{}
	for i := range services {
		s := &services[i]
		// A host stands for all of its backends.
		wanted := !query.Has("host") || s.Host == query.Get("host") || strings.HasPrefix(s.Host, query.Get("host")+"@")
		if wanted && (!query.Has("binary") || s.Binary == query.Get("binary")) {
			shown = append(shown, c.serviceView(s))
		}
	}
	return c.json(http.StatusOK, object{"services": shown})
}

type serviceBody struct {
	Binary, Service string
	Host            text
	Reason          string `json:"disabled_reason"`
}

func serviceSchema(reason bool) *schema {
	name := func() *schema { return &schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255} }
	s := record(fields{"binary": name(), "service": name(), "host": typeHost(), "cluster": typeText()})
	s.Alternatives = [][]string{{"binary"}, {"service"}}
	if reason {
		s.Properties["disabled_reason"] = name()
	}
	return s
}

func (a *api) changeService(enabled, reason bool) func(c *call) error {
	return func(c *call) error {
		var in serviceBody
		if err := c.body(serviceSchema(reason), &in); err != nil {
			return err
		}
		if in.Host == "" {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: Host field is missing.")
		}
		binary := in.Binary
		if binary == "" {
			binary = in.Service
		}
		if _, err := a.volumes.EnableService(c.Context(), c.scope(), string(in.Host), binary, enabled, in.Reason); err != nil {
			return err
		}
		o := object{"host": in.Host, "service": in.Service, "binary": in.Binary, "status": enabledWord(!enabled), "disabled": !enabled}
		if reason || enabled {
			o["disabled_reason"] = nilIfEmpty(in.Reason)
		}
		return c.json(http.StatusOK, o)
	}
}

func (a *api) changeHost(do func(ctx context.Context, scope volume.Scope, host string) error) func(c *call) error {
	return func(c *call) error {
		var in struct{ Host, Cluster text }
		if err := c.body(record(fields{"cluster": typeText(), "host": typeHost()}), &in); err != nil {
			return err
		}
		if in.Host == "" {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: Host field is missing.")
		}
		err := do(c.Context(), c.scope(), string(in.Host))
		if errors.Is(err, volume.ErrNotFound) {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: %s", err)
		}
		if err != nil {
			return err
		}
		return c.empty(http.StatusOK)
	}
}

func (a *api) listZones(c *call) error {
	zones, err := a.volumes.Zones(c.Context(), c.scope())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"availabilityZoneInfo": each(zones, func(z *volume.ZoneInfo) object {
		return object{"zoneName": z.Name, "zoneState": object{"available": z.Available}}
	})})
}

func (a *api) listHosts(c *call) error {
	hosts, err := a.volumes.Hosts(c.Context(), c.scope())
	if err != nil {
		return err
	}
	shown := []object{}
	zone := c.URL.Query().Get("zone")
	for i := range hosts {
		h := &hosts[i]
		if h.Disabled || zone != "" && zone != h.Zone {
			continue
		}
		available := "unavailable"
		if h.Up {
			available = "available"
		}
		shown = append(shown, object{
			"host_name": h.Host, "service": h.Service, "zone": h.Zone, "service-status": available,
			"service-state": enabledWord(h.Disabled), "last-update": moment(&h.UpdatedAt),
		})
	}
	return c.json(http.StatusOK, object{"hosts": shown})
}

func (a *api) showHost(c *call) error {
	h, err := a.volumes.Host(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	total := volume.HostUse{ProjectID: "(total)"}
	for _, use := range h.Projects {
		total.Volumes += use.Volumes
		total.VolumeGiB += use.VolumeGiB
		total.Snapshots += use.Snapshots
		total.SnapshotGiB += use.SnapshotGiB
	}
	uses := append([]volume.HostUse{total}, h.Projects...)
	return c.json(http.StatusOK, object{"host": each(uses, func(u *volume.HostUse) object {
		return object{"resource": object{
			"host": h.Host, "project": u.ProjectID, "volume_count": strconv.Itoa(u.Volumes), "total_volume_gb": strconv.Itoa(u.VolumeGiB),
			"snapshot_count": strconv.Itoa(u.Snapshots), "total_snapshot_gb": strconv.Itoa(u.SnapshotGiB),
		}}
	})})
}

func (a *api) listPools(c *call) error {
	query := c.URL.Query()
	detail := false
	if query.Has("detail") {
		var err error
		if detail, err = wire.ParseBool(query.Get("detail")); err != nil {
			return fault.Wrap(volume.ErrInvalid, "Invalid parameter: Invalid value '%s' for detail", query.Get("detail"))
		}
	}
	for key := range query {
		if c.at(31) && !slices.Contains(plainParameters, key) && !slices.Contains(resourceNamed("pool").filters, key) {
			return fault.Wrap(volume.ErrInvalid, "Invalid filters %s are found in query options.", key)
		}
	}
	filter := volume.PoolFilter{Detail: detail}
	if c.at(28) {
		filter.Name = query.Get("name")
	}
	if c.at(35) {
		filter.Type = query.Get("volume_type")
	}
	pools, err := a.volumes.Pools(c.Context(), c.scope(), filter)
	if err != nil {
		return err
	}
	shown := []object{}
	for i := range pools {
		p := &pools[i]
		o := object{"name": p.Name}
		if detail {
			o["capabilities"] = p.Capabilities
		}
		shown = append(shown, o)
	}
	return c.json(http.StatusOK, object{"pools": shown})
}

func (a *api) showCapabilities(c *call) error {
	k, err := a.volumes.Capabilities(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	properties := object{}
	for name, text := range map[string]string{"thin_provisioning": "Thin Provisioning", "multiattach": "Multi-Attach", "encryption": "Encryption"} {
		if name == "thin_provisioning" && k.Thin || name == "multiattach" && k.Shared || name == "encryption" && k.Encryption {
			properties[name] = object{"title": text, "description": "Volumes can have it.", "type": "boolean"}
		}
	}
	return c.json(http.StatusOK, object{
		"namespace": "OS::Storage::Capabilities::" + k.Host, "vendor_name": "Kintoun", "volume_backend_name": k.BackendName, "pool_name": nilIfEmpty(k.Pool),
		"driver_version": "1.0", "storage_protocol": k.Kind, "display_name": k.Kind, "description": nil, "visibility": "public",
		"replication_targets": []object{}, "properties": properties,
	})
}
