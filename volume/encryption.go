package volume

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// EncryptionSpec is how volumes of a type are to be encrypted; nil leaves what there is, in an update.
type EncryptionSpec struct {
	// Provider is "luks", or a name with that in it, as older clients have it.
	Provider, ControlLocation, Cipher *string
	// KeySize is in bits.
	KeySize *int
}

const encryptionPolicy = "volume_extension:volume_type_encryption:"

// SetTypeEncryption encrypts the volumes of a type from now on. A type that has volumes, or is encrypted already, is
// [ErrInvalid].
func (s *Service) SetTypeEncryption(ctx context.Context, scope Scope, typeID string, spec EncryptionSpec) (*TypeEncryption, error) {
	if s.options.Keys == nil {
		return nil, fault.Wrap(ErrUnsupported, "Volumes cannot be encrypted here: there is nothing that keeps keys.")
	}
	var made *TypeEncryption
	err := s.changeEncryption(ctx, scope, typeID, "create", func(t *Type) error {
		if t.Encryption != nil {
			return fault.Wrap(ErrInvalid, "Volume type encryption for type %s already exists.", typeID)
		}
		t.Encryption = &TypeEncryption{ID: uuid.NewString(), ControlLocation: "front-end", CreatedAt: s.now()}
		made = t.Encryption
		return t.Encryption.apply(spec)
	})
	return made, err
}

func (e *TypeEncryption) apply(spec EncryptionSpec) error {
	if spec.Provider != nil {
		e.Provider = *spec.Provider
	}
	if spec.ControlLocation != nil {
		e.ControlLocation = *spec.ControlLocation
	}
	if spec.Cipher != nil {
		e.Cipher = *spec.Cipher
	}
	if spec.KeySize != nil {
		e.KeySize = *spec.KeySize
	}
	switch {
	case e.ControlLocation != "front-end" && e.ControlLocation != "back-end":
		return fault.Wrap(ErrInvalid, "Invalid input for field/attribute control_location. Value: %.40s. '%.40s' is not one of ['front-end', 'back-end']", e.ControlLocation, e.ControlLocation)
	case e.KeySize < 0:
		return fault.Wrap(ErrInvalid, "Invalid input for field/attribute key_size. Value: %d. %d is less than the minimum of 0", e.KeySize, e.KeySize)
	case len(e.Provider) > 255 || len(e.Cipher) > 255:
		return fault.Wrap(ErrInvalid, "Invalid input for field/attribute provider or cipher: it is longer than 255 characters.")
	}
	return nil
}

// changeEncryption changes how the volumes of a type are encrypted that has none yet.
func (s *Service) changeEncryption(ctx context.Context, scope Scope, typeID, what string, change func(t *Type) error) error {
	if err := mustAdmin(scope, encryptionPolicy+what); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		t, err := s.types.Get(tx, typeID)
		if err != nil {
			return notFound(err, "Volume type %s could not be found.", typeID)
		}
		volumes, err := s.volumes.Count(tx, record.Eq("type", typeID))
		if err != nil {
			return err
		}
		if volumes > 0 {
			return fault.Wrap(ErrInvalid, "Cannot %s encryption specs. Volume type in use.", what)
		}
		if err := change(t); err != nil {
			return err
		}
		t.UpdatedAt = s.now()
		return s.types.Update(tx, t)
	})
}

func sameEncryption(t *Type, typeID, encryptionID string) error {
	if t.Encryption == nil || t.Encryption.ID != encryptionID {
		return fault.Wrap(ErrNotFound, "Volume type encryption for type %s does not exist.", typeID)
	}
	return nil
}

// UpdateTypeEncryption changes how the volumes of a type that has none yet will be encrypted.
func (s *Service) UpdateTypeEncryption(ctx context.Context, scope Scope, typeID, encryptionID string, spec EncryptionSpec) (*TypeEncryption, error) {
	var changed *TypeEncryption
	err := s.changeEncryption(ctx, scope, typeID, "update", func(t *Type) error {
		if err := sameEncryption(t, typeID, encryptionID); err != nil {
			return err
		}
		t.Encryption.UpdatedAt = s.now()
		changed = t.Encryption
		return t.Encryption.apply(spec)
	})
	return changed, err
}

// TypeEncryption returns how the volumes of a type are encrypted; nil for not.
func (s *Service) TypeEncryption(ctx context.Context, scope Scope, typeID string) (*TypeEncryption, error) {
	if err := mustAdmin(scope, encryptionPolicy+"get"); err != nil {
		return nil, err
	}
	t, err := s.types.Get(s.store.Read(ctx), typeID)
	if err != nil {
		return nil, notFound(err, "Volume type %s could not be found.", typeID)
	}
	return t.Encryption, nil
}

// DeleteTypeEncryption lets the volumes of a type that has none be plain from now on.
func (s *Service) DeleteTypeEncryption(ctx context.Context, scope Scope, typeID, encryptionID string) error {
	return s.changeEncryption(ctx, scope, typeID, "delete", func(t *Type) error {
		if err := sameEncryption(t, typeID, encryptionID); err != nil {
			return err
		}
		t.Encryption = nil
		return nil
	})
}

// Passphrase is what opens an encrypted volume; empty for one that is not (for compute).
func (s *Service) Passphrase(ctx context.Context, scope Scope, volumeID string) ([]byte, error) {
	v, err := s.visibleVolume(s.store.Read(ctx), scope, volumeID)
	if err != nil {
		return nil, err
	}
	return s.passphrase(ctx, v.EncryptionKeyID)
}

// passphrase is the value of a key; none for no key.
func (s *Service) passphrase(ctx context.Context, keyID string) ([]byte, error) {
	if keyID == "" {
		return nil, nil
	}
	if s.options.Keys == nil {
		return nil, fault.Wrap(ErrUnavailable, "key manager error: there is nothing that keeps keys")
	}
	value, err := s.options.Keys.Secret(ctx, keyID)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", keyID, err)
	}
	return value, nil
}

// passphraseBytes is the entropy of a new passphrase, which is written in hexadecimal digits, as Cinder does.
const passphraseBytes = 32

// newKey makes the key of a new volume of the type; none if its volumes are plain.
func (s *Service) newKey(ctx context.Context, projectID string, t *Type) (id string, err error) {
	if t == nil || t.Encryption == nil {
		return "", nil
	}
	if !strings.Contains(strings.ToLower(t.Encryption.Provider), "luks") {
		return "", fault.Wrap(ErrInvalid, "Invalid volume type: volumes cannot be encrypted by %q here, only by luks.", t.Encryption.Provider)
	}
	if s.options.Keys == nil {
		return "", fault.Wrap(ErrUnavailable, "key manager error: there is nothing that keeps keys")
	}
	return s.options.Keys.CreateSecret(ctx, projectID, []byte(hex.EncodeToString(randomBytes(passphraseBytes))))
}

// cloneKey makes another key with the value of one, for a copy of what it opens; none of none.
func (s *Service) cloneKey(ctx context.Context, projectID, keyID string) (id string, err error) {
	value, err := s.passphrase(ctx, keyID)
	if err != nil || value == nil {
		return "", err
	}
	return s.options.Keys.CreateSecret(ctx, projectID, value)
}

// dropKey forgets a key; one that is gone, or none, is no error.
func (s *Service) dropKey(ctx context.Context, keyID string) error {
	if keyID == "" || s.options.Keys == nil {
		return nil
	}
	return s.options.Keys.DeleteSecret(ctx, keyID)
}

// openPlain opens what a guest sees of a volume or snapshot.
func (a *Agent) openPlain(ctx context.Context, id string, access driver.Access, keyID string) (driver.Device, error) {
	if keyID == "" {
		return a.volumes.Open(ctx, id, access)
	}
	unlocker, ok := a.volumes.(driver.Unlocker)
	if !ok {
		return nil, fault.Wrap(ErrUnsupported, "pool %s cannot open encrypted volumes", a.host)
	}
	passphrase, err := a.service.passphrase(ctx, keyID)
	if err != nil {
		return nil, err
	}
	return unlocker.Unlock(ctx, id, access, passphrase)
}
