package neutron

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

// resource is a kind of thing with the usual five operations; those that are nil are not offered.
// T is what the service returns, S what it takes.
type resource[T, S any] struct {
	// path is the collection's in URLs, plural and singular its names in bodies.
	path, plural, singular string
	fields                 fields[S]
	required               []string

	create func(ctx context.Context, scope network.Scope, spec S) (*T, error)
	update func(ctx context.Context, scope network.Scope, id string, spec S) (*T, error)
	remove func(ctx context.Context, scope network.Scope, id string) error
	get    func(ctx context.Context, scope network.Scope, id string) (*T, error)
	list   func(ctx context.Context, scope network.Scope, q network.Query) ([]T, error)
	// view shows several at once, so that what belongs to them is looked up once.
	view func(ctx context.Context, scope network.Scope, list []T) ([]object, error)
}

func (res *resource[T, S]) routes() []wire.Route {
	collection, item := "/v2.0/"+res.path, "/v2.0/"+res.path+"/{id}"
	routes := []wire.Route{
		{Method: http.MethodGet, Path: collection, Serve: res.serveList},
		{Method: http.MethodGet, Path: item, Serve: res.serveGet},
	}
	if res.create != nil {
		routes = append(routes, wire.Route{Method: http.MethodPost, Path: collection, Serve: res.serveCreate})
	}
	if res.update != nil {
		routes = append(routes, wire.Route{Method: http.MethodPut, Path: item, Serve: res.serveUpdate})
	}
	if res.remove != nil {
		routes = append(routes, wire.Route{Method: http.MethodDelete, Path: item, Serve: res.serveDelete})
	}
	return routes
}

func (res *resource[T, S]) serveGet(w http.ResponseWriter, r *http.Request) error {
	found, err := res.get(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return res.answer(w, r, http.StatusOK, found)
}

func (res *resource[T, S]) answer(w http.ResponseWriter, r *http.Request, status int, one *T) error {
	views, err := res.view(r.Context(), scope(r), []T{*one})
	if err != nil {
		return err
	}
	return wire.JSON(w, status, object{res.singular: project(views[0], r.URL.Query()["fields"])})
}

// project keeps the fields that are asked for; none is all.
func project(view object, names []string) object {
	if len(names) == 0 {
		return view
	}
	part := object{}
	for _, name := range names {
		if v, ok := view[name]; ok {
			part[name] = v
		}
	}
	return part
}

func (res *resource[T, S]) serveList(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	q, err := query(values)
	if err != nil {
		return err
	}
	found, err := res.list(r.Context(), scope(r), q)
	if err != nil {
		return err
	}
	views, err := res.view(r.Context(), scope(r), found)
	if err != nil {
		return err
	}
	body := object{}
	if links := links(r, q, views); len(links) > 0 {
		body[res.plural+"_links"] = links
	}
	for i := range views {
		views[i] = project(views[i], values["fields"])
	}
	if views == nil {
		views = []object{}
	}
	body[res.plural] = views
	return wire.JSON(w, http.StatusOK, body)
}

// query reads a list's parameters; what is not about paging and sorting is a filter.
func query(values url.Values) (network.Query, error) {
	q := network.Query{Filters: map[string][]string{}}
	keys, directions := values["sort_key"], values["sort_dir"]
	if len(directions) > 0 && len(keys) != len(directions) {
		return q, badRequest("The number of sort_keys and sort_dirs must be same")
	}
	for i, key := range keys {
		sort := network.SortKey{Attribute: key}
		if len(directions) > 0 {
			if directions[i] != "asc" && directions[i] != "desc" {
				return q, badRequest("sort_dirs must be 'asc' or 'desc', not '%s'", directions[i])
			}
			sort.Descending = directions[i] == "desc"
		}
		q.Sort = append(q.Sort, sort)
	}
	for name, v := range values {
		switch name {
		case "fields", "sort_key", "sort_dir":
		case "marker":
			q.Marker = v[0]
		case "page_reverse":
			q.Reverse = strings.EqualFold(v[0], "true")
		case "limit":
			n, err := strconv.Atoi(v[0])
			if err != nil || n < 0 {
				return q, badRequest("Limit must be an integer 0 or greater and not '%s'", v[0])
			}
			q.Limit = n
		default:
			q.Filters[name] = v
		}
	}
	return q, nil
}

// links lead to the pages around a full one.
func links(r *http.Request, q network.Query, page []object) []object {
	if q.Limit == 0 || len(page) == 0 {
		return nil
	}
	link := func(rel string, marker any, reverse bool) object {
		values := r.URL.Query()
		id, _ := marker.(string)
		values.Set("marker", id)
		values.Del("page_reverse")
		if reverse {
			values.Set("page_reverse", "True")
		}
		return object{"rel": rel, "href": base(r) + r.URL.Path + "?" + values.Encode()}
	}
	first, last := page[0]["id"], page[len(page)-1]["id"]
	full := len(page) >= q.Limit
	var list []object
	if full || q.Reverse {
		list = append(list, link("next", last, false))
	}
	if q.Marker != "" && !q.Reverse || q.Reverse && full {
		list = append(list, link("previous", first, true))
	}
	return list
}

// base is the address that the client used.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (res *resource[T, S]) serveCreate(w http.ResponseWriter, r *http.Request) error {
	key, data, err := envelope(r, res.singular, res.plural)
	if err != nil {
		return err
	}
	if key == res.plural {
		return res.bulk(w, r, data)
	}
	spec, err := res.fields.decode(data, false, res.required)
	if err != nil {
		return err
	}
	made, err := res.create(r.Context(), scope(r), spec)
	if err != nil {
		return err
	}
	return res.answer(w, r, http.StatusCreated, made)
}

// bulk makes all of a list, or none.
func (res *resource[T, S]) bulk(w http.ResponseWriter, r *http.Request, data json.RawMessage) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil || len(raw) == 0 {
		return badRequest("Resource body required")
	}
	specs := make([]S, len(raw))
	for i := range raw {
		var err error
		if specs[i], err = res.fields.decode(raw[i], false, res.required); err != nil {
			return err
		}
	}
	var made []T
	var failure error
	for _, spec := range specs {
		one, err := res.create(r.Context(), scope(r), spec)
		if err != nil {
			failure = err
			break
		}
		made = append(made, *one)
	}
	views, err := res.view(r.Context(), scope(r), made)
	if err != nil {
		return err
	}
	if failure != nil {
		for i := len(views) - 1; i >= 0; i-- {
			id, _ := views[i]["id"].(string)
			// Undone even when the client has gone.
			_ = res.remove(context.WithoutCancel(r.Context()), scope(r), id)
		}
		return failure
	}
	return wire.JSON(w, http.StatusCreated, object{res.plural: views})
}

func (res *resource[T, S]) serveUpdate(w http.ResponseWriter, r *http.Request) error {
	_, data, err := envelope(r, res.singular)
	if err != nil {
		return err
	}
	// Whether it exists comes first: another project's must not be told from none by what is said of the body.
	before, err := res.get(r.Context(), scope(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := res.matches(r, before); err != nil {
		return err
	}
	spec, err := res.fields.decode(data, true, nil)
	if err != nil {
		return err
	}
	changed, err := res.update(r.Context(), scope(r), r.PathValue("id"), spec)
	if err != nil {
		return err
	}
	return res.answer(w, r, http.StatusOK, changed)
}

func (res *resource[T, S]) serveDelete(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("If-Match") != "" {
		before, err := res.get(r.Context(), scope(r), r.PathValue("id"))
		if err != nil {
			return err
		}
		if err := res.matches(r, before); err != nil {
			return err
		}
	}
	if err := res.remove(r.Context(), scope(r), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// matches holds the request to the revision that its If-Match names ("revision_number=3").
func (res *resource[T, S]) matches(r *http.Request, before *T) error {
	condition := r.Header.Get("If-Match")
	if condition == "" {
		return nil
	}
	views, err := res.view(r.Context(), scope(r), []T{*before})
	if err != nil {
		return err
	}
	want, ok := strings.CutPrefix(condition, "revision_number=")
	if !ok {
		return nil
	}
	revision, _ := views[0]["revision_number"].(int64)
	if want != strconv.FormatInt(revision, 10) {
		return wire.WithStatus(http.StatusPreconditionFailed, fault.Wrap(fault.ErrConflict, "Constrained to %s, but current revision is %d", want, revision))
	}
	return nil
}

// one is a list of one, for views of single things.
func each[T any](list []T, view func(*T) object) []object {
	views := make([]object, len(list))
	for i := range list {
		views[i] = view(&list[i])
	}
	return views
}
