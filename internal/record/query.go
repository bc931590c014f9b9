package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// Query says which records to list. The zero Query is all of them, by identifier.
type Query struct {
	// Where are conditions that all hold.
	Where []Condition
	// Order sorts; the identifier decides between equals.
	Order []Order
	// After is the identifier of the last record of the page before; empty starts at the beginning.
	// A record that does not exist is fault.ErrInvalid.
	After string
	// Limit bounds the number of records; zero is no limit.
	Limit int
}

// Order is a column to sort by.
type Order struct {
	Column     string
	Descending bool
}

// Condition compares a column ("id" and "revision" are columns too).
type Condition struct {
	column   string
	operator string
	values   []any
}

// Eq holds where the column has the value (nil: no value).
func Eq(column string, value any) Condition { return Condition{column, "=", []any{value}} }

// Ne holds where the column has another value, or none.
func Ne(column string, value any) Condition { return Condition{column, "<>", []any{value}} }

// Lt and the like compare in the column's order.
func Lt(column string, value any) Condition { return Condition{column, "<", []any{value}} }

// Gt holds where the column is more than value.
func Gt(column string, value any) Condition { return Condition{column, ">", []any{value}} }

// Ge holds where the column is at least value.
func Ge(column string, value any) Condition { return Condition{column, ">=", []any{value}} }

// Contains holds where the column contains the text.
func Contains(column, text string) Condition {
	return Condition{column, "LIKE", []any{likePattern(text)}}
}

// In holds where the column has one of the values; no values: nowhere.
func In[V any](column string, values ...V) Condition {
	c := Condition{column: column, operator: "IN"}
	for _, v := range values {
		c.values = append(c.values, v)
	}
	return c
}

// Claiming holds where the record claims something in one of the spaces (see [Spec].Claims).
func Claiming(spaces ...string) Condition {
	c := In("id", spaces...)
	c.operator = "CLAIMING"
	return c
}

// Any holds where one of the conditions does.
func Any(conditions ...Condition) Condition {
	c := Condition{operator: "OR"}
	for _, inner := range conditions {
		c.values = append(c.values, inner)
	}
	return c
}

// Not holds where the condition does not.
func Not(condition Condition) Condition { return Condition{operator: "NOT", values: []any{condition}} }

func likePattern(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

func (t *relation) condition(c Condition) (string, []any, error) {
	if c.operator == "OR" {
		return t.anyOf(c)
	}
	if c.operator == "NOT" {
		inner, args, err := t.condition(c.values[0].(Condition))
		return "NOT COALESCE(" + inner + ", FALSE)", args, err
	}
	if !t.knows(c.column) {
		return "", nil, fmt.Errorf("%s cannot be filtered by %q: %w", t.kind, c.column, fault.ErrInvalid)
	}
	args := make([]any, len(c.values))
	for i, v := range c.values {
		args[i] = t.bindFor(c.column, v)
	}
	switch {
	case (c.operator == "IN" || c.operator == "CLAIMING") && len(args) == 0:
		return "1 = 0", nil, nil
	case c.operator == "CLAIMING":
		return "id IN (SELECT owner FROM " + t.store.table("claims") + " WHERE space IN (" + marks(len(args)) + "))", args, nil
	case c.operator == "IN":
		return c.column + " IN (" + marks(len(args)) + ")", args, nil
	case c.operator == "LIKE":
		return c.column + ` LIKE ? ESCAPE '\'`, args, nil
	case c.operator == "=" && args[0] == nil:
		return c.column + " IS NULL", nil, nil
	case c.operator == "<>" && args[0] == nil:
		return c.column + " IS NOT NULL", nil, nil
	case c.operator == "<>":
		return "(" + c.column + " <> ? OR " + c.column + " IS NULL)", args, nil
	}
	return c.column + " " + c.operator + " ?", args, nil
}

func (t *relation) anyOf(c Condition) (string, []any, error) {
	var parts []string
	var args []any
	for _, inner := range c.values {
		part, more, err := t.condition(inner.(Condition))
		if err != nil {
			return "", nil, err
		}
		parts, args = append(parts, part), append(args, more...)
	}
	if len(parts) == 0 {
		return "1 = 0", nil, nil
	}
	return "(" + strings.Join(parts, " OR ") + ")", args, nil
}

func (t *relation) bindFor(column string, v any) any {
	if column == "revision" {
		return v
	}
	return t.store.bind(v)
}

func (t *relation) knows(column string) bool {
	return column == "id" || column == "revision" || slices.Contains(t.columns, column)
}

// each yields the documents of the records that the query asks for.
func (t *relation) each(tx *Tx, q Query, yield func(revision int64, doc []byte) error) error {
	where, args, err := t.where(q.Where)
	if err != nil {
		return err
	}
	order, err := t.order(q.Order)
	if err != nil {
		return err
	}
	if q.After != "" {
		after, more, err := t.after(tx, q.After, order)
		if err != nil {
			return err
		}
		where, args = append(where, after), append(args, more...)
	}
	statement := "SELECT revision, doc FROM " + t.name + clause(where) + " ORDER BY " + t.orderBy(order)
	if q.Limit > 0 {
		statement += fmt.Sprintf(" LIMIT %d", q.Limit)
	}
	rows, err := tx.query(statement, args...)
	if err != nil {
		return fmt.Errorf("list %s: %w", t.kind, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := tx.ctx.Err(); err != nil {
			return err
		}
		var doc []byte
		var revision int64
		if err := rows.Scan(&revision, &doc); err != nil {
			return err
		}
		if err := yield(revision, doc); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Texts returns the different values that a column of texts has in the records that meet all conditions, in order.
func (t *relation) Texts(tx *Tx, column string, conditions ...Condition) ([]string, error) {
	if !t.knows(column) {
		return nil, fmt.Errorf("%s has no column %q: %w", t.kind, column, fault.ErrInvalid)
	}
	where, args, err := t.where(append(conditions, Ne(column, nil)))
	if err != nil {
		return nil, err
	}
	return tx.texts("SELECT DISTINCT "+column+" FROM "+t.name+clause(where)+" ORDER BY "+column, args...)
}

// texts are what a query finds in its only column.
func (tx *Tx) texts(query string, args ...any) ([]string, error) {
	rows, err := tx.query(query, args...)
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

// Count returns how many records meet all conditions.
func (t *relation) Count(tx *Tx, conditions ...Condition) (int, error) {
	where, args, err := t.where(conditions)
	if err != nil {
		return 0, err
	}
	rows, err := tx.query("SELECT COUNT(*) FROM "+t.name+clause(where), args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var n int
	if !rows.Next() {
		return 0, errors.Join(rows.Err(), errors.New("no count"))
	}
	return n, rows.Scan(&n)
}

// Sum adds up a column of numbers over the records that meet all conditions.
func (t *relation) Sum(tx *Tx, column string, conditions ...Condition) (int64, error) {
	if !t.knows(column) {
		return 0, fmt.Errorf("%s has no column %q: %w", t.kind, column, fault.ErrInvalid)
	}
	where, args, err := t.where(conditions)
	if err != nil {
		return 0, err
	}
	rows, err := tx.query("SELECT CAST(COALESCE(SUM(CAST("+column+" AS BIGINT)), 0) AS BIGINT) FROM "+t.name+clause(where), args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var n int64
	if !rows.Next() {
		return 0, errors.Join(rows.Err(), errors.New("no sum"))
	}
	return n, rows.Scan(&n)
}

func (t *relation) where(conditions []Condition) (where []string, args []any, err error) {
	for _, c := range conditions {
		part, more, err := t.condition(c)
		if err != nil {
			return nil, nil, err
		}
		where, args = append(where, part), append(args, more...)
	}
	return where, args, nil
}

func clause(where []string) string {
	if len(where) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(where, " AND ")
}

func (t *relation) order(order []Order) ([]Order, error) {
	for _, o := range order {
		if !t.knows(o.Column) {
			return nil, fmt.Errorf("%s cannot be sorted by %q: %w", t.kind, o.Column, fault.ErrInvalid)
		}
		if o.Column == "id" {
			return order, nil
		}
	}
	return append(slices.Clone(order), Order{Column: "id"}), nil
}

func (t *relation) orderBy(order []Order) string {
	parts := make([]string, len(order))
	for i, o := range order {
		parts[i] = o.Column
		nulls := " NULLS FIRST"
		if o.Descending {
			parts[i] += " DESC"
			nulls = " NULLS LAST"
		}
		if t.store.postgres && !t.always(o.Column) {
			parts[i] += nulls // as SQLite has it by itself
		}
	}
	return strings.Join(parts, ", ")
}

// after is the condition "sorted behind the record id": behind it in the first column, or equal there and behind
// it in the second, and so on. Columns without a value sort as an empty text.
func (t *relation) after(tx *Tx, id string, order []Order) (string, []any, error) {
	columns := make([]string, len(order))
	for i, o := range order {
		columns[i] = o.Column
	}
	rows, err := tx.query("SELECT "+strings.Join(columns, ", ")+" FROM "+t.name+" WHERE id = ?", id)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return "", nil, errors.Join(rows.Err(), fault.Wrap(fault.ErrInvalid, "marker %q does not exist", id))
	}
	values, targets := make([]any, len(order)), make([]any, len(order))
	for i := range values {
		targets[i] = &values[i]
	}
	if err := rows.Scan(targets...); err != nil {
		return "", nil, err
	}
	var parts []string
	var args []any
	for i, o := range order {
		var steps []string
		for j := range i {
			step, value := same(columns[j], values[j])
			steps, args = append(steps, step), append(args, value...)
		}
		step, value := behind(o, values[i])
		steps, args = append(steps, step), append(args, value...)
		parts = append(parts, "("+strings.Join(steps, " AND ")+")")
	}
	behind := "(" + strings.Join(parts, " OR ") + ")"
	if first := order[0]; t.always(first.Column) {
		// What follows from the rest tells the database where in an index to begin.
		bound := first.Column + " >= ?"
		if first.Descending {
			bound = first.Column + " <= ?"
		}
		behind, args = bound+" AND "+behind, append([]any{values[0]}, args...)
	}
	return behind, args, nil
}

func same(column string, value any) (string, []any) {
	if value == nil {
		return column + " IS NULL", nil
	}
	return column + " = ?", []any{value}
}

// behind follows SQLite, where no value sorts before every value.
func behind(o Order, value any) (string, []any) {
	switch {
	case value == nil && o.Descending:
		return "1 = 0", nil
	case value == nil:
		return o.Column + " IS NOT NULL", nil
	case o.Descending:
		return "(" + o.Column + " < ? OR " + o.Column + " IS NULL)", []any{value}
	}
	return o.Column + " > ?", []any{value}
}
