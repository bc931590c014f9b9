package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
)

// MethodEC2 is how a caller proved who it is whose requests are signed with an access key. A token with it is good for the
// key's project alone, also when it is renewed.
const MethodEC2 = "ec2credential"

// AccessKey is an EC2 credential, with whom it speaks for.
type AccessKey struct {
	Access, Secret string
	// Caller is the user in the credential's project, with the roles that it has there now.
	Caller Caller
}

// AccessKey returns the EC2 credential with that access key, for who checks signatures made with it. One that is not there
// is [ErrNotFound]; one whose user or project is disabled, or whose user has no role in the project any more, is
// [ErrUnauthorized].
func (s *Service) AccessKey(ctx context.Context, access string) (*AccessKey, error) {
	tx := s.store.Read(ctx)
	c, err := s.credentials.Get(tx, CredentialID(access))
	if isNotFound(err) || err == nil && c.Type != "ec2" {
		return nil, notFound("access key", access)
	}
	if err != nil {
		return nil, err
	}
	var pair struct{ Access, Secret string }
	if err := json.Unmarshal([]byte(c.Blob), &pair); err != nil || pair.Access != access || pair.Secret == "" {
		return nil, notFound("access key", access)
	}
	key := sha256.Sum256([]byte("ec2 credential " + c.ID))
	known, epoch := s.cache.get(key)
	if known == nil {
		now := s.options.Now()
		p := &payload{UserID: c.UserID, Methods: []string{MethodEC2}, Scope: Scope{ProjectID: c.ProjectID}, ExpiresAt: now.Add(s.options.TokenLifetime)}
		u, err := s.liveUser(tx, c.UserID)
		if err != nil {
			return nil, orUnauthorized(err)
		}
		p.UserGeneration = uint64(u.Generation) //nolint:gosec // counts from 1
		if known, err = s.describe(tx, p, now); err != nil {
			return nil, err
		}
		s.cache.put(key, known, epoch)
	}
	return &AccessKey{Access: access, Secret: pair.Secret, Caller: known.Caller}, nil
}

// SignatureLifetime is how long a signature is taken for a token: Keystone's default of [credential] auth_ttl.
const SignatureLifetime = 15 * time.Minute

// IssueToken issues a token to whoever signed something with the key, which the caller has checked: it speaks for the key's
// user in the key's project, and like any token outlives the key, but not its user or project. A signature older than
// [SignatureLifetime] is [ErrUnauthorized]; signedAt is zero where none was signed, and then nothing is too old.
func (s *Service) IssueToken(ctx context.Context, key *AccessKey, signedAt time.Time) (value string, token *Token, err error) {
	now := s.options.Now().UTC()
	if !signedAt.IsZero() && now.After(signedAt.Add(SignatureLifetime)) {
		return "", nil, fault.Wrap(ErrUnauthorized, "Credential is expired")
	}
	now = now.Truncate(time.Second)
	tx := s.store.Read(ctx)
	u, err := s.liveUser(tx, key.Caller.UserID)
	if err != nil {
		return "", nil, orUnauthorized(err)
	}
	p := &payload{
		UserID: u.ID, Methods: []string{MethodEC2}, Scope: Scope{ProjectID: key.Caller.ProjectID},
		UserGeneration: uint64(u.Generation), //nolint:gosec // counts from 1
		ExpiresAt:      now.Add(s.options.TokenLifetime), AuditIDs: []string{newAuditID()},
	}
	if token, err = s.describe(tx, p, now); err != nil {
		return "", nil, err
	}
	value, err = s.sealer.Seal(p.encode(), now)
	return value, token, err
}
