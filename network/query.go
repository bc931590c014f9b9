package network

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/record"
)

// Query says what to list. The zero Query is everything that the scope can see.
type Query struct {
	// Filters are attributes, under the names of the Networking API ("router:external"), and the values of which
	// one must match. Numbers and booleans are given as texts.
	Filters map[string][]string
	Sort    []SortKey
	// Marker is the identifier of the last one of the page before.
	Marker string
	// Limit bounds the number of results; zero is no limit.
	Limit int
	// Reverse lists the page before the marker instead.
	Reverse bool
}

// SortKey is an attribute to sort by.
type SortKey struct {
	Attribute  string
	Descending bool
}

// Eq is a Query with one filter.
func Eq(attribute string, values ...string) Query {
	return Query{Filters: map[string][]string{attribute: values}}
}

type kind int

const (
	textual kind = iota
	boolean
	integer
	listed  // a joined list that contains the value
	fixedIP // "ip_address=…" or "subnet_id=…" of a port
)

type attribute struct {
	column string
	kind   kind
}

// common are the attributes of all resources; a column has its attribute's name unless said otherwise.
var common = map[string]attribute{
	"id": {"id", textual}, "name": {"name", textual}, "description": {"description", textual},
	"tenant_id": {"project_id", textual}, "project_id": {"project_id", textual},
	"created_at": {"created_at", textual}, "updated_at": {"updated_at", textual}, "revision_number": {"revision", integer},
}

func attributes(more map[string]attribute) map[string]attribute {
	all := map[string]attribute{}
	for name, a := range common {
		all[name] = a
	}
	for name, a := range more {
		if a.column == "" {
			a.column = name
		}
		all[name] = a
	}
	return all
}

var (
	networkAttributes = attributes(map[string]attribute{
		"status": {}, "admin_state_up": {kind: boolean}, "shared": {kind: boolean}, "router:external": {"external", boolean},
		"mtu": {kind: integer}, "is_default": {kind: boolean}, "port_security_enabled": {kind: boolean}, "dns_domain": {},
		"provider:network_type": {column: "network_type"}, "provider:physical_network": {column: "physical_network"}, "provider:segmentation_id": {"segment", integer},
	})
	subnetAttributes = attributes(map[string]attribute{
		"network_id": {}, "cidr": {}, "ip_version": {kind: integer}, "gateway_ip": {}, "enable_dhcp": {kind: boolean},
		"ipv6_ra_mode": {}, "ipv6_address_mode": {}, "subnetpool_id": {}, "service_types": {kind: listed},
	})
	portAttributes = attributes(map[string]attribute{
		"network_id": {}, "mac_address": {}, "device_id": {}, "device_owner": {}, "status": {}, "admin_state_up": {kind: boolean},
		"port_security_enabled": {kind: boolean}, "security_groups": {kind: listed}, "fixed_ips": {kind: fixedIP}, "dns_name": {},
		"binding:host_id": {column: "host_id"}, "binding:vif_type": {column: "vif_type"}, "binding:vnic_type": {column: "vnic_type"},
	})
	routerAttributes   = attributes(map[string]attribute{"status": {}, "admin_state_up": {kind: boolean}})
	floatingAttributes = attributes(map[string]attribute{
		"floating_network_id": {}, "floating_ip_address": {}, "port_id": {}, "fixed_ip_address": {}, "router_id": {}, "status": {},
	})
	groupAttributes = attributes(map[string]attribute{"stateful": {kind: boolean}})
	ruleAttributes  = attributes(map[string]attribute{
		"security_group_id": {}, "direction": {}, "ethertype": {}, "protocol": {}, "remote_group_id": {}, "remote_ip_prefix": {},
		"port_range_min": {kind: integer}, "port_range_max": {kind: integer},
	})
)

// list runs a query over one table; visible are the conditions that the scope adds.
func list[T any](ctx context.Context, s *Service, table *record.Table[T], known map[string]attribute, q Query, visible ...record.Condition) ([]T, error) {
	rq := record.Query{Where: visible, After: q.Marker, Limit: q.Limit}
	for name, values := range q.Filters {
		c, err := filter(known, name, values)
		if err != nil {
			return nil, err
		}
		rq.Where = append(rq.Where, c...)
	}
	for _, key := range q.Sort {
		a, ok := known[key.Attribute]
		if !ok || a.kind == listed || a.kind == fixedIP {
			return nil, refuse(ErrInvalid, "HTTPBadRequest", "[%q] is invalid attribute for sort_key", key.Attribute)
		}
		rq.Order = append(rq.Order, record.Order{Column: a.column, Descending: key.Descending != q.Reverse})
	}
	if !slices.ContainsFunc(rq.Order, func(o record.Order) bool { return o.Column == "id" }) {
		rq.Order = append(rq.Order, record.Order{Column: "id", Descending: q.Reverse})
	}
	found, err := table.List(s.store.Read(ctx), rq)
	if q.Reverse {
		slices.Reverse(found)
	}
	return found, err
}

func filter(known map[string]attribute, name string, values []string) ([]record.Condition, error) {
	if name == "tags" || name == "tags-any" || name == "not-tags" || name == "not-tags-any" {
		return tagFilter(name, values), nil
	}
	a, ok := known[name]
	if !ok {
		return nil, refuse(ErrInvalid, "HTTPBadRequest", "['%s'] is invalid attribute for filtering", name)
	}
	switch a.kind {
	case boolean:
		return oneOf(a.column, values, parseBool)
	case integer:
		return oneOf(a.column, values, func(v string) (int64, error) { return strconv.ParseInt(v, 10, 64) })
	case listed:
		return contained(a.column, values), nil
	case fixedIP:
		return fixedIPFilter(a.column, values)
	}
	return []record.Condition{record.In(a.column, values...)}, nil
}

func oneOf[V any](column string, texts []string, parse func(string) (V, error)) ([]record.Condition, error) {
	var values []V
	for _, t := range texts {
		v, err := parse(t)
		if err != nil {
			return nil, refuse(ErrInvalid, "InvalidInput", "Invalid input for operation: '%s' is not a value of %s.", t, column)
		}
		values = append(values, v)
	}
	return []record.Condition{record.In(column, values...)}, nil
}

func parseBool(t string) (bool, error) { return strconv.ParseBool(strings.ToLower(t)) }

func contained(column string, values []string) []record.Condition {
	var any []record.Condition
	for _, v := range values {
		any = append(any, record.Contains(column, ","+v+","))
	}
	return []record.Condition{record.Any(any...)}
}

// fixedIPFilter holds where all of the kinds given match: an address and a subnet.
func fixedIPFilter(column string, values []string) ([]record.Condition, error) {
	kinds := map[string][]string{}
	for _, v := range values {
		key, value, _ := strings.Cut(v, "=")
		switch key {
		case "ip_address":
			kinds["ip"] = append(kinds["ip"], "ip="+value)
		case "subnet_id":
			kinds["subnet"] = append(kinds["subnet"], "subnet="+value)
		case "ip_address_substr":
			kinds["part"] = append(kinds["part"], value)
		default:
			return nil, refuse(ErrInvalid, "InvalidInput", "Invalid input for operation: '%s' is not a filter of fixed_ips.", v)
		}
	}
	var all []record.Condition
	for key, values := range kinds {
		if key == "part" {
			all = append(all, record.Contains(column, values[0]))
			continue
		}
		all = append(all, contained(column, values)...)
	}
	return all, nil
}

// tagFilter follows the API: "tags" wants all of them, "tags-any" one, and the others their opposites.
func tagFilter(name string, values []string) []record.Condition {
	var each []record.Condition
	for _, v := range strings.Split(strings.Join(values, ","), ",") {
		each = append(each, record.Contains("tags", ","+v+","))
	}
	switch name {
	case "tags":
		return each
	case "tags-any":
		return []record.Condition{record.Any(each...)}
	case "not-tags-any":
		return []record.Condition{record.Not(record.Any(each...))}
	}
	for i := range each {
		each[i] = record.Not(each[i])
	}
	return []record.Condition{record.Any(each...)}
}
