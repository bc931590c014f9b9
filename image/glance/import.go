package glance

import (
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

func (a *api) importRoutes() []wire.Route {
	return []wire.Route{
		{Method: "PUT", Path: "/v2/images/{id}/stage", Serve: a.stage, MaxBody: -1},
		{Method: "POST", Path: "/v2/images/{id}/import", Serve: a.importImage},
		{Method: "GET", Path: "/v2/images/{id}/tasks", Serve: a.listImageTasks},
		{Method: "GET", Path: "/v2/tasks", Serve: a.listTasks},
		{Method: "GET", Path: "/v2/tasks/{task}", Serve: a.showTask},
		{Method: "GET", Path: "/v2/info/usage", Serve: a.usageInfo},
	}
}

// importBody is what a request says of an import.
type importBody struct {
	Method struct {
		Name string `json:"name"`
		URI  string `json:"uri"`
	} `json:"method"`
	Stores      []string `json:"stores"`
	AllStores   bool     `json:"all_stores"`
	MustSucceed *bool    `json:"all_stores_must_succeed"`
}

func (a *api) importImage(w http.ResponseWriter, r *http.Request) error {
	var body importBody
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	if store := r.Header.Get("X-Image-Meta-Store"); store != "" {
		if len(body.Stores) > 0 {
			return fault.Wrap(image.ErrInvalid, "Stores parameter and x-image-meta-store header can't be both specified")
		}
		body.Stores = []string{store}
	}
	_, err := a.images.Import(r.Context(), scope(r), r.PathValue("id"), image.ImportSpec{
		Method: image.Method(body.Method.Name), Address: body.Method.URI, Stores: body.Stores, AllStores: body.AllStores,
		Partial: body.MustSucceed != nil && !*body.MustSucceed,
		UserID:  identity.CallerFrom(r.Context()).UserID, RequestID: w.Header().Get("X-Openstack-Request-Id"),
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

const tasksPath = "/v2/tasks"

// viewTask is a task as lists show it.
func viewTask(t *image.Task) object {
	v := object{
		"id": t.ID, "type": "api_image_import", "status": t.Status, "owner": t.ProjectID, "expires_at": nil,
		"created_at": timestamp(t.CreatedAt), "updated_at": timestamp(t.UpdatedAt),
		"self": tasksPath + "/" + t.ID, "schema": "/v2/schemas/task",
	}
	if !t.ExpiresAt.IsZero() {
		v["expires_at"] = timestamp(t.ExpiresAt)
	}
	return v
}

// viewWholeTask is a task with what it was given and what came of it.
func viewWholeTask(t *image.Task) object {
	v := viewTask(t)
	method := object{"name": t.Import.Method}
	if t.Import.Address != "" {
		method["uri"] = t.Import.Address
	}
	request := object{"method": method, "all_stores_must_succeed": !t.Import.Partial}
	if len(t.Import.Stores) > 0 {
		request["stores"] = t.Import.Stores
	}
	if t.Import.AllStores {
		request["all_stores"] = true
	}
	v["input"] = object{"image_id": t.ImageID, "import_req": request, "backend": append([]string{}, t.Import.Stores...)}
	v["result"], v["message"], v["image_id"] = nil, t.Message, t.ImageID
	v["user_id"], v["request_id"] = t.Import.UserID, t.Import.RequestID
	if t.Status == image.TaskSuccess {
		v["result"] = object{"image_id": t.ImageID}
	}
	return v
}

// listTasks is for administrators, as in Glance.
func (a *api) listTasks(w http.ResponseWriter, r *http.Request) (err error) {
	query, limit := r.URL.Query(), defaultLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = parseLimit(text); err != nil {
			return err
		}
	}
	tasks, err := a.images.Tasks(r.Context(), scope(r), query.Get("marker"), limit)
	if err != nil {
		return err
	}
	list := make([]object, len(tasks))
	for i := range tasks {
		list[i] = viewTask(&tasks[i])
	}
	body := object{"tasks": list, "schema": "/v2/schemas/tasks"}
	query.Del("marker")
	body["first"] = strings.TrimSuffix(tasksPath+"?"+query.Encode(), "?")
	if n := len(tasks); n > 0 && n == limit {
		query.Set("marker", tasks[n-1].ID)
		body["next"] = tasksPath + "?" + query.Encode()
	}
	return wire.JSON(w, http.StatusOK, body)
}

func (a *api) showTask(w http.ResponseWriter, r *http.Request) error {
	t, err := a.images.Task(r.Context(), scope(r), r.PathValue("task"))
	if err != nil {
		return err
	}
	return wire.JSON(w, http.StatusOK, viewWholeTask(t))
}

func (a *api) listImageTasks(w http.ResponseWriter, r *http.Request) error {
	tasks, err := a.images.ImageTasks(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	list := make([]object, len(tasks))
	for i := range tasks {
		list[i] = viewWholeTask(&tasks[i])
		delete(list[i], "self")
		delete(list[i], "schema")
	}
	return wire.JSON(w, http.StatusOK, object{"tasks": list})
}
