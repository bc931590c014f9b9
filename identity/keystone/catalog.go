package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (h *handler) catalogRoutes() []wire.Route {
	remove := func(fn func(r *http.Request) error) serve {
		return func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			if err := fn(r); err != nil {
				return err
			}
			return noContent(w)
		}
	}
	return []wire.Route{
		admin(http.MethodGet, "/services", "list_services", h.listServices),
		admin(http.MethodPost, "/services", "create_service", h.createService),
		admin(http.MethodGet, "/services/{id}", "get_service", h.showService),
		admin(http.MethodPatch, "/services/{id}", "update_service", h.updateService),
		admin(http.MethodDelete, "/services/{id}", "delete_service", remove(func(r *http.Request) error {
			return h.service.DeleteService(r.Context(), r.PathValue("id"))
		})),
		admin(http.MethodGet, "/endpoints", "list_endpoints", h.listEndpoints),
		admin(http.MethodPost, "/endpoints", "create_endpoint", h.createEndpoint),
		admin(http.MethodGet, "/endpoints/{id}", "get_endpoint", h.showEndpoint),
		admin(http.MethodPatch, "/endpoints/{id}", "update_endpoint", h.updateEndpoint),
		admin(http.MethodDelete, "/endpoints/{id}", "delete_endpoint", remove(func(r *http.Request) error {
			return h.service.DeleteEndpoint(r.Context(), r.PathValue("id"))
		})),
		route(http.MethodGet, "/regions", h.listRegions),
		admin(http.MethodPost, "/regions", "create_region", h.createRegion),
		route(http.MethodGet, "/regions/{id}", h.showRegion),
		admin(http.MethodPut, "/regions/{id}", "create_region", h.createRegion),
		admin(http.MethodPatch, "/regions/{id}", "update_region", h.updateRegion),
		admin(http.MethodDelete, "/regions/{id}", "delete_region", remove(func(r *http.Request) error {
			return h.service.DeleteRegion(r.Context(), r.PathValue("id"))
		})),
	}
}

func (h *handler) catalogService(r *http.Request, s *identity.CatalogService) object {
	shown := with(s.Extra, object{
		"id": s.ID, "type": s.Type, "name": s.Name, "enabled": !s.Disabled, "links": h.self(r, "services", s.ID),
	})
	if s.Description != "" {
		shown["description"] = s.Description
	}
	return shown
}

func (h *handler) listServices(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	f := identity.ServiceFilter{Name: r.URL.Query().Get("name"), Type: r.URL.Query().Get("type")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	services, err := h.service.CatalogServices(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "services", services, h.catalogService)
}

func readService(b *body, s *identity.ServiceSpec) error {
	b.text("type", &s.Type)
	b.optional("name", &s.Name)
	b.optional("description", &s.Description)
	b.enabled(&s.Disabled)
	s.Extra = b.rest(s.Extra)
	return b.err
}

func (h *handler) createService(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "service")
	if err != nil {
		return err
	}
	b.require("type")
	var spec identity.ServiceSpec
	if err := readService(b, &spec); err != nil {
		return err
	}
	s, err := h.service.CreateService(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"service": h.catalogService(r, s)})
}

func (h *handler) showService(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	s, err := h.service.CatalogService(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"service": h.catalogService(r, s)})
}

func (h *handler) updateService(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "service")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	s, err := h.service.UpdateService(r.Context(), r.PathValue("id"), func(s *identity.ServiceSpec) error { return readService(b, s) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"service": h.catalogService(r, s)})
}

func (h *handler) endpoint(r *http.Request, e *identity.Endpoint) object {
	shown := with(e.Extra, object{
		"id": e.ID, "service_id": e.ServiceID, "region_id": orNull(e.RegionID), "region": orNull(e.RegionID),
		"interface": e.Interface, "url": e.URL, "enabled": !e.Disabled, "links": h.self(r, "endpoints", e.ID),
	})
	if e.Name != "" {
		shown["name"] = e.Name
	}
	return shown
}

func (h *handler) listEndpoints(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	query := r.URL.Query()
	f := identity.EndpointFilter{ServiceID: query.Get("service_id"), RegionID: query.Get("region_id"), Interface: query.Get("interface")}
	var err error
	if f.Page, err = page(r); err != nil {
		return err
	}
	endpoints, err := h.service.Endpoints(r.Context(), f)
	if err != nil {
		return err
	}
	return list(h, w, r, "endpoints", endpoints, h.endpoint)
}

func readEndpoint(b *body, e *identity.EndpointSpec) error {
	b.text("service_id", &e.ServiceID)
	b.text("interface", &e.Interface)
	b.text("url", &e.URL)
	b.optional("region", &e.RegionID)
	b.optional("region_id", &e.RegionID)
	b.optional("name", &e.Name)
	if raw, there := b.fields["enabled"]; there && string(raw) != "true" && string(raw) != "false" && b.err == nil {
		b.err = fault.Wrap(identity.ErrInvalid, "Invalid input for field 'enabled': %s is not of type 'boolean'", short(raw))
	}
	b.enabled(&e.Disabled)
	e.Extra = b.rest(e.Extra)
	return b.err
}

func (h *handler) createEndpoint(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "endpoint")
	if err != nil {
		return err
	}
	b.require("service_id", "interface", "url")
	var spec identity.EndpointSpec
	if err := readEndpoint(b, &spec); err != nil {
		return err
	}
	if err := h.ensureRegion(r, b); err != nil {
		return err
	}
	e, err := h.service.CreateEndpoint(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"endpoint": h.endpoint(r, e)})
}

// ensureRegion creates a region that is named the old way, as "region": it comes into being by being named.
func (h *handler) ensureRegion(r *http.Request, b *body) error {
	var id string
	b.optional("region", &id)
	if b.err != nil || id == "" {
		return b.err
	}
	if _, err := h.service.Region(r.Context(), id); wire.Status(err) != http.StatusNotFound {
		return err
	}
	_, err := h.service.CreateRegion(r.Context(), identity.Region{ID: id})
	return err
}

func (h *handler) showEndpoint(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	e, err := h.service.Endpoint(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"endpoint": h.endpoint(r, e)})
}

func (h *handler) updateEndpoint(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "endpoint")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	if err := readEndpoint(b, &identity.EndpointSpec{}); err != nil {
		return err
	}
	if err := h.ensureRegion(r, b); err != nil {
		return err
	}
	e, err := h.service.UpdateEndpoint(r.Context(), r.PathValue("id"), func(e *identity.EndpointSpec) error { return readEndpoint(b, e) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"endpoint": h.endpoint(r, e)})
}

func (h *handler) region(r *http.Request, region *identity.Region) object {
	return with(region.Extra, object{
		"id": region.ID, "parent_region_id": orNull(region.ParentID), "description": region.Description,
		"links": h.self(r, "regions", region.ID),
	})
}

func (h *handler) listRegions(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	p, err := page(r)
	if err != nil {
		return err
	}
	regions, err := h.service.Regions(r.Context(), r.URL.Query().Get("parent_region_id"), p)
	if err != nil {
		return err
	}
	return list(h, w, r, "regions", regions, h.region)
}

func readRegion(b *body, region *identity.Region) error {
	b.optional("parent_region_id", &region.ParentID)
	b.optional("description", &region.Description)
	region.Extra = b.rest(region.Extra)
	return b.err
}

func (h *handler) createRegion(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "region")
	if err != nil {
		return err
	}
	spec := identity.Region{ID: r.PathValue("id")}
	if spec.ID != "" {
		b.same(spec.ID)
	} else {
		b.optional("id", &spec.ID)
	}
	if err := readRegion(b, &spec); err != nil {
		return err
	}
	region, err := h.service.CreateRegion(r.Context(), spec)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusCreated, object{"region": h.region(r, region)})
}

func (h *handler) showRegion(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	region, err := h.service.Region(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"region": h.region(r, region)})
}

func (h *handler) updateRegion(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
	b, err := decode(r, "region")
	if err != nil {
		return err
	}
	b.same(r.PathValue("id"))
	region, err := h.service.UpdateRegion(r.Context(), r.PathValue("id"), func(region *identity.Region) error { return readRegion(b, region) })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"region": h.region(r, region)})
}
