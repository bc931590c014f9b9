package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// The ways to prove who one is.
const (
	MethodPassword              = "password"
	MethodToken                 = "token"
	MethodApplicationCredential = "application_credential"
)

// UserRef names a user by identifier, or by name and domain.
type UserRef struct {
	ID, Name             string
	DomainID, DomainName string
}

// ProjectRef names a project by identifier, or by name and domain.
type ProjectRef UserRef

// AuthRequest asks for a token.
type AuthRequest struct {
	// Password, Token and ApplicationCredential are proofs; all that are there must hold and name the same user.
	Password              *PasswordProof
	Token                 string
	ApplicationCredential *ApplicationCredentialProof
	// Scope is what the token shall be good for; nil means the user's default project, if it may, else nothing.
	Scope *ScopeRequest
}

// PasswordProof is a user's password.
type PasswordProof struct {
	User     UserRef
	Password string
}

// ApplicationCredentialProof is an application credential's secret. User is needed where it is known by name.
type ApplicationCredentialProof struct {
	ID, Name string
	User     UserRef
	Secret   string
}

// ScopeRequest names one scope; with none of its fields it asks for an unscoped token.
type ScopeRequest struct {
	Project *ProjectRef
	// DomainID or DomainName.
	DomainID, DomainName string
	System               bool
	TrustID              string
}

// Token is what a valid token says.
type Token struct {
	Caller
	// IsDomain says that the project of the scope is a domain.
	IsDomain              bool
	Trust                 *Trust
	ApplicationCredential *ApplicationCredential
}

// proven is a user that has shown who it is.
type proven struct {
	user    *User
	methods []string
	// parent is the token that it was shown with; nil otherwise.
	parent *Token
	app    *ApplicationCredential
}

// Authenticate issues a token. Whatever is wrong with the proof or the scope is the same [ErrUnauthorized].
func (s *Service) Authenticate(ctx context.Context, request AuthRequest) (value string, token *Token, err error) {
	who, err := s.prove(ctx, request)
	if err != nil {
		return "", nil, err
	}
	now := s.options.Now().UTC().Truncate(time.Second)
	p := &payload{
		UserID: who.user.ID, Methods: who.methods, UserGeneration: uint64(who.user.Generation), //nolint:gosec // counts from 1
		ExpiresAt: now.Add(s.options.TokenLifetime), AuditIDs: []string{newAuditID()},
	}
	if who.parent != nil {
		p.ExpiresAt = who.parent.ExpiresAt
		p.AuditIDs = append(p.AuditIDs, who.parent.AuditIDs[len(who.parent.AuditIDs)-1])
	}
	if err := s.chooseScope(ctx, p, who, request.Scope); err != nil {
		return "", nil, err
	}
	token, err = s.describe(s.store.Read(ctx), p, now)
	if err != nil {
		return "", nil, err
	}
	if err := s.useTrust(ctx, p.TrustID); err != nil {
		return "", nil, err
	}
	value, err = s.sealer.Seal(p.encode(), now)
	return value, token, err
}

func newAuditID() string {
	var raw [auditLength]byte
	_, _ = rand.Read(raw[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func (s *Service) prove(ctx context.Context, request AuthRequest) (who proven, err error) {
	agree := func(u *User) error {
		if who.user != nil && who.user.ID != u.ID {
			return unauthorized()
		}
		who.user = u
		return nil
	}
	if request.Token != "" {
		parent, err := s.Inspect(ctx, request.Token)
		if err != nil {
			return who, unauthorized()
		}
		if parent.Trust != nil {
			return who, fault.Wrap(ErrForbidden, "You are not authorized to perform the requested action: rescope a token that a trust issued.")
		}
		u, err := s.User(ctx, parent.UserID)
		if err != nil {
			return who, unauthorized()
		}
		who.parent, who.user, who.app = parent, u, parent.ApplicationCredential
		who.methods = append([]string{MethodToken}, parent.Methods...)
	}
	if request.Password != nil {
		u, err := s.provePassword(ctx, request.Password)
		if err != nil {
			return who, err
		}
		if err := agree(u); err != nil {
			return who, err
		}
		who.methods = append(who.methods, MethodPassword)
	}
	if request.ApplicationCredential != nil {
		u, app, err := s.proveApplication(ctx, request.ApplicationCredential)
		if err != nil {
			return who, err
		}
		if err := agree(u); err != nil {
			return who, err
		}
		who.app = app
		who.methods = append(who.methods, MethodApplicationCredential)
	}
	if who.user == nil {
		return who, unauthorized()
	}
	slices.Sort(who.methods)
	who.methods = slices.Compact(who.methods)
	return who, nil
}

func (s *Service) provePassword(ctx context.Context, proof *PasswordProof) (*User, error) {
	tx := s.store.Read(ctx)
	u, err := s.findUser(tx, proof.User)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	hash := ""
	if u != nil {
		hash = u.PasswordHash
	}
	good, err := s.verify(ctx, hash, proof.Password)
	if err != nil {
		return nil, err
	}
	if !good || u.Disabled {
		return nil, unauthorized()
	}
	return u, nil
}

func (s *Service) findUser(tx *record.Tx, ref UserRef) (*User, error) {
	if ref.ID != "" {
		return get(tx, s.users, "user", ref.ID)
	}
	domain, err := s.findDomain(tx, ref.DomainID, ref.DomainName)
	if err != nil {
		return nil, err
	}
	return findNamed(tx, s.users, "user", ref.Name, record.Eq("domain_id", domain.ID))
}

func (s *Service) findDomain(tx *record.Tx, id, name string) (*Project, error) {
	if id != "" {
		return s.domain(tx, id)
	}
	return findNamed(tx, s.projects, "domain", name, record.Eq("is_domain", true))
}

func (s *Service) findProject(tx *record.Tx, ref ProjectRef) (*Project, error) {
	if ref.ID != "" {
		return get(tx, s.projects, "project", ref.ID)
	}
	domain, err := s.findDomain(tx, ref.DomainID, ref.DomainName)
	if err != nil {
		return nil, err
	}
	return findNamed(tx, s.projects, "project", ref.Name, record.Eq("domain_id", domain.ID))
}

func findNamed[T any](tx *record.Tx, table *record.Table[T], what, name string, within record.Condition) (*T, error) {
	found, err := table.List(tx, record.Query{Where: []record.Condition{record.Eq("name", name), within}, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, notFound(what, name)
	}
	return &found[0], nil
}

// chooseScope turns the wish into a scope. Whether the user may have it is for describe to say.
func (s *Service) chooseScope(ctx context.Context, p *payload, who proven, wish *ScopeRequest) error {
	if who.app != nil {
		// An application credential has its project, and no other.
		if wish != nil && (wish.Project == nil || wish.Project.ID != who.app.ProjectID) {
			return unauthorized()
		}
		p.AppID, p.Scope.ProjectID = who.app.ID, who.app.ProjectID
		return nil
	}
	if slices.Contains(who.methods, MethodEC2) {
		// Nor has an access key.
		if wish != nil && (wish.Project == nil || wish.Project.ID != who.parent.ProjectID) {
			return unauthorized()
		}
		p.Scope.ProjectID = who.parent.ProjectID
		return nil
	}
	tx := s.store.Read(ctx)
	if wish == nil {
		return s.defaultScope(tx, p, who.user)
	}
	var err error
	switch {
	case wish.Project != nil:
		var project *Project
		if project, err = s.findProject(tx, *wish.Project); err == nil {
			p.Scope.ProjectID = project.ID
		}
	case wish.DomainID != "" || wish.DomainName != "":
		var domain *Project
		if domain, err = s.findDomain(tx, wish.DomainID, wish.DomainName); err == nil {
			p.Scope.DomainID = domain.ID
		}
	case wish.System:
		p.Scope.System = true
	case wish.TrustID != "":
		err = s.trustScope(tx, p, who, wish.TrustID)
	}
	if isNotFound(err) {
		return unauthorized()
	}
	return err
}

func (s *Service) trustScope(tx *record.Tx, p *payload, who proven, id string) error {
	trust, err := s.validTrust(tx, id)
	if err != nil {
		return err
	}
	if trust.TrusteeID != who.user.ID {
		return fault.Wrap(ErrForbidden, "You are not authorized to perform the requested action: use another user's trust.")
	}
	p.TrustID, p.Scope.ProjectID = trust.ID, trust.ProjectID
	return nil
}

// defaultScope is the user's default project where it has a role there, else none.
func (s *Service) defaultScope(tx *record.Tx, p *payload, u *User) error {
	if u.DefaultProjectID == "" {
		return nil
	}
	project, err := s.projects.Get(tx, u.DefaultProjectID)
	if isNotFound(err) || err == nil && project.Disabled {
		return nil
	}
	if err != nil {
		return err
	}
	roles, err := s.rolesOn(tx, u.ID, Scope{ProjectID: project.ID})
	if len(roles) > 0 {
		p.Scope.ProjectID = project.ID
	}
	return err
}

// Revoke ends one token. The others of its user go on.
func (s *Service) Revoke(ctx context.Context, value string) error {
	token, err := s.Inspect(ctx, value)
	if err != nil {
		return err
	}
	now := s.options.Now()
	return s.update(ctx, func(tx *record.Tx) error {
		old := record.Lt("expires_at", now.UTC().Format(time.RFC3339))
		if err := deleteAll(tx, s.revocations, func(r *revocation) string { return r.AuditID }, old); err != nil {
			return err
		}
		if _, err := s.revocations.Get(tx, token.AuditIDs[0]); !isNotFound(err) {
			return err
		}
		return s.revocations.Insert(tx, &revocation{AuditID: token.AuditIDs[0], ExpiresAt: token.ExpiresAt})
	})
}
