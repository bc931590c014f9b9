package glance

import (
	"net/http"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// emptyRoutes list what there is none of here: tasks, definitions of metadata, quotas. Clients ask on their way to
// something else, and take a list without entries where they would fail without a list.
func (a *api) emptyRoutes() []wire.Route {
	answer := func(body object) func(http.ResponseWriter, *http.Request) error {
		return func(w http.ResponseWriter, _ *http.Request) error { return wire.JSON(w, http.StatusOK, body) }
	}
	none := []object{}
	return []wire.Route{
		{Method: "GET", Path: "/v2/tasks", Serve: a.listTasks},
		{Method: "GET", Path: "/v2/images/{id}/tasks", Serve: a.listImageTasks},
		{Method: "GET", Path: "/v2/info/usage", Serve: answer(object{"usage": object{}})},
		{Method: "GET", Path: "/v2/metadefs/namespaces", Serve: answer(object{
			"namespaces": none, "first": "/v2/metadefs/namespaces", "schema": "/v2/schemas/metadefs/namespaces",
		})},
		{Method: "GET", Path: "/v2/metadefs/resource_types", Serve: answer(object{"resource_types": none})},
	}
}

// listTasks is for administrators, as in Glance.
func (a *api) listTasks(w http.ResponseWriter, r *http.Request) error {
	if !scope(r).Admin {
		return fault.Wrap(image.ErrForbidden, "You are not authorized to complete tasks_api_access action.")
	}
	return wire.JSON(w, http.StatusOK, object{"tasks": []object{}, "first": "/v2/tasks", "schema": "/v2/schemas/tasks"})
}

func (a *api) listImageTasks(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.images.Get(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, object{"tasks": []object{}})
}
