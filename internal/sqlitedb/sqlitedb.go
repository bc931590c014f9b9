// Package sqlitedb opens the embedded database. Only programs and tests import it: a domain takes a *sql.DB.
package sqlitedb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	"github.com/google/uuid"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Open opens or creates the database file. Every committed transaction is on disk before it is acknowledged.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	db, err := open(ctx, "file:"+(&url.URL{Path: path}).EscapedPath(), "journal_mode(WAL)", "synchronous(FULL)")
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	return db, nil
}

// Memory opens a new database that lives in this process's memory until it is closed.
func Memory(ctx context.Context) (*sql.DB, error) {
	return open(ctx, "file:/"+uuid.NewString()+"?vfs=memdb", "journal_mode(MEMORY)", "synchronous(OFF)")
}

func open(ctx context.Context, name string, pragmas ...string) (*sql.DB, error) {
	values := url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, "busy_timeout(10000)")}
	separator := "?"
	if len(name) > 6 && name[len(name)-5:] == "memdb" {
		separator = "&"
	}
	db, err := sql.Open("sqlite", name+separator+values.Encode())
	if err != nil {
		return nil, err
	}
	// A connection per reader that is really busy; memdb lives as long as one connection is open.
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(0)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}
