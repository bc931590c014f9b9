// Package keystone is the Identity API v3 of OpenStack over an [identity.Service]: what the openstack command,
// gophercloud and the other services' clients log in to.
//
//	mux := http.NewServeMux()
//	mux.Handle("/", keystone.Handler(users, nil))
//	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
//		caller, err := users.Validate(r.Context(), r.Header.Get("X-Auth-Token"))
//		if err != nil || !caller.HasRole(identity.RoleMember) {
//			http.Error(w, "this is for members", http.StatusForbidden)
//			return
//		}
//		_, _ = fmt.Fprintln(w, "hello", caller.UserName)
//	})
//
// Mount [Handler] at "/" of its listener, beside handlers with longer patterns. Clients begin with GET /v3, without a
// slash at the end; mounted at "/v3/" alone, an [http.ServeMux] answers that with a redirect, which clients do not
// follow or follow without their token. A handler below another path needs http.StripPrefix and [Options.PublicURL].
//
// [Routes] are the operations as data. The API reference is https://docs.openstack.org/api-ref/identity/v3/. A whole
// program: examples/keystoneauth.
//
// # What it needs
//
// An identity.Service that was bootstrapped. Of the host it needs nothing.
//
// # What it does not do
//
// It serves no v2.0, and of federation and OAuth only empty lists or nothing; docs/api-coverage.md lists every
// operation. It serves plain HTTP, and limits no rate: put TLS in front, and a limit into [Options.Before].
//
// # Errors
//
// Errors become {"error": {"code", "message", "title"}} with Keystone's statuses: 401 says the same whatever was wrong
// with a log-in, and 403 is said before anything is looked up. A failure of the server's own is 500 without the reason,
// which goes to [Options.Log].
//
// # Concurrency
//
// The handler is safe for concurrent use and keeps no state: several may serve one database, and one that is killed
// loses nothing.
package keystone

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// Options of a handler. The zero value is good.
type Options struct {
	// PublicURL is where clients find the API, without /v3: "https://cloud.example:5000". Empty takes it from each
	// request's Host.
	PublicURL string
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

// Handler serves the API.
func Handler(service *identity.Service, options *Options) http.Handler {
	h := newHandler(service, options)
	served := wire.NewHandler(h.routes(), dialect{h}, wire.Options{Auth: service, Before: h.before, Log: h.log})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "X-Auth-Token")
		served.ServeHTTP(w, r)
	})
}

// Routes are the operations that [Handler] serves, as data.
func Routes(service *identity.Service, options *Options) []wire.Route {
	return newHandler(service, options).routes()
}

type handler struct {
	service *identity.Service
	public  string
	before  func(http.ResponseWriter, *http.Request) error
	log     *slog.Logger
}

func newHandler(service *identity.Service, options *Options) *handler {
	h := &handler{service: service}
	if options != nil {
		h.public, h.before, h.log = strings.TrimRight(options.PublicURL, "/"), options.Before, options.Log
	}
	return h
}

func (h *handler) routes() []wire.Route {
	var all []wire.Route
	for _, group := range [][]wire.Route{
		h.discoveryRoutes(), h.tokenRoutes(), h.projectRoutes(), h.domainRoutes(), h.userRoutes(), h.groupRoutes(),
		h.roleRoutes(), h.assignmentRoutes(), h.catalogRoutes(), h.credentialRoutes(), h.trustRoutes(),
		h.appCredRoutes(), h.documentRoutes(), h.configRoutes(), h.federationRoutes(),
	} {
		all = append(all, group...)
	}
	return all
}

type dialect struct{ h *handler }

// Fault answers as Keystone does.
func (d dialect) Fault(w http.ResponseWriter, r *http.Request, status int, err error) {
	if status == http.StatusUnauthorized {
		w.Header().Set("Www-Authenticate", `Keystone uri="`+d.h.base(r)+`/v3"`)
	}
	_ = wire.JSON(w, status, object{"error": object{"code": status, "message": err.Error(), "title": http.StatusText(status)}})
}

type object = map[string]any

// base is the API's address as this client sees it.
func (h *handler) base(r *http.Request) string {
	if h.public != "" {
		return h.public
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func (h *handler) self(r *http.Request, path ...string) object {
	escaped := make([]string, len(path))
	for i, p := range path {
		escaped[i] = url.PathEscape(p)
	}
	return object{"self": h.base(r) + "/v3/" + strings.Join(escaped, "/")}
}

// serve is what a route's function looks like here: who asks, and the request.
type serve func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error

// route refuses tokens that a signature was turned into: they are for the other services, and here, where log-ins are made,
// their bearers would get at more than one project. Keystone refuses them since 2026.
func route(method, path string, fn serve) wire.Route {
	return wire.Route{Method: method, Path: "/v3" + path, Serve: func(w http.ResponseWriter, r *http.Request) error {
		caller := identity.CallerFrom(r.Context())
		if slices.Contains(caller.Methods, identity.MethodEC2) {
			return fault.Wrap(identity.ErrForbidden, "EC2 credential tokens cannot be used for authorization.")
		}
		return fn(w, r, caller)
	}}
}

// admin is a route for administrators alone; action is Keystone's name of it.
func admin(method, path, action string, fn serve) wire.Route {
	return route(method, path, func(w http.ResponseWriter, r *http.Request, caller *identity.Caller) error {
		if err := caller.RequireAdmin("identity:" + action); err != nil {
			return err
		}
		return fn(w, r, caller)
	})
}

func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// page reads limit and marker.
func page(r *http.Request) (identity.Page, error) {
	p := identity.Page{Marker: r.URL.Query().Get("marker")}
	text := r.URL.Query().Get("limit")
	if text == "" {
		return p, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 {
		return p, fault.Wrap(identity.ErrInvalid, "Invalid limit %q: it must be a positive number.", text)
	}
	p.Limit = limit
	return p, nil
}

// flag reads a true or false from the query; nil if it is not there. As in Keystone, a name without value is true.
func flag(r *http.Request, name string) (*bool, error) {
	query := r.URL.Query()
	if !query.Has(name) {
		return nil, nil
	}
	value := true
	if text := query.Get(name); text != "" {
		var err error
		if value, err = wire.ParseBool(text); err != nil {
			return nil, fault.Wrap(identity.ErrInvalid, "Invalid value for %s: %s.", name, err)
		}
	}
	return &value, nil
}

func isSet(r *http.Request, name string) bool {
	value, err := flag(r, name)
	return err == nil && value != nil && *value
}

// list answers with a collection. A page that is full has a link to the next.
func list[T any](h *handler, w http.ResponseWriter, r *http.Request, name string, items []T, render func(*http.Request, *T) object) error {
	rendered := make([]object, len(items))
	for i := range items {
		rendered[i] = render(r, &items[i])
	}
	links := object{"self": h.base(r) + r.URL.RequestURI(), "previous": nil, "next": nil}
	if p, err := page(r); err == nil && p.Limit > 0 && len(items) == p.Limit {
		query := r.URL.Query()
		if id, ok := rendered[len(items)-1]["id"].(string); ok {
			query.Set("marker", id)
			links["next"] = h.base(r) + r.URL.Path + "?" + query.Encode()
		}
	}
	return wire.JSON(w, http.StatusOK, object{name: rendered, "links": links})
}

// with returns a copy of extra with the fields added; fields win.
func with(extra map[string]any, fields object) object {
	all := make(object, len(extra)+len(fields))
	for k, v := range extra {
		all[k] = v
	}
	for k, v := range fields {
		all[k] = v
	}
	return all
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func orEmpty(options map[string]any) map[string]any {
	if options == nil {
		return object{}
	}
	return options
}
