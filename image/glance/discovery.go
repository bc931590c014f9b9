package glance

import (
	"net/http"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// current is the newest version of the API, the only one that is not "supported".
const current = "v2.15"

var supported = []string{"v2.14", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"}

// base is the address that the client reaches this API at.
func (a *api) base(r *http.Request) string {
	switch {
	case a.options.PublicURL != "":
		return a.options.PublicURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// versions lists the API's versions: 300 at the root, and 200 where asked for by name.
func (a *api) versions(status int) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		links := []map[string]string{{"rel": "self", "href": a.base(r) + "/v2/"}}
		list := []map[string]any{{"id": current, "status": "CURRENT", "links": links}}
		for _, id := range supported {
			list = append(list, map[string]any{"id": id, "status": "SUPPORTED", "links": links})
		}
		return wire.JSON(w, status, map[string]any{"versions": list})
	}
}

// importInfo says how images can be imported: not yet.
func (a *api) importInfo(w http.ResponseWriter, _ *http.Request) error {
	return wire.JSON(w, http.StatusOK, map[string]any{"import-methods": map[string]any{
		"description": "Import methods available.", "type": "array", "value": []string{},
	}})
}

func (a *api) storesInfo(w http.ResponseWriter, _ *http.Request) error {
	return wire.JSON(w, http.StatusOK, map[string]any{"stores": []map[string]string{{"id": a.images.StoreKind(), "default": "true"}}})
}

func (a *api) storesDetail(w http.ResponseWriter, r *http.Request) error {
	if !scope(r).Admin {
		return fault.Wrap(image.ErrForbidden, "you are not authorized to see the details of the stores")
	}
	kind := a.images.StoreKind()
	return wire.JSON(w, http.StatusOK, map[string]any{"stores": []map[string]any{{
		"id": kind, "type": kind, "default": "true", "weight": 0, "properties": map[string]any{},
	}}})
}

// deleteFromStore refuses to take an image's content from the only store that has it.
func (a *api) deleteFromStore(_ http.ResponseWriter, r *http.Request) error {
	img, err := a.images.Get(r.Context(), scope(r), r.PathValue("id"))
	switch {
	case err != nil:
		return err
	case r.PathValue("store") != a.images.StoreKind():
		return fault.Wrap(image.ErrConflict, "The selected store %.40s is not available on this node.", r.PathValue("store"))
	case img.Data == nil:
		return fault.Wrap(image.ErrConflict, "It's not allowed to remove image data from store if image status is not 'active'")
	}
	return fault.Wrap(image.ErrForbidden, "Cannot delete image data from the only store containing it. Consider deleting the image instead.")
}
