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

// importMethods are the ways to import.
func (a *api) importMethods() []string {
	names := []string{}
	for _, method := range a.images.ImportMethods() {
		names = append(names, string(method))
	}
	return names
}

func (a *api) importInfo(w http.ResponseWriter, _ *http.Request) error {
	return wire.JSON(w, http.StatusOK, object{"import-methods": object{
		"description": "Import methods available.", "type": "array", "value": a.importMethods(),
	}})
}

func (a *api) storeNames() []string {
	var names []string
	for _, store := range a.images.Stores() {
		names = append(names, store.Name)
	}
	return names
}

func (a *api) storesInfo(w http.ResponseWriter, _ *http.Request) error {
	list := []object{}
	for _, store := range a.images.Stores() {
		v := object{"id": store.Name}
		if store.Default {
			v["default"] = "true"
		}
		list = append(list, v)
	}
	return wire.JSON(w, http.StatusOK, object{"stores": list})
}

func (a *api) storesDetail(w http.ResponseWriter, r *http.Request) error {
	if !scope(r).Admin {
		return fault.Wrap(image.ErrForbidden, "you are not authorized to see the details of the stores")
	}
	list := []object{}
	for _, store := range a.images.Stores() {
		v := object{"id": store.Name, "type": store.Kind, "weight": 0, "properties": object{}}
		if store.Default {
			v["default"] = "true"
		}
		list = append(list, v)
	}
	return wire.JSON(w, http.StatusOK, object{"stores": list})
}

func (a *api) deleteFromStore(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.DeleteFrom(r.Context(), scope(r), r.PathValue("id"), r.PathValue("store")); err != nil {
		return err
	}
	return empty(w)
}

const mebibyte = 1 << 20

// usageInfo says what a project has of what its quota bounds, in Glance's units: sizes in MiB, rounded up. -1 is no bound.
func (a *api) usageInfo(w http.ResponseWriter, r *http.Request) error {
	used, limits, err := a.images.Usage(r.Context(), scope(r))
	if err != nil {
		return err
	}
	one := func(limit, used, unit int64) object {
		v := object{"limit": int64(-1), "usage": (used + unit - 1) / unit}
		if limit > 0 {
			v["limit"] = limit / unit
		}
		return v
	}
	return wire.JSON(w, http.StatusOK, object{"usage": object{
		"image_size_total": one(limits.Bytes, used.Bytes, mebibyte), "image_stage_total": one(limits.StagedBytes, used.StagedBytes, mebibyte),
		"image_count_total": one(limits.Images, used.Images, 1), "image_count_uploading": one(limits.Uploads, used.Uploads, 1),
	}})
}
