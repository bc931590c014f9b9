package neutron

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

func (a *api) quotas() []wire.Route {
	mine := func(key string) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, r *http.Request) error {
			return wire.JSON(w, http.StatusOK, object{key: object{key + "_id": scope(r).ProjectID}})
		}
	}
	return []wire.Route{
		{Method: http.MethodGet, Path: "/v2.0/quotas", Serve: a.listQuotas},
		{Method: http.MethodGet, Path: "/v2.0/quotas/tenant", Serve: mine("tenant")},
		{Method: http.MethodGet, Path: "/v2.0/quotas/project", Serve: mine("project")},
		{Method: http.MethodGet, Path: "/v2.0/quotas/{id}", Serve: a.showQuota},
		{Method: http.MethodGet, Path: "/v2.0/quotas/{id}/default", Serve: a.showDefaultQuota},
		{Method: http.MethodGet, Path: "/v2.0/quotas/{id}/details", Serve: a.showQuotaDetails},
		{Method: http.MethodGet, Path: "/v2.0/quotas/{id}/details.json", Serve: a.showQuotaDetails},
		{Method: http.MethodPut, Path: "/v2.0/quotas/{id}", Serve: a.setQuota},
		{Method: http.MethodDelete, Path: "/v2.0/quotas/{id}", Serve: func(w http.ResponseWriter, r *http.Request) error {
			if err := a.service.ResetQuota(r.Context(), scope(r), r.PathValue("id")); err != nil {
				return err
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		}},
	}
}

func quotaView(limits map[string]int) object {
	view := object{}
	for resource, limit := range limits {
		view[resource] = limit
	}
	return view
}

func (a *api) listQuotas(w http.ResponseWriter, r *http.Request) error {
	all, err := a.service.Quotas(r.Context(), scope(r))
	if err != nil {
		return err
	}
	views := []object{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		views = append(views, with(quotaView(all[id]), object{"tenant_id": id, "project_id": id}))
	}
	return wire.JSON(w, http.StatusOK, object{"quotas": views})
}

func (a *api) showQuota(w http.ResponseWriter, r *http.Request) error {
	limits, err := a.service.Quota(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"quota": quotaView(limits)})
}

func (a *api) showDefaultQuota(w http.ResponseWriter, r *http.Request) error {
	if s := scope(r); !s.Admin && s.ProjectID != r.PathValue("id") {
		return fault.Wrap(fault.ErrForbidden, "rule:get_quota is disallowed by policy")
	}
	return wire.JSON(w, http.StatusOK, object{"quota": quotaView(a.service.DefaultQuota())})
}

func (a *api) showQuotaDetails(w http.ResponseWriter, r *http.Request) error {
	details, err := a.service.QuotaDetails(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	view := object{}
	for resource, d := range details {
		view[resource] = object{"limit": d.Limit, "used": d.Used, "reserved": 0}
	}
	return wire.JSON(w, http.StatusOK, object{"quota": view})
}

func (a *api) setQuota(w http.ResponseWriter, r *http.Request) error {
	_, data, err := envelope(r, "quota")
	if err != nil {
		return err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return badRequest("Resource body required")
	}
	change := map[string]int{}
	known := a.service.DefaultQuota()
	for resource, value := range raw {
		if resource == "tenant_id" || resource == "project_id" {
			continue
		}
		if _, ok := known[resource]; !ok {
			return badRequest("Unrecognized attribute(s) '%s'", resource)
		}
		if change[resource], err = parseInt(value); err != nil {
			return badRequest("Invalid input for %s. Reason: %s.", resource, err)
		}
	}
	limits, err := a.service.SetQuota(r.Context(), scope(r), r.PathValue("id"), change)
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"quota": quotaView(limits)})
}

func (a *api) tags() []wire.Route {
	var routes []wire.Route
	for _, kind := range []string{network.TaggedNetworks, network.TaggedSubnets, network.TaggedPorts, network.TaggedRouters, network.TaggedFloatingIPs, network.TaggedSecurityGroups, network.TaggedSubnetPools} {
		all, one := "/v2.0/"+kind+"/{id}/tags", "/v2.0/"+kind+"/{id}/tags/{tag}"
		routes = append(routes,
			wire.Route{Method: http.MethodGet, Path: all, Serve: func(w http.ResponseWriter, r *http.Request) error {
				tags, err := a.service.Tags(r.Context(), scope(r), kind, r.PathValue("id"))
				if err != nil {
					return err
				}
				return wire.JSON(w, http.StatusOK, object{"tags": notNil(tags)})
			}},
			wire.Route{Method: http.MethodPut, Path: all, Serve: func(w http.ResponseWriter, r *http.Request) error { return a.replaceTags(w, r, kind) }},
			wire.Route{Method: http.MethodDelete, Path: all, Serve: a.changeTags(kind, http.StatusNoContent, func([]string, string) ([]string, error) { return nil, nil })},
			wire.Route{Method: http.MethodGet, Path: one, Serve: func(w http.ResponseWriter, r *http.Request) error {
				tags, err := a.service.Tags(r.Context(), scope(r), kind, r.PathValue("id"))
				if err == nil && !slices.Contains(tags, r.PathValue("tag")) {
					err = tagNotFound(r.PathValue("tag"))
				}
				if err != nil {
					return err
				}
				w.WriteHeader(http.StatusNoContent)
				return nil
			}},
			wire.Route{Method: http.MethodPut, Path: one, Serve: a.changeTags(kind, http.StatusCreated, func(tags []string, tag string) ([]string, error) { return append(tags, tag), nil })},
			wire.Route{Method: http.MethodDelete, Path: one, Serve: a.changeTags(kind, http.StatusNoContent, func(tags []string, tag string) ([]string, error) {
				if !slices.Contains(tags, tag) {
					return nil, tagNotFound(tag)
				}
				return slices.DeleteFunc(tags, func(t string) bool { return t == tag }), nil
			})},
		)
	}
	return routes
}

func tagNotFound(tag string) error {
	return &network.Error{Kind: network.ErrNotFound, Name: "TagNotFound", Text: "Tag " + tag + " could not be found."}
}

func (a *api) changeTags(kind string, status int, change func(tags []string, tag string) ([]string, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if _, err := a.service.SetTags(r.Context(), scope(r), kind, r.PathValue("id"), func(tags []string) ([]string, error) { return change(tags, r.PathValue("tag")) }); err != nil {
			return err
		}
		w.WriteHeader(status)
		return nil
	}
}

func (a *api) replaceTags(w http.ResponseWriter, r *http.Request, kind string) error {
	_, data, err := envelope(r, "tags")
	if err != nil {
		return err
	}
	wanted, err := parseList(parseText)(data)
	if err != nil {
		return badRequest("Invalid input for tags. Reason: %s.", err)
	}
	tags, err := a.service.SetTags(r.Context(), scope(r), kind, r.PathValue("id"), func([]string) ([]string, error) { return wanted, nil })
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"tags": tags})
}
