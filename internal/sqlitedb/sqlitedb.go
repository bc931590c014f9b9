// Package sqlitedb opens the embedded database. Only programs and tests import it: a domain takes a *sql.DB.
package sqlitedb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Open opens or creates the database file. Every committed transaction is on disk before it is acknowledged.
func Open(ctx context.Context, path string) (*sql.DB, error) {
	// A connection per reader that is really busy.
	db, err := open(ctx, withOptions("file:"+(&url.URL{Path: path}).EscapedPath()+"?", "journal_mode(WAL)", "synchronous(FULL)"), 8)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", path, err)
	}
	return db, nil
}

// Memory opens a new database that lives in this process's memory until it is closed.
func Memory(ctx context.Context) (*sql.DB, error) {
	return openMemory(ctx, memoryName())
}

func openMemory(ctx context.Context, name string) (*sql.DB, error) {
	// In memory a writer keeps readers out: they take turns on one connection, rather than find it locked and sleep.
	return open(ctx, memoryOptions(name), 1)
}

// memoryOptions is the name with what such databases are opened with: small pages, because most of the many tables are almost empty.
func memoryOptions(name string) string {
	return withOptions(name+"&", "page_size(1024)", "journal_mode(MEMORY)", "synchronous(OFF)", "cache_size(-512)")
}

func withOptions(name string, pragmas ...string) string {
	return name + url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, "busy_timeout(10000)")}.Encode()
}

func open(ctx context.Context, name string, connections int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, err
	}
	keepConnections(db, connections)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// keepConnections has so many: a database in memory lives as long as one is open.
func keepConnections(db *sql.DB, n int) {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(0)
}
