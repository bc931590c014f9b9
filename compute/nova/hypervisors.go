package nova

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
)

func (c *call) hypervisorBasic(h *compute.Host) object {
	o := object{"id": h.Number, "hypervisor_hostname": h.Name, "state": state(c.api.compute.Up(h)), "status": status(h)}
	if c.at(53) {
		o["id"] = h.ID
	}
	return o
}

func (c *call) hypervisor(h *compute.Host) object {
	o := c.hypervisorBasic(h)
	service := object{"host": h.Name, "id": h.Number, "disabled_reason": h.DisabledReason}
	if c.at(53) {
		service["id"] = h.ServiceID
	}
	o["service"], o["host_ip"], o["hypervisor_type"], o["hypervisor_version"] = service, h.Resources.Address, h.Resources.Type, h.Resources.Version
	if c.at(88) {
		o["uptime"] = nil
		return o
	}
	for key, value := range resources(h) {
		o[key] = value
	}
	o["cpu_info"] = any("")
	if c.at(28) {
		o["cpu_info"] = object{}
	}
	return o
}

func resources(h *compute.Host) map[string]int {
	r, u := h.Resources, h.Used
	return map[string]int{
		"vcpus": r.VCPUs, "vcpus_used": u.VCPUs, "memory_mb": r.MemoryMiB, "memory_mb_used": u.MemoryMiB, "free_ram_mb": r.MemoryMiB - u.MemoryMiB,
		"local_gb": r.DiskGiB, "local_gb_used": u.DiskGiB, "free_disk_gb": r.DiskGiB - u.DiskGiB, "disk_available_least": r.DiskGiB - u.DiskGiB,
		"running_vms": u.Servers, "current_workload": 0,
	}
}

// addServers adds a hypervisor's servers where they were asked for. Before 2.75 an empty list is left out.
func (c *call) addServers(o object, h *compute.Host) error {
	list, err := c.api.compute.Servers(c.Context(), c.scope(), compute.ServerFilter{AllProjects: true, Equal: map[string]string{"host": h.Name}})
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(list))
	for i := range list {
		shown = append(shown, object{"uuid": list[i].ID, "name": list[i].Name})
	}
	if len(shown) > 0 || c.at(75) {
		o["servers"] = shown
	}
	return nil
}

// hypervisorPage picks the hosts that the query asks for; older microversions know no pages and no patterns.
func (c *call) hypervisorPage(limit int, marker string) ([]compute.Host, error) {
	hosts, err := c.api.compute.Hosts(c.Context())
	if err != nil {
		return nil, err
	}
	if c.at(33) && marker != "" {
		i := slices.IndexFunc(hosts, func(h compute.Host) bool { return marker == h.ID || marker == strconv.FormatInt(h.Number, 10) })
		if i < 0 {
			return nil, fault.Wrap(compute.ErrInvalid, "marker [%s] not found", marker)
		}
		hosts = hosts[i+1:]
	}
	if pattern := c.URL.Query().Get("hypervisor_hostname_pattern"); c.at(53) && pattern != "" {
		hosts = slices.DeleteFunc(hosts, func(h compute.Host) bool { return !strings.Contains(h.Name, pattern) })
		if len(hosts) == 0 {
			return nil, fault.Wrap(compute.ErrNotFound, "No hypervisor matching '%s' could be found.", pattern)
		}
	}
	if c.at(33) {
		hosts = hosts[:min(limit, len(hosts))]
	}
	return hosts, nil
}

func (a *api) listHypervisors(c *call) error {
	limit, marker, err := c.page()
	if err != nil {
		return err
	}
	hosts, err := c.hypervisorPage(limit, marker)
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(hosts))
	for i := range hosts {
		o := c.hypervisorBasic(&hosts[i])
		if strings.HasSuffix(c.URL.Path, "/detail") {
			o = c.hypervisor(&hosts[i])
		}
		if err := c.maybeServers(o, &hosts[i]); err != nil {
			return err
		}
		shown = append(shown, o)
	}
	answer := object{"hypervisors": shown}
	if c.at(33) && len(hosts) > 0 {
		if links := c.next(len(hosts), limit, hosts[len(hosts)-1].ID); links != nil {
			answer["hypervisors_links"] = links
		}
	}
	return c.json(http.StatusOK, answer)
}

// maybeServers adds the hypervisor's servers if the query asks for them.
func (c *call) maybeServers(o object, h *compute.Host) error {
	if !c.at(53) || !strings.EqualFold(c.URL.Query().Get("with_servers"), "true") {
		return nil
	}
	return c.addServers(o, h)
}

func (c *call) host() (*compute.Host, error) {
	hosts, err := c.api.compute.Hosts(c.Context())
	if err != nil {
		return nil, err
	}
	id := c.PathValue("id")
	for i := range hosts {
		if c.at(53) && hosts[i].ID == id || !c.at(53) && strconv.FormatInt(hosts[i].Number, 10) == id {
			return &hosts[i], nil
		}
	}
	return nil, fault.Wrap(compute.ErrNotFound, "Hypervisor with ID '%s' could not be found.", id)
}

func (a *api) showHypervisor(c *call) error {
	h, err := c.host()
	if err != nil {
		return err
	}
	o := c.hypervisor(h)
	if err := c.maybeServers(o, h); err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"hypervisor": o})
}

func (a *api) hypervisorUptime(c *call) error {
	h, err := c.host()
	if err != nil {
		return err
	}
	o := c.hypervisorBasic(h)
	o["uptime"] = " since " + isotime(h.StartedAt)
	return c.json(http.StatusOK, object{"hypervisor": o})
}

func (a *api) searchHypervisors(servers bool) func(c *call) error {
	return func(c *call) error {
		hosts, err := a.compute.Hosts(c.Context())
		if err != nil {
			return err
		}
		pattern, shown := c.PathValue("id"), []object{}
		for i := range hosts {
			if !strings.Contains(hosts[i].Name, pattern) {
				continue
			}
			o := c.hypervisorBasic(&hosts[i])
			if servers {
				if err := c.addServers(o, &hosts[i]); err != nil {
					return err
				}
			}
			shown = append(shown, o)
		}
		if len(shown) == 0 {
			return fault.Wrap(compute.ErrNotFound, "No hypervisor matching '%s' could be found.", pattern)
		}
		return c.json(http.StatusOK, object{"hypervisors": shown})
	}
}

func (a *api) hypervisorStatistics(c *call) error {
	hosts, err := a.compute.Hosts(c.Context())
	if err != nil {
		return err
	}
	sum := map[string]int{"count": 0}
	for key := range resources(&compute.Host{}) {
		sum[key] = 0
	}
	for i := range hosts {
		if hosts[i].Disabled {
			continue
		}
		sum["count"]++
		for key, value := range resources(&hosts[i]) {
			sum[key] += value
		}
	}
	return c.json(http.StatusOK, object{"hypervisor_statistics": sum})
}
