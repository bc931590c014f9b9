package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// generatedPrefix marks the hashes of secrets that were made here: 64 random bytes need no slow hash, and programs
// that log in often are quick.
const generatedPrefix = "sha256:"

// AppCredFilter says which application credentials to list.
type AppCredFilter struct {
	Page
	UserID, Name string
}

// CreateApplicationCredential creates one and returns its secret, which cannot be asked for again. An empty secret
// means a random one. The user must have the roles on the project.
func (s *Service) CreateApplicationCredential(ctx context.Context, c ApplicationCredential, secret string, rules []AccessRule) (*ApplicationCredential, string, error) {
	c.ID = newID()
	if err := checkName("application credential", c.Name, userNameLength); err != nil {
		return nil, "", err
	}
	if !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(s.options.Now()) {
		return nil, "", fault.Wrap(ErrInvalid, "The application credential's expires_at is in the past.")
	}
	var err error
	if secret == "" {
		secret = NewSecret()
		c.SecretHash = generatedHash(secret)
	} else if c.SecretHash, err = s.hash(ctx, secret); err != nil {
		return nil, "", err
	}
	err = s.update(ctx, func(tx *record.Tx) error {
		if err := s.hasRoles(tx, c.UserID, c.ProjectID, c.RoleIDs); err != nil {
			return err
		}
		c.AccessRuleIDs = nil
		for _, rule := range rules {
			id, err := s.keepRule(tx, c.UserID, rule)
			if err != nil {
				return err
			}
			c.AccessRuleIDs = append(c.AccessRuleIDs, id)
		}
		return duplicate(s.appCreds.Insert(tx, &c), "application_credential", c.Name, "")
	})
	if err != nil {
		return nil, "", err
	}
	return &c, secret, nil
}

// NewSecret makes a random secret that can be typed.
func NewSecret() string {
	var raw [64]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func generatedHash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return generatedPrefix + hex.EncodeToString(sum[:])
}

// keepRule returns the user's rule that says the same, or keeps this one.
func (s *Service) keepRule(tx *record.Tx, userID string, rule AccessRule) (string, error) {
	if rule.ID != "" {
		known, err := get(tx, s.accessRules, "access rule", rule.ID)
		if err != nil || known.UserID != userID {
			return "", notFound("access rule", rule.ID)
		}
		return known.ID, nil
	}
	known, err := s.accessRules.List(tx, record.Query{Where: []record.Condition{record.Eq("user_id", userID)}})
	if err != nil {
		return "", err
	}
	for _, k := range known {
		if k.Service == rule.Service && k.Method == rule.Method && k.Path == rule.Path {
			return k.ID, nil
		}
	}
	rule.ID, rule.UserID = newID(), userID
	return rule.ID, s.accessRules.Insert(tx, &rule)
}

// ApplicationCredential returns the user's application credential with that identifier.
func (s *Service) ApplicationCredential(ctx context.Context, userID, id string) (*ApplicationCredential, error) {
	return s.appCred(s.store.Read(ctx), userID, id)
}

func (s *Service) appCred(tx *record.Tx, userID, id string) (*ApplicationCredential, error) {
	c, err := get(tx, s.appCreds, "application credential", id)
	if err == nil && c.UserID != userID {
		return nil, notFound("application credential", id)
	}
	return c, err
}

// ApplicationCredentials lists a user's application credentials, by name.
func (s *Service) ApplicationCredentials(ctx context.Context, f AppCredFilter) ([]ApplicationCredential, error) {
	w := where{record.Eq("user_id", f.UserID)}
	w.text("name", f.Name)
	return s.appCreds.List(s.store.Read(ctx), f.query(w, record.Order{Column: "name"}))
}

// DeleteApplicationCredential deletes one; its tokens end. Its access rules stay until they are deleted.
func (s *Service) DeleteApplicationCredential(ctx context.Context, userID, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := s.appCred(tx, userID, id); err != nil {
			return err
		}
		return s.appCreds.Delete(tx, id)
	})
}

// AccessRules lists a user's access rules.
func (s *Service) AccessRules(ctx context.Context, userID string) ([]AccessRule, error) {
	return s.accessRules.List(s.store.Read(ctx), record.Query{Where: []record.Condition{record.Eq("user_id", userID)}})
}

// AccessRule returns the user's access rule with that identifier.
func (s *Service) AccessRule(ctx context.Context, userID, id string) (*AccessRule, error) {
	return s.accessRule(s.store.Read(ctx), userID, id)
}

func (s *Service) accessRule(tx *record.Tx, userID, id string) (*AccessRule, error) {
	r, err := get(tx, s.accessRules, "access rule", id)
	if err == nil && r.UserID != userID {
		return nil, notFound("access rule", id)
	}
	return r, err
}

// DeleteAccessRule deletes a rule that no application credential has.
func (s *Service) DeleteAccessRule(ctx context.Context, userID, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := s.accessRule(tx, userID, id); err != nil {
			return err
		}
		creds, err := s.appCreds.List(tx, record.Query{Where: []record.Condition{record.Eq("user_id", userID)}})
		if err != nil {
			return err
		}
		for i := range creds {
			for _, used := range creds[i].AccessRuleIDs {
				if used == id {
					return fault.Wrap(ErrForbidden, "Access rule %s is still in use by an application credential.", id)
				}
			}
		}
		return s.accessRules.Delete(tx, id)
	})
}

// proveApplication hashes for an unknown credential too. A generated secret is told from an unknown credential by
// its time, which says no more than its identifier, itself random.
func (s *Service) proveApplication(ctx context.Context, proof *ApplicationCredentialProof) (*User, *ApplicationCredential, error) {
	tx := s.store.Read(ctx)
	c, err := s.findAppCred(tx, proof)
	if err != nil && !isNotFound(err) {
		return nil, nil, err
	}
	hash := ""
	if c != nil {
		hash = c.SecretHash
	}
	if len(hash) > len(generatedPrefix) && hash[:len(generatedPrefix)] == generatedPrefix {
		if subtle.ConstantTimeCompare([]byte(hash), []byte(generatedHash(proof.Secret))) != 1 {
			return nil, nil, unauthorized()
		}
	} else if good, err := s.verify(ctx, hash, proof.Secret); err != nil {
		return nil, nil, err
	} else if !good {
		return nil, nil, unauthorized()
	}
	if c, err = s.validAppCred(tx, c.ID); err != nil {
		return nil, nil, orUnauthorized(err)
	}
	u, err := s.liveUser(tx, c.UserID)
	if err != nil {
		return nil, nil, orUnauthorized(err)
	}
	return u, c, nil
}

func (s *Service) findAppCred(tx *record.Tx, proof *ApplicationCredentialProof) (*ApplicationCredential, error) {
	if proof.ID != "" {
		return get(tx, s.appCreds, "application credential", proof.ID)
	}
	u, err := s.findUser(tx, proof.User)
	if err != nil {
		return nil, fmt.Errorf("owner: %w", err)
	}
	return findNamed(tx, s.appCreds, "application credential", proof.Name, record.Eq("user_id", u.ID))
}

// validAppCred is there and has not expired.
func (s *Service) validAppCred(tx *record.Tx, id string) (*ApplicationCredential, error) {
	c, err := get(tx, s.appCreds, "application credential", id)
	if err == nil && !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(s.options.Now()) {
		return nil, notFound("application credential", id)
	}
	return c, err
}
