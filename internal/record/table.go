package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// Claim makes a value unique in its space: {"mac", "fa:16:3e:00:00:01"}.
type Claim struct{ Space, Value string }

// Table holds records of one kind.
type Table[T any] struct {
	store   *Store
	kind    string
	name    string
	spec    Spec[T]
	columns []string
}

// Define adds a kind of record to the store. All kinds are defined before [Store.Migrate].
func Define[T any](s *Store, kind string, spec Spec[T]) *Table[T] {
	t := &Table[T]{store: s, kind: kind, name: s.table(kind), spec: spec}
	for _, c := range spec.Columns {
		t.columns = append(t.columns, c.Name)
	}
	s.tables = append(s.tables, t)
	return t
}

// Kind is the name that the table was defined with, as seen in [Change].
func (t *Table[T]) Kind() string { return t.kind }

func (t *Table[T]) describe() string {
	return fmt.Sprint(t.kind, t.columns, t.spec.Unindexed, t.spec.Indexes, t.spec.Host)
}

func (t *Table[T]) migrate(tx *Tx) error {
	// No type: SQLite keeps what it is given; PostgreSQL compares all columns as text.
	definition := t.store.commonColumns()
	for _, column := range t.columns {
		definition += ", " + column + t.columnType()
	}
	if _, err := tx.exec("CREATE TABLE IF NOT EXISTS " + t.name + " (" + definition + ")"); err != nil {
		return err
	}
	have, err := tx.columns(t.name)
	if err != nil {
		return err
	}
	added := false
	for _, column := range t.columns {
		if !slices.Contains(have, column) {
			if _, err := tx.exec("ALTER TABLE " + t.name + " ADD COLUMN " + column + t.columnType()); err != nil {
				return err
			}
			added = true
		}
		if slices.Contains(t.spec.Unindexed, column) {
			continue
		}
		if _, err := tx.exec("CREATE INDEX IF NOT EXISTS " + t.name + "_" + column + " ON " + t.name + " (" + column + ")"); err != nil {
			return err
		}
	}
	for _, columns := range t.spec.Indexes {
		if _, err := tx.exec("CREATE INDEX IF NOT EXISTS " + t.name + "_" + strings.Join(columns, "_") + " ON " + t.name + " (" + strings.Join(columns, ", ") + ")"); err != nil {
			return err
		}
	}
	if added || t.spec.Claims != nil {
		return t.refill(tx)
	}
	return nil
}

// always says that a column has a value in every record.
func (t *Table[T]) always(column string) bool {
	return slices.ContainsFunc(t.spec.Indexes, func(columns []string) bool { return slices.Contains(columns, column) })
}

func (t *Table[T]) columnType() string {
	if t.store.postgres {
		return " " + t.store.text()
	}
	return ""
}

// columns are the names of those that the table in the database has.
func (tx *Tx) columns(table string) ([]string, error) {
	rows, err := tx.query("SELECT * FROM " + table + " WHERE 1 = 0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	return rows.Columns()
}

// refill fills columns, and makes claims, that are newer than the records.
func (t *Table[T]) refill(tx *Tx) error {
	all, err := t.List(tx, Query{})
	if err != nil {
		return err
	}
	for i := range all {
		is := t.outside(&all[i])
		if err := t.write(tx, &all[i], outside{revision: is.revision}, is); err != nil {
			return err
		}
	}
	return nil
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

func (t *Table[T]) singular() string {
	return strings.ReplaceAll(strings.TrimSuffix(t.kind, "s"), "_", " ")
}

// Insert adds a record at revision 1. [ErrDuplicate] says that its identifier or a claim is taken.
func (t *Table[T]) Insert(tx *Tx, r *T) error {
	*t.spec.Revision(r) = 1
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	id, is := t.spec.Key(r), t.outside(r)
	args := append([]any{id, int64(1), string(doc)}, is.values...)
	names := append([]string{"id", "revision", "doc"}, t.columns...)
	statement := "INSERT INTO " + t.name + " (" + strings.Join(names, ", ") + ") VALUES (" + marks(len(args)) + ")"
	if _, err := tx.exec(statement, args...); err != nil {
		return t.failed(id, err)
	}
	if err := t.claim(tx, id, is.claims); err != nil {
		return err
	}
	tx.remember(t.name, id, is)
	t.tell(tx, id, Created, t.event(r), t.hostIn(is))
	return nil
}

// Update replaces the record, which must be at the revision that it was read at: else [ErrStale].
func (t *Table[T]) Update(tx *Tx, r *T) error {
	was, is, err := t.replace(tx, r)
	if err != nil {
		return err
	}
	id, left, host := t.spec.Key(r), t.hostIn(was), t.hostIn(is)
	if left != host && left != "" {
		t.tell(tx, id, Updated, Event{}, left) // it moves: both hear of it
	}
	t.tell(tx, id, Updated, t.event(r), host)
	return nil
}

// Report is [Table.Update] for what an agent observed of a record of its own host: the world is told, but not that host,
// which has nothing to do.
func (t *Table[T]) Report(tx *Tx, r *T) error {
	if _, _, err := t.replace(tx, r); err != nil {
		return err
	}
	t.tell(tx, t.spec.Key(r), Updated, t.event(r), "")
	return nil
}

// replace writes the next revision of the record.
func (t *Table[T]) replace(tx *Tx, r *T) (was, is outside, err error) {
	id := t.spec.Key(r)
	if was, err = t.before(tx, r); err != nil {
		return was, is, err
	}
	*t.spec.Revision(r)++
	is = t.outside(r)
	if err := t.write(tx, r, was, is); err != nil {
		*t.spec.Revision(r) = was.revision
		tx.forget(t.name, id)
		return was, is, err
	}
	tx.remember(t.name, id, is)
	return was, is, nil
}

// write writes what of the record is not as it was; everything where that has no values.
func (t *Table[T]) write(tx *Tx, r *T, was, is outside) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return err
	}
	whole := was.values == nil
	sets := "revision = ?, doc = ?"
	args := []any{is.revision, string(doc)}
	for i, column := range t.columns {
		if whole || is.values[i] != was.values[i] {
			sets, args = sets+", "+column+" = ?", append(args, is.values[i])
		}
	}
	id := t.spec.Key(r)
	result, err := tx.exec("UPDATE "+t.name+" SET "+sets+" WHERE id = ? AND revision = ?", append(args, id, was.revision)...)
	if err != nil {
		return t.failed(id, err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return t.failed(id, ErrStale)
	}
	if t.spec.Claims == nil || !whole && slices.Equal(was.claims, is.claims) {
		return nil
	}
	if err := t.release(tx, id); err != nil {
		return err
	}
	return t.claim(tx, id, is.claims)
}

func (t *Table[T]) failed(id string, err error) error {
	return fmt.Errorf("%s %q: %w", t.singular(), id, err)
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
	last, host, err := t.take(tx, id)
	if err != nil {
		return err
	}
	if t.spec.Claims != nil {
		if err := t.release(tx, id); err != nil {
			return err
		}
	}
	tx.forget(t.name, id)
	if last.Gone {
		last = Event{} // it was told before
	}
	t.tell(tx, id, Deleted, last, host)
	return nil
}

// take removes the record and says what its last event is, and whose it was.
func (t *Table[T]) take(tx *Tx, id string) (Event, any, error) {
	rows, err := tx.query("DELETE FROM "+t.name+" WHERE id = ? RETURNING doc", id)
	if err != nil {
		return Event{}, nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return Event{}, nil, err
		}
		return Event{}, nil, t.failed(id, fault.ErrNotFound)
	}
	var doc []byte
	if err := rows.Scan(&doc); err != nil {
		return Event{}, nil, err
	}
	var last T
	if t.spec.Event != nil || t.spec.Host != "" {
		if err := json.Unmarshal(doc, &last); err != nil {
			return Event{}, nil, fmt.Errorf("%s in the database: %w", t.kind, err)
		}
	}
	// The statement is done when its rows have been read.
	return t.event(&last), t.hostIn(t.outside(&last)), errors.Join(rows.Close(), rows.Err())
}

func (t *Table[T]) event(r *T) Event {
	if t.spec.Event == nil {
		return Event{}
	}
	return t.spec.Event(r)
}

func (t *Table[T]) values(r *T) []any {
	values := make([]any, len(t.spec.Columns))
	for i, c := range t.spec.Columns {
		values[i] = t.store.bind(c.Value(r))
	}
	return values
}

// bind gives booleans and numbers the form that the database compares them in.
func (s *Store) bind(v any) any {
	if b, ok := v.(bool); ok {
		v = int64(0)
		if b {
			v = int64(1)
		}
	}
	if n, ok := v.(int); ok {
		v = int64(n)
	}
	if n, ok := v.(int64); ok && s.postgres {
		return fmt.Sprintf("%020d", n)
	}
	return v
}

func (t *Table[T]) claim(tx *Tx, id string, claims []Claim) error {
	if len(claims) == 0 {
		return nil
	}
	var rows []string
	var args []any
	for _, c := range claims {
		rows, args = append(rows, "(?, ?, ?, ?)"), append(args, c.Space, c.Value, t.kind, id)
	}
	_, err := tx.exec("INSERT INTO "+t.store.table("claims")+" (space, value, kind, owner) VALUES "+strings.Join(rows, ", "), args...)
	if err != nil {
		return fmt.Errorf("what %s %q claims: %w", t.singular(), id, err)
	}
	return nil
}

func (t *Table[T]) release(tx *Tx, id string) error {
	_, err := tx.exec("DELETE FROM "+t.store.table("claims")+" WHERE kind = ? AND owner = ?", t.kind, id)
	return err
}

// ClaimedFrom returns the taken values of the space that sort at or after from, in order, at most limit of them.
func (s *Store) ClaimedFrom(tx *Tx, space, from string, limit int) ([]string, error) {
	statement := fmt.Sprintf("SELECT value FROM %s WHERE space = ? AND value >= ? ORDER BY value LIMIT %d", s.table("claims"), limit)
	rows, err := tx.query(statement, space, from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var values []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

// Holder returns the identifier of the record that claims the value, or an empty text.
func (s *Store) Holder(tx *Tx, space, value string) (string, error) {
	rows, err := tx.query("SELECT owner FROM "+s.table("claims")+" WHERE space = ? AND value = ?", space, value)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var owner string
	if rows.Next() {
		err = rows.Scan(&owner)
	}
	return owner, errors.Join(err, rows.Err())
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }
