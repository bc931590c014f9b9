package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// CredentialFilter says which credentials to list; empty fields do not filter.
type CredentialFilter struct {
	Page
	UserID, Type string
}

// CreateCredential keeps a secret for a user. One of type "ec2" has the hash of its access key as identifier and
// belongs to a project, as in Keystone.
func (s *Service) CreateCredential(ctx context.Context, c Credential) (*Credential, error) {
	c.ID = newID()
	if c.Type == "" || c.Blob == "" {
		return nil, fault.Wrap(ErrInvalid, "A credential needs a type and a blob.")
	}
	if c.Type == "ec2" {
		access, err := accessKey(c.Blob)
		if err != nil {
			return nil, err
		}
		if c.ProjectID == "" {
			return nil, fault.Wrap(ErrInvalid, "A credential of type ec2 needs a project_id.")
		}
		c.ID = CredentialID(access)
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.users, "user", c.UserID); err != nil {
			return err
		}
		return duplicate(s.credentials.Insert(tx, &c), "credential", c.ID, "")
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// CredentialID is the identifier of the EC2 credential with that access key.
func CredentialID(access string) string {
	sum := sha256.Sum256([]byte(access))
	return hex.EncodeToString(sum[:])
}

func accessKey(blob string) (string, error) {
	var key struct{ Access string }
	if err := json.Unmarshal([]byte(blob), &key); err != nil || key.Access == "" {
		return "", fault.Wrap(ErrInvalid, "Invalid blob in credential: an ec2 credential's is a JSON object with access and secret.")
	}
	return key.Access, nil
}

// Credential returns the credential with that identifier.
func (s *Service) Credential(ctx context.Context, id string) (*Credential, error) {
	return get(s.store.Read(ctx), s.credentials, "credential", id)
}

// Credentials lists credentials.
func (s *Service) Credentials(ctx context.Context, f CredentialFilter) ([]Credential, error) {
	var w where
	w.text("user_id", f.UserID)
	w.text("type", f.Type)
	return s.credentials.List(s.store.Read(ctx), f.query(w))
}

// UpdateCredential lets change alter the credential; it may be called more than once. Its identifier stays.
func (s *Service) UpdateCredential(ctx context.Context, id string, change func(*Credential) error) (updated *Credential, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		c, err := get(tx, s.credentials, "credential", id)
		if err != nil {
			return err
		}
		if err := change(c); err != nil {
			return err
		}
		if c.ID = id; c.Type == "ec2" {
			if _, err := accessKey(c.Blob); err != nil {
				return err
			}
			if c.ProjectID == "" {
				return fault.Wrap(ErrInvalid, "A credential of type ec2 needs a project_id.")
			}
		}
		updated = c
		return s.credentials.Update(tx, c)
	})
	return updated, err
}

// DeleteCredential deletes the credential.
func (s *Service) DeleteCredential(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.credentials, "credential", id); err != nil {
			return err
		}
		return s.credentials.Delete(tx, id)
	})
}

// CreateDocument keeps a document; an empty ID means a random one.
func (s *Service) CreateDocument(ctx context.Context, d Document) (*Document, error) {
	if d.ID == "" {
		d.ID = newID()
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		return duplicate(s.documents.Insert(tx, &d), d.Kind, d.ID, "")
	})
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// Document returns the document of that kind with that identifier.
func (s *Service) Document(ctx context.Context, kind, id string) (*Document, error) {
	d, err := s.documents.Get(s.store.Read(ctx), kind+"/"+id)
	if isNotFound(err) {
		return nil, notFound(kind, id)
	}
	return d, err
}

// Documents lists the documents of a kind, or the owner's if that is not empty.
func (s *Service) Documents(ctx context.Context, kind, owner string) ([]Document, error) {
	w := where{record.Eq("kind", kind)}
	w.text("owner", owner)
	return s.documents.List(s.store.Read(ctx), record.Query{Where: w})
}

// UpdateDocument lets change alter the document; it may be called more than once.
func (s *Service) UpdateDocument(ctx context.Context, kind, id string, change func(*Document) error) (updated *Document, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		d, err := s.documents.Get(tx, kind+"/"+id)
		if isNotFound(err) {
			return notFound(kind, id)
		}
		if err != nil {
			return err
		}
		if err := change(d); err != nil {
			return err
		}
		d.ID, d.Kind, updated = id, kind, d
		return s.documents.Update(tx, d)
	})
	return updated, err
}

// DeleteDocument deletes the document.
func (s *Service) DeleteDocument(ctx context.Context, kind, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		err := s.documents.Delete(tx, kind+"/"+id)
		if isNotFound(err) {
			return notFound(kind, id)
		}
		return err
	})
}
