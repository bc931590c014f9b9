package keystone_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/catalog"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/credentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/domains"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/ec2credentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/endpoints"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/policies"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/regions"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/registeredlimits"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/services"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/trusts"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"
	"github.com/stretchr/testify/require"
)

// What gophercloud asks for, and with it OpenTofu and many controllers.

func TestGophercloudTokens(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	admin := c.admin()
	got := tokens.Get(ctx, admin, admin.TokenID)
	token, err := got.ExtractToken()
	require.NoError(t, err)
	require.Equal(t, admin.TokenID, token.ID)
	require.WithinDuration(t, time.Now().Add(time.Hour), token.ExpiresAt, time.Minute)
	user, err := got.ExtractUser()
	require.NoError(t, err)
	require.Equal(t, "admin", user.Name)
	require.Equal(t, "Default", user.Domain.Name)
	project, err := got.ExtractProject()
	require.NoError(t, err)
	require.Equal(t, "admin", project.Name)
	has, err := got.ExtractRoles()
	require.NoError(t, err)
	require.Len(t, has, 3)
	whole, err := got.ExtractServiceCatalog()
	require.NoError(t, err)
	require.Len(t, whole.Entries, 2)

	pages, err := catalog.List(admin).AllPages(ctx)
	require.NoError(t, err)
	entries, err := catalog.ExtractServiceCatalog(pages)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	ok, err := tokens.Validate(ctx, admin, admin.TokenID)
	require.NoError(t, err)
	require.True(t, ok)
	other := c.admin()
	require.NoError(t, tokens.Revoke(ctx, admin, other.TokenID).Err)
	ok, err = tokens.Validate(ctx, admin, other.TokenID)
	require.NoError(t, err)
	require.False(t, ok)

	_, err = c.tryClient(gophercloud.AuthOptions{Username: "admin", Password: "guess", DomainName: "Default"})
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusUnauthorized), err)
	unscoped := c.client(gophercloud.AuthOptions{Username: "admin", Password: password, DomainName: "Default"})
	byToken := c.client(gophercloud.AuthOptions{TokenID: unscoped.TokenID, Scope: &gophercloud.AuthScope{ProjectName: "admin", DomainName: "Default"}})
	require.NotEqual(t, unscoped.TokenID, byToken.TokenID)
	system := c.client(gophercloud.AuthOptions{Username: "admin", Password: password, DomainName: "Default", Scope: &gophercloud.AuthScope{System: true}})
	require.Equal(t, map[string]any{"all": true}, c.do("GET", "/v3/auth/tokens?nocatalog", system.TokenID, "", "X-Subject-Token", system.TokenID).at("token", "system"))
}

func TestGophercloudPeopleAndProjects(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	admin := c.admin()
	yes, no := true, false

	domain, err := domains.Create(ctx, admin, domains.CreateOpts{Name: "d", Description: "first"}).Extract()
	require.NoError(t, err)
	project, err := projects.Create(ctx, admin, projects.CreateOpts{Name: "p", DomainID: domain.ID, Tags: []string{"a", "b"}, Extra: map[string]any{"cost": "12"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, domain.ID, project.ParentID)
	require.Equal(t, "12", project.Extra["cost"])
	text := "changed"
	project, err = projects.Update(ctx, admin, project.ID, projects.UpdateOpts{Description: &text}).Extract()
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, project.Tags, "what is not in a PATCH stays")
	require.Equal(t, "12", project.Extra["cost"])
	pages, err := projects.List(admin, projects.ListOpts{Tags: "a", DomainID: domain.ID, Enabled: &yes}).AllPages(ctx)
	require.NoError(t, err)
	found, err := projects.ExtractProjects(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = projects.ModifyTags(ctx, admin, project.ID, projects.ModifyTagsOpts{Tags: []string{"c"}}).Extract()
	require.NoError(t, err)
	require.NoError(t, projects.DeleteTags(ctx, admin, project.ID).ExtractErr())

	user, err := users.Create(ctx, admin, users.CreateOpts{Name: "u", DomainID: domain.ID, Password: "one", DefaultProjectID: project.ID, Enabled: &yes, Extra: map[string]any{"email": "u@example.org"}}).Extract()
	require.NoError(t, err)
	require.Equal(t, "u@example.org", user.Extra["email"])
	group, err := groups.Create(ctx, admin, groups.CreateOpts{Name: "g", DomainID: domain.ID}).Extract()
	require.NoError(t, err)
	require.NoError(t, users.AddToGroup(ctx, admin, group.ID, user.ID).ExtractErr())
	in, err := users.IsMemberOfGroup(ctx, admin, group.ID, user.ID).Extract()
	require.NoError(t, err)
	require.True(t, in)
	pages, err = users.ListInGroup(admin, group.ID, nil).AllPages(ctx)
	require.NoError(t, err)
	inGroup, err := users.ExtractUsers(pages)
	require.NoError(t, err)
	require.Len(t, inGroup, 1)
	pages, err = users.ListGroups(admin, user.ID).AllPages(ctx)
	require.NoError(t, err)
	ofUser, err := groups.ExtractGroups(pages)
	require.NoError(t, err)
	require.Len(t, ofUser, 1)

	role := c.role("member")
	require.NoError(t, roles.Assign(ctx, admin, role, roles.AssignOpts{GroupID: group.ID, ProjectID: project.ID}).ExtractErr())
	require.NoError(t, roles.Validate(ctx, admin, role, roles.ValidateOpts{GroupID: group.ID, ProjectID: project.ID}).ExtractErr())
	pages, err = roles.ListAssignments(admin, roles.ListAssignmentsOpts{UserID: user.ID, Effective: &yes, IncludeNames: &yes}).AllPages(ctx)
	require.NoError(t, err)
	assigned, err := roles.ExtractRoleAssignments(pages)
	require.NoError(t, err)
	require.Len(t, assigned, 2, "member and, implied, reader")
	require.Equal(t, "u", assigned[0].User.Name)
	require.Equal(t, "d", assigned[0].Scope.Project.Domain.Name)
	pages, err = users.ListProjects(admin, user.ID).AllPages(ctx)
	require.NoError(t, err)
	found, err = projects.ExtractProjects(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)

	own := c.client(gophercloud.AuthOptions{UserID: user.ID, Password: "one"})
	pages, err = projects.ListAvailable(own).AllPages(ctx)
	require.NoError(t, err)
	found, err = projects.ExtractProjects(pages)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, users.ChangePassword(ctx, own, user.ID, users.ChangePasswordOpts{OriginalPassword: "one", Password: "two"}).ExtractErr())
	_, err = users.Get(ctx, own, user.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusUnauthorized), "its tokens ended")
	require.NoError(t, roles.Unassign(ctx, admin, role, roles.UnassignOpts{GroupID: group.ID, ProjectID: project.ID}).ExtractErr())

	require.True(t, gophercloud.ResponseCodeIs(domains.Delete(ctx, admin, domain.ID).Err, http.StatusForbidden))
	_, err = domains.Update(ctx, admin, domain.ID, domains.UpdateOpts{Enabled: &no}).Extract()
	require.NoError(t, err)
	require.NoError(t, domains.Delete(ctx, admin, domain.ID).ExtractErr())
	_, err = users.Get(ctx, admin, user.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound))
}

func TestGophercloudRoles(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	admin := c.admin()
	role, err := roles.Create(ctx, admin, roles.CreateOpts{Name: "r", Description: "d"}).Extract()
	require.NoError(t, err)
	role, err = roles.Update(ctx, admin, role.ID, roles.UpdateOpts{Name: "r2"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "d", role.Description)
	rule, err := roles.CreateRoleInferenceRule(ctx, admin, role.ID, c.role("reader")).Extract()
	require.NoError(t, err)
	require.Equal(t, "reader", rule.RoleInference.ImpliedRole.Name)
	_, err = roles.GetRoleInferenceRule(ctx, admin, role.ID, c.role("reader")).Extract()
	require.NoError(t, err)
	rules, err := roles.ListRoleInferenceRules(ctx, admin).Extract()
	require.NoError(t, err)
	require.Len(t, rules.RoleInferenceRuleList, 3)
	require.NoError(t, roles.DeleteRoleInferenceRule(ctx, admin, role.ID, c.role("reader")).ExtractErr())
	require.NoError(t, roles.Delete(ctx, admin, role.ID).ExtractErr())
	_, err = roles.Get(ctx, admin, role.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound))
}

func TestGophercloudCatalogue(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	admin := c.admin()
	service, err := services.Create(ctx, admin, services.CreateOpts{Type: "image", Extra: map[string]any{"name": "glance"}}).Extract()
	require.NoError(t, err)
	region, err := regions.Create(ctx, admin, regions.CreateOpts{ID: "west", Description: "w"}).Extract()
	require.NoError(t, err)
	endpoint, err := endpoints.Create(ctx, admin, endpoints.CreateOpts{Availability: gophercloud.AvailabilityPublic, Name: "e", Region: region.ID, URL: "http://127.0.0.1:9292/", ServiceID: service.ID}).Extract()
	require.NoError(t, err)
	endpoint, err = endpoints.Update(ctx, admin, endpoint.ID, endpoints.UpdateOpts{URL: "http://127.0.0.1:19292/"}).Extract()
	require.NoError(t, err)
	require.Equal(t, "west", endpoint.Region)
	require.True(t, gophercloud.ResponseCodeIs(regions.Delete(ctx, admin, region.ID).Err, http.StatusForbidden))
	require.NoError(t, services.Delete(ctx, admin, service.ID).ExtractErr())
	_, err = endpoints.Get(ctx, admin, endpoint.ID).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusNotFound), "endpoints go with their service")
	require.NoError(t, regions.Delete(ctx, admin, region.ID).ExtractErr())
}

func TestGophercloudSecrets(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	user, project, _ := c.member("m")
	other, _, _ := c.member("other")
	own := c.client(gophercloud.AuthOptions{UserID: user.ID, Password: password, TenantID: project.ID})

	app, err := applicationcredentials.Create(ctx, own, user.ID, applicationcredentials.CreateOpts{Name: "app", Roles: []applicationcredentials.Role{{Name: "reader"}}}).Extract()
	require.NoError(t, err)
	byApp := c.client(gophercloud.AuthOptions{ApplicationCredentialID: app.ID, ApplicationCredentialSecret: app.Secret})
	_, err = applicationcredentials.Create(ctx, byApp, user.ID, applicationcredentials.CreateOpts{Name: "child"}).Extract()
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusForbidden), "restricted")
	shown, err := applicationcredentials.Get(ctx, own, user.ID, app.ID).Extract()
	require.NoError(t, err)
	require.Empty(t, shown.Secret)
	require.NoError(t, applicationcredentials.Delete(ctx, own, user.ID, app.ID).ExtractErr())
	_, err = c.tryClient(gophercloud.AuthOptions{ApplicationCredentialID: app.ID, ApplicationCredentialSecret: app.Secret})
	require.True(t, gophercloud.ResponseCodeIs(err, http.StatusUnauthorized))

	expires := time.Now().Add(time.Hour)
	trust, err := trusts.Create(ctx, own, trusts.CreateOpts{
		TrustorUserID: user.ID, TrusteeUserID: other.ID, ProjectID: project.ID, Impersonation: true, ExpiresAt: &expires,
		Roles: []trusts.Role{{Name: "member"}},
	}).Extract()
	require.NoError(t, err)
	require.Len(t, trust.Roles, 1)
	byTrust := c.do("POST", "/v3/auth/tokens", "", `{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "`+other.ID+`", "password": "secret"}}}, "scope": {"OS-TRUST:trust": {"id": "`+trust.ID+`"}}}}`)
	require.Equal(t, 201, byTrust.status, byTrust.text)
	require.Equal(t, user.ID, byTrust.at("token", "user", "id"))
	require.Equal(t, other.ID, byTrust.at("token", "OS-TRUST:trust", "trustee_user", "id"))
	require.NoError(t, trusts.CheckRole(ctx, own, trust.ID, c.role("member")).ExtractErr())
	require.NoError(t, trusts.Delete(ctx, own, trust.ID).ExtractErr())

	ec2, err := ec2credentials.Create(ctx, own, user.ID, ec2credentials.CreateOpts{TenantID: project.ID}).Extract()
	require.NoError(t, err)
	same, err := ec2credentials.Get(ctx, own, user.ID, ec2.Access).Extract()
	require.NoError(t, err)
	require.Equal(t, ec2.Secret, same.Secret)
	pages, err := credentials.List(own, nil).AllPages(ctx)
	require.NoError(t, err)
	kept, err := credentials.ExtractCredentials(pages)
	require.NoError(t, err)
	require.Len(t, kept, 1, "it is a credential too")
	require.NoError(t, ec2credentials.Delete(ctx, own, user.ID, ec2.Access).ExtractErr())
}

func TestGophercloudDocuments(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	admin := c.admin()
	policy, err := policies.Create(ctx, admin, policies.CreateOpts{Type: "application/json", Blob: []byte(`{"a": "b"}`)}).Extract()
	require.NoError(t, err)
	policy, err = policies.Update(ctx, admin, policy.ID, policies.UpdateOpts{Type: "text/plain"}).Extract()
	require.NoError(t, err)
	require.Equal(t, `{"a": "b"}`, policy.Blob)
	require.NoError(t, policies.Delete(ctx, admin, policy.ID).ExtractErr())

	found, err := c.service.CatalogServices(ctx, serviceFilter("identity"))
	require.NoError(t, err)
	registered, err := registeredlimits.BatchCreate(ctx, admin, registeredlimits.BatchCreateOpts{{ServiceID: found[0].ID, ResourceName: "things", DefaultLimit: 3}}).Extract()
	require.NoError(t, err)
	require.Len(t, registered, 1)
	_, project, token := c.member("m")
	created, err := limits.BatchCreate(ctx, admin, limits.BatchCreateOpts{
		{ServiceID: found[0].ID, ResourceName: "things", ResourceLimit: 5, ProjectID: project.ID},
		{ServiceID: found[0].ID, ResourceName: "things", ResourceLimit: 6, ProjectID: "another"},
	}).Extract()
	require.NoError(t, err)
	require.Len(t, created, 2)
	mine := c.do("GET", "/v3/limits", token, "")
	require.Len(t, mine.at("limits"), 1, "its own alone")
	model, err := limits.GetEnforcementModel(ctx, admin).Extract()
	require.NoError(t, err)
	require.Equal(t, "flat", model.Name)
}
