// Package identity says who may do what: domains, projects, users, groups, roles, tokens and the catalogue of services.
//
// A [Service] keeps them in a *sql.DB and needs nothing else of the host. Tokens are not kept: they are sealed (see
// [Sealer]) and say who, where and until when; what their user may do is looked up anew whenever something has
// changed, so that a deleted or disabled user or project, a new password or a role taken away ends them at once.
// [Service.Validate] is what all other services ask, and answers from memory while nothing changes.
//
// A whole program: examples/keystoneauth, an HTTP service of one's own behind Keystone's tokens.
//
// Errors are of the kinds below. Whatever is wrong with a log-in or a token is the same [ErrUnauthorized].
// Everything here is safe for concurrent use.
package identity

import "github.com/kintoun/kintoun/internal/fault"

// The kinds of error that this package returns, wrapped with what and which.
var (
	ErrNotFound     = fault.ErrNotFound
	ErrConflict     = fault.ErrConflict
	ErrInvalid      = fault.ErrInvalid
	ErrForbidden    = fault.ErrForbidden
	ErrUnauthorized = fault.ErrUnauthorized
)

// Role is a name for what its bearers may do.
type Role struct {
	ID, Name string
	// DomainID is the domain that the role belongs to; empty for a global role.
	DomainID    string
	Description string
	Revision    int64 `json:",omitempty"`
}
