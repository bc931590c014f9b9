// Package secrets keeps secrets in a database, sealed (AES-256-GCM) with a key that is not in it.
//
//	store, err := secrets.Open(ctx, db, key)
//	id, err := store.CreateSecret(ctx, projectID, passphrase)
//	passphrase, err = store.Secret(ctx, id)
//
// A Store is safe for concurrent use.
package secrets

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
)

// KeySize is the length of the key in bytes.
const KeySize = 32

// Store keeps secrets. Create it with [Open].
type Store struct {
	records *record.Store
	table   *record.Table[secret]
	seal    cipher.AEAD
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

// Open opens the secrets in db, in tables with names in "secrets_" that it makes, with the key of [KeySize] bytes.
func Open(ctx context.Context, db *sql.DB, key []byte) (*Store, error) {
	if len(key) != KeySize {
		return nil, fault.Wrap(fault.ErrInvalid, "the key of secrets has %d bytes, not %d", len(key), KeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &Store{}
	if s.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	if s.records, err = record.Open(ctx, db, "secrets"); err != nil {
		return nil, err
	}
	s.table = record.Define(s.records, "secrets", secretTable)
	if err := s.records.Migrate(ctx); err != nil {
		return nil, fmt.Errorf("tables of secrets: %w", err)
	}
	return s, nil
}

// CreateSecret keeps a value, and returns its identifier.
func (s *Store) CreateSecret(ctx context.Context, projectID string, value []byte) (string, error) {
	kept := secret{ID: uuid.NewString(), ProjectID: projectID}
	kept.Sealed = s.seal.Seal(nil, nil, value, []byte(kept.ID))
	return kept.ID, s.records.Update(ctx, func(tx *record.Tx) error { return s.table.Insert(tx, &kept) })
}

// Secret returns a value: fault.ErrNotFound if there is none, fault.ErrUnavailable if it was sealed with another key.
func (s *Store) Secret(ctx context.Context, id string) ([]byte, error) {
	kept, err := s.table.Get(s.records.Read(ctx), id)
	if err != nil {
		return nil, err
	}
	value, err := s.seal.Open(nil, nil, kept.Sealed, []byte(id))
	if err != nil {
		return nil, fault.Wrap(fault.ErrUnavailable, "secret %s was sealed with another key", id)
	}
	return value, nil
}

// DeleteSecret forgets a value; one that is gone already is no error.
func (s *Store) DeleteSecret(ctx context.Context, id string) error {
	err := s.records.Update(ctx, func(tx *record.Tx) error { return s.table.Delete(tx, id) })
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	return err
}
