package identity

import (
	"context"
	"slices"
	"time"
)

// Caller is who makes a request, and in whose name: what a valid token says.
type Caller struct {
	UserID, UserName             string
	UserDomainID, UserDomainName string
	// ProjectID is the project that the token is scoped to; empty for other scopes.
	ProjectID, ProjectName             string
	ProjectDomainID, ProjectDomainName string
	// DomainID is the domain that the token is scoped to; empty for other scopes.
	DomainID, DomainName string
	// System says that the token is scoped to the whole system.
	System bool
	Roles  []Role
	// Methods are how the user proved who it is ("password", "token").
	Methods             []string
	AuditIDs            []string
	IssuedAt, ExpiresAt time.Time
}

// RoleAdmin is the name of the role that may do everything.
const RoleAdmin = "admin"

// HasRole says whether the caller has the role of that name in the token's scope.
func (c *Caller) HasRole(name string) bool {
	return slices.ContainsFunc(c.Roles, func(r Role) bool { return r.Name == name })
}

// RoleNames are the names of the caller's roles.
func (c *Caller) RoleNames() []string {
	names := make([]string, len(c.Roles))
	for i, role := range c.Roles {
		names[i] = role.Name
	}
	return names
}

// IsAdmin says whether the caller may act on every project.
func (c *Caller) IsAdmin() bool { return c.HasRole(RoleAdmin) }

// Authenticator turns a token into the caller that it speaks for. An unknown, expired or revoked token is
// [ErrUnauthorized]. [Service] is one; a test may bring its own.
type Authenticator interface {
	// Validate returns whom the token speaks for, now; the Caller is shared and must not be changed.
	Validate(ctx context.Context, token string) (*Caller, error)
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller that the context carries, or nil.
func CallerFrom(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
