package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
)

// The names that [Service.Bootstrap] uses, besides [RoleAdmin].
const (
	AdminUser    = "admin"
	AdminProject = "admin"
	RoleMember   = "member"
	RoleReader   = "reader"
)

// BootstrapSpec is what an empty identity service needs to be told.
type BootstrapSpec struct {
	// AdminPassword is given to the user admin when it is created. An admin that exists keeps the one it has.
	AdminPassword string
	// AdminPasswordRandom says that it was drawn from at least 128 random bits, so that checking it need not be slow.
	AdminPasswordRandom bool
	// Region is the one that the endpoints stand in; empty is RegionOne.
	Region   string
	Services []BootstrapService
}

// BootstrapService is one API of the cloud and where it is found.
type BootstrapService struct {
	// Type is as in the Service Types Authority: identity, compute, network.
	Type, Name, Description string
	// Public is the address for clients; empty Internal and Admin mean the same one.
	Public, Internal, Admin string
}

// Bootstrap makes sure of what a cloud starts with, as keystone-manage bootstrap does: the default domain, the
// project and the user admin with the role admin there and on the system, the roles admin, member and reader (each
// implying the next), service and ResellerAdmin, the region, and the catalogue. It can be called at every start:
// what is there stays, but for the catalogue's addresses, which become those of the spec.
func (s *Service) Bootstrap(ctx context.Context, spec BootstrapSpec) error {
	if spec.Region == "" {
		spec.Region = "RegionOne"
	}
	if _, err := s.Domain(ctx, DefaultDomainID); isNotFound(err) {
		_, err = s.createProject(ctx, DefaultDomainID, ProjectSpec{Name: "Default", Description: "The default domain", IsDomain: true})
		if ignoreConflict(err) != nil {
			return fmt.Errorf("default domain: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := s.bootstrapAdmin(ctx, spec); err != nil {
		return err
	}
	if _, err := s.Region(ctx, spec.Region); isNotFound(err) {
		if _, err := s.CreateRegion(ctx, Region{ID: spec.Region}); ignoreConflict(err) != nil {
			return fmt.Errorf("region %s: %w", spec.Region, err)
		}
	} else if err != nil {
		return err
	}
	for _, service := range spec.Services {
		if err := s.bootstrapService(ctx, spec.Region, service); err != nil {
			return fmt.Errorf("catalogue of %s: %w", service.Type, err)
		}
	}
	return nil
}

// ignoreConflict forgives that another process, started at the same time, was first.
func ignoreConflict(err error) error {
	if errors.Is(err, fault.ErrConflict) {
		return nil
	}
	return err
}

func (s *Service) bootstrapAdmin(ctx context.Context, spec BootstrapSpec) error {
	roles := map[string]string{}
	for _, name := range []string{RoleAdmin, RoleMember, RoleReader, "service", "ResellerAdmin"} {
		id, err := s.ensureRole(ctx, name)
		if err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
		roles[name] = id
	}
	for prior, implied := range map[string]string{RoleAdmin: RoleMember, RoleMember: RoleReader} {
		if err := s.ensure(s.Implies(ctx, roles[prior], roles[implied]), func() error {
			return s.Imply(ctx, roles[prior], roles[implied])
		}); err != nil {
			return err
		}
	}
	project, err := s.ensureAdminProject(ctx)
	if err != nil {
		return fmt.Errorf("project %s: %w", AdminProject, err)
	}
	user, err := s.ensureAdminUser(ctx, spec)
	if err != nil {
		return fmt.Errorf("user %s: %w", AdminUser, err)
	}
	for _, a := range []Assignment{
		{RoleID: roles[RoleAdmin], UserID: user, ProjectID: project},
		{RoleID: roles[RoleAdmin], UserID: user, System: true},
	} {
		if err := s.ensure(s.Assigned(ctx, a), func() error { return s.Assign(ctx, a) }); err != nil {
			return err
		}
	}
	return nil
}

// ensure calls make where what was looked for was not found.
func (s *Service) ensure(err error, create func() error) error {
	if isNotFound(err) {
		return ignoreConflict(create())
	}
	return err
}

func (s *Service) ensureRole(ctx context.Context, name string) (string, error) {
	for {
		found, err := s.Roles(ctx, RoleFilter{Name: name})
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0].ID, nil
		}
		if _, err := s.CreateRole(ctx, Role{Name: name}); ignoreConflict(err) != nil {
			return "", err
		}
	}
}

func (s *Service) ensureAdminProject(ctx context.Context) (string, error) {
	for {
		found, err := s.Projects(ctx, ProjectFilter{Name: AdminProject, DomainID: DefaultDomainID})
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0].ID, nil
		}
		spec := ProjectSpec{Name: AdminProject, Description: "The administrators' project", DomainID: DefaultDomainID}
		if _, err := s.CreateProject(ctx, spec); ignoreConflict(err) != nil {
			return "", err
		}
	}
}

func (s *Service) ensureAdminUser(ctx context.Context, spec BootstrapSpec) (string, error) {
	for {
		found, err := s.Users(ctx, UserFilter{Name: AdminUser, DomainID: DefaultDomainID})
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0].ID, nil
		}
		if spec.AdminPassword == "" {
			return "", fault.Wrap(ErrInvalid, "the first start needs a password for it")
		}
		admin := UserSpec{Name: AdminUser, DomainID: DefaultDomainID, Password: spec.AdminPassword, PasswordRandom: spec.AdminPasswordRandom}
		if _, err := s.CreateUser(ctx, admin); ignoreConflict(err) != nil {
			return "", err
		}
	}
}

func (s *Service) bootstrapService(ctx context.Context, region string, spec BootstrapService) error {
	found, err := s.CatalogServices(ctx, ServiceFilter{Type: spec.Type})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		created, err := s.CreateService(ctx, ServiceSpec{Type: spec.Type, Name: spec.Name, Description: spec.Description})
		if err != nil {
			return err
		}
		found = append(found, *created)
	}
	for iface, url := range map[string]string{Public: spec.Public, Internal: spec.Internal, Admin: spec.Admin} {
		if url == "" {
			url = spec.Public
		}
		if err := s.ensureEndpoint(ctx, EndpointSpec{ServiceID: found[0].ID, RegionID: region, Interface: iface, URL: url}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) ensureEndpoint(ctx context.Context, spec EndpointSpec) error {
	found, err := s.Endpoints(ctx, EndpointFilter{ServiceID: spec.ServiceID, RegionID: spec.RegionID, Interface: spec.Interface})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		_, err = s.CreateEndpoint(ctx, spec)
		return err
	}
	if found[0].URL == spec.URL {
		return nil
	}
	_, err = s.UpdateEndpoint(ctx, found[0].ID, func(e *EndpointSpec) error {
		e.URL = spec.URL
		return nil
	})
	return err
}
