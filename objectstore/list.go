package objectstore

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/kintoun/kintoun/internal/record"
)

// Listing asks for a page of names, which are in the order of their bytes.
type Listing struct {
	// Prefix is what names begin with. Delimiter rolls those up that have it behind the prefix.
	Prefix, Delimiter string
	// Marker and EndMarker are the names between which the page is, both excluded: Marker is the last name of the page before.
	Marker, EndMarker string
	// VersionMarker is the version of Marker that the page before ended with, in a list of versions; "null" is the one
	// without a version.
	VersionMarker string
	// Limit bounds the page; zero, and what is above, is as much as the options allow.
	Limit int
	// Reverse lists from the last name to the first; Marker is above EndMarker then.
	Reverse bool
}

// Entry is an object, or a Prefix that others have in common.
type Entry struct {
	*Object
	Prefix string
}

// ObjectList is a page.
type ObjectList struct {
	Entries   []Entry
	Truncated bool
}

// ContainerEntry is a container, or a Prefix that others have in common.
type ContainerEntry struct {
	*Container
	Prefix string
}

// ContainerList is a page.
type ContainerList struct {
	Entries   []ContainerEntry
	Truncated bool
}

func limitOf(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

// span is a range of names: from low on (above it, if above) to below high; empty is unbounded. Where there are several of a
// name, those of low that sort above sub are in it too.
type span struct {
	low, high, sub string
	above, reverse bool
}

func (l *Listing) check() error {
	for _, text := range []string{l.Prefix, l.Delimiter, l.Marker, l.EndMarker, l.VersionMarker} {
		if err := checkText("listing", text); err != nil {
			return err
		}
	}
	return nil
}

func (l *Listing) span() span {
	sp := span{low: l.Prefix, high: successor(l.Prefix), reverse: l.Reverse}
	from, to := l.Marker, l.EndMarker
	if l.Reverse {
		from, to = to, from
	}
	if from != "" && from >= sp.low {
		sp.low, sp.above = from, true
	}
	if to != "" && (sp.high == "" || to < sp.high) {
		sp.high = to
	}
	return sp
}

func (sp *span) empty() bool { return sp.high != "" && sp.low >= sp.high }

// successor is the least text above all that begin with prefix; empty if there is none. It is valid UTF-8.
func successor(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		switch {
		case r == 0xd7ff: // surrogates are no characters
			return prefix + "\ue000"
		case r < utf8.MaxRune:
			return prefix + string(r+1)
		}
	}
	return ""
}

// scan returns the first n records of a parent (an account's containers, a container's objects) whose names are in the span.
func scan[T any](table *record.Table[T], tx *record.Tx, parent string, sp span, n int) ([]T, error) {
	low, high := record.Ge("id", parent+"/"+sp.low), parent+"/"+sp.high
	if sp.above {
		low = record.Gt("id", parent+"/"+sp.low)
	}
	if sp.high == "" {
		high = behindAll(parent)
	}
	return table.List(tx, record.Query{
		Where: []record.Condition{low, record.Lt("id", high)},
		Order: []record.Order{{Column: "id", Descending: sp.reverse}}, Limit: n,
	})
}

func (s *Service) objectRange(tx *record.Tx, container string, sp span, n int) ([]objectRow, error) {
	return scan(s.objects, tx, container, sp, n)
}

// found is what a walk found: a row, or a prefix.
type found[T any] struct {
	row    *T
	prefix string
}

// A walk that rolls names up looks at fewNames before it leaves a prefix behind at one jump, and at more each time that it does
// not, up to manyNames.
const (
	fewNames  = 4
	manyNames = 1000
)

// walk lists names, rolled up at a delimiter: however many are behind a prefix, it looks at few of them.
func walk[T any](l Listing, sub string, fetch func(sp span, n int) ([]T, error), name func(*T) (name, sub string)) (list []found[T], truncated bool, err error) {
	sp, rolled, step := l.span(), "", fewNames
	if sp.above {
		sp.sub = sub
	}
	for !sp.empty() {
		n := l.Limit + 1 - len(list)
		if l.Delimiter != "" {
			n = min(n, step)
		}
		rows, err := fetch(sp, n)
		if err != nil {
			return nil, false, err
		}
		last := ""
		for i := range rows {
			last, sub = name(&rows[i])
			if _, after, found := strings.Cut(last[len(l.Prefix):], l.Delimiter); found && l.Delimiter != "" {
				prefix := last[:len(last)-len(after)]
				if prefix != rolled && prefix != l.Marker {
					list = appendFound(list, nil, prefix)
				}
				rolled = prefix
				continue
			}
			list = appendFound(list, &rows[i], "")
		}
		if len(list) > l.Limit {
			return list[:l.Limit], true, nil
		}
		if len(rows) < n {
			break
		}
		jumped, more := sp.advance(last, sub, rolled)
		if !more {
			break
		}
		if step = min(4*step, manyNames); jumped {
			step = fewNames
		}
	}
	return list, false, nil
}

func appendFound[T any](list []found[T], row *T, prefix string) []found[T] {
	return append(list, found[T]{row, prefix})
}

// advance moves the span behind the last name; jumped says that it is behind all that begin with what that was rolled up to.
func (sp *span) advance(last, sub, rolled string) (jumped, more bool) {
	sp.sub = ""
	jumped = rolled != "" && strings.HasPrefix(last, rolled)
	switch {
	case sp.reverse && jumped:
		sp.high = rolled
	case sp.reverse:
		sp.high = last
	case jumped:
		sp.low, sp.above = successor(rolled), false
		return true, sp.low != ""
	default:
		sp.low, sp.above, sp.sub = last, true, sub
	}
	return jumped, true
}

// Objects lists a container's current objects by name.
func (s *Service) Objects(ctx context.Context, caller Caller, path Path, l Listing) (ObjectList, error) {
	tx, c, err := s.listed(ctx, &caller, path, &l)
	if err != nil {
		return ObjectList{}, err
	}
	rows, truncated, err := walk(l, "",
		func(sp span, n int) ([]objectRow, error) { return s.objectRange(tx, c.ID, sp, n) },
		func(r *objectRow) (string, string) { return r.Name, "" })
	return objectList(rows, truncated), err
}

// listed opens a container to be listed.
func (s *Service) listed(ctx context.Context, caller *Caller, path Path, l *Listing) (*record.Tx, *Container, error) {
	path.Object = ""
	if err := s.checkContainer(path); err != nil {
		return nil, nil, err
	}
	if err := l.check(); err != nil {
		return nil, nil, err
	}
	if err := s.paceObject(ctx, caller, path, readList); err != nil {
		return nil, nil, err
	}
	in := s.reading(ctx)
	_, c, err := s.open(in, caller, path, readList)
	if err != nil {
		return nil, nil, err
	}
	l.Limit = limitOf(l.Limit, s.options.ContainerListingLimit)
	return in.tx, c, nil
}

func objectList(rows []found[objectRow], truncated bool) ObjectList {
	list := ObjectList{Entries: make([]Entry, len(rows)), Truncated: truncated}
	for i, f := range rows {
		if f.row != nil {
			list.Entries[i].Object = f.row.object()
		}
		list.Entries[i].Prefix = f.prefix
	}
	return list
}
