package sqlitedb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// full is what the driver's connections can do.
type full interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// connection is a copy of a template: a database in memory and the one connection to it, with the statements that were parsed.
type connection struct {
	full
	template *Template
	kept     map[string]*statement // by their texts
	schema   int64                 // the version of its tables' definitions
	pages    int64                 // its size when it was made
	restore  []string              // statements that put its rows back; nil while it is the first copy
}

// maxKept is how many statements are kept: what is asked for in ever new words is parsed each time.
const maxKept = 512

// statement is one that was parsed, and is used by one at a time.
type statement struct {
	driver.Stmt
	c    *connection
	used bool
}

// acquire returns the statement, parsed now or before; nil if it is to be run as a text.
func (c *connection) acquire(ctx context.Context, query string) (*statement, error) {
	s := c.kept[query]
	if s != nil && s.used || s == nil && len(c.kept) >= maxKept {
		return nil, nil //nolint:nilnil // none
	}
	if s == nil {
		parsed, err := c.full.PrepareContext(ctx, query)
		if err != nil {
			return nil, err
		}
		s = &statement{Stmt: parsed, c: c}
		c.kept[query] = s
	}
	s.used = true
	return s, nil
}

// Close keeps the statement for whoever asks for it next.
func (s *statement) Close() error {
	s.used = false
	return nil
}

// ExecContext runs it (driver.StmtExecContext).
func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	run, ok := s.Stmt.(driver.StmtExecContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	return run.ExecContext(ctx, args)
}

// QueryContext runs it (driver.StmtQueryContext).
func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	run, ok := s.Stmt.(driver.StmtQueryContext)
	if !ok {
		return nil, driver.ErrSkip
	}
	return run.QueryContext(ctx, args)
}

// Prepare is PrepareContext.
func (c *connection) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext parses a statement that was not before.
func (c *connection) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.acquire(ctx, query)
	if s != nil || err != nil {
		return s, err
	}
	return c.full.PrepareContext(ctx, query)
}

// ExecContext runs a text, which may be several statements.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.acquire(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.full.ExecContext(ctx, query, args)
	}
	defer func() { _ = s.Close() }()
	return s.ExecContext(ctx, args)
}

// QueryContext runs a text.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.acquire(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.full.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &lastRows{rows, s}, nil
}

// lastRows let go of their statement.
type lastRows struct {
	driver.Rows
	s *statement
}

func (r *lastRows) Close() error { return errors.Join(r.Rows.Close(), r.s.Close()) }

// Close keeps the copy for the next one, or ends it.
func (c *connection) Close() error {
	if c.template.put(c) {
		return nil
	}
	return c.end()
}

// end closes it for good.
func (c *connection) end() error {
	var err error
	for _, s := range c.kept {
		err = errors.Join(err, s.Stmt.Close())
	}
	return errors.Join(err, c.full.Close())
}

// look reads the tables' definitions, which are used from now on.
func (c *connection) look(ctx context.Context) (err error) {
	if c.schema, err = c.number(ctx, "PRAGMA main.schema_version"); err != nil {
		return err
	}
	if c.pages, err = c.number(ctx, "PRAGMA main.page_count"); err != nil {
		return err
	}
	_, err = c.ExecContext(ctx, "SELECT 1 FROM sqlite_schema LIMIT 1", nil)
	return err
}

// again says whether the copy can be made a copy again: nobody uses it, and its tables are the template's.
func (c *connection) again(ctx context.Context) bool {
	for _, s := range c.kept {
		if s.used {
			return false
		}
	}
	schema, err := c.number(ctx, "PRAGMA main.schema_version")
	if err != nil || schema != c.schema {
		return false
	}
	pages, err := c.number(ctx, "PRAGMA main.page_count")
	return err == nil && pages <= maxGrowth*c.pages
}

// reset makes the copy a copy again.
func (c *connection) reset(ctx context.Context) (err error) {
	if c.restore == nil {
		if c.restore, err = c.restoring(ctx); err != nil {
			return err
		}
	}
	tx, err := c.BeginTx(ctx, driver.TxOptions{})
	if err != nil {
		return err
	}
	for _, query := range c.restore {
		if _, err := c.ExecContext(ctx, query, nil); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// restoring attaches the template, and returns the statements that take its rows.
func (c *connection) restoring(ctx context.Context) ([]string, error) {
	// Only to be read: transactions would else have all copies wait for one another.
	if _, err := c.full.ExecContext(ctx, "ATTACH '"+c.template.name+"&mode=ro' AS template", nil); err != nil {
		return nil, err
	}
	rows, err := c.full.QueryContext(ctx, "SELECT name FROM main.sqlite_schema WHERE type = 'table'", nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	all := []string{}
	for values := make([]driver.Value, 1); ; {
		err := rows.Next(values)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf(`DELETE FROM main."%s"`, values[0]), fmt.Sprintf(`INSERT INTO main."%[1]s" SELECT * FROM template."%[1]s"`, values[0]))
	}
}

// number is the answer to a query.
func (c *connection) number(ctx context.Context, query string) (int64, error) {
	rows, err := c.QueryContext(ctx, query, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	values := make([]driver.Value, 1)
	if err := rows.Next(values); err != nil {
		return 0, err
	}
	n, ok := values[0].(int64)
	if !ok {
		return 0, fmt.Errorf("%s is %v", query, values[0])
	}
	return n, nil
}
