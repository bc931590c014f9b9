package sqlitedb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"modernc.org/sqlite"
)

// Template is a database in memory of which copies are made, one after the other. A copy that was closed is used for the next one: its
// rows are put back, while the definitions of tables that it has read, and the statements that it has parsed, stay as they are. That
// is three quarters of what a copy costs that is made anew.
type Template struct {
	// DB is the database: to be filled before the first copy is made, and left alone then.
	DB *sql.DB

	name string

	mu     sync.Mutex
	free   []*connection
	closed bool
}

const (
	// maxFree is how many closed copies are kept for the next ones.
	maxFree = 8
	// maxGrowth is how many times as large as the template a copy may have become, to be kept: its memory never becomes less.
	maxGrowth = 4
)

// NewTemplate makes an empty one.
func NewTemplate(ctx context.Context) (*Template, error) {
	t := &Template{name: memoryName()}
	var err error
	t.DB, err = openMemory(ctx, t.name)
	return t, err
}

func memoryName() string { return "file:/" + uuid.NewString() + "?vfs=memdb" }

// Copy opens a database in memory with the template's content. It goes its own way; closing it is as with any other.
func (t *Template) Copy(ctx context.Context) (*sql.DB, error) {
	c, err := t.take(ctx)
	if err != nil {
		return nil, fmt.Errorf("copy a database: %w", err)
	}
	db := sql.OpenDB(&connector{c: c, driver: t.DB.Driver()})
	keepConnections(db, 1)
	return db, nil
}

// take returns a connection to a copy: one that was used before, or a new one.
func (t *Template) take(ctx context.Context) (*connection, error) {
	for {
		t.mu.Lock()
		last := len(t.free) - 1
		if last < 0 {
			t.mu.Unlock()
			return t.make(ctx)
		}
		c := t.free[last]
		t.free = t.free[:last]
		t.mu.Unlock()
		if err := c.reset(ctx); err == nil {
			return c, nil
		}
		if err := c.end(); err != nil {
			return nil, err
		}
	}
}

func (t *Template) make(ctx context.Context) (*connection, error) {
	name := memoryName()
	raw, err := t.DB.Driver().Open(memoryOptions(name))
	if err != nil {
		return nil, err
	}
	all, ok := raw.(full)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of %T lacks methods", raw), raw.Close())
	}
	c := &connection{full: all, template: t, kept: map[string]*statement{}}
	if err = t.backup(ctx, name); err == nil {
		err = c.look(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// backuper is the driver's connection.
type backuper interface {
	NewBackup(to string) (*sqlite.Backup, error)
}

func (t *Template) backup(ctx context.Context, to string) error {
	conn, err := t.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(c any) error {
		b, err := c.(backuper).NewBackup(to)
		if err != nil {
			return err
		}
		_, err = b.Step(-1)
		return errors.Join(err, b.Finish())
	})
}

// put keeps a connection for the next copy, and says whether it does.
func (t *Template) put(c *connection) bool {
	if !c.again(context.Background()) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.free) >= maxFree {
		return false
	}
	t.free = append(t.free, c)
	return true
}

// Close closes the template, and forgets the copies that are not in use. Those that are go on.
func (t *Template) Close() error {
	t.mu.Lock()
	free := t.free
	t.free, t.closed = nil, true
	t.mu.Unlock()
	err := t.DB.Close()
	for _, c := range free {
		err = errors.Join(err, c.end())
	}
	return err
}

// connector gives a database its one connection.
type connector struct {
	driver driver.Driver

	mu sync.Mutex
	c  *connection // nil when it was given
}

func (o *connector) Driver() driver.Driver { return o.driver }

func (o *connector) Connect(context.Context) (driver.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.c
	if o.c = nil; c == nil {
		return nil, errors.New("the connection that was the database is lost")
	}
	return c, nil
}
