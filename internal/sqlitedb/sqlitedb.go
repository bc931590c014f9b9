// Package sqlitedb opens the embedded database. Only programs and tests import it: a domain takes a *sql.DB.
package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/google/uuid"
	"modernc.org/sqlite" // also the driver "sqlite"
)

// Open opens or creates the database file. Every committed transaction is on disk before it is acknowledged.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	// A connection per reader that is really busy.
	db, err := open(ctx, "file:"+(&url.URL{Path: path}).EscapedPath()+"?", 8, "journal_mode(WAL)", "synchronous(FULL)")
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	return db, nil
}

// Memory opens a new database that lives in this process's memory until it is closed.
func Memory(ctx context.Context) (*sql.DB, error) {
	return openMemory(ctx, "file:/"+uuid.NewString()+"?vfs=memdb")
}

func openMemory(ctx context.Context, name string) (*sql.DB, error) {
	// In memory a writer keeps readers out: they take turns on one connection, rather than find it locked and sleep. Small
	// pages, because most of the many tables are almost empty.
	return open(ctx, name+"&", 1, "page_size(1024)", "journal_mode(MEMORY)", "synchronous(OFF)", "cache_size(-512)")
}

// Copy opens a new database in memory with the content of another one in memory.
func Copy(ctx context.Context, from *sql.DB) (*sql.DB, error) {
	name := "file:/" + uuid.NewString() + "?vfs=memdb"
	to, err := openMemory(ctx, name)
	if err != nil {
		return nil, err
	}
	err = backup(ctx, from, name)
	if err == nil {
		// The connection reads the tables' definitions now, and not when it is first used.
		_, err = to.ExecContext(ctx, "SELECT 1 FROM sqlite_schema LIMIT 1")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy a database: %w", err), to.Close())
	}
	return to, nil
}

// backuper is the driver's connection.
type backuper interface {
	NewBackup(to string) (*sqlite.Backup, error)
}

func backup(ctx context.Context, from *sql.DB, to string) error {
	conn, err := from.Conn(ctx)
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

func open(ctx context.Context, name string, connections int, pragmas ...string) (*sql.DB, error) {
	values := url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, "busy_timeout(10000)")}
	db, err := sql.Open("sqlite", name+values.Encode())
	if err != nil {
		return nil, err
	}
	// Connections are kept: a database in memory lives as long as one is open.
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(0)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}
