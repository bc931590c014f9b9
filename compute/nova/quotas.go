package nova

import (
	"net/http"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) quotaOperations() []operation {
	const quota = "os_compute_api:os-quota-sets:"
	return []operation{
		{method: "GET", path: "/limits", serve: a.limits},
		{method: "GET", path: "/os-quota-sets/{project}", serve: a.showQuota},
		{method: "GET", path: "/os-quota-sets/{project}/detail", serve: a.detailQuota},
		{method: "GET", path: "/os-quota-sets/{project}/defaults", serve: a.defaultQuota},
		{method: "PUT", path: "/os-quota-sets/{project}", serve: a.updateQuota, policy: quota + "update"},
		{method: "DELETE", path: "/os-quota-sets/{project}", serve: a.deleteQuota, policy: quota + "delete"},
		{method: "GET", path: "/os-quota-class-sets/{class}", serve: a.showQuotaClass, policy: "os_compute_api:os-quota-class-sets:show"},
		{method: "GET", path: "/os-simple-tenant-usage", serve: a.listUsage, policy: "os_compute_api:os-simple-tenant-usage:list"},
		{method: "GET", path: "/os-simple-tenant-usage/{project}", serve: a.showUsage},
	}
}

// bound is one resource that a quota is about. network ones are the network service's, and here without bound.
type bound struct {
	name  string
	until int
	limit func(q *compute.Quota) *int
	used  func(u *compute.Usage) int
}

func bounds() []bound {
	none := func(*compute.Usage) int { return 0 }
	return []bound{
		{"instances", 0, func(q *compute.Quota) *int { return &q.Instances }, func(u *compute.Usage) int { return u.Instances }},
		{"cores", 0, func(q *compute.Quota) *int { return &q.Cores }, func(u *compute.Usage) int { return u.Cores }},
		{"ram", 0, func(q *compute.Quota) *int { return &q.RAMMiB }, func(u *compute.Usage) int { return u.RAMMiB }},
		{"metadata_items", 0, func(q *compute.Quota) *int { return &q.MetadataItems }, none},
		{"key_pairs", 0, func(q *compute.Quota) *int { return &q.KeyPairs }, none},
		{"server_groups", 0, func(q *compute.Quota) *int { return &q.ServerGroups }, func(u *compute.Usage) int { return u.ServerGroups }},
		{"server_group_members", 0, func(q *compute.Quota) *int { return &q.ServerGroupMembers }, none},
		{"injected_files", 56, func(q *compute.Quota) *int { return &q.InjectedFiles }, none},
		{"injected_file_content_bytes", 56, func(q *compute.Quota) *int { return &q.InjectedFileBytes }, none},
		{"injected_file_path_bytes", 56, func(q *compute.Quota) *int { return &q.InjectedFilePathLen }, none},
		{"fixed_ips", 35, nil, none}, {"floating_ips", 35, nil, none},
		{"security_groups", 35, nil, none}, {"security_group_rules", 35, nil, none},
	}
}

func (c *call) quotaView(q compute.Quota, show func(b *bound, limit int) any) object {
	o := object{}
	for _, b := range bounds() {
		if b.until > 0 && c.minor > b.until {
			continue
		}
		limit := -1
		if b.limit != nil {
			limit = *b.limit(&q)
		}
		o[b.name] = show(&b, limit)
	}
	return o
}

func plainLimit(_ *bound, limit int) any { return limit }

// projectOf is the project in the address: another's is for admins only.
func (c *call) projectOf(policy string) (string, error) {
	id := c.PathValue("project")
	if id != c.caller.ProjectID && !c.caller.IsAdmin() {
		return "", forbidden(policy)
	}
	return id, nil
}

func (a *api) showQuota(c *call) error {
	id, err := c.projectOf("os_compute_api:os-quota-sets:show")
	if err != nil {
		return err
	}
	q, err := a.compute.Quota(c.Context(), id)
	if err != nil {
		return err
	}
	o := c.quotaView(q, plainLimit)
	o["id"] = id
	return c.json(http.StatusOK, object{"quota_set": o})
}

func (a *api) detailQuota(c *call) error {
	id, err := c.projectOf("os_compute_api:os-quota-sets:detail")
	if err != nil {
		return err
	}
	q, err := a.compute.Quota(c.Context(), id)
	if err != nil {
		return err
	}
	usage, err := a.compute.Usage(c.Context(), id)
	if err != nil {
		return err
	}
	o := c.quotaView(q, func(b *bound, limit int) any {
		return object{"limit": limit, "in_use": b.used(&usage), "reserved": 0}
	})
	o["id"] = id
	return c.json(http.StatusOK, object{"quota_set": o})
}

func (a *api) defaultQuota(c *call) error {
	o := c.quotaView(a.compute.DefaultQuota(), plainLimit)
	o["id"] = c.PathValue("project")
	return c.json(http.StatusOK, object{"quota_set": o})
}

func (a *api) updateQuota(c *call) error {
	limit := func() *wire.Schema {
		s := bounded(-1, maxInt)
		return s
	}
	properties := map[string]*wire.Schema{"force": typeBoolean(), "tenant_id": anything()}
	for _, b := range bounds() {
		if b.until == 0 || c.minor <= b.until {
			properties[b.name] = limit()
		}
	}
	if !c.at(36) {
		properties["networks"] = limit()
	}
	var body struct {
		Set map[string]text `json:"quota_set"`
	}
	if err := c.body(wrap("quota_set", record(properties)), &body); err != nil {
		return err
	}
	var failed error
	q, err := a.compute.SetQuota(c.Context(), c.PathValue("project"), isTrue(body.Set["force"]), func(q *compute.Quota) {
		for _, b := range bounds() {
			if value, ok := body.Set[b.name]; ok && b.limit != nil {
				var n wire.Int
				failed = n.UnmarshalJSON([]byte(value)) // of the schema's form
				*b.limit(q) = int(n)
			}
		}
	})
	if err != nil || failed != nil {
		return firstError(err, failed)
	}
	return c.json(http.StatusOK, object{"quota_set": c.quotaView(q, plainLimit)})
}

func isTrue(t text) bool {
	v, err := wire.ParseBool(string(t))
	return err == nil && v
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *api) deleteQuota(c *call) error {
	if err := a.compute.DeleteQuota(c.Context(), c.PathValue("project")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func (a *api) showQuotaClass(c *call) error {
	o := c.quotaView(a.compute.DefaultQuota(), plainLimit)
	if !c.at(50) {
		delete(o, "server_groups")
		delete(o, "server_group_members")
	}
	o["id"] = c.PathValue("class")
	return c.json(http.StatusOK, object{"quota_class_set": o})
}

func (a *api) limits(c *call) error {
	if err := c.onlyQuery("tenant_id", "reserved"); err != nil {
		return err
	}
	id := c.caller.ProjectID
	if asked := c.URL.Query().Get("tenant_id"); asked != "" && asked != id {
		if !c.caller.IsAdmin() {
			return forbidden("os_compute_api:limits:other_project")
		}
		id = asked
	}
	q, err := a.compute.Quota(c.Context(), id)
	if err != nil {
		return err
	}
	u, err := a.compute.Usage(c.Context(), id)
	if err != nil {
		return err
	}
	o := object{
		"maxServerMeta": q.MetadataItems, "maxTotalCores": q.Cores, "maxTotalInstances": q.Instances, "maxTotalKeypairs": q.KeyPairs,
		"maxTotalRAMSize": q.RAMMiB, "maxServerGroups": q.ServerGroups, "maxServerGroupMembers": q.ServerGroupMembers,
		"totalCoresUsed": u.Cores, "totalInstancesUsed": u.Instances, "totalRAMUsed": u.RAMMiB, "totalServerGroupsUsed": u.ServerGroups,
	}
	if !c.at(39) {
		o["maxImageMeta"] = q.MetadataItems
	}
	if !c.at(57) {
		o["maxPersonality"], o["maxPersonalitySize"] = q.InjectedFiles, q.InjectedFileBytes
	}
	if !c.at(36) {
		for _, name := range []string{"maxSecurityGroups", "maxSecurityGroupRules", "maxTotalFloatingIps"} {
			o[name] = -1
		}
		o["totalSecurityGroupsUsed"], o["totalFloatingIpsUsed"] = 0, 0
	}
	return c.json(http.StatusOK, object{"limits": object{"rate": []object{}, "absolute": o}})
}

// period reads start and end of a usage report.
func (c *call) period() (start, end time.Time, err error) {
	end = time.Now().UTC()
	start = end.AddDate(0, 0, -28)
	query := c.URL.Query()
	for name, to := range map[string]*time.Time{"start": &start, "end": &end} {
		if value := query.Get(name); value != "" {
			t, err := instant(value)
			if err != nil {
				return start, end, fault.Wrap(compute.ErrInvalid, "Invalid datetime format for %s", name)
			}
			*to = *t
		}
	}
	if end.Before(start) {
		return start, end, fault.Wrap(compute.ErrInvalid, "Invalid start time. The start time cannot occur after the end time.")
	}
	return start, end, nil
}

// usages adds up what each project's servers used.
func (c *call) usages(project string, detailed bool) ([]object, error) {
	start, end, err := c.period()
	if err != nil {
		return nil, err
	}
	list, err := c.api.compute.ServerUsages(c.Context(), project, start, end)
	if err != nil {
		return nil, err
	}
	shown := []object{}
	for len(list) > 0 {
		id, n := list[0].Server.ProjectID, 0
		var hours, disk, memory, cpus float64
		servers := []object{}
		for ; n < len(list) && list[n].Server.ProjectID == id; n++ {
			u, f := &list[n], &list[n].Server.Flavor
			hours += u.Hours
			disk += u.Hours * float64(f.DiskGiB+f.EphemeralGiB)
			memory += u.Hours * float64(f.MemoryMiB)
			cpus += u.Hours * float64(f.VCPUs)
			servers = append(servers, serverUsage(u))
		}
		list = list[n:]
		o := object{
			"tenant_id": id, "start": precise(start), "stop": precise(end), "total_hours": hours,
			"total_local_gb_usage": disk, "total_memory_mb_usage": memory, "total_vcpus_usage": cpus,
		}
		if detailed {
			o["server_usages"] = servers
		}
		shown = append(shown, o)
	}
	return shown, nil
}

func serverUsage(u *compute.ServerUsage) object {
	s := &u.Server
	state, until := string(s.VMState), time.Now()
	if u.EndedAt != nil {
		state, until = "terminated", *u.EndedAt
	}
	return object{
		"instance_id": s.ID, "name": s.Name, "tenant_id": s.ProjectID, "flavor": s.Flavor.Name, "hours": u.Hours, "state": state,
		"vcpus": s.Flavor.VCPUs, "memory_mb": s.Flavor.MemoryMiB, "local_gb": s.Flavor.DiskGiB + s.Flavor.EphemeralGiB,
		"started_at": preciseOrNil(s.LaunchedAt), "ended_at": preciseOrNil(u.EndedAt), "uptime": int(until.Sub(*s.LaunchedAt).Seconds()),
	}
}

func (a *api) listUsage(c *call) error {
	shown, err := c.usages("", c.URL.Query().Get("detailed") == "1")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"tenant_usages": shown})
}

func (a *api) showUsage(c *call) error {
	id, err := c.projectOf("os_compute_api:os-simple-tenant-usage:show")
	if err != nil {
		return err
	}
	shown, err := c.usages(id, true)
	if err != nil {
		return err
	}
	if len(shown) == 0 {
		return c.json(http.StatusOK, object{"tenant_usage": object{}})
	}
	return c.json(http.StatusOK, object{"tenant_usage": shown[0]})
}
