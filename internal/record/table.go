package record

import (
	"encoding/json"

	"github.com/kintoun/kintoun/internal/fault"
)

// Spec describes one kind of record.
type Spec[T any] struct {
	// Key returns the record's identifier.
	Key func(*T) string
	// Revision points to the field that counts the record's changes; the first is 1.
	Revision func(*T) *int64
	// Columns are what the records are filtered and sorted by. Each gets an index but those in Unindexed, which
	// are filtered by seldom, or together with others.
	Columns   []Column[T]
	Unindexed []string
	// Indexes are those over several columns, for lists that are long, sorted and read page by page. Their columns always
	// have values.
	Indexes [][]string
	// Claims are the values that belong to this record alone while it exists. Nil for none.
	Claims func(*T) []Claim
	// Host is the column that names the host whose business the record is, by which changes find their readers (see
	// [Change].Host). Empty where there is none.
	Host string
	// Quiet kinds leave no changes in the feed: nobody follows them.
	Quiet bool
	// Event says how a change of the record is told to the world, see [Store.Events]. Nil, and an Event without a
	// type, keep it inside.
	Event func(*T) Event
}

// Event is what [Store.Events] tells of a record besides its identifier.
type Event struct {
	// Type is the resource's, in OpenStack's words; Project its owner, and Status its state, where it has them.
	Type, Project, Status string
	// ID is the resource's identifier where that is not the record's.
	ID string
	// Gone says that the resource is deleted, although its record stays.
	Gone bool
}

// Column is a value that is kept outside the document too.
type Column[T any] struct {
	Name string
	// Value returns a string, int64, bool or nil.
	Value func(*T) any
}

// Table holds records of one kind.
type Table[T any] struct {
	*relation
	spec Spec[T]
}

// Define adds a kind of record to the store. All kinds are defined before [Store.Migrate].
func Define[T any](s *Store, kind string, spec Spec[T]) *Table[T] {
	t := &Table[T]{spec: spec, relation: &relation{
		store: s, kind: kind, name: s.table(kind), unindexed: spec.Unindexed, indexes: spec.Indexes, host: spec.Host,
		quiet: spec.Quiet, claiming: spec.Claims != nil,
	}}
	for _, c := range spec.Columns {
		t.columns = append(t.columns, c.Name)
	}
	s.tables = append(s.tables, t)
	return t
}

func (t *Table[T]) migrate(tx *Tx) error {
	added, err := t.create(tx)
	if err != nil || !added && !t.claiming {
		return err
	}
	return t.refill(tx)
}

// refill fills columns, and makes claims, that are newer than the records.
func (t *Table[T]) refill(tx *Tx) error {
	all, err := t.List(tx, Query{})
	if err != nil {
		return err
	}
	for i := range all {
		is, err := t.row(&all[i])
		if err != nil {
			return err
		}
		if err := t.write(tx, outside{revision: is.revision}, is); err != nil {
			return err
		}
	}
	return nil
}

// row is the record as the database has it.
func (t *Table[T]) row(r *T) (*row, error) {
	doc, err := json.Marshal(r)
	return &row{outside: t.outside(r), id: t.spec.Key(r), doc: string(doc)}, err
}

func (t *Table[T]) outside(r *T) outside {
	o := outside{revision: *t.spec.Revision(r), values: make([]any, len(t.spec.Columns))}
	for i, c := range t.spec.Columns {
		o.values[i] = t.store.bind(c.Value(r))
	}
	if t.spec.Claims != nil {
		o.claims = t.spec.Claims(r)
	}
	return o
}

// List returns the records that the query asks for.
func (t *Table[T]) List(tx *Tx, q Query) (list []T, err error) {
	err = t.each(tx, q, func(revision int64, doc []byte) error {
		var r T
		if err := t.decode(doc, &r); err != nil {
			return err
		}
		*t.spec.Revision(&r) = revision
		if tx.writes {
			tx.remember(t.name, t.spec.Key(&r), t.outside(&r))
		}
		list = append(list, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Get returns the record, or fault.ErrNotFound.
func (t *Table[T]) Get(tx *Tx, id string) (*T, error) {
	found, err := t.List(tx, Query{Where: []Condition{Eq("id", id)}})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, t.failed(id, fault.ErrNotFound)
	}
	return &found[0], nil
}

// Insert adds a record at revision 1. [ErrDuplicate] says that its identifier or a claim is taken.
func (t *Table[T]) Insert(tx *Tx, r *T) error {
	*t.spec.Revision(r) = 1
	is, err := t.row(r)
	if err == nil {
		err = t.insert(tx, is)
	}
	if err == nil {
		t.tell(tx, is.id, Created, t.event(r), t.hostIn(is.outside))
	}
	return err
}

// Update replaces the record, which must be at the revision that it was read at: else [ErrStale].
func (t *Table[T]) Update(tx *Tx, r *T) error {
	was, is, err := t.replace(tx, r)
	if err != nil {
		return err
	}
	left, host := t.hostIn(was), t.hostIn(is.outside)
	if left != host && left != "" {
		t.tell(tx, is.id, Updated, Event{}, left) // it moves: both hear of it
	}
	t.tell(tx, is.id, Updated, t.event(r), host)
	return nil
}

// Report is [Table.Update] for what an agent observed of a record of its own host: the world is told, but not that host,
// which has nothing to do.
func (t *Table[T]) Report(tx *Tx, r *T) error {
	_, is, err := t.replace(tx, r)
	if err == nil {
		t.tell(tx, is.id, Updated, t.event(r), "")
	}
	return err
}

// replace writes the next revision of the record.
func (t *Table[T]) replace(tx *Tx, r *T) (was outside, is *row, err error) {
	if was, err = t.before(tx, r); err != nil {
		return was, nil, err
	}
	*t.spec.Revision(r)++
	if is, err = t.row(r); err == nil {
		err = t.write(tx, was, is)
	}
	if err != nil {
		*t.spec.Revision(r) = was.revision
		tx.forget(t.name, t.spec.Key(r))
		return was, nil, err
	}
	tx.remember(t.name, is.id, is.outside)
	return was, is, nil
}

// before is what the database has of the record, which must be at the revision that it was read at: else [ErrStale].
func (t *Table[T]) before(tx *Tx, r *T) (outside, error) {
	id := t.spec.Key(r)
	was, known := tx.known[recordKey{t.name, id}]
	if !known {
		found, err := t.List(tx, Query{Where: []Condition{Eq("id", id)}})
		if err != nil {
			return was, err
		}
		if len(found) == 0 {
			return was, t.failed(id, ErrStale)
		}
		was = t.outside(&found[0])
	}
	if was.revision != *t.spec.Revision(r) {
		return was, t.failed(id, ErrStale)
	}
	return was, nil
}

// Modify reads the record, lets fn change it, and writes it back, in one transaction.
func (t *Table[T]) Modify(tx *Tx, id string, fn func(*T) error) (*T, error) {
	r, err := t.Get(tx, id)
	if err != nil {
		return nil, err
	}
	if err := fn(r); err != nil {
		return nil, err
	}
	return r, t.Update(tx, r)
}

// Touch is [Table.Modify] for what changes all the time and nobody has to hear of: signs of life, counters. It leaves no
// change in the feed.
func (t *Table[T]) Touch(tx *Tx, id string, fn func(*T) error) (*T, error) {
	r, err := t.Get(tx, id)
	if err != nil {
		return nil, err
	}
	if err := fn(r); err != nil {
		return nil, err
	}
	_, _, err = t.replace(tx, r)
	return r, err
}

// Delete removes the record and frees its claims; fault.ErrNotFound if there is none.
func (t *Table[T]) Delete(tx *Tx, id string) error {
	doc, err := t.take(tx, id)
	if err != nil {
		return err
	}
	var last Event
	var host any
	if t.spec.Event != nil || t.host != "" {
		var r T
		if err := t.decode(doc, &r); err != nil {
			return err
		}
		last, host = t.event(&r), t.hostIn(t.outside(&r))
	}
	if last.Gone {
		last = Event{} // it was told before
	}
	t.tell(tx, id, Deleted, last, host)
	return nil
}

func (t *Table[T]) event(r *T) Event {
	if t.spec.Event == nil {
		return Event{}
	}
	return t.spec.Event(r)
}
