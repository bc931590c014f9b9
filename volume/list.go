package volume

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// ListOptions narrow, sort and page a list. The zero value lists the project's own, latest first.
type ListOptions struct {
	// AllProjects lists everybody's; ProjectID those of one project. Both are for admins.
	AllProjects bool
	ProjectID   string
	// Equal compares exactly: keys are OpenStack's, such as "name", "status", "host", "volume_id", "availability_zone".
	// A key that is not known is [ErrInvalid]. Several values, separated by commas, are alternatives for "id" only.
	Equal map[string]string
	// Contains finds texts within values (OpenStack's "name~").
	Contains map[string]string
	// Metadata must all be there with these values.
	Metadata map[string]string
	// Times bound created_at and updated_at.
	Times []TimeBound
	// Sort is what to sort by; "created_at" descending by default.
	Sort          []Sort
	Marker        string
	Offset, Limit int
}

// TimeBound compares the time at Key ("created_at", "updated_at") by Operator ("gt", "gte", "eq", "neq", "lt", "lte").
type TimeBound struct {
	Key, Operator string
	Time          time.Time
}

// Sort is a key to sort by, in OpenStack's words ("display_name", "created_at", …).
type Sort struct {
	Key        string
	Descending bool
}

// keys are the columns that OpenStack's words for filters and sort keys stand for, of one kind of record.
type keys struct {
	// texts, flags and numbers are by what their values are.
	texts, flags, numbers map[string]string
	// owned records are seen by their projects.
	owned bool
}

func (k keys) column(key string) (column string, parse func(string) (any, error), known bool) {
	if column, known = k.texts[key]; known {
		return column, func(text string) (any, error) { return optional(text), nil }, true
	}
	if column, known = k.flags[key]; known {
		return column, func(text string) (any, error) { return strconv.ParseBool(strings.ToLower(text)) }, true
	}
	if column, known = k.numbers[key]; known {
		return column, func(text string) (any, error) { return strconv.Atoi(text) }, true
	}
	return "", nil, false
}

// conditions are what the options ask for that the database decides.
func (k keys) conditions(scope Scope, o ListOptions) (where []record.Condition, err error) {
	switch {
	case !k.owned:
	case scope.Admin && o.ProjectID != "":
		where = append(where, record.Eq("project", o.ProjectID))
	case !scope.Admin || !o.AllProjects:
		where = append(where, record.Eq("project", scope.ProjectID))
	}
	for key, text := range o.Equal {
		column, parse, known := k.column(key)
		if !known {
			return nil, fault.Wrap(ErrInvalid, "Invalid filters %s are found in query options.", key)
		}
		if key == "id" {
			where = append(where, record.In(column, strings.Split(text, ",")...))
			continue
		}
		value, err := parse(text)
		if err != nil {
			return nil, fault.Wrap(ErrInvalid, "Invalid input received: '%s = %s'", key, text)
		}
		where = append(where, record.Eq(column, value))
	}
	for key, text := range o.Contains {
		column, known := k.texts[key]
		if !known {
			return nil, fault.Wrap(ErrInvalid, "Invalid filters %s~ are found in query options.", key)
		}
		where = append(where, record.Contains(column, text))
	}
	for _, bound := range o.Times {
		c, err := k.bound(bound)
		if err != nil {
			return nil, err
		}
		where = append(where, c...)
	}
	return where, nil
}

// bound compares with the precision of the API, a second.
func (k keys) bound(b TimeBound) ([]record.Condition, error) {
	column, known := k.numbers[b.Key]
	if !known {
		return nil, fault.Wrap(ErrInvalid, "Invalid filters %s are found in query options.", b.Key)
	}
	from := b.Time.Truncate(time.Second).UnixMicro()
	next := from + time.Second.Microseconds()
	switch b.Operator {
	case "gt":
		return []record.Condition{record.Ge(column, next)}, nil
	case "gte":
		return []record.Condition{record.Ge(column, from)}, nil
	case "lt":
		return []record.Condition{record.Lt(column, from)}, nil
	case "lte":
		return []record.Condition{record.Lt(column, next)}, nil
	case "eq":
		return []record.Condition{record.Ge(column, from), record.Lt(column, next)}, nil
	case "neq":
		return []record.Condition{record.Any(record.Lt(column, from), record.Ge(column, next))}, nil
	}
	return nil, fault.Wrap(ErrInvalid, "Invalid input received: operator %q", b.Operator)
}

func (k keys) order(sort []Sort) (order []record.Order, err error) {
	if len(sort) == 0 {
		return []record.Order{{Column: "created", Descending: true}, {Column: "id", Descending: true}}, nil
	}
	for _, by := range sort {
		column, _, known := k.column(by.Key)
		if !known {
			return nil, fault.Wrap(ErrInvalid, "Invalid input received: Sort key %s is not valid", by.Key)
		}
		order = append(order, record.Order{Column: column, Descending: by.Descending})
	}
	return order, nil
}

// pageSize is how many records are read at a time where a filter is not the database's.
const pageSize = 200

// find returns what the options ask for. Labels are a record's metadata; nil has none.
func find[T any](tx *record.Tx, table *record.Table[T], k keys, scope Scope, o ListOptions, labels func(*T) (id string, metadata map[string]string)) ([]T, error) {
	where, err := k.conditions(scope, o)
	if err != nil {
		return nil, err
	}
	order, err := k.order(o.Sort)
	if err != nil {
		return nil, err
	}
	if o.Marker != "" && k.owned && !scope.Admin {
		if n, err := table.Count(tx, record.Eq("id", o.Marker), record.Eq("project", scope.ProjectID)); err != nil || n == 0 {
			return nil, errors.Join(err, noMarker(o.Marker))
		}
	}
	q := record.Query{Where: where, Order: order, After: o.Marker}
	if o.Limit > 0 {
		q.Limit = o.Offset + o.Limit
	}
	if len(o.Metadata) == 0 {
		found, err := table.List(tx, q)
		return found[min(o.Offset, len(found)):], marker(err, o.Marker)
	}
	wanted := q.Limit
	q.Limit = pageSize
	var kept []T
	for {
		some, err := table.List(tx, q)
		if err != nil {
			return nil, marker(err, o.Marker)
		}
		for i := range some {
			if _, metadata := labels(&some[i]); holds(metadata, o.Metadata) {
				kept = append(kept, some[i])
			}
		}
		if len(some) < pageSize || wanted > 0 && len(kept) >= wanted {
			break
		}
		q.After, _ = labels(&some[len(some)-1])
	}
	if wanted > 0 {
		kept = kept[:min(wanted, len(kept))]
	}
	return kept[min(o.Offset, len(kept)):], nil
}

// marker says in the API's words that the record before the page is not there.
func marker(err error, id string) error {
	if id != "" && errors.Is(err, ErrInvalid) && strings.Contains(err.Error(), "marker") {
		return noMarker(id)
	}
	return err
}

func noMarker(id string) error {
	return fault.Wrap(ErrNotFound, "The marker %s could not be found.", id)
}

// holds says that all wanted labels are there.
func holds(metadata, wanted map[string]string) bool {
	for key, value := range wanted {
		if have, ok := metadata[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// count is how many records find would return without a page.
func count[T any](tx *record.Tx, table *record.Table[T], k keys, scope Scope, o ListOptions, labels func(*T) (string, map[string]string)) (int, error) {
	o.Marker, o.Limit, o.Offset = "", 0, 0
	if len(o.Metadata) > 0 {
		found, err := find(tx, table, k, scope, o, labels)
		return len(found), err
	}
	where, err := k.conditions(scope, o)
	if err != nil {
		return 0, err
	}
	return table.Count(tx, where...)
}

// await returns what get returns as soon as ready says so of it.
func await[T any](ctx context.Context, s *Service, kind, id string, get func(ctx context.Context) (*T, error), ready func(*T) bool) (*T, error) {
	head, err := s.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	r, err := get(ctx)
	if err != nil || ready(r) {
		return r, err
	}
	for change, err := range s.store.Watch(ctx, head) {
		if errors.Is(err, record.ErrCompacted) {
			return await(ctx, s, kind, id, get, ready)
		}
		if err != nil {
			return nil, err
		}
		if change.Kind != kind || change.ID != id {
			continue
		}
		if r, err = get(ctx); err != nil || ready(r) {
			return r, err
		}
	}
	return nil, ctx.Err()
}
