// Package identity says who may do what: domains, projects, users, groups, roles, tokens and the catalogue of services.
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
