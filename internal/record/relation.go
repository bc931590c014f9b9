package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// relation is what of a table does not depend on the type of its records, so that programs have its code once.
type relation struct {
	store              *Store
	kind, name         string
	columns, unindexed []string
	indexes            [][]string
	host               string
	quiet, claiming    bool
}

// outside is what the database has of a record outside its document. A transaction remembers it of what it has read, so
// that an update writes only what changed: a column that is written is written in its indexes too.
type outside struct {
	revision int64
	values   []any
	claims   []Claim
}

// row is a record as the database has it.
type row struct {
	outside
	id, doc string
}

// Kind is the name that the table was defined with, as seen in [Change].
func (t *relation) Kind() string { return t.kind }

func (t *relation) describe() string {
	return fmt.Sprint(t.kind, t.columns, t.unindexed, t.indexes, t.host)
}

// create makes the table, or what it lacks; added are columns that it lacked.
func (t *relation) create(tx *Tx) (added bool, err error) {
	// No type: SQLite keeps what it is given; PostgreSQL compares all columns as text.
	definition := t.store.commonColumns()
	for _, column := range t.columns {
		definition += ", " + column + t.columnType()
	}
	if _, err := tx.exec("CREATE TABLE IF NOT EXISTS " + t.name + " (" + definition + ")"); err != nil {
		return false, err
	}
	have, err := tx.columns(t.name)
	if err != nil {
		return false, err
	}
	for _, column := range t.columns {
		if !slices.Contains(have, column) {
			if _, err := tx.exec("ALTER TABLE " + t.name + " ADD COLUMN " + column + t.columnType()); err != nil {
				return false, err
			}
			added = true
		}
		if slices.Contains(t.unindexed, column) {
			continue
		}
		if _, err := tx.exec("CREATE INDEX IF NOT EXISTS " + t.name + "_" + column + " ON " + t.name + " (" + column + ")"); err != nil {
			return false, err
		}
	}
	for _, columns := range t.indexes {
		if _, err := tx.exec("CREATE INDEX IF NOT EXISTS " + t.name + "_" + strings.Join(columns, "_") + " ON " + t.name + " (" + strings.Join(columns, ", ") + ")"); err != nil {
			return false, err
		}
	}
	return added, nil
}

// always says that a column has a value in every record.
func (t *relation) always(column string) bool {
	return slices.ContainsFunc(t.indexes, func(columns []string) bool { return slices.Contains(columns, column) })
}

func (t *relation) columnType() string {
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

func (t *relation) insert(tx *Tx, is *row) error {
	args := append([]any{is.id, is.revision, is.doc}, is.values...)
	names := append([]string{"id", "revision", "doc"}, t.columns...)
	statement := "INSERT INTO " + t.name + " (" + strings.Join(names, ", ") + ") VALUES (" + marks(len(args)) + ")"
	if _, err := tx.exec(statement, args...); err != nil {
		return t.failed(is.id, err)
	}
	if err := t.claim(tx, is.id, is.claims); err != nil {
		return err
	}
	tx.remember(t.name, is.id, is.outside)
	return nil
}

// write writes what of the record is not as it was; everything where that has no values.
func (t *relation) write(tx *Tx, was outside, is *row) error {
	whole := was.values == nil
	sets := "revision = ?, doc = ?"
	args := []any{is.revision, is.doc}
	for i, column := range t.columns {
		if whole || is.values[i] != was.values[i] {
			sets, args = sets+", "+column+" = ?", append(args, is.values[i])
		}
	}
	result, err := tx.exec("UPDATE "+t.name+" SET "+sets+" WHERE id = ? AND revision = ?", append(args, is.id, was.revision)...)
	if err != nil {
		return t.failed(is.id, err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return t.failed(is.id, ErrStale)
	}
	if !t.claiming || !whole && slices.Equal(was.claims, is.claims) {
		return nil
	}
	if err := t.release(tx, is.id); err != nil {
		return err
	}
	return t.claim(tx, is.id, is.claims)
}

// take removes the record and its claims, and says what its document was.
func (t *relation) take(tx *Tx, id string) (doc []byte, err error) {
	rows, err := tx.query("DELETE FROM "+t.name+" WHERE id = ? RETURNING doc", id)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, cmp.Or(rows.Err(), t.failed(id, fault.ErrNotFound))
	}
	if err := rows.Scan(&doc); err != nil {
		return nil, err
	}
	// The statement is done when its rows have been read.
	if err := errors.Join(rows.Close(), rows.Err()); err != nil {
		return nil, err
	}
	tx.forget(t.name, id)
	if t.claiming {
		err = t.release(tx, id)
	}
	return doc, err
}

func (t *relation) decode(doc []byte, into any) error {
	if err := json.Unmarshal(doc, into); err != nil {
		return fmt.Errorf("%s in the database: %w", t.kind, err)
	}
	return nil
}

func (t *relation) failed(id string, err error) error {
	return fmt.Errorf("%s %q: %w", t.singular(), id, err)
}

func (t *relation) singular() string {
	return strings.ReplaceAll(strings.TrimSuffix(t.kind, "s"), "_", " ")
}

// hostIn is the host that the record has; nil where records have none.
func (t *relation) hostIn(o outside) any {
	if t.host == "" {
		return nil
	}
	return o.values[slices.Index(t.columns, t.host)]
}

type recordKey struct{ table, id string }

func (tx *Tx) remember(table, id string, o outside) {
	if tx.known == nil {
		tx.known = map[recordKey]outside{}
	}
	tx.known[recordKey{table, id}] = o
}

func (tx *Tx) forget(table, id string) { delete(tx.known, recordKey{table, id}) }
