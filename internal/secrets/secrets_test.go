package secrets_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/secrets"
	"github.com/kintoun/kintoun/internal/sqlitedb"
	"github.com/stretchr/testify/require"
)

func TestSecrets(t *testing.T) {
	ctx := t.Context()
	db, err := sqlitedb.Open(ctx, filepath.Join(t.TempDir(), "db"))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	key := bytes.Repeat([]byte{7}, secrets.KeySize)
	s, err := secrets.Open(ctx, db, key)
	require.NoError(t, err)
	id, err := s.CreateSecret(ctx, "p", []byte("open sesame"))
	require.NoError(t, err)

	again, err := secrets.Open(ctx, db, key)
	require.NoError(t, err)
	value, err := again.Secret(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "open sesame", string(value))
	var kept []byte
	require.NoError(t, db.QueryRowContext(ctx, "SELECT doc FROM secrets_secrets").Scan(&kept))
	require.NotContains(t, string(kept), "sesame")

	other, err := secrets.Open(ctx, db, bytes.Repeat([]byte{8}, secrets.KeySize))
	require.NoError(t, err)
	_, err = other.Secret(ctx, id)
	require.ErrorIs(t, err, fault.ErrUnavailable)
	_, err = secrets.Open(ctx, db, key[:31])
	require.ErrorIs(t, err, fault.ErrInvalid)

	require.NoError(t, s.DeleteSecret(ctx, id))
	require.NoError(t, s.DeleteSecret(ctx, id))
	_, err = s.Secret(ctx, id)
	require.ErrorIs(t, err, fault.ErrNotFound)
}
