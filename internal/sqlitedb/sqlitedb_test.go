package sqlitedb_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM t").Scan(&n))
	return n
}

func TestCopiesGoTheirOwnWay(t *testing.T) {
	from, err := sqlitedb.Memory(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, from.Close()) }()
	_, err = from.ExecContext(t.Context(), "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	to, err := sqlitedb.Copy(t.Context(), from)
	require.NoError(t, err)
	_, err = to.ExecContext(t.Context(), "INSERT INTO t VALUES (2)")
	require.NoError(t, err)
	require.Equal(t, 1, count(t, from))
	require.Equal(t, 2, count(t, to))
	tx, err := to.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), "INSERT INTO t VALUES (3)")
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, 2, count(t, to), "what was rolled back is gone")
	require.NoError(t, to.Close())
	require.Equal(t, 1, count(t, from))
}

func TestWhatIsNoDatabaseIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "x.db")
	_, err := sqlitedb.Open(t.Context(), path)
	require.ErrorContains(t, err, path)
}
