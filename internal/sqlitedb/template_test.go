package sqlitedb_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

// newTemplate has a table with one row, which has the first number of a sequence.
func newTemplate(t testing.TB) *sqlitedb.Template {
	t.Helper()
	template, err := sqlitedb.NewTemplate(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, template.Close()) })
	_, err = template.DB.ExecContext(t.Context(), "CREATE TABLE t (n INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO t (x) VALUES ('first'); CREATE TABLE e (x)")
	require.NoError(t, err)
	return template
}

func copyOf(t testing.TB, template *sqlitedb.Template) *sql.DB {
	t.Helper()
	db, err := template.Copy(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// insert adds a row and returns its number.
func insert(t testing.TB, db *sql.DB) int64 {
	t.Helper()
	result, err := db.ExecContext(t.Context(), "INSERT INTO t (x) VALUES (?)", "more")
	require.NoError(t, err)
	n, err := result.LastInsertId()
	require.NoError(t, err)
	return n
}

func TestCopiesGoTheirOwnWay(t *testing.T) {
	template := newTemplate(t)
	one, other := copyOf(t, template), copyOf(t, template)
	require.EqualValues(t, 2, insert(t, one))
	require.EqualValues(t, 3, insert(t, one))
	require.EqualValues(t, 2, insert(t, other))
	tx, err := one.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "DELETE FROM t")
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, 3, count(t, one), "what was rolled back is as it was")
	require.Equal(t, 2, count(t, other))
	require.Equal(t, 1, count(t, template.DB))
}

// TestWhatWasACopyIsOneAgain has each copy begin as the template is, whatever was done with those before it.
func TestWhatWasACopyIsOneAgain(t *testing.T) {
	template := newTemplate(t)
	for name, ruin := range map[string]func(db *sql.DB){
		"rows":         func(db *sql.DB) { insert(t, db) },
		"no rows":      func(db *sql.DB) { exec(t, db, "DELETE FROM t; DELETE FROM sqlite_sequence") },
		"other tables": func(db *sql.DB) { exec(t, db, "CREATE TABLE more (x); DROP TABLE e") },
		"large":        func(db *sql.DB) { exec(t, db, "INSERT INTO e VALUES (zeroblob(1000000))") },
		"a transaction that nobody ends": func(db *sql.DB) {
			ctx, cancel := context.WithCancel(t.Context())
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "DELETE FROM t")
			require.NoError(t, err)
			cancel()
		},
		"rows that nobody reads": func(db *sql.DB) {
			rows, err := db.QueryContext(t.Context(), "SELECT n FROM t")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, rows.Close()) })
			require.NoError(t, rows.Err())
		},
		"one statement inside itself": func(db *sql.DB) {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			for range 2 {
				rows, err := tx.QueryContext(t.Context(), "SELECT n FROM t")
				require.NoError(t, err)
				defer func() { require.NoError(t, rows.Close()) }()
				require.True(t, rows.Next())
				require.NoError(t, rows.Err())
			}
			require.NoError(t, tx.Commit())
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				db, err := template.Copy(t.Context())
				require.NoError(t, err)
				ruin(db)
				require.NoError(t, db.Close())
				fresh := copyOf(t, template)
				require.Equal(t, 1, count(t, fresh))
				require.EqualValues(t, 2, insert(t, fresh))
				exec(t, fresh, "INSERT INTO e VALUES (1)")
				var tables, sequence int
				require.NoError(t, fresh.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM sqlite_schema), (SELECT seq FROM sqlite_sequence)").Scan(&tables, &sequence))
				require.Equal(t, []int{3, 2}, []int{tables, sequence})
				require.NoError(t, fresh.Close())
			}
		})
	}
}

func exec(t testing.TB, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query)
	require.NoError(t, err)
}

// TestManyCopiesAtOnce has what is done with one touch no other, whoever had it before.
func TestManyCopiesAtOnce(t *testing.T) {
	template := newTemplate(t)
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for range 50 {
				db, err := template.Copy(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				name := fmt.Sprint(worker)
				for range 3 {
					_, err = db.ExecContext(t.Context(), "INSERT INTO t (x) VALUES (?)", name)
				}
				var rows, mine int
				scan := db.QueryRowContext(t.Context(), "SELECT COUNT(*), SUM(x = ?) FROM t", name).Scan(&rows, &mine)
				if err != nil || scan != nil || rows != 4 || mine != 3 || db.Close() != nil {
					t.Error(err, scan, rows, mine)
				}
			}
		})
	}
	all.Wait()
}

func TestACopyOutlivesItsTemplate(t *testing.T) {
	template := newTemplate(t)
	db, err := template.Copy(t.Context())
	require.NoError(t, err)
	require.NoError(t, template.Close())
	require.EqualValues(t, 2, insert(t, db))
	require.NoError(t, db.Close())
	require.ErrorContains(t, db.PingContext(t.Context()), "closed")
}

func BenchmarkCopy(b *testing.B) {
	template := newTemplate(b)
	for b.Loop() {
		db, err := template.Copy(b.Context())
		require.NoError(b, err)
		require.NoError(b, db.Close())
	}
}
