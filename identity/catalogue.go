package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// CatalogEntry is a service with its endpoints, as a token carries it.
type CatalogEntry struct {
	ID, Type, Name string
	Endpoints      []Endpoint
}

// ServiceFilter says which services to list; empty fields do not filter.
type ServiceFilter struct {
	Page
	Name, Type string
}

// CreateService adds a service to the catalogue.
func (s *Service) CreateService(ctx context.Context, spec ServiceSpec) (*CatalogService, error) {
	c := &CatalogService{ID: newID(), ServiceSpec: spec}
	if err := checkService(c); err != nil {
		return nil, err
	}
	err := s.update(ctx, func(tx *record.Tx) error { return s.services.Insert(tx, c) })
	if err != nil {
		return nil, err
	}
	return c, nil
}

func checkService(c *CatalogService) error {
	if c.Type == "" || len(c.Type) > 255 {
		return fault.Wrap(ErrInvalid, "Invalid input for field 'type': a service's type has 1 to 255 characters")
	}
	return nil
}

// CatalogService returns the service with that identifier.
func (s *Service) CatalogService(ctx context.Context, id string) (*CatalogService, error) {
	return get(s.store.Read(ctx), s.services, "service", id)
}

// CatalogServices lists services, by type.
func (s *Service) CatalogServices(ctx context.Context, f ServiceFilter) ([]CatalogService, error) {
	var w where
	w.text("name", f.Name)
	w.text("type", f.Type)
	return s.services.List(s.store.Read(ctx), f.query(w, record.Order{Column: "type"}))
}

// UpdateService lets change alter the service; it may be called more than once.
func (s *Service) UpdateService(ctx context.Context, id string, change func(*ServiceSpec) error) (updated *CatalogService, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		c, err := get(tx, s.services, "service", id)
		if err != nil {
			return err
		}
		if err := change(&c.ServiceSpec); err != nil {
			return err
		}
		updated = c
		if err := checkService(c); err != nil {
			return err
		}
		return s.services.Update(tx, c)
	})
	return updated, err
}

// DeleteService deletes the service and its endpoints.
func (s *Service) DeleteService(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.services, "service", id); err != nil {
			return err
		}
		if err := deleteAll(tx, s.endpoints, func(e *Endpoint) string { return e.ID }, record.Eq("service_id", id)); err != nil {
			return err
		}
		return s.services.Delete(tx, id)
	})
}

// EndpointFilter says which endpoints to list; empty fields do not filter.
type EndpointFilter struct {
	Page
	ServiceID, RegionID, Interface string
}

// CreateEndpoint adds an address to a service.
func (s *Service) CreateEndpoint(ctx context.Context, spec EndpointSpec) (*Endpoint, error) {
	e := &Endpoint{ID: newID(), EndpointSpec: spec}
	err := s.update(ctx, func(tx *record.Tx) error {
		if err := s.checkEndpoint(tx, e); err != nil {
			return err
		}
		return s.endpoints.Insert(tx, e)
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// check refuses an endpoint that is wrong by itself.
func (e *Endpoint) check() error {
	if !slices.Contains([]string{Public, Internal, Admin}, e.Interface) {
		return fault.Wrap(ErrInvalid, "Invalid input for field 'interface': %q is not one of 'admin', 'internal', 'public'", e.Interface)
	}
	if e.URL == "" {
		return fault.Wrap(ErrInvalid, "Invalid input for field 'url': it is missing")
	}
	_, _, err := expandURL(e.URL, &Caller{})
	return err
}

func (s *Service) checkEndpoint(tx *record.Tx, e *Endpoint) error {
	if err := e.check(); err != nil {
		return err
	}
	if _, err := s.services.Get(tx, e.ServiceID); isNotFound(err) {
		return fault.Wrap(ErrInvalid, "Could not find service: %s.", e.ServiceID)
	} else if err != nil {
		return err
	}
	if e.RegionID == "" {
		return nil
	}
	_, err := s.regions.Get(tx, e.RegionID)
	if isNotFound(err) {
		return fault.Wrap(ErrInvalid, "Could not find region: %s.", e.RegionID)
	}
	return err
}

// Endpoint returns the endpoint with that identifier.
func (s *Service) Endpoint(ctx context.Context, id string) (*Endpoint, error) {
	return get(s.store.Read(ctx), s.endpoints, "endpoint", id)
}

// Endpoints lists endpoints.
func (s *Service) Endpoints(ctx context.Context, f EndpointFilter) ([]Endpoint, error) {
	var w where
	w.text("service_id", f.ServiceID)
	w.text("region_id", f.RegionID)
	w.text("interface", f.Interface)
	return s.endpoints.List(s.store.Read(ctx), f.query(w))
}

// UpdateEndpoint lets change alter the endpoint; it may be called more than once.
func (s *Service) UpdateEndpoint(ctx context.Context, id string, change func(*EndpointSpec) error) (updated *Endpoint, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		e, err := get(tx, s.endpoints, "endpoint", id)
		if err != nil {
			return err
		}
		if err := change(&e.EndpointSpec); err != nil {
			return err
		}
		updated = e
		if err := s.checkEndpoint(tx, e); err != nil {
			return err
		}
		return s.endpoints.Update(tx, e)
	})
	return updated, err
}

// DeleteEndpoint deletes the endpoint.
func (s *Service) DeleteEndpoint(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.endpoints, "endpoint", id); err != nil {
			return err
		}
		return s.endpoints.Delete(tx, id)
	})
}

// CreateRegion creates a region; an empty ID means a random one.
func (s *Service) CreateRegion(ctx context.Context, r Region) (*Region, error) {
	if r.ID == "" {
		r.ID = newID()
	}
	if len(r.ID) > 255 {
		return nil, fault.Wrap(ErrInvalid, "Invalid input for field 'id': a region's identifier has at most 255 characters")
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if r.ParentID != "" {
			if _, err := get(tx, s.regions, "region", r.ParentID); err != nil {
				return err
			}
		}
		return duplicate(s.regions.Insert(tx, &r), "region", r.ID, "")
	})
	if err != nil {
		return nil, err
	}
	return &r, nil
}

// Region returns the region with that identifier.
func (s *Service) Region(ctx context.Context, id string) (*Region, error) {
	return get(s.store.Read(ctx), s.regions, "region", id)
}

// Regions lists regions, or those below parent if that is not empty.
func (s *Service) Regions(ctx context.Context, parent string, page Page) ([]Region, error) {
	var w where
	w.text("parent_id", parent)
	return s.regions.List(s.store.Read(ctx), page.query(w))
}

// UpdateRegion lets change alter the region; it may be called more than once.
func (s *Service) UpdateRegion(ctx context.Context, id string, change func(*Region) error) (updated *Region, err error) {
	err = s.update(ctx, func(tx *record.Tx) error {
		r, err := get(tx, s.regions, "region", id)
		if err != nil {
			return err
		}
		if err := change(r); err != nil {
			return err
		}
		r.ID = id
		for above := r.ParentID; above != ""; {
			if above == id {
				return fault.Wrap(ErrInvalid, "A region cannot stand below itself.")
			}
			parent, err := get(tx, s.regions, "region", above)
			if err != nil {
				return err
			}
			above = parent.ParentID
		}
		updated = r
		return s.regions.Update(tx, r)
	})
	return updated, err
}

// DeleteRegion deletes a region without endpoints or regions below it.
func (s *Service) DeleteRegion(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.regions, "region", id); err != nil {
			return err
		}
		below, err := s.regions.Count(tx, record.Eq("parent_id", id))
		if err != nil {
			return err
		}
		endpoints, err := s.endpoints.Count(tx, record.Eq("region_id", id))
		if err != nil {
			return err
		}
		if below+endpoints > 0 {
			return fault.Wrap(ErrForbidden, "Unable to delete region %s because it or its child regions have associated endpoints.", id)
		}
		return s.regions.Delete(tx, id)
	})
}

// Catalog is what the caller is told of services and where they are. Endpoints that are per project are left out
// for a caller without one.
func (s *Service) Catalog(ctx context.Context, c *Caller) ([]CatalogEntry, error) {
	all, epoch := s.cache.getCatalog()
	if all == nil {
		var err error
		if all, err = s.wholeCatalog(s.store.Read(ctx)); err != nil {
			return nil, err
		}
		s.cache.putCatalog(all, epoch)
	}
	mine := make([]CatalogEntry, 0, len(all))
	for _, entry := range all {
		endpoints := entry.Endpoints
		entry.Endpoints = make([]Endpoint, 0, len(endpoints))
		for _, e := range endpoints {
			url, known, err := expandURL(e.URL, c)
			if err == nil && known {
				e.URL = url
				entry.Endpoints = append(entry.Endpoints, e)
			}
		}
		mine = append(mine, entry)
	}
	return mine, nil
}

func (s *Service) wholeCatalog(tx *record.Tx) ([]CatalogEntry, error) {
	services, err := s.services.List(tx, record.Query{Order: []record.Order{{Column: "type"}}})
	if err != nil {
		return nil, err
	}
	endpoints, err := s.endpoints.List(tx, record.Query{Order: []record.Order{{Column: "interface"}}})
	if err != nil {
		return nil, err
	}
	catalog := []CatalogEntry{}
	for _, service := range services {
		if service.Disabled {
			continue
		}
		entry := CatalogEntry{ID: service.ID, Type: service.Type, Name: service.Name}
		for _, e := range endpoints {
			if e.ServiceID == service.ID && !e.Disabled {
				entry.Endpoints = append(entry.Endpoints, e)
			}
		}
		catalog = append(catalog, entry)
	}
	return catalog, nil
}

// expandURL replaces $(name)s and %(name)s. It is not known for a caller that lacks what it names; any other name
// is [ErrInvalid].
func expandURL(url string, c *Caller) (expanded string, known bool, err error) {
	values := map[string]string{"project_id": c.ProjectID, "tenant_id": c.ProjectID, "user_id": c.UserID, "domain_id": c.DomainID}
	known = true
	var b strings.Builder
	for {
		at := strings.IndexAny(url, "$%")
		if at < 0 || !strings.HasPrefix(url[at+1:], "(") {
			if at >= 0 {
				b.WriteString(url[:at+1])
				url = url[at+1:]
				continue
			}
			b.WriteString(url)
			return b.String(), known, nil
		}
		name, rest, closed := strings.Cut(url[at+2:], ")s")
		value, there := values[name]
		if !closed || !there {
			return "", false, fault.Wrap(ErrInvalid, "Malformed endpoint URL: %s", url)
		}
		known = known && value != ""
		b.WriteString(url[:at] + value)
		url = rest
	}
}
