package compute

import (
	"context"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// ServerFilter narrows a list of servers. The zero value lists the project's own, latest first.
type ServerFilter struct {
	// AllProjects lists everybody's; ProjectID those of one project. Both are for admins.
	AllProjects bool
	ProjectID   string
	// Equal compares exactly: keys are those of [ServerFilter.Equal]'s documentation in OpenStack, such as "host",
	// "flavor", "image", "user_id", "key_name", "vm_state", "task_state", "reservation_id", "availability_zone".
	// A key that is not known is [ErrInvalid].
	Equal map[string]string
	// Name and Hostname are regular expressions; an invalid one is [ErrInvalid]. IP is one over addresses.
	Name, Hostname, IP string
	Description        string
	// Statuses are words of [Server.Status].
	Statuses []string
	// Deleted lists deleted servers instead of those that exist (admins only).
	Deleted bool
	Locked  *bool
	// Since lists what changed since then, deleted servers too; Before what did not change after.
	Since, Before *time.Time
	// Tags must all be there, TagsAny at least one, NotTags not all, NotTagsAny none.
	Tags, TagsAny, NotTags, NotTagsAny []string
	Metadata                           map[string]string
	// Sort is what to sort by; "created_at" descending by default.
	Sort   []Sort
	Marker string
	Limit  int
}

// Sort is a key that servers are sorted by, in OpenStack's words ("display_name", "created_at", …).
type Sort struct {
	Key        string
	Descending bool
}

var serverColumns = map[string]string{
	"host": "host", "flavor": "flavor", "instance_type_id": "flavor", "image": "image", "image_ref": "image",
	"user_id": "owner", "project_id": "project", "key_name": "keyname", "vm_state": "state", "task_state": "task",
	"power_state": "power", "reservation_id": "reservation", "availability_zone": "zone", "uuid": "id",
	"display_name": "name", "name": "name", "hostname": "hostname", "created_at": "created", "updated_at": "updated",
	"launched_at": "launched", "terminated_at": "terminated", "locked": "locked",
}

// batch is how many servers are read at a time where a filter is not the database's.
const batch = 200

// Servers lists servers.
func (s *Service) Servers(ctx context.Context, scope Scope, filter ServerFilter) ([]Server, error) {
	q, err := filter.query(scope)
	if err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	if filter.Marker != "" {
		if v, err := s.servers.Get(tx, filter.Marker); err != nil || !scope.sees(v.ProjectID) {
			return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", filter.Marker)
		}
	}
	matches, err := filter.predicate()
	if err != nil {
		return nil, err
	}
	if matches == nil {
		q.Limit = filter.Limit
		return s.servers.List(tx, q)
	}
	q.Limit = batch
	var list []Server
	for {
		page, err := s.servers.List(tx, q)
		if err != nil {
			return nil, err
		}
		kept, err := s.keep(ctx, page, matches)
		if err != nil {
			return nil, err
		}
		list = append(list, kept...)
		if filter.Limit > 0 && len(list) >= filter.Limit {
			return list[:filter.Limit], nil
		}
		if len(page) < batch {
			return list, nil
		}
		q.After = page[len(page)-1].ID
	}
}

func (f *ServerFilter) query(scope Scope) (q record.Query, err error) {
	where := func(c record.Condition) { q.Where = append(q.Where, c) }
	switch {
	case scope.Admin && f.ProjectID != "":
		where(record.Eq("project", f.ProjectID))
	case !scope.Admin || !f.AllProjects:
		where(record.Eq("project", scope.ProjectID))
	}
	if f.Deleted && scope.Admin {
		where(record.Eq("deleted", true))
	} else if f.Since == nil {
		where(record.Eq("deleted", false))
	}
	if f.Since != nil {
		where(record.Ge("updated", f.Since.UnixMicro()))
	}
	if f.Before != nil {
		where(record.Lt("updated", f.Before.UnixMicro()+1))
	}
	if f.Statuses != nil {
		where(record.In("status", f.Statuses...))
	}
	if f.Locked != nil {
		where(record.Eq("locked", *f.Locked))
	}
	for key, value := range f.Equal {
		column, ok := serverColumns[key]
		if !ok {
			return q, fault.Wrap(ErrInvalid, "Invalid filter %s", key)
		}
		if column == "power" { // a number in the database
			n, err := strconv.Atoi(value)
			if err != nil {
				return q, fault.Wrap(ErrInvalid, "Invalid filter %s", key)
			}
			where(record.Eq(column, n))
			continue
		}
		where(record.Eq(column, value))
	}
	for _, by := range f.Sort {
		column, ok := serverColumns[by.Key]
		if !ok {
			return q, fault.Wrap(ErrInvalid, "Sort key supplied was not valid.")
		}
		q.Order = append(q.Order, record.Order{Column: column, Descending: by.Descending})
	}
	if len(f.Sort) == 0 {
		q.Order = []record.Order{{Column: "created", Descending: true}}
	}
	q.After = f.Marker
	return q, nil
}

// predicate is what the database cannot decide; nil where nothing is left.
func (f *ServerFilter) predicate() (func(v *Server, ports []Port) bool, error) {
	patterns := map[string]*regexp.Regexp{}
	for key, text := range map[string]string{"name": f.Name, "hostname": f.Hostname, "ip": f.IP, "description": f.Description} {
		if text == "" {
			continue
		}
		pattern, err := regexp.Compile("(?i)" + text)
		if err != nil {
			return nil, fault.Wrap(ErrInvalid, "Invalid filter %s: %q is not a regular expression", key, text)
		}
		patterns[key] = pattern
	}
	if len(patterns) == 0 && len(f.Tags)+len(f.TagsAny)+len(f.NotTags)+len(f.NotTagsAny)+len(f.Metadata) == 0 {
		return nil, nil
	}
	text := func(key, value string) bool { return patterns[key] == nil || patterns[key].MatchString(value) }
	return func(v *Server, ports []Port) bool {
		description := ""
		if v.Description != nil {
			description = *v.Description
		}
		return text("name", v.Name) && text("hostname", v.Hostname) && text("description", description) &&
			(patterns["ip"] == nil || anyAddress(ports, patterns["ip"])) && f.tagged(v.Tags) && f.labelled(v.Metadata)
	}, nil
}

func anyAddress(ports []Port, pattern *regexp.Regexp) bool {
	match := func(a netip.Addr) bool { return pattern.MatchString(a.String()) }
	return slices.ContainsFunc(ports, func(p Port) bool {
		return slices.ContainsFunc(p.FloatingIPs, match) ||
			slices.ContainsFunc(p.FixedIPs, func(ip FixedIP) bool { return match(ip.Address) })
	})
}

func (f *ServerFilter) tagged(tags []string) bool {
	has := func(tag string) bool { return slices.Contains(tags, tag) }
	lacks := func(tag string) bool { return !has(tag) }
	return !slices.ContainsFunc(f.Tags, lacks) &&
		(len(f.TagsAny) == 0 || slices.ContainsFunc(f.TagsAny, has)) &&
		(len(f.NotTags) == 0 || slices.ContainsFunc(f.NotTags, lacks)) &&
		!slices.ContainsFunc(f.NotTagsAny, has)
}

func (f *ServerFilter) labelled(metadata map[string]string) bool {
	for key, value := range f.Metadata {
		if have, ok := metadata[key]; !ok || have != value {
			return false
		}
	}
	return true
}

func (s *Service) keep(ctx context.Context, page []Server, matches func(*Server, []Port) bool) ([]Server, error) {
	ports, err := s.Ports(ctx, page)
	if err != nil {
		return nil, err
	}
	var kept []Server
	for i := range page {
		if matches(&page[i], ports[page[i].ID]) {
			kept = append(kept, page[i])
		}
	}
	return kept, nil
}

// Await returns the server as soon as ready says so of it, or ctx's error. A server that is gone is [ErrNotFound].
func (s *Service) Await(ctx context.Context, scope Scope, id string, ready func(v *Server) bool) (*Server, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.Server(ctx, scope, id)
	if err != nil || ready(v) {
		return v, err
	}
	for change, err := range s.store.Watch(ctx, head) {
		if errors.Is(err, record.ErrCompacted) {
			return s.Await(ctx, scope, id, ready)
		}
		if err != nil {
			return nil, err
		}
		if change.Kind != serversKind || change.ID != id {
			continue
		}
		if v, err = s.Server(ctx, scope, id); err != nil || ready(v) {
			return v, err
		}
	}
	return nil, ctx.Err()
}

// SplitTags reads a comma-separated list of tags, as filters have it.
func SplitTags(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
