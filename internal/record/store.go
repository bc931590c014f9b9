// Package record keeps typed records in a *sql.DB, whichever driver is behind it (SQLite, PostgreSQL).
//
// A [Table] is one kind of record: a JSON document beside real, indexed columns for whatever is filtered or sorted
// by, a revision for optimistic updates, and claims, which make any value (an address in a subnet, a name) unique
// by a constraint in the database. Every write but [Table.Touch] and those of quiet kinds leaves a row in the store's
// change feed, in the same transaction; those of kinds with a [Spec.Event] are the domain's public events too.
//
//	store, err := record.Open(ctx, db, "network")
//	ports := record.Define(store, "ports", record.Spec[Port]{…})
//	err = store.Migrate(ctx)
//	err = store.Update(ctx, func(tx *record.Tx) error { return ports.Insert(tx, &port) })
//	port, err := ports.Get(store.Read(ctx), id)
//
// A Store is safe for concurrent use. Several processes may share one database.
package record

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// Store is one domain's part of a database: all its tables bear the domain's name in front.
type Store struct {
	db       *sql.DB
	domain   string
	postgres bool
	tables   []migrator

	statements statements
	now        func() time.Time // when changes are made

	mu      sync.Mutex
	changed chan struct{}
	written int // changes since the last compaction
}

type migrator interface {
	migrate(tx *Tx) error
	// describe changes whenever migrate would do something else.
	describe() string
}

// Open prepares the domain's part of db. Call [Define] for each kind of record and then [Store.Migrate].
func Open(ctx context.Context, db *sql.DB, domain string) (*Store, error) {
	s := &Store{db: db, domain: domain, changed: make(chan struct{}), now: time.Now}
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		if err := db.QueryRowContext(ctx, "SELECT version()").Scan(&version); err != nil {
			return nil, fmt.Errorf("database of %s: %w", domain, err)
		}
		s.postgres = true
	}
	return s, nil
}

// UseClock dates changes by another clock than the computer's. Call it before anything is written.
func (s *Store) UseClock(now func() time.Time) { s.now = now }

// Migrate creates or extends the domain's tables. It is safe to call again, and from several processes; where the
// database has them already it costs one look.
func (s *Store) Migrate(ctx context.Context) error {
	layout := s.layout()
	var have string
	if err := s.db.QueryRowContext(ctx, "SELECT fingerprint FROM "+s.table("layout")).Scan(&have); err == nil && have == layout {
		return nil
	}
	return s.Update(ctx, func(tx *Tx) error {
		if err := s.create(tx); err != nil {
			return err
		}
		for _, statement := range []string{
			"CREATE TABLE IF NOT EXISTS " + s.table("layout") + " (fingerprint TEXT NOT NULL)",
			"DELETE FROM " + s.table("layout"),
			"INSERT INTO " + s.table("layout") + " (fingerprint) VALUES ('" + layout + "')",
		} {
			if _, err := tx.exec(statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// layout is a fingerprint of the tables as this program wants them.
func (s *Store) layout() string {
	h := sha256.New()
	_, _ = io.WriteString(h, s.commonColumns()+eventColumns)
	for _, t := range s.tables {
		_, _ = io.WriteString(h, t.describe())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// commonColumns are those that every record's table has.
func (s *Store) commonColumns() string {
	return "id " + s.text() + " PRIMARY KEY, revision BIGINT NOT NULL, doc TEXT NOT NULL"
}

// text is the type of texts that sort by their bytes, as they do in SQLite.
func (s *Store) text() string {
	if s.postgres {
		return `TEXT COLLATE "C"`
	}
	return "TEXT"
}

func (s *Store) create(tx *Tx) error {
	sequence := "INTEGER PRIMARY KEY AUTOINCREMENT"
	if s.postgres {
		sequence = "BIGSERIAL PRIMARY KEY"
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS " + s.table("changes") + " (seq " + sequence + ", kind TEXT NOT NULL, id TEXT NOT NULL, op TEXT NOT NULL" + eventColumns + ")",
		"CREATE TABLE IF NOT EXISTS " + s.table("claims") + " (space TEXT NOT NULL, value TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (space, value))",
		"CREATE INDEX IF NOT EXISTS " + s.table("claims_owner") + " ON " + s.table("claims") + " (kind, owner)",
	} {
		if _, err := tx.exec(statement); err != nil {
			return err
		}
	}
	if err := s.addEventColumns(tx); err != nil {
		return err
	}
	for _, t := range s.tables {
		if err := t.migrate(tx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) table(name string) string { return s.domain + "_" + name }

// Tx is a transaction, or a plain reader (see [Store.Read]). It is used by one goroutine.
type Tx struct {
	ctx     context.Context
	running context.Context // what statements run under
	store   *Store
	q       querier
	sql     *sql.Tx // nil for a reader
	writes  bool
	own     map[string]*sql.Stmt // what is prepared for it alone; nil for what it asked for once
	changes []pending
	known   map[recordKey]outside // records that were read or written
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Read returns a reader for single look-ups: each sees the newest committed state.
func (s *Store) Read(ctx context.Context) *Tx {
	return &Tx{ctx: ctx, running: s.running(ctx), store: s, q: s.db}
}

// running is the context of statements. Those of the embedded database are done in a moment, and are not interrupted: to
// be ready for that costs its driver a goroutine for each. Whether to go on is looked at before each.
func (s *Store) running(ctx context.Context) context.Context {
	if s.postgres {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

const (
	attempts   = 8
	firstPause = 2 * time.Millisecond
)

// Update runs fn in a transaction and commits it if fn returns nil. A transaction that lost against another is
// tried again, so fn must have no effect beyond tx and what it assigns.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		changes, err := s.try(ctx, fn)
		s.statements.prepare(ctx, s.db)
		if err == nil {
			if changes > 0 && s.announce(changes) {
				// The write is done whether or not old changes can be forgotten now.
				_ = s.Compact(ctx)
			}
			return nil
		}
		if attempt == attempts || !LostRace(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (s *Store) try(ctx context.Context, fn func(tx *Tx) error) (changes int, err error) {
	options := &sql.TxOptions{}
	if s.postgres {
		options.Isolation = sql.LevelSerializable
	}
	sqlTx, err := s.db.BeginTx(ctx, options)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sqlTx.Rollback() }()
	tx := &Tx{ctx: ctx, running: s.running(ctx), store: s, q: sqlTx, sql: sqlTx, writes: true}
	if err := fn(tx); err != nil {
		return 0, err
	}
	if err := tx.writeChanges(); err != nil {
		return 0, err
	}
	if err := sqlTx.Commit(); err != nil {
		return 0, err
	}
	return len(tx.changes), nil
}

// Context is the one that the transaction was begun with.
func (tx *Tx) Context() context.Context { return tx.ctx }

func (tx *Tx) exec(query string, args ...any) (sql.Result, error) {
	if err := tx.ctx.Err(); err != nil {
		return nil, err
	}
	query = tx.store.rebind(query)
	var result sql.Result
	var err error
	if prepared := tx.prepared(query); prepared != nil { //nolint:sqlclosecheck // it is kept for the next time
		result, err = prepared.ExecContext(tx.running, args...)
	} else {
		result, err = tx.q.ExecContext(tx.running, query, args...)
	}
	if err != nil {
		return nil, translate(err)
	}
	return result, nil
}

func (tx *Tx) query(query string, args ...any) (*sql.Rows, error) {
	if err := tx.ctx.Err(); err != nil {
		return nil, err
	}
	query = tx.store.rebind(query)
	if prepared := tx.prepared(query); prepared != nil { //nolint:sqlclosecheck // it is kept for the next time
		return prepared.QueryContext(tx.running, args...)
	}
	return tx.q.QueryContext(tx.running, query, args...)
}

// rebind writes PostgreSQL's $1, $2 for the ? of SQLite. Queries are made in this package and hold no other "?".
func (s *Store) rebind(query string) string {
	if !s.postgres || !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	n := 0
	for _, part := range strings.SplitAfter(query, "?") {
		if before, found := strings.CutSuffix(part, "?"); found {
			n++
			b.WriteString(before + "$" + strconv.Itoa(n))
		} else {
			b.WriteString(part)
		}
	}
	return b.String()
}

// ErrDuplicate is a write that would make something unique exist twice. It is a fault.ErrConflict.
var ErrDuplicate = fmt.Errorf("duplicate: %w", fault.ErrConflict)

// ErrStale is an update or delete of a record that somebody else changed since it was read. It is a fault.ErrConflict.
var ErrStale = fmt.Errorf("changed by somebody else meanwhile: %w", fault.ErrConflict)

// translate finds broken uniqueness in what drivers say, without knowing the driver.
func translate(err error) error {
	var state interface{ SQLState() string }
	if errors.As(err, &state) && state.SQLState() == "23505" ||
		strings.Contains(err.Error(), "UNIQUE constraint failed") || strings.Contains(err.Error(), "PRIMARY KEY constraint failed") {
		return fmt.Errorf("%w (%s)", ErrDuplicate, err.Error())
	}
	return err
}

// LostRace says whether the error is that of a transaction that lost against another, which [Store.Update] tries again.
func LostRace(err error) bool {
	if err == nil {
		return false
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState() == "40001" || state.SQLState() == "40P01"
	}
	text := err.Error()
	return strings.Contains(text, "SQLITE_BUSY") || strings.Contains(text, "SQLITE_LOCKED") || strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked")
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
