package identity

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// Validate says who a token speaks for. An unknown, expired or revoked one is [ErrUnauthorized].
func (s *Service) Validate(ctx context.Context, token string) (*Caller, error) {
	t, err := s.Inspect(ctx, token)
	if err != nil {
		return nil, err
	}
	caller := t.Caller
	return &caller, nil
}

// Inspect says all that a token says. What it returns is shared and must not be changed. An unknown, expired or
// revoked token is [ErrUnauthorized].
func (s *Service) Inspect(ctx context.Context, token string) (*Token, error) {
	key := sha256.Sum256([]byte(token))
	known, epoch := s.cache.get(key)
	if known != nil {
		return known, nil
	}
	message, sealedAt, err := s.sealer.Open(token)
	if err != nil {
		return nil, unauthorized()
	}
	p, err := decodePayload(message)
	if err != nil {
		return nil, unauthorized()
	}
	tx := s.store.Read(ctx)
	if _, err := s.revocations.Get(tx, p.AuditIDs[0]); err == nil {
		return nil, unauthorized()
	} else if !isNotFound(err) {
		return nil, err
	}
	t, err := s.describe(tx, p, sealedAt)
	if err != nil {
		return nil, err
	}
	s.cache.put(key, t, epoch)
	return t, nil
}

// describe fills a payload with names and roles as they are now, and refuses it where they no longer let it be:
// the generations that are zero are set, so that issuing and validating ask the same questions.
func (s *Service) describe(tx *record.Tx, p *payload, issued time.Time) (*Token, error) {
	if !s.options.Now().Before(p.ExpiresAt) {
		return nil, unauthorized()
	}
	t := &Token{Caller: Caller{Methods: p.Methods, AuditIDs: p.AuditIDs, IssuedAt: issued.UTC(), ExpiresAt: p.ExpiresAt}}
	holder, err := s.liveUser(tx, p.UserID)
	if err != nil {
		return nil, orUnauthorized(err)
	}
	if p.UserGeneration != uint64(holder.Generation) { //nolint:gosec // counts from 1
		return nil, unauthorized()
	}
	acting, err := s.acting(tx, p, t, holder)
	if err != nil {
		return nil, orUnauthorized(err)
	}
	domain, err := s.liveDomain(tx, acting.DomainID)
	if err != nil {
		return nil, orUnauthorized(err)
	}
	t.UserID, t.UserName = acting.ID, acting.Name
	t.UserDomainID, t.UserDomainName = domain.ID, domain.Name
	if err := s.describeScope(tx, p, t); err != nil {
		return nil, orUnauthorized(err)
	}
	return t, nil
}

// acting is the user in whose name the holder of the token acts: with a trust perhaps another.
func (s *Service) acting(tx *record.Tx, p *payload, t *Token, holder *User) (*User, error) {
	var err error
	if p.AppID != "" {
		if t.ApplicationCredential, err = s.validAppCred(tx, p.AppID); err != nil {
			return nil, err
		}
	}
	if p.TrustID == "" {
		return holder, nil
	}
	// Remaining uses were spent when the token was issued.
	if t.Trust, err = s.liveTrust(tx, p.TrustID); err != nil {
		return nil, err
	}
	trustor, err := s.liveUser(tx, t.Trust.TrustorID)
	if err != nil {
		return nil, err
	}
	if t.Trust.Impersonation {
		return trustor, nil
	}
	return holder, nil
}

func (s *Service) describeScope(tx *record.Tx, p *payload, t *Token) error {
	generation := int64(0)
	switch {
	case p.Scope.Unscoped():
		return nil
	case p.Scope.ProjectID != "":
		project, err := s.projects.Get(tx, p.Scope.ProjectID)
		if err != nil {
			return err
		}
		t.ProjectID, t.ProjectName, generation = project.ID, project.Name, project.Generation
		if t.IsDomain = project.IsDomain; !t.IsDomain {
			domain, err := s.liveDomain(tx, project.DomainID)
			if err != nil {
				return err
			}
			t.ProjectDomainID, t.ProjectDomainName = domain.ID, domain.Name
		}
		if project.Disabled {
			return unauthorized()
		}
	case p.Scope.DomainID != "":
		domain, err := s.liveDomain(tx, p.Scope.DomainID)
		if err != nil {
			return err
		}
		t.DomainID, t.DomainName, generation = domain.ID, domain.Name, domain.Generation
	default:
		t.System = true
	}
	if p.ScopeGeneration == 0 {
		p.ScopeGeneration = uint64(generation) //nolint:gosec // counts from 1
	}
	if p.ScopeGeneration != uint64(generation) { //nolint:gosec // counts from 1
		return unauthorized()
	}
	roles, err := s.tokenRoles(tx, p, t)
	if err == nil && len(roles) == 0 {
		return unauthorized()
	}
	t.Roles = roles
	return err
}

// tokenRoles are the user's in the scope; those of a trust or an application credential only if its giver still has
// them all.
func (s *Service) tokenRoles(tx *record.Tx, p *payload, t *Token) ([]Role, error) {
	giver, only := p.UserID, []string(nil)
	switch {
	case t.Trust != nil:
		giver, only = t.Trust.TrustorID, t.Trust.RoleIDs
	case t.ApplicationCredential != nil:
		only = t.ApplicationCredential.RoleIDs
	}
	roles, err := s.rolesOn(tx, giver, p.Scope)
	if err != nil || only == nil {
		return roles, err
	}
	for _, id := range only {
		if !slices.ContainsFunc(roles, func(r Role) bool { return r.ID == id }) {
			return nil, unauthorized()
		}
	}
	return s.resolve(tx, only)
}

func (s *Service) liveUser(tx *record.Tx, id string) (*User, error) {
	u, err := s.users.Get(tx, id)
	if err == nil && u.Disabled {
		return nil, unauthorized()
	}
	return u, err
}

func (s *Service) liveDomain(tx *record.Tx, id string) (*Project, error) {
	d, err := s.domain(tx, id)
	if err == nil && d.Disabled {
		return nil, unauthorized()
	}
	return d, err
}

// orUnauthorized hides which part of a token is gone.
func orUnauthorized(err error) error {
	if isNotFound(err) {
		return unauthorized()
	}
	return err
}
