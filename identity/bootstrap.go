package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
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
	if err := s.bootstrapCatalogue(ctx, spec); err != nil {
		return fmt.Errorf("catalogue: %w", err)
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

// bootstrapCatalogue has the catalogue name the spec's services, where they are now. It is one transaction: a cloud whose
// ports are others at each start changes every address.
func (s *Service) bootstrapCatalogue(ctx context.Context, spec BootstrapSpec) error {
	return s.update(ctx, func(tx *record.Tx) error {
		services, err := s.services.List(tx, record.Query{Order: []record.Order{{Column: "type"}}})
		if err != nil {
			return err
		}
		endpoints, err := s.endpoints.List(tx, record.Query{Where: []record.Condition{record.Eq("region_id", spec.Region)}})
		if err != nil {
			return err
		}
		for _, wanted := range spec.Services {
			id, err := s.bootstrapService(tx, services, wanted)
			if err != nil {
				return err
			}
			for _, at := range []struct{ iface, url string }{{Public, wanted.Public}, {Internal, wanted.Internal}, {Admin, wanted.Admin}} {
				e := Endpoint{EndpointSpec: EndpointSpec{ServiceID: id, RegionID: spec.Region, Interface: at.iface, URL: cmp.Or(at.url, wanted.Public)}}
				if err := s.bootstrapEndpoint(tx, endpoints, e); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// bootstrapService returns the identifier of the service of the type, which it makes if there is none.
func (s *Service) bootstrapService(tx *record.Tx, services []CatalogService, wanted BootstrapService) (string, error) {
	if i := slices.IndexFunc(services, func(c CatalogService) bool { return c.Type == wanted.Type }); i >= 0 {
		return services[i].ID, nil
	}
	c := &CatalogService{ID: newID(), ServiceSpec: ServiceSpec{Type: wanted.Type, Name: wanted.Name, Description: wanted.Description}}
	if err := checkService(c); err != nil {
		return "", err
	}
	return c.ID, s.services.Insert(tx, c)
}

// bootstrapEndpoint gives the endpoint its address, and makes it if there is none.
func (s *Service) bootstrapEndpoint(tx *record.Tx, endpoints []Endpoint, wanted Endpoint) error {
	if err := wanted.check(); err != nil {
		return err
	}
	i := slices.IndexFunc(endpoints, func(e Endpoint) bool { return e.ServiceID == wanted.ServiceID && e.Interface == wanted.Interface })
	if i < 0 {
		wanted.ID = newID()
		return s.endpoints.Insert(tx, &wanted)
	}
	e := &endpoints[i]
	if e.URL == wanted.URL {
		return nil
	}
	e.URL = wanted.URL
	return s.endpoints.Update(tx, e)
}
