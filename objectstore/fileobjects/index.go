//go:build unix

package fileobjects

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
)

// The tables. A content has either the number of a file or data. The data comes last, so that the rest of a row is read without
// it. A pending number is one whose file may exist without a row.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS fileobjects_contents (
		ref TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, md5 BLOB NOT NULL, file INTEGER, data BLOB)`,
	`CREATE UNIQUE INDEX IF NOT EXISTS fileobjects_files ON fileobjects_contents (file) WHERE file IS NOT NULL`,
	`CREATE TABLE IF NOT EXISTS fileobjects_pending (number INTEGER NOT NULL PRIMARY KEY)`,
}

const (
	insertContent = `INSERT INTO fileobjects_contents (ref, size, md5, file, data) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	deleteContent = `DELETE FROM fileobjects_contents WHERE ref = ? RETURNING file`
	selectContent = `SELECT size, md5, file, data FROM fileobjects_contents WHERE ref = ?`
	selectTaken   = `SELECT count(*) FROM fileobjects_contents WHERE ref = ?`
	selectPage    = `SELECT ref FROM fileobjects_contents WHERE ref > ? ORDER BY ref LIMIT 1000`
	insertPending = `INSERT INTO fileobjects_pending (number) VALUES (?)`
	deletePending = `DELETE FROM fileobjects_pending WHERE number = ?`
	selectKnown   = `SELECT (SELECT count(*) FROM fileobjects_pending WHERE number = ?1) + (SELECT count(*) FROM fileobjects_contents WHERE file = ?1)`
	selectPending = `SELECT number FROM fileobjects_pending`
)

// index is the tables. What is written to them at the same time is one transaction.
type index struct {
	db         *sql.DB
	statements map[string]*sql.Stmt

	mu    sync.Mutex
	queue []*change
	// turn is held by who commits for all that wait.
	turn sync.Mutex
}

// change is something to be written. Do may be run twice, in two transactions, of which one is committed at most.
type change struct {
	do   func(*transaction) error
	done bool
	err  error
}

func openIndex(ctx context.Context, db *sql.DB) (*index, error) {
	for _, table := range schema {
		if _, err := db.ExecContext(ctx, table); err != nil {
			return nil, diskError(err)
		}
	}
	x := &index{db: db, statements: map[string]*sql.Stmt{}}
	for _, text := range []string{insertContent, deleteContent, selectContent, selectTaken, selectPage, insertPending, deletePending, selectKnown} {
		statement, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // close closes all
		if err != nil {
			return nil, errors.Join(err, x.close())
		}
		x.statements[text] = statement
	}
	return x, nil
}

func (x *index) close() error {
	var errs []error
	for _, statement := range x.statements {
		errs = append(errs, statement.Close())
	}
	return errors.Join(errs...)
}

// transaction is what a change writes with.
type transaction struct {
	ctx   context.Context
	tx    *sql.Tx
	index *index
}

// exec says how many rows there were.
func (t *transaction) exec(text string, args ...any) (int64, error) {
	result, err := t.tx.StmtContext(t.ctx, t.index.statements[text]).ExecContext(t.ctx, args...) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (t *transaction) queryRow(text string, args ...any) *sql.Row {
	return t.tx.StmtContext(t.ctx, t.index.statements[text]).QueryRowContext(t.ctx, args...) //nolint:sqlclosecheck // it ends with the transaction
}

// errUndecided is a transaction of which nobody knows whether a later look at the disk will find it: it must be taken for
// failed, and what it said must not be made untrue.
var errUndecided = errors.New("the index could not be written")

// commit runs do in a transaction, together with the changes that others have for the index, and returns when it is durable.
// Whoever comes while a transaction is being committed waits, and one of those who waited commits for all.
func (x *index) commit(do func(*transaction) error) error {
	c := &change{do: do}
	x.mu.Lock()
	x.queue = append(x.queue, c)
	x.mu.Unlock()

	x.turn.Lock()
	defer x.turn.Unlock()
	if c.done {
		return c.err
	}
	x.mu.Lock()
	batch := x.queue
	x.queue = nil
	x.mu.Unlock()
	err := x.transact(batch)
	for _, other := range batch {
		other.err, other.done = err, true
		if err != nil && len(batch) > 1 && !errors.Is(err, errUndecided) {
			other.err = x.transact([]*change{other}) // which of them it was
		}
	}
	return c.err
}

func (x *index) transact(batch []*change) error {
	ctx := context.Background() // nobody's alone
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return diskError(err)
	}
	for _, c := range batch {
		if err := c.do(&transaction{ctx, tx, x}); err != nil {
			return errors.Join(diskError(err), tx.Rollback())
		}
	}
	err = diskError(tx.Commit())
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: %w", errUndecided, err)
	}
	return err
}

// full is SQLite's code for a disk without room (SQLITE_FULL).
const full = 13

// diskError has errors.Is find syscall.ENOSPC in what SQLite says of a full disk, without knowing which driver it is.
func diskError(err error) error {
	var coded interface{ Code() int }
	if errors.As(err, &coded) && coded.Code()&0xff == full {
		return fmt.Errorf("%w (%w)", syscall.ENOSPC, err)
	}
	return err
}

// row is what the index knows of a content.
type row struct {
	size int64
	md5  []byte
	file sql.NullInt64
	data []byte
}

// find returns sql.ErrNoRows if there is no such content.
func (x *index) find(ctx context.Context, ref string) (r row, err error) {
	err = x.statements[selectContent].QueryRowContext(ctx, ref).Scan(&r.size, &r.md5, &r.file, &r.data)
	return r, err
}

func (x *index) taken(ctx context.Context, ref string) (bool, error) {
	var n int
	err := x.statements[selectTaken].QueryRowContext(ctx, ref).Scan(&n)
	return n > 0, err
}

// known says whether a file with the number may exist. One statement sees one state: a number that is no longer pending has its
// row.
func (x *index) known(ctx context.Context, number int64) (bool, error) {
	var n int
	err := x.statements[selectKnown].QueryRowContext(ctx, number).Scan(&n)
	return n > 0, err
}

// page returns the references that follow after, in order.
func (x *index) page(ctx context.Context, after string) (refs []string, err error) {
	rows, err := x.statements[selectPage].QueryContext(ctx, after)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var ref string
		if err := rows.Scan(&ref); err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, rows.Err()
}

func (x *index) pending(ctx context.Context) (numbers []int64, err error) {
	rows, err := x.db.QueryContext(ctx, selectPending)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, rows.Err()
}

// fresh are numbers that no file ever had.
func fresh(n int) []int64 {
	numbers := make([]int64, n)
	for i := range numbers {
		numbers[i] = rand.Int64() //nolint:gosec // the number of a file is no secret
	}
	return numbers
}
