package cloud

import (
	"context"
	"encoding/json"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/objectstore"
	"github.com/kintoun/kintoun/objectstore/s3"
)

// s3Keys are the EC2 credentials that users made with the identity service: whoever signs with one has its user's roles on
// its project.
type s3Keys struct{ identity *identity.Service }

var _ s3.Keys = s3Keys{}

func (k s3Keys) Key(ctx context.Context, access string) (s3.Key, error) {
	credential, err := k.identity.Credential(ctx, identity.CredentialID(access))
	if err != nil {
		return s3.Key{}, err
	}
	var pair struct{ Access, Secret string }
	if err := json.Unmarshal([]byte(credential.Blob), &pair); err != nil || pair.Access != access || credential.Type != "ec2" {
		return s3.Key{}, objectstore.ErrNotFound
	}
	user, err := k.identity.User(ctx, credential.UserID)
	if err != nil {
		return s3.Key{}, err
	}
	project, err := k.identity.Project(ctx, credential.ProjectID)
	if err != nil {
		return s3.Key{}, err
	}
	if !user.Enabled || !project.Enabled {
		return s3.Key{}, objectstore.ErrNotFound
	}
	roles, err := k.identity.RolesOn(ctx, user.ID, identity.Scope{ProjectID: project.ID})
	if err != nil {
		return s3.Key{}, err
	}
	caller := objectstore.Caller{UserID: user.ID, UserName: user.Name, ProjectID: project.ID, ProjectName: project.Name}
	for _, role := range roles {
		caller.Roles = append(caller.Roles, role.Name)
	}
	return s3.Key{Secret: pair.Secret, Caller: caller}, nil
}
