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

func TestWhatIsNoDatabaseIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "x.db")
	_, err := sqlitedb.Open(t.Context(), path)
	require.ErrorContains(t, err, path)
}
