package volume

import (
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// extrasTables are the records of groups, backups, transfers, QoS and jobs.
type extrasTables struct {
	backups        *record.Table[Backup]
	groups         *record.Table[Group]
	groupTypes     *record.Table[GroupType]
	groupSnapshots *record.Table[GroupSnapshot]
	transfers      *record.Table[Transfer]
	qos            *record.Table[QoS]
	jobs           *record.Table[job]
}

func defineExtras(store *record.Store) extrasTables {
	return extrasTables{
		backups:        record.Define(store, "backups", backupSpec),
		groups:         record.Define(store, "groups", groupSpec),
		groupTypes:     record.Define(store, "group_types", groupTypeSpec),
		groupSnapshots: record.Define(store, "group_snapshots", groupSnapshotSpec),
		transfers:      record.Define(store, "transfers", transferSpec),
		qos:            record.Define(store, "qos", qosSpec),
		jobs:           record.Define(store, jobsKind, jobSpec),
	}
}

// mustAdmin refuses what the rule of Cinder's policy keeps for administrators.
func mustAdmin(scope Scope, rule string) error {
	if scope.Admin {
		return nil
	}
	return fault.Wrap(ErrForbidden, "Policy doesn't allow %s to be performed.", rule)
}

// listing is how the records of one kind are listed.
type listing struct {
	// kind names them in refusals; columns are those of keys in OpenStack's words.
	kind    string
	columns map[string]string
	// project is the column of the owner; empty where everybody sees all.
	project string
}

// query is what the options ask for. Where there is an offset, it is to be dropped from what is found (see [skip]).
func (l listing) query(scope Scope, o ListOptions) (record.Query, error) {
	var q record.Query
	switch {
	case l.project == "":
	case scope.Admin && o.ProjectID != "":
		q.Where = append(q.Where, record.Eq(l.project, o.ProjectID))
	case !scope.Admin || !o.AllProjects:
		q.Where = append(q.Where, record.Eq(l.project, scope.ProjectID))
	}
	for key, value := range o.Equal {
		column, known := l.columns[key]
		if !known {
			return q, fault.Wrap(ErrInvalid, "Invalid filters %s are found in query options.", key)
		}
		if key == "id" {
			q.Where = append(q.Where, record.In(column, strings.Split(value, ",")...))
		} else {
			q.Where = append(q.Where, record.Eq(column, value))
		}
	}
	for key, value := range o.Contains {
		column, known := l.columns[key]
		if !known {
			return q, fault.Wrap(ErrInvalid, "Invalid filters %s~ are found in query options.", key)
		}
		q.Where = append(q.Where, record.Contains(column, value))
	}
	for _, s := range o.Sort {
		column, known := l.columns[s.Key]
		if !known {
			return q, fault.Wrap(ErrInvalid, "Invalid input received: Sort key %s is not valid", s.Key)
		}
		q.Order = append(q.Order, record.Order{Column: column, Descending: s.Descending})
	}
	if len(o.Sort) == 0 {
		q.Order = []record.Order{{Column: "created", Descending: true}, {Column: "id", Descending: true}}
	}
	q.After = o.Marker
	if o.Limit > 0 {
		q.Limit = o.Limit + o.Offset
	}
	return q, nil
}

// list returns what the options ask for.
func list[T any](tx *record.Tx, table *record.Table[T], l listing, scope Scope, o ListOptions) ([]T, error) {
	q, err := l.query(scope, o)
	if err != nil {
		return nil, err
	}
	found, err := table.List(tx, q)
	if err != nil {
		return nil, err
	}
	return found[min(o.Offset, len(found)):], nil
}

// page cuts the part out of a sorted list that a marker, an offset and a limit ask for.
func page[T any](all []T, id func(*T) string, marker string, offset, limit int) ([]T, error) {
	if marker != "" {
		at := slices.IndexFunc(all, func(one T) bool { return id(&one) == marker })
		if at < 0 {
			return nil, fault.Wrap(ErrInvalid, "marker [%s] not found", marker)
		}
		all = all[at+1:]
	}
	all = all[min(offset, len(all)):]
	if limit > 0 {
		all = all[:min(limit, len(all))]
	}
	return all, nil
}

// text is what a pointer points to; nothing where there is none.
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
