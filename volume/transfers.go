package volume

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Transfer is the offer of a volume to another project.
type Transfer struct {
	ID, VolumeID, Name string
	// AuthKey is shown once, to the maker.
	AuthKey string `json:"-"`
	// ProjectID made the offer, which is SourceProjectID unless an administrator did.
	ProjectID, SourceProjectID, DestinationProjectID string
	NoSnapshots, Accepted                            bool
	// Salt and Hash are what is kept of the key.
	Salt, Hash []byte
	CreatedAt  time.Time
	Revision   int64
}

var transferSpec = record.Spec[Transfer]{
	Key:      func(t *Transfer) string { return t.ID },
	Revision: func(t *Transfer) *int64 { return &t.Revision },
	Claims:   func(t *Transfer) []record.Claim { return []record.Claim{{Space: "transfer", Value: t.VolumeID}} },
	Event: func(t *Transfer) record.Event {
		return record.Event{Type: "transfer", Project: t.SourceProjectID}
	},
	Columns: []record.Column[Transfer]{
		{Name: "project", Value: func(t *Transfer) any { return t.SourceProjectID }},
		{Name: "volume", Value: func(t *Transfer) any { return t.VolumeID }},
		{Name: "name", Value: func(t *Transfer) any { return t.Name }},
		{Name: "created", Value: func(t *Transfer) any { return t.CreatedAt.UnixMicro() }},
	},
}

var transferKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "volume_id": "volume",
}, numbers: map[string]string{"created_at": "created"}}

// transferKeyBytes are those of a key; Cinder shows eight bytes, as 16 hexadecimal digits.
const transferKeyBytes = 8

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return b
}

func hashKey(salt []byte, key string) []byte {
	m := hmac.New(sha256.New, salt)
	_, _ = m.Write([]byte(key))
	return m.Sum(nil)
}

// CreateTransfer offers an available volume to whoever knows the key, which is returned this once. Meanwhile the volume is
// awaiting-transfer.
func (s *Service) CreateTransfer(ctx context.Context, scope Scope, volumeID, name string, withSnapshots bool) (*Transfer, error) {
	key, salt := hex.EncodeToString(randomBytes(transferKeyBytes)), randomBytes(16)
	t := &Transfer{
		ID: uuid.NewString(), VolumeID: volumeID, Name: name, ProjectID: scope.ProjectID, NoSnapshots: !withSnapshots,
		Salt: salt, Hash: hashKey(salt, key), CreatedAt: s.now(),
	}
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, volumeID)
		if err != nil {
			return err
		}
		if v.Status != Available {
			return fault.Wrap(ErrInvalid, "Invalid volume: status must be available")
		}
		if v.EncryptionKeyID != "" && !withSnapshots {
			return fault.Wrap(ErrInvalid, "Invalid volume: transferring an encrypted volume without its snapshots is not supported")
		}
		if withSnapshots {
			if _, err := s.idleSnapshots(tx, v.ID); err != nil {
				return err
			}
		}
		t.SourceProjectID = v.ProjectID
		v.Status, v.UpdatedAt = AwaitingTransf, s.now()
		if err := s.volumes.Update(tx, v); err != nil {
			return err
		}
		return s.transfers.Insert(tx, t)
	})
	if err != nil {
		return nil, err
	}
	t.AuthKey = key
	return t, nil
}

// idleSnapshots are a volume's snapshots, all of which must be available.
func (s *Service) idleSnapshots(tx *record.Tx, volumeID string) ([]Snapshot, error) {
	all, err := s.snapshots.List(tx, record.Query{Where: []record.Condition{record.Eq("volume", volumeID)}})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Status != Available {
			return nil, fault.Wrap(ErrInvalid, "Invalid snapshot: snapshot: %s status must be available", all[i].ID)
		}
	}
	return all, nil
}

// AcceptTransfer takes an offered volume, with its snapshots unless the offer says otherwise, for the scope's project. An
// encrypted volume gets a key of the project's own.
func (s *Service) AcceptTransfer(ctx context.Context, scope Scope, id string, authKey string) (*Transfer, error) {
	t, v, err := s.offered(s.store.Read(ctx), id, authKey)
	if err != nil {
		return nil, err
	}
	keyID, err := s.cloneKey(ctx, scope.ProjectID, v.EncryptionKeyID)
	if err != nil {
		return nil, err
	}
	oldKey := ""
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if t, v, err = s.offered(tx, id, authKey); err != nil {
			return err
		}
		if v.Status != AwaitingTransf {
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s is %s, and not awaiting a transfer.", v.ID, v.Status)
		}
		if v.GroupID != "" {
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s must not be part of a consistency group.", v.ID)
		}
		t.DestinationProjectID, t.Accepted = scope.ProjectID, true
		oldKey = v.EncryptionKeyID
		return errors.Join(s.handOver(tx, scope, v, t, keyID), s.transfers.Delete(tx, t.ID))
	})
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		return nil, errors.Join(err, s.dropKey(ctx, keyID))
	}
	return t, s.dropKey(ctx, oldKey)
}

// offered is the transfer of that key, and its volume.
func (s *Service) offered(tx *record.Tx, id, authKey string) (*Transfer, *Volume, error) {
	t, err := s.transfers.Get(tx, id)
	if err != nil {
		return nil, nil, notFound(err, "Transfer %s could not be found.", id)
	}
	if !hmac.Equal(t.Hash, hashKey(t.Salt, authKey)) {
		return nil, nil, fault.Wrap(ErrInvalid, "Invalid auth key: Attempt to transfer %s with invalid auth key.", id)
	}
	v, err := s.volumes.Get(tx, t.VolumeID)
	return t, v, err
}

// handOver makes the volume, and the snapshots that go with it, the scope's, as far as its quota goes.
func (s *Service) handOver(tx *record.Tx, scope Scope, v *Volume, t *Transfer, keyID string) error {
	var snapshots []Snapshot
	var err error
	if !t.NoSnapshots {
		if snapshots, err = s.idleSnapshots(tx, v.ID); err != nil {
			return err
		}
	}
	if v.ProjectID != scope.ProjectID {
		name, err := s.typeName(tx, v.TypeID)
		if err != nil {
			return err
		}
		want := map[string]int{"volumes": 1, "gigabytes": v.SizeGiB, "snapshots": len(snapshots)}
		for i := range snapshots {
			want["gigabytes"] += snapshots[i].SizeGiB
		}
		if err := errors.Join(s.checkSize(tx, scope.ProjectID, v.SizeGiB), s.reserve(tx, scope.ProjectID, name, want)); err != nil {
			return err
		}
	}
	v.ProjectID, v.UserID, v.Status, v.UpdatedAt = scope.ProjectID, scope.UserID, Available, s.now()
	v.EncryptionKeyID = keyID
	if err := s.volumes.Update(tx, v); err != nil {
		return err
	}
	for i := range snapshots {
		p := &snapshots[i]
		p.ProjectID, p.UserID, p.UpdatedAt = scope.ProjectID, scope.UserID, s.now()
		if p.EncryptionKeyID != "" {
			p.EncryptionKeyID = keyID
		}
		if err := s.snapshots.Update(tx, p); err != nil {
			return err
		}
	}
	return nil
}

// Transfer returns a transfer.
func (s *Service) Transfer(ctx context.Context, scope Scope, id string) (*Transfer, error) {
	return s.visibleTransfer(s.store.Read(ctx), scope, id)
}

func (s *Service) visibleTransfer(tx *record.Tx, scope Scope, id string) (*Transfer, error) {
	t, err := s.transfers.Get(tx, id)
	if err == nil && !scope.sees(t.SourceProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Transfer %s could not be found.", id)
	}
	return t, nil
}

// Transfers lists transfers.
func (s *Service) Transfers(ctx context.Context, scope Scope, options ListOptions) ([]Transfer, error) {
	return find(s.store.Read(ctx), s.transfers, transferKeys, scope, options, nil)
}

// DeleteTransfer takes an offer back.
func (s *Service) DeleteTransfer(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		t, err := s.visibleTransfer(tx, scope, id)
		if err != nil {
			return err
		}
		v, err := s.volumes.Get(tx, t.VolumeID)
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case v.Status == AwaitingTransf:
			v.Status, v.UpdatedAt = Available, s.now()
			if err := s.volumes.Update(tx, v); err != nil {
				return err
			}
		}
		return s.transfers.Delete(tx, t.ID)
	})
}
