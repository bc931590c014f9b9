package nova

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) hostOperations() []operation {
	const services, hypervisors = "os_compute_api:os-services:", "os_compute_api:os-hypervisors:"
	operations := []operation{
		{method: "GET", path: "/os-availability-zone", serve: a.listZones},
		{method: "GET", path: "/os-availability-zone/detail", serve: a.detailZones, policy: "os_compute_api:os-availability-zone:detail"},
		{method: "GET", path: "/os-services", serve: a.listServices, policy: services + "list"},
		{method: "PUT", path: "/os-services/{id}", serve: a.updateService, policy: services + "update", since: 53},
		{method: "DELETE", path: "/os-services/{id}", serve: a.deleteService, policy: services + "delete"},
		{method: "GET", path: "/os-hypervisors", serve: a.listHypervisors, policy: hypervisors + "list"},
		{method: "GET", path: "/os-hypervisors/detail", serve: a.listHypervisors, policy: hypervisors + "list-detail"},
		{method: "GET", path: "/os-hypervisors/statistics", serve: a.hypervisorStatistics, policy: hypervisors + "statistics", until: 87},
		{method: "GET", path: "/os-hypervisors/{id}", serve: a.showHypervisor, policy: hypervisors + "show"},
		{method: "GET", path: "/os-hypervisors/{id}/uptime", serve: a.hypervisorUptime, policy: hypervisors + "uptime", until: 87},
		{method: "GET", path: "/os-hypervisors/{id}/search", serve: a.searchHypervisors(false), policy: hypervisors + "search", until: 52},
		{method: "GET", path: "/os-hypervisors/{id}/servers", serve: a.searchHypervisors(true), policy: hypervisors + "servers", until: 52},
		{method: "GET", path: "/os-hosts", serve: a.listHosts, policy: "os_compute_api:os-hosts:list", until: 42},
		{method: "GET", path: "/os-hosts/{host}", serve: a.showHost, policy: "os_compute_api:os-hosts:show", until: 42},
		{method: "GET", path: "/os-migrations", serve: a.allMigrations, policy: "os_compute_api:os-migrations:index"},
	}
	for action, since := range map[string]int{"enable": 0, "disable": 0, "disable-log-reason": 0, "force-down": 11} {
		operations = append(operations, operation{
			method: "PUT", path: "/os-services/" + action, serve: a.serviceAction(action), policy: services + "update", since: since, until: 52,
		})
	}
	return operations
}

func (a *api) allMigrations(c *call) error {
	return c.json(http.StatusOK, object{"migrations": []object{}})
}

// zoneHosts groups the hosts by availability zone; there is always one zone.
func (c *call) zoneHosts() (names []string, hosts map[string][]compute.Host, err error) {
	all, err := c.api.compute.Hosts(c.Context())
	if err != nil {
		return nil, nil, err
	}
	zones, err := c.api.compute.Zones(c.Context())
	if err != nil {
		return nil, nil, err
	}
	hosts = map[string][]compute.Host{}
	for _, h := range all {
		zone := zones[h.Name]
		if hosts[zone] == nil {
			names = append(names, zone)
		}
		hosts[zone] = append(hosts[zone], h)
	}
	if len(names) == 0 {
		names = []string{compute.DefaultZone}
	}
	slices.Sort(names)
	return names, hosts, nil
}

func (a *api) listZones(c *call) error {
	names, hosts, err := c.zoneHosts()
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(names))
	for _, name := range names {
		usable := slices.ContainsFunc(hosts[name], func(h compute.Host) bool { return !h.Disabled })
		shown = append(shown, object{"zoneName": name, "zoneState": object{"available": usable || len(hosts[name]) == 0}, "hosts": nil})
	}
	return c.json(http.StatusOK, object{"availabilityZoneInfo": shown})
}

func (a *api) detailZones(c *call) error {
	names, hosts, err := c.zoneHosts()
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(names))
	for _, name := range names {
		inside := object{}
		for _, h := range hosts[name] {
			inside[h.Name] = object{"nova-compute": object{"active": !h.Disabled, "available": a.compute.Up(&h), "updated_at": precise(h.LastSeen)}}
		}
		shown = append(shown, object{"zoneName": name, "zoneState": object{"available": true}, "hosts": inside})
	}
	return c.json(http.StatusOK, object{"availabilityZoneInfo": shown})
}

func state(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func status(h *compute.Host) string {
	if h.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (c *call) service(h *compute.Host, zones map[string]string) object {
	o := object{
		"id": h.Number, "binary": "nova-compute", "host": h.Name, "zone": zones[h.Name], "status": status(h),
		"state": state(c.api.compute.Up(h)), "disabled_reason": h.DisabledReason, "updated_at": precise(h.LastSeen),
	}
	if c.at(11) {
		o["forced_down"] = h.ForcedDown
	}
	if c.at(53) {
		o["id"] = h.ServiceID
	}
	return o
}

func (a *api) listServices(c *call) error {
	hosts, err := a.compute.Hosts(c.Context())
	if err != nil {
		return err
	}
	zones, err := a.compute.Zones(c.Context())
	if err != nil {
		return err
	}
	query := c.URL.Query()
	shown := make([]object, 0, len(hosts))
	for i := range hosts {
		if (query.Has("host") && query.Get("host") != hosts[i].Name) || (query.Has("binary") && query.Get("binary") != "nova-compute") {
			continue
		}
		shown = append(shown, c.service(&hosts[i], zones))
	}
	return c.json(http.StatusOK, object{"services": shown})
}

type serviceBody struct {
	Host, Binary, Status string
	Reason               *string `json:"disabled_reason"`
	ForcedDown           *bool   `json:"forced_down"`
}

// updateService changes a service by its identifier, as since 2.53.
func (a *api) updateService(c *call) error {
	var body serviceBody
	if err := c.body(record(map[string]*wire.Schema{
		"status": words("enabled", "disabled"), "disabled_reason": {Types: []string{"string"}, MinLength: 1, MaxLength: 255}, "forced_down": kind("boolean"),
	}), &body); err != nil {
		return err
	}
	h, err := c.hostByService(c.PathValue("id"))
	if err != nil {
		return err
	}
	change := compute.HostChange{ForcedDown: body.ForcedDown}
	switch {
	case body.Status == "" && body.ForcedDown == nil:
		return fault.Wrap(compute.ErrInvalid, "No updates were requested. Fields 'status' or 'forced_down' should be specified.")
	case body.Reason != nil && body.Status != "disabled":
		return fault.Wrap(compute.ErrInvalid, "Specifying disabled_reason requires status to be disabled.")
	case body.Status != "":
		disabled := body.Status == "disabled"
		change.Disabled, change.DisabledReason = &disabled, body.Reason
	}
	if h, err = a.compute.ChangeHost(c.Context(), h.Name, change); err != nil {
		return err
	}
	zones, err := a.compute.Zones(c.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"service": c.service(h, zones)})
}

func (c *call) hostByService(id string) (*compute.Host, error) {
	hosts, err := c.api.compute.Hosts(c.Context())
	if err != nil {
		return nil, err
	}
	for i := range hosts {
		if hosts[i].ServiceID == id || !c.at(53) && strconv.FormatInt(hosts[i].Number, 10) == id {
			return &hosts[i], nil
		}
	}
	return nil, fault.Wrap(compute.ErrNotFound, "Service %s not found.", id)
}

// serviceAction changes the service that the body names, as up to 2.52.
func (a *api) serviceAction(action string) func(c *call) error {
	properties := map[string]*wire.Schema{"host": typeFQDN(), "binary": typeName()}
	required := []string{"host", "binary"}
	switch action {
	case "disable-log-reason":
		properties["disabled_reason"] = &wire.Schema{Types: []string{"string"}, MinLength: 1, MaxLength: 255}
		required = append(required, "disabled_reason")
	case "force-down":
		properties["forced_down"] = typeBoolean()
		required = append(required, "forced_down")
	}
	return func(c *call) error {
		var body serviceBody
		if err := c.body(record(properties, required...), &body); err != nil {
			return err
		}
		if body.Binary != "nova-compute" {
			return fault.Wrap(compute.ErrNotFound, "Could not find binary %s on host %s.", body.Binary, body.Host)
		}
		change := compute.HostChange{DisabledReason: body.Reason, ForcedDown: body.ForcedDown}
		if action != "force-down" {
			disabled := action != "enable"
			change.Disabled = &disabled
		}
		h, err := a.compute.ChangeHost(c.Context(), body.Host, change)
		if err != nil {
			return err
		}
		o := object{"host": h.Name, "binary": body.Binary}
		switch action {
		case "force-down":
			o["forced_down"] = h.ForcedDown
		case "disable-log-reason":
			o["disabled_reason"] = h.DisabledReason
			fallthrough
		default:
			o["status"] = status(h)
		}
		return c.json(http.StatusOK, object{"service": o})
	}
}

func (a *api) deleteService(c *call) error {
	h, err := c.hostByService(c.PathValue("id"))
	if err != nil {
		return err
	}
	if err := a.compute.DeleteHost(c.Context(), h.Name); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// listHosts is the older form of the list of services.
func (a *api) listHosts(c *call) error {
	hosts, err := a.compute.Hosts(c.Context())
	if err != nil {
		return err
	}
	zones, err := a.compute.Zones(c.Context())
	if err != nil {
		return err
	}
	shown, query := []object{}, c.URL.Query()
	for _, h := range hosts {
		if query.Has("zone") && query.Get("zone") != zones[h.Name] || query.Has("service") && query.Get("service") != "compute" {
			continue
		}
		shown = append(shown, object{"host_name": h.Name, "service": "compute", "zone": zones[h.Name]})
	}
	return c.json(http.StatusOK, object{"hosts": shown})
}

// showHost says what a host has and what of it is promised, in all and by project.
func (a *api) showHost(c *call) error {
	h, err := a.compute.Host(c.Context(), c.PathValue("host"))
	if err != nil {
		return err
	}
	servers, err := a.compute.Servers(c.Context(), c.scope(), compute.ServerFilter{AllProjects: true, Equal: map[string]string{"host": h.Name}})
	if err != nil {
		return err
	}
	entry := func(project string, cpu, memory, disk int) object {
		return object{"resource": object{"host": h.Name, "project": project, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}}
	}
	shown := []object{
		entry("(total)", h.Resources.VCPUs, h.Resources.MemoryMiB, h.Resources.DiskGiB),
		entry("(used_now)", h.Used.VCPUs, h.Used.MemoryMiB, h.Used.DiskGiB),
		entry("(used_max)", h.Used.VCPUs, h.Used.MemoryMiB, h.Used.DiskGiB),
	}
	used, projects := map[string]compute.Used{}, []string{}
	for i := range servers {
		f, project := &servers[i].Flavor, servers[i].ProjectID
		u, ok := used[project]
		if !ok {
			projects = append(projects, project)
		}
		used[project] = compute.Used{VCPUs: u.VCPUs + f.VCPUs, MemoryMiB: u.MemoryMiB + f.MemoryMiB, DiskGiB: u.DiskGiB + f.DiskGiB}
	}
	for _, project := range projects {
		u := used[project]
		shown = append(shown, entry(project, u.VCPUs, u.MemoryMiB, u.DiskGiB))
	}
	return c.json(http.StatusOK, object{"host": shown})
}
