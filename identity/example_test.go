package identity_test

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/identity/fernet"
	"github.com/kintoun/kintoun/internal/sqlitedb"
)

func Example() {
	ctx := context.Background()
	db, err := sqlitedb.Memory(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()
	service, err := identity.New(ctx, db, fernet.New(nil), &identity.Options{BcryptCost: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := service.Bootstrap(ctx, identity.BootstrapSpec{AdminPassword: "secret"}); err != nil {
		fmt.Println(err)
		return
	}
	token, _, err := service.Authenticate(ctx, identity.AuthRequest{
		Password: &identity.PasswordProof{User: identity.UserRef{Name: "admin", DomainID: identity.DefaultDomainID}, Password: "secret"},
		Scope:    &identity.ScopeRequest{Project: &identity.ProjectRef{Name: "admin", DomainID: identity.DefaultDomainID}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	caller, err := service.Validate(ctx, token)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(caller.UserName, "on", caller.ProjectName, "is admin:", caller.IsAdmin())
	// Output: admin on admin is admin: true
}
