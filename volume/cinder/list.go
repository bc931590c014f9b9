package cinder

import (
	"net/url"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// resource is a kind of thing that is listed, in the words of /resource_filters.
type resource struct {
	name string
	// filters are those that everybody may use; admins may use all that there are. One that ends with "~" looks for
	// texts within values.
	filters []string
	// later are the filters that a microversion brought.
	later map[string]int
	// like is whether filters that end with "~" are known at all, sorted the microversion that sorts by name.
	sorted int
}

// resources are what can be filtered.
func resources() []resource {
	return []resource{
		{name: "volume", filters: []string{
			"name", "name~", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size",
			"created_at", "updated_at", "consumes_quota",
		}, later: map[string]int{"group_id": 10, "created_at": 60, "updated_at": 60, "consumes_quota": 65}},
		{name: "backup", filters: []string{"name", "name~", "status", "volume_id"}, sorted: 37},
		{
			name: "snapshot", filters: []string{"name", "name~", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"},
			later: map[string]int{"metadata": 22, "consumes_quota": 65}, sorted: 30,
		},
		{name: "group", filters: []string{"name", "name~"}},
		{name: "group_snapshot", filters: []string{"name", "name~", "status", "group_id"}},
		{name: "attachment", filters: []string{"volume_id", "status", "instance_id", "attach_status"}},
		{name: "message", filters: []string{"resource_uuid", "resource_type", "event_id", "request_id", "message_level"}},
		{name: "pool", filters: []string{"name", "volume_type"}},
		{name: "volume_type", filters: []string{"is_public", "extra_specs"}},
	}
}

func resourceNamed(name string) resource {
	for _, r := range resources() {
		if r.name == name {
			return r
		}
	}
	return resource{name: name}
}

// plainParameters are those of a list's query that do not filter.
var plainParameters = []string{"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "with_count", "all_tenants", "list_volume", "detail"}

// listing reads the query of a list.
func (c *call) listing(name string) (volume.ListOptions, error) {
	options, err := c.page("created_at")
	if err != nil {
		return options, err
	}
	r := resourceNamed(name)
	for i := range options.Sort {
		if options.Sort[i].Key == "name" {
			if !c.at(r.sorted) {
				return options, fault.Wrap(volume.ErrInvalid, "Invalid input received: Sort key supplied is invalid: name")
			}
			options.Sort[i].Key = "display_name"
		}
	}
	query := c.URL.Query()
	if options.AllProjects, err = c.allProjects(query); err != nil {
		return options, err
	}
	filters, err := c.filters(query, &r)
	if err != nil {
		return options, err
	}
	options.Equal, options.Contains = map[string]string{}, map[string]string{}
	for key, value := range filters {
		if err := c.filter(&options, key, value); err != nil {
			return options, err
		}
	}
	return options, nil
}

// page reads how a list is paged and sorted.
func (c *call) page(defaultKey string) (options volume.ListOptions, err error) {
	query := c.URL.Query()
	if options.Limit, err = natural(query, "limit", c.api.options.MaxLimit); err != nil {
		return options, err
	}
	options.Limit = min(options.Limit, c.api.options.MaxLimit)
	if options.Offset, err = natural(query, "offset", 0); err != nil {
		return options, err
	}
	options.Marker = query.Get("marker")
	options.Sort, err = sorting(query, defaultKey)
	return options, err
}

// sorting reads sort=key:direction,… or the older sort_key and sort_dir.
func sorting(query url.Values, defaultKey string) ([]volume.Sort, error) {
	if query.Has("sort") && (query.Has("sort_key") || query.Has("sort_dir")) {
		return nil, fault.Wrap(volume.ErrInvalid, "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter.")
	}
	var given []string
	switch {
	case query.Has("sort"):
		given = strings.Split(query.Get("sort"), ",")
	case query.Has("sort_key"):
		given = []string{query.Get("sort_key") + ":" + query.Get("sort_dir")}
	default:
		given = []string{defaultKey + ":" + query.Get("sort_dir")}
	}
	var sorts []volume.Sort
	for _, one := range given {
		key, direction, _ := strings.Cut(one, ":")
		switch direction = strings.TrimSpace(direction); direction {
		case "", "desc", "asc":
			sorts = append(sorts, volume.Sort{Key: strings.TrimSpace(key), Descending: direction != "asc"})
		default:
			return nil, fault.Wrap(volume.ErrInvalid, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'.")
		}
	}
	return sorts, nil
}

// allProjects reads all_tenants, which counts for admins only.
func (c *call) allProjects(query url.Values) (bool, error) {
	value := query.Get("all_tenants")
	if !query.Has("all_tenants") || !c.admin() {
		return false, nil
	}
	all, err := wire.ParseBool(value)
	if value != "" && err != nil {
		return false, fault.Wrap(volume.ErrInvalid, "Invalid parameter: Invalid value '%s' for all_tenants", value)
	}
	return all, nil
}

// filters are the query's, without those that the caller may not use: these are refused since 3.31, and ignored before.
func (c *call) filters(query url.Values, r *resource) (map[string]string, error) {
	filters := map[string]string{}
	var refused []string
	for key := range query {
		name := strings.TrimSuffix(key, "~")
		switch {
		case slices.Contains(plainParameters, key):
		case !c.at(r.later[name]), name != key && !c.at(34):
			if c.at(31) && !c.admin() {
				refused = append(refused, key)
			}
		case c.admin() || slices.Contains(r.filters, key):
			filters[key] = query.Get(key)
		case c.at(31):
			refused = append(refused, key)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return nil, fault.Wrap(volume.ErrInvalid, "Invalid filters %s are found in query options.", strings.Join(refused, ","))
	}
	return filters, nil
}

// filter adds one of the query's to the options.
func (c *call) filter(options *volume.ListOptions, key, value string) (err error) {
	if name, contains := strings.CutSuffix(key, "~"); contains {
		options.Contains[name] = value
		return nil
	}
	switch key {
	case "tenant_id", "project_id", "os-vol-tenant-attr:tenant_id":
		options.ProjectID = value
	case "metadata":
		if options.Metadata, err = dictionary(value); err != nil {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: metadata filter %s", value)
		}
	case "created_at", "updated_at":
		options.Times, err = timeBounds(options.Times, key, value)
	case "bootable":
		options.Equal[key], err = c.bootable(value)
	case "consumes_quota", "use_quota":
		v, err := wire.ParseBool(value)
		if err != nil {
			return fault.Wrap(volume.ErrInvalid, "Invalid input received: %s=%s", key, value)
		}
		options.Equal["consumes_quota"] = boolText(v)
	default:
		options.Equal[key] = value
	}
	return err
}

// bootable reads that filter: before 3.2, whatever is not false is true.
func (c *call) bootable(value string) (string, error) {
	v, err := wire.ParseBool(value)
	if err == nil {
		return boolText(v), nil
	}
	if !c.at(2) {
		return boolText(true), nil
	}
	return "", fault.Wrap(volume.ErrInvalid, "Invalid input received: bootable={%s}", value)
}

func boolText(v bool) string {
	if v {
		return "true"
	}
	return "false"
}

// timeBounds reads "gt:2026-01-02T03:04:05,lt:…".
func timeBounds(bounds []volume.TimeBound, key, value string) ([]volume.TimeBound, error) {
	for _, one := range strings.Split(value, ",") {
		operator, at, found := strings.Cut(one, ":")
		if !slices.Contains([]string{"gt", "gte", "eq", "neq", "lt", "lte"}, operator) || !found {
			return nil, fault.Wrap(volume.ErrInvalid, "Invalid %s operator", operator)
		}
		t, err := instant(at)
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, volume.TimeBound{Key: key, Operator: operator, Time: t})
	}
	return bounds, nil
}

// listed answers with a page: the link to the next is there where this one is full.
func (c *call) listed(key, links string, shown []object, options volume.ListOptions, count *int) error {
	answer := object{key: shown}
	total := len(shown)
	if count != nil {
		answer["count"] = *count
		total = *count
	}
	if len(shown) > 0 && options.Limit <= total {
		query := c.URL.Query()
		query.Set("marker", shown[len(shown)-1]["id"].(string))
		project := ""
		if c.project != "" {
			project = "/" + c.project
		}
		answer[links] = []object{{"rel": "next", "href": baseURL(c.Request) + root + project + strings.TrimPrefix(c.URL.Path, root) + "?" + query.Encode()}}
	}
	return c.json(200, answer)
}

// counted is the number of all that a list has, where with_count (since 3.45) asks for it.
func (c *call) counted(options volume.ListOptions, count func(volume.ListOptions) (int, error)) (*int, error) {
	if !c.at(45) || !c.URL.Query().Has("with_count") {
		return nil, nil
	}
	wanted, err := wire.ParseBool(c.URL.Query().Get("with_count"))
	if err != nil {
		return nil, fault.Wrap(volume.ErrInvalid, "Invalid parameter: Invalid value '%s' for with_count", c.URL.Query().Get("with_count"))
	}
	if !wanted {
		return nil, nil
	}
	options.Limit, options.Offset, options.Marker = 0, 0, ""
	n, err := count(options)
	return &n, err
}

// each shows the members of a list.
func each[T any](members []T, show func(*T) object) []object {
	shown := make([]object, 0, len(members))
	for i := range members {
		shown = append(shown, show(&members[i]))
	}
	return shown
}

// detailed says whether a list of details was asked for.
func (c *call) detailed() bool { return strings.HasSuffix(c.URL.Path, "/detail") }

func (a *api) filterOperations() []operation {
	return []operation{{method: "GET", path: "/resource_filters", serve: a.listFilters, since: 33}}
}

func (a *api) listFilters(c *call) error {
	shown := []object{}
	wanted := c.URL.Query().Get("resource")
	for _, r := range resources() {
		if wanted == "" || wanted == r.name {
			shown = append(shown, object{"resource": r.name, "filters": r.filters})
		}
	}
	return c.json(200, object{"resource_filters": shown})
}
