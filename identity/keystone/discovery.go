package keystone

import (
	"net/http"

	"github.com/kintoun/kintoun/internal/wire"
)

// The version of the API that this package answers: that of OpenStack Zed.
const (
	versionID      = "v3.14"
	versionUpdated = "2020-04-07T00:00:00Z"
)

func (h *handler) discoveryRoutes() []wire.Route {
	return []wire.Route{
		{Method: http.MethodGet, Path: "/", Public: true, Serve: func(w http.ResponseWriter, r *http.Request) error {
			return wire.JSON(w, http.StatusMultipleChoices, object{"versions": object{"values": []object{h.version(r)}}})
		}},
		{Method: http.MethodGet, Path: "/v3", Public: true, Serve: func(w http.ResponseWriter, r *http.Request) error {
			return wire.JSON(w, http.StatusOK, object{"version": h.version(r)})
		}},
	}
}

func (h *handler) version(r *http.Request) object {
	return object{
		"id": versionID, "status": "stable", "updated": versionUpdated,
		"links":       []object{{"rel": "self", "href": h.base(r) + "/v3/"}},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}
}
