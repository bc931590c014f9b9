package glance

import (
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) cacheRoutes() []wire.Route {
	return []wire.Route{
		{Method: "GET", Path: "/v2/cache", Serve: a.showCache},
		{Method: "DELETE", Path: "/v2/cache", Serve: a.clearCache},
		{Method: "PUT", Path: "/v2/cache/{id}", Serve: a.queueForCache},
		{Method: "DELETE", Path: "/v2/cache/{id}", Serve: a.dropFromCache},
	}
}

func (a *api) showCache(w http.ResponseWriter, r *http.Request) error {
	cached, queued, err := a.images.Cached(r.Context(), scope(r))
	if err != nil {
		return err
	}
	list := make([]object, len(cached))
	for i, c := range cached {
		list[i] = object{
			"image_id": c.ImageID, "hits": c.Hits, "size": c.Size, "checksum": "N/A",
			"last_accessed": seconds(c.UsedAt.UnixNano()), "last_modified": seconds(c.MadeAt.UnixNano()),
		}
	}
	return wire.JSON(w, http.StatusOK, object{"cached_images": list, "queued_images": append([]string{}, queued...)})
}

// seconds is a time as a number, as Glance writes those of its cache.
func seconds(nanoseconds int64) float64 { return float64(nanoseconds/1e6) / 1e3 }

func (a *api) queueForCache(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.QueueForCache(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *api) dropFromCache(w http.ResponseWriter, r *http.Request) error {
	if err := a.images.DropFromCache(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	return empty(w)
}

func (a *api) clearCache(w http.ResponseWriter, r *http.Request) error {
	target := strings.ToLower(r.Header.Get("X-Image-Cache-Clear-Target"))
	if target != "" && target != "cache" && target != "queue" {
		return fault.Wrap(image.ErrInvalid, "If provided 'x-image-cache-clear-target' must be 'cache', 'queue' or empty string.")
	}
	if err := a.images.ClearCache(r.Context(), scope(r), target != "queue", target != "cache"); err != nil {
		return err
	}
	return empty(w)
}
