package nova

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) listServers(c *call) error {
	detail := strings.HasSuffix(c.URL.Path, "/detail")
	limit, marker, err := c.page()
	if err != nil {
		return err
	}
	filter, err := c.serverFilter(c.URL.Query())
	if err != nil {
		return err
	}
	filter.Limit, filter.Marker = limit, marker
	servers, err := a.compute.Servers(c.Context(), c.scope(), filter)
	if err != nil {
		return err
	}
	shown := make([]object, 0, len(servers))
	view := &viewer{call: c}
	if detail {
		if view, err = c.viewer(servers); err != nil {
			return err
		}
	}
	for i := range servers {
		if detail {
			shown = append(shown, view.detail(&servers[i], false))
		} else {
			shown = append(shown, view.basic(&servers[i]))
		}
	}
	answer := object{"servers": shown}
	if len(servers) > 0 {
		if links := c.next(len(servers), limit, servers[len(servers)-1].ID); links != nil {
			answer["servers_links"] = links
		}
	}
	return c.json(http.StatusOK, answer)
}

// Filters that everybody may use, those that only admins may, and those that 2.83 gave to everybody.
var (
	openFilters  = []string{"name", "status", "image", "flavor", "ip", "changes-since", "reservation_id", "all_tenants", "tenant_id", "project_id", "limit", "marker", "sort_key", "sort_dir"}
	laterFilters = []string{"availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at", "power_state", "task_state", "vm_state", "progress", "user_id"}
	adminFilters = []string{"host", "hostname", "deleted", "soft_deleted", "node", "description", "uuid", "root_device_name", "kernel_id", "ramdisk_id", "launch_index", "access_ip_v4", "access_ip_v6", "auto_disk_config", "display_name", "display_description", "cell_name", "instance_type_id", "image_ref", "locked_by", "metadata", "system_metadata", "security_groups"}
)

// statuses are the words that the filter knows.
var statuses = []string{"ACTIVE", "BUILD", "REBUILD", "STOPPED", "SHUTOFF", "MIGRATING", "RESIZE", "PAUSED", "SUSPENDED", "RESCUE", "ERROR", "DELETED", "SOFT_DELETED", "REBOOT", "HARD_REBOOT", "PASSWORD", "VERIFY_RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "UNKNOWN"}

// filtersAllowed are the query parameters of the request's version.
func (c *call) filtersAllowed() []string {
	allowed := slices.Clone(openFilters)
	if c.at(5) || c.caller.IsAdmin() {
		allowed = append(allowed, "ip6")
	}
	for _, later := range []struct {
		minor int
		names []string
	}{{26, []string{"tags", "tags-any", "not-tags", "not-tags-any"}}, {66, []string{"changes-before"}}, {73, []string{"locked"}}, {83, laterFilters}, {90, []string{"hostname"}}} {
		if c.at(later.minor) {
			allowed = append(allowed, later.names...)
		}
	}
	if c.caller.IsAdmin() {
		allowed = append(append(allowed, adminFilters...), laterFilters...)
	}
	return allowed
}

// serverFilter reads the query.
func (c *call) serverFilter(query url.Values) (f compute.ServerFilter, err error) {
	allowed := c.filtersAllowed()
	if err := c.onlyQuery(append(slices.Clone(allowed), append(adminFilters, laterFilters...)...)...); err != nil {
		return f, err
	}
	f.Equal = map[string]string{}
	for key, values := range query {
		if !slices.Contains(allowed, key) {
			continue // as Nova does: what a caller may not filter by is ignored
		}
		if err := c.oneFilter(&f, key, values); err != nil {
			return f, err
		}
	}
	if f.Deleted && len(f.Statuses) > 0 {
		f.Statuses = nil
	}
	f.Sort, err = c.sorting(query)
	return f, err
}

// textFilters and tagFilters are where filters of plain texts and of tags go.
func textFilters(f *compute.ServerFilter) map[string]*string {
	return map[string]*string{
		"tenant_id": &f.ProjectID, "project_id": &f.ProjectID, "name": &f.Name, "display_name": &f.Name, "hostname": &f.Hostname,
		"ip": &f.IP, "ip6": &f.IP, "description": &f.Description, "display_description": &f.Description,
	}
}

func tagFilters(f *compute.ServerFilter) map[string]*[]string {
	return map[string]*[]string{"tags": &f.Tags, "tags-any": &f.TagsAny, "not-tags": &f.NotTags, "not-tags-any": &f.NotTagsAny}
}

// equalFilters are compared exactly.
var equalFilters = []string{"host", "flavor", "image", "reservation_id", "availability_zone", "key_name", "task_state", "vm_state", "user_id", "uuid", "power_state"}

func (c *call) oneFilter(f *compute.ServerFilter, key string, values []string) (err error) {
	value := values[0]
	if to, ok := textFilters(f)[key]; ok {
		*to = value
		return nil
	}
	if to, ok := tagFilters(f)[key]; ok {
		*to = compute.SplitTags(value)
		return nil
	}
	if slices.Contains(equalFilters, key) {
		f.Equal[key] = value
		return nil
	}
	switch key {
	case "node":
		f.Equal["host"] = value
	case "all_tenants":
		return c.allTenants(f, value)
	case "status":
		return c.statusFilter(f, values)
	case "deleted":
		if f.Deleted, err = wire.ParseBool(value); err != nil {
			return fault.Wrap(compute.ErrInvalid, "Invalid filter value %s", value)
		}
	case "locked":
		locked, err := wire.ParseBool(value)
		if err != nil {
			return fault.Wrap(compute.ErrInvalid, "Unrecognized value '%s'", value)
		}
		f.Locked = &locked
	case "changes-since":
		f.Since, err = instant(value)
	case "changes-before":
		f.Before, err = instant(value)
	case "metadata":
		if json.Unmarshal([]byte(value), &f.Metadata) != nil {
			return fault.Wrap(compute.ErrInvalid, "Invalid filter metadata %s", value)
		}
	}
	return err
}

func (c *call) allTenants(f *compute.ServerFilter, value string) error {
	all, err := wire.ParseBool(value)
	if value != "" && err != nil {
		return fault.Wrap(compute.ErrInvalid, "Invalid value '%s' for all_tenants", value)
	}
	f.AllProjects = all || value == ""
	if f.AllProjects && !c.caller.IsAdmin() {
		return forbidden("os_compute_api:servers:index:get_all_tenants")
	}
	return nil
}

func (c *call) statusFilter(f *compute.ServerFilter, values []string) error {
	for _, value := range values {
		status := strings.ToUpper(value)
		switch {
		case !slices.Contains(statuses, status) && c.at(38):
			return fault.Wrap(compute.ErrInvalid, "Invalid status value")
		case status == "DELETED" && !c.caller.IsAdmin():
			return fault.Wrap(compute.ErrForbidden, "Only administrators may list deleted instances")
		case status == "DELETED":
			f.Deleted = true
		case status == "STOPPED":
			status = "SHUTOFF"
		}
		f.Statuses = append(f.Statuses, status)
	}
	return nil
}

func (c *call) sorting(query url.Values) ([]compute.Sort, error) {
	var list []compute.Sort
	directions := query["sort_dir"]
	for i, key := range query["sort_key"] {
		by := compute.Sort{Key: key, Descending: true}
		if i < len(directions) {
			if directions[i] != "asc" && directions[i] != "desc" {
				return nil, fault.Wrap(compute.ErrInvalid, "Invalid input for query parameters sort_dir. Value: %s. '%s' does not match '^(asc|desc)$'", directions[i], directions[i])
			}
			by.Descending = directions[i] == "desc"
		}
		if key == "locked" && !c.at(73) {
			return nil, fault.Wrap(compute.ErrInvalid, "Invalid input for query parameters sort_key. Value: locked.")
		}
		list = append(list, by)
	}
	return list, nil
}
