// Package identity says who may do what: domains, projects, users, groups, roles, tokens and the catalogue of services,
// with the meaning that OpenStack's Identity API v3 gives them.
//
//	service, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 4})
//	if err := service.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: "secret"}); err != nil {
//		fmt.Println(err)
//		return
//	}
//	token, _, err := service.Authenticate(ctx, identity.AuthRequest{
//		Password: &identity.PasswordProof{User: identity.UserRef{Name: "admin", DomainID: identity.DefaultDomainID}, Password: "secret"},
//	})
//	caller, err := service.Validate(ctx, token)
//
// (Tests have a BcryptCost of 4; the default is the standard's.) Tokens are not kept: they are sealed (see [Sealer])
// and say who, where and until when; what their user may do is looked up anew whenever something has changed, so that a
// deleted or disabled user or project, a new password or a role taken away ends them at once. [Service.Validate] is
// what all other services ask, and answers from memory while nothing changes. A whole program: examples/keystoneauth,
// an HTTP service of one's own behind Keystone's tokens.
//
// # What it needs
//
// A *sql.DB of SQLite or PostgreSQL, opened as [New] says, whose tables with names in "identity_" it makes and
// migrates, and a [Sealer] such as package fernet. Of the host it needs nothing.
//
// # What it does not do
//
// It does not speak HTTP (package keystone does) and does not ask elsewhere: users and passwords are its own, there is
// no LDAP and no federation. It limits no rate of log-ins; put that before it.
//
// # Errors
//
// Errors wrap the kinds below, found with errors.Is. Whatever is wrong with a log-in or a token is the same
// [ErrUnauthorized], so that nobody learns which users there are; what a caller may not do is [ErrForbidden]. Other
// errors are the database's.
//
// # Concurrency
//
// Everything here is safe for concurrent use. Several services may share one database and keys: [Service.Run] has each
// hear of the others' changes at once; without it, a token may be believed for [Options.CacheTTL], 5 s, after another
// process ended it.
//
// # When the process ends
//
// Nothing is lost: tokens stay good until they expire, if the keys do (package fernet keeps them in a directory).
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
