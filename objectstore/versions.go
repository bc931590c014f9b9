package objectstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Versions lists all versions of a container's objects, and delete markers: by name, and of each name the newest first. It does
// not list in reverse.
func (s *Service) Versions(ctx context.Context, caller Caller, path Path, l Listing) (ObjectList, error) {
	tx, c, err := s.listed(ctx, &caller, path, &l)
	if err != nil {
		return ObjectList{}, err
	}
	if l.Reverse {
		return ObjectList{}, fault.Wrap(ErrUnsupported, "versions are not listed in reverse")
	}
	marker := ""
	if l.VersionMarker != "" {
		if marker, err = s.versionMarker(tx, c.ID, &l); err != nil {
			return ObjectList{}, err
		}
	}
	rows, truncated, err := walk(l, marker,
		func(sp span, n int) ([]objectRow, error) { return s.versionRange(tx, c.ID, sp, n) },
		func(r *objectRow) (string, string) { return r.Name, rank(r.Written) })
	return objectList(rows, truncated), err
}

// versionMarker is the rank of the version that the page before ended with.
func (s *Service) versionMarker(tx *record.Tx, container string, l *Listing) (string, error) {
	id, null := versionOf(l.VersionMarker)
	if written, ok := versionWritten(id); ok {
		return rank(written), nil
	}
	if !null {
		return "", fault.Wrap(ErrInvalid, "the version marker %.40q names no version", l.VersionMarker)
	}
	row, err := s.findObject(tx, container, l.Marker)
	if err == nil && (row == nil || row.Version != "") {
		row, err = s.older(tx, container, l.Marker, "")
	}
	if err != nil {
		return "", err
	}
	if row == nil {
		return allRanks, nil // it was deleted meanwhile: rather those before it again than none of those behind
	}
	return rank(row.Written), nil
}

// allRanks sorts before the rank of any version.
const allRanks = "0"

// versionRange returns the first n versions in the span, the current ones among them.
func (s *Service) versionRange(tx *record.Tx, container string, sp span, n int) ([]objectRow, error) {
	older, err := scanNames(s.versions, tx, container, "written", sp, n)
	if err != nil {
		return nil, err
	}
	// Of a name that was begun the current version is the newest: the page before had it.
	rows, err := s.objectRange(tx, container, sp, n)
	if err != nil {
		return nil, err
	}
	rows = append(rows, older...)
	slices.SortStableFunc(rows, func(a, b objectRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Written, a.Written))
	})
	rows = rows[:min(n, len(rows))]
	for i := range rows {
		begun := i > 0 && rows[i-1].Name == rows[i].Name || i == 0 && sp.sub != "" && rows[i].Name == sp.low
		rows[i].Current = !begun
	}
	return rows, nil
}

// scanNames returns the first n records of a container whose names are in the span, by name and a second column.
func scanNames[T any](table *record.Table[T], tx *record.Tx, container, second string, sp span, n int) ([]T, error) {
	where := []record.Condition{record.Eq("container", container)}
	order := []record.Order{{Column: "name"}, {Column: second}}
	var begun []T
	if sp.sub != "" {
		var err error
		begun, err = table.List(tx, record.Query{
			Where: append(slices.Clone(where), record.Eq("name", sp.low), record.Gt(second, sp.sub)), Order: order[1:], Limit: n,
		})
		if err != nil || len(begun) == n {
			return begun, err
		}
	}
	low := record.Ge("name", sp.low)
	if sp.above {
		low = record.Gt("name", sp.low)
	}
	where = append(where, low)
	if sp.high != "" {
		where = append(where, record.Lt("name", sp.high))
	}
	rows, err := table.List(tx, record.Query{Where: where, Order: order, Limit: n - len(begun)})
	return append(begun, rows...), err
}
