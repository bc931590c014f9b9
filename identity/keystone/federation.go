package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/wire"
)

// federationRoutes list what there is none of here: whoever logs in is known to this service. Clients ask whether
// there is somebody else to log in with, and take an empty list for a no.
func (h *handler) federationRoutes() []wire.Route {
	routes := []wire.Route{
		// The older names of /auth/projects and /auth/domains.
		route(http.MethodGet, "/OS-FEDERATION/projects", h.authProjects),
		route(http.MethodGet, "/OS-FEDERATION/domains", h.authDomains),
	}
	for _, many := range []string{"identity_providers", "mappings", "service_providers"} {
		routes = append(routes, admin(http.MethodGet, "/OS-FEDERATION/"+many, "list_"+many, func(w http.ResponseWriter, r *http.Request, _ *identity.Caller) error {
			return list(h, w, r, many, nil, func(_ *http.Request, o *object) object { return *o })
		}))
	}
	return routes
}
