package record

import "slices"

// outside is what the database has of a record outside its document. A transaction remembers it of what it has read, so
// that an update writes only what changed: a column that is written is written in its indexes too.
type outside struct {
	revision int64
	values   []any
	claims   []Claim
}

func (t *Table[T]) outside(r *T) outside {
	o := outside{revision: *t.spec.Revision(r), values: t.values(r)}
	if t.spec.Claims != nil {
		o.claims = t.spec.Claims(r)
	}
	return o
}

// hostIn is the host that the record has; nil where records have none.
func (t *Table[T]) hostIn(o outside) any {
	if t.spec.Host == "" {
		return nil
	}
	return o.values[slices.Index(t.columns, t.spec.Host)]
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

type recordKey struct{ table, id string }

func (tx *Tx) remember(table, id string, o outside) {
	if tx.known == nil {
		tx.known = map[recordKey]outside{}
	}
	tx.known[recordKey{table, id}] = o
}

func (tx *Tx) forget(table, id string) { delete(tx.known, recordKey{table, id}) }
