package cloud

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume"
)

// SecretsKeySize is the length of [Options].SecretsKey in bytes.
const SecretsKeySize = 32

// secrets keeps keys in the cloud's database, sealed (AES-256-GCM) with a key that is not in it.
type secrets struct {
	store *record.Store
	table *record.Table[secret]
	seal  cipher.AEAD
}

type secret struct {
	ID, ProjectID string
	Sealed        []byte
	Revision      int64
}

var secretTable = record.Spec[secret]{
	Key:      func(s *secret) string { return s.ID },
	Revision: func(s *secret) *int64 { return &s.Revision },
	Quiet:    true,
}

var _ volume.SecretSource = (*secrets)(nil)

func newSecrets(ctx context.Context, db *sql.DB, key []byte) (*secrets, error) {
	if len(key) != SecretsKeySize {
		return nil, fmt.Errorf("the key of secrets has %d bytes, not %d", len(key), SecretsKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &secrets{}
	if s.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	if s.store, err = record.Open(ctx, db, "secrets"); err != nil {
		return nil, err
	}
	s.table = record.Define(s.store, "secrets", secretTable)
	return s, s.store.Migrate(ctx)
}

func (s *secrets) CreateSecret(ctx context.Context, projectID string, value []byte) (string, error) {
	kept := secret{ID: uuid.NewString(), ProjectID: projectID}
	kept.Sealed = s.seal.Seal(nil, nil, value, []byte(kept.ID))
	return kept.ID, s.store.Update(ctx, func(tx *record.Tx) error { return s.table.Insert(tx, &kept) })
}

func (s *secrets) Secret(ctx context.Context, id string) ([]byte, error) {
	kept, err := s.table.Get(s.store.Read(ctx), id)
	if err != nil {
		return nil, err
	}
	value, err := s.seal.Open(nil, nil, kept.Sealed, []byte(id))
	if err != nil {
		return nil, fault.Wrap(fault.ErrUnavailable, "secret %s was sealed with another key", id)
	}
	return value, nil
}

func (s *secrets) DeleteSecret(ctx context.Context, id string) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error { return s.table.Delete(tx, id) })
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	return err
}
