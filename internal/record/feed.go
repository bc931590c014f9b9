package record

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Op is what happened to a record.
type Op string

// The operations.
const (
	Created Op = "created"
	Updated Op = "updated"
	Deleted Op = "deleted"
)

// Change is one write of one record.
type Change struct {
	// Seq orders the changes of a store.
	Seq  int64
	Kind string
	ID   string
	Op   Op
	// Host is whose it is, for kinds with a [Spec.Host]; empty is no host's. A record that moves makes a change for each
	// of its hosts. Where Everywhere is true, the change does not say.
	Host       string
	Everywhere bool
	// Event is what the world is told of it; without a type, nothing.
	Event Event
	// Time is when it was written.
	Time time.Time
}

// ErrCompacted says that changes between after and the oldest one kept are gone: start again from the present
// state, at [Store.Head].
var ErrCompacted = errors.New("changes were compacted")

const (
	// kept is how many changes a store keeps at least.
	kept = 10_000
	// pollEvery bounds how late a change made by another process is seen, where several share a database.
	pollEvery = time.Second
	batch     = 500
)

// eventColumns are those that tables of changes were made without in the beginning.
const eventColumns = ", type TEXT NOT NULL DEFAULT '', resource TEXT NOT NULL DEFAULT '', project TEXT NOT NULL DEFAULT '', status TEXT NOT NULL DEFAULT '', at BIGINT NOT NULL DEFAULT 0, host TEXT"

func (s *Store) addEventColumns(tx *Tx) error {
	have, err := tx.columns(s.table("changes"))
	if err != nil {
		return err
	}
	for column := range strings.SplitSeq(strings.TrimPrefix(eventColumns, ", "), ", ") {
		if name, _, _ := strings.Cut(column, " "); slices.Contains(have, name) {
			continue
		}
		if _, err := tx.exec("ALTER TABLE " + s.table("changes") + " ADD COLUMN " + column); err != nil {
			return err
		}
	}
	return nil
}

// pending is a change that is written at the end of its transaction.
type pending struct {
	kind, id string
	op       Op
	event    Event
	host     any // nil is everywhere
}

// tell adds a change of a record to the feed.
func (t *relation) tell(tx *Tx, id string, op Op, e Event, host any) {
	if t.quiet {
		return
	}
	if e.Gone {
		op = Deleted
	}
	tx.changes = append(tx.changes, pending{t.kind, id, op, e, host})
}

// Announce adds a change to the feed that is not the write of a record: something that followers derive from several.
func (tx *Tx) Announce(kind, id string) error {
	tx.changes = append(tx.changes, pending{kind: kind, id: id, op: Updated})
	return nil
}

// changesAtOnce bounds how many changes one statement writes.
const changesAtOnce = 32

// writeChanges writes the transaction's changes down.
func (tx *Tx) writeChanges() error {
	if len(tx.changes) == 0 {
		return nil
	}
	at := tx.store.now().UnixMicro()
	if tx.store.postgres {
		// One at a time from here to the commit: who has read a number has read all before it.
		if _, err := tx.exec("SELECT pg_advisory_xact_lock(hashtext('" + tx.store.table("changes") + "'))"); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(tx.changes, changesAtOnce) {
		var rows []string
		var args []any
		for _, c := range some {
			rows = append(rows, "(?, ?, ?, ?, ?, ?, ?, ?, ?)")
			args = append(args, c.kind, c.id, string(c.op), c.event.Type, c.event.ID, c.event.Project, c.event.Status, at, c.host)
		}
		statement := "INSERT INTO " + tx.store.table("changes") + " (kind, id, op, type, resource, project, status, at, host) VALUES "
		if _, err := tx.exec(statement+strings.Join(rows, ", "), args...); err != nil {
			return err
		}
	}
	return nil
}

// announce wakes the watchers of this process. It says when it is time to compact.
func (s *Store) announce(changes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
	if s.written += changes; s.written < kept {
		return false
	}
	s.written = 0
	return true
}

func (s *Store) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Head is the number of the newest change.
func (s *Store) Head(ctx context.Context) (int64, error) {
	var head int64
	err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM "+s.table("changes")).Scan(&head)
	return head, err
}

// Watch yields every change after the one numbered after, in order, and waits for more until ctx ends or the
// caller stops. It ends with [ErrCompacted] if some are gone, or with the database's error.
//
// To follow a store: take [Store.Head], look at everything, then Watch from there.
func (s *Store) Watch(ctx context.Context, after int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for {
			wake := s.next()
			changes, err := s.changesAfter(ctx, after)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Change{}, err)
				return
			}
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
				after = c.Seq
			}
			if len(changes) == batch {
				continue
			}
			var poll <-chan time.Time
			if s.postgres {
				poll = time.After(pollEvery)
			}
			select {
			case <-ctx.Done():
				return
			case <-wake:
			case <-poll:
			}
		}
	}
}

func (s *Store) changesAfter(ctx context.Context, after int64) ([]Change, error) {
	tx := s.Read(ctx)
	rows, err := tx.query(fmt.Sprintf("SELECT seq, kind, id, op, type, resource, project, status, at, host FROM %s WHERE seq > ? ORDER BY seq LIMIT %d", s.table("changes"), batch), after)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var changes []Change
	for rows.Next() {
		var c Change
		var at int64
		var host sql.NullString
		if err := rows.Scan(&c.Seq, &c.Kind, &c.ID, &c.Op, &c.Event.Type, &c.Event.ID, &c.Event.Project, &c.Event.Status, &at, &host); err != nil {
			return nil, err
		}
		c.Host, c.Everywhere = host.String, !host.Valid
		c.Time = time.UnixMicro(at).UTC()
		changes = append(changes, c)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(changes) > 0 && changes[0].Seq > after+1 {
		if err := s.gap(ctx, after); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// gap tells compaction from a number that a rolled back transaction used up.
func (s *Store) gap(ctx context.Context, after int64) error {
	var oldest int64
	if err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MIN(seq), 0) FROM "+s.table("changes")).Scan(&oldest); err != nil {
		return err
	}
	if oldest > after+1 {
		return ErrCompacted
	}
	return nil
}

// Compact forgets all but the newest changes. A store does it by itself, now and then.
func (s *Store) Compact(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(fmt.Sprintf("DELETE FROM %[1]s WHERE seq <= (SELECT MAX(seq) FROM %[1]s) - %[2]d", s.table("changes"), kept))
		return err
	})
}
