package record

import (
	"errors"
	"fmt"
	"strings"
)

// Claim makes a value unique in its space: {"mac", "fa:16:3e:00:00:01"}.
type Claim struct{ Space, Value string }

func (t *relation) claim(tx *Tx, id string, claims []Claim) error {
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

func (t *relation) release(tx *Tx, id string) error {
	_, err := tx.exec("DELETE FROM "+t.store.table("claims")+" WHERE kind = ? AND owner = ?", t.kind, id)
	return err
}

// ClaimedFrom returns the taken values of the space that sort at or after from, in order, at most limit of them.
func (s *Store) ClaimedFrom(tx *Tx, space, from string, limit int) ([]string, error) {
	statement := fmt.Sprintf("SELECT value FROM %s WHERE space = ? AND value >= ? ORDER BY value LIMIT %d", s.table("claims"), limit)
	return tx.texts(statement, space, from)
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
