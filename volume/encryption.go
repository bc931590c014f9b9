package volume

import "context"

// EncryptionSpec is how volumes of a type are to be encrypted; nil leaves what there is, in an update.
type EncryptionSpec struct {
	Provider, ControlLocation, Cipher *string
	KeySize                           *int
}

// SetTypeEncryption encrypts the volumes of a type from now on.
func (s *Service) SetTypeEncryption(ctx context.Context, scope Scope, typeID string, spec EncryptionSpec) (*TypeEncryption, error) {
	return nil, unsupported("SetTypeEncryption")
}

// UpdateTypeEncryption changes how.
func (s *Service) UpdateTypeEncryption(ctx context.Context, scope Scope, typeID, encryptionID string, spec EncryptionSpec) (*TypeEncryption, error) {
	return nil, unsupported("UpdateTypeEncryption")
}

// TypeEncryption returns how the volumes of a type are encrypted; nil for not.
func (s *Service) TypeEncryption(ctx context.Context, scope Scope, typeID string) (*TypeEncryption, error) {
	return nil, unsupported("TypeEncryption")
}

// DeleteTypeEncryption ends that.
func (s *Service) DeleteTypeEncryption(ctx context.Context, scope Scope, typeID, encryptionID string) error {
	return unsupported("DeleteTypeEncryption")
}

// Passphrase is what opens an encrypted volume; empty for one that is not (for compute).
func (s *Service) Passphrase(ctx context.Context, scope Scope, volumeID string) ([]byte, error) {
	return nil, unsupported("Passphrase")
}
