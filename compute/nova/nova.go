// Package nova serves a [compute.Service] over HTTP as OpenStack's Compute API v2.1 does, with its microversions
// 2.[MinMinor] to 2.[MaxMinor], so that unmodified clients work: the openstack command, novaclient, gophercloud,
// Tempest.
//
//	mux := http.NewServeMux()
//	mux.Handle("/", nova.Handler(service, tokens{}, &nova.Options{AuthURL: "http://127.0.0.1:5000/v3"}))
//
// [Routes] are the operations as data. The API reference is https://docs.openstack.org/api-ref/compute/.
//
// # What it needs
//
// A compute.Service, an identity.Authenticator that says whose a token is, and for the deprecated security group calls
// of old clients perhaps a [SecurityGroups] and a [Volumes]. Of the host it needs nothing.
//
// # What it does not do
//
// It decides nothing but who may ask: whoever has the role admin may act on every project; everybody else sees only
// their own, and never learns that another's resource exists. What is not implemented (migrations, remote
// consoles) is answered with 501 and its name; docs/api-coverage.md lists every operation. It serves plain HTTP: TLS is
// its server's business.
//
// # Errors
//
// Faults have Nova's bodies ({"itemNotFound": {"code": 404, "message": …}}) and statuses; [Options.Before] can add
// some. A failure of the server's own is 500 without the reason, which goes to [Options.Log].
//
// # Concurrency
//
// The handler is safe for concurrent use and keeps no state: several may serve one database, and one that is killed
// loses nothing.
package nova

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token.
	AuthURL string
	// SecurityGroups serves /os-security-groups and what belongs to it; without it they are not found.
	SecurityGroups SecurityGroups
	// Volumes serves /os-volumes and /os-snapshots, which old clients use; without it they are not found.
	Volumes Volumes
	// Images serves /images, which old clients use; without it they are not found.
	Images Images
	// MaxLimit is how many entries a list shows at most; 1000 by default.
	MaxLimit int
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

const defaultMaxLimit = 1000

type api struct {
	compute *compute.Service
	options Options
	known   map[string]bool // first segments of paths behind the version
}

// operation is one call of the API.
type operation struct {
	method, path string
	serve        func(c *call) error
	// since and until are the microversions that have it; zero is no bound.
	since, until int
	// policy is the name of the rule that lets only admins pass; empty lets everybody.
	policy string
	// later is what cannot be done here yet, said to whoever names a server of theirs; there is no serve then.
	later string
	// actions are what the body of a POST …/action may name; they are served, and there is no serve then.
	actions map[string]action
}

// Handler serves the API.
func Handler(service *compute.Service, auth identity.Authenticator, options *Options) http.Handler {
	a := newAPI(service, options)
	inner := wire.NewHandler(a.routes(), dialect{}, wire.Options{Auth: auth, AuthURL: a.options.AuthURL, Before: a.options.Before, Log: a.options.Log})
	return a.negotiate(inner)
}

// Routes are the calls that [Handler] serves, for tables of what is covered.
func Routes(service *compute.Service, options *Options) []wire.Route {
	return newAPI(service, options).routes()
}

func newAPI(service *compute.Service, options *Options) *api {
	a := &api{compute: service, known: map[string]bool{}}
	if options != nil {
		a.options = *options
	}
	if a.options.MaxLimit <= 0 {
		a.options.MaxLimit = defaultMaxLimit
	}
	for _, op := range a.operations() {
		a.known[firstSegment(op.path)] = true
	}
	return a
}

func (a *api) operations() []operation {
	var all []operation
	for _, part := range [][]operation{
		a.serverOperations(), a.partOperations(), a.flavorOperations(), a.keypairOperations(), a.hostOperations(),
		a.aggregateOperations(), a.quotaOperations(), a.groupOperations(), a.securityGroupOperations(), a.extensionOperations(),
		a.attachmentOperations(), a.volumeOperations(), a.imageOperations(), a.eventOperations(),
	} {
		all = append(all, part...)
	}
	return all
}

func (a *api) routes() []wire.Route {
	routes := []wire.Route{
		{Method: "GET", Path: "/", Public: true, Serve: a.listVersions},
		{Method: "GET", Path: "/v2.1", Public: true, Serve: a.showVersion},
		{Method: "GET", Path: "/v2", Public: true, Serve: a.showVersion},
	}
	for _, op := range a.operations() {
		route := wire.Route{Method: op.method, Path: "/v2.1" + op.path, Serve: func(w http.ResponseWriter, r *http.Request) error {
			return a.serve(w, r, &op)
		}}
		if op.later != "" {
			route.Unsupported = notHere(op.later).Error()
		}
		for _, name := range slices.Sorted(maps.Keys(op.actions)) {
			known := wire.Action{Name: name}
			if op.actions[name].later {
				known.Unsupported = notHere(actionNamed(name)).Error()
			}
			route.Actions = append(route.Actions, known)
		}
		routes = append(routes, route)
	}
	return routes
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, op *operation) error {
	caller := identity.CallerFrom(r.Context())
	c := &call{ResponseWriter: w, Request: r, api: a, negotiated: negotiatedFrom(r.Context()), caller: caller}
	if c.minor < op.since || op.until > 0 && c.minor > op.until {
		return fault.Wrap(compute.ErrNotFound, "The resource could not be found.")
	}
	if caller.ProjectID == "" && !caller.IsAdmin() {
		return fault.Wrap(compute.ErrForbidden, "Policy doesn't allow the request without a project.")
	}
	if c.project != "" && c.project != caller.ProjectID {
		return fault.Wrap(compute.ErrInvalid, "Malformed request URL: URL's project_id '%s' doesn't match Context's project_id '%s'", c.project, caller.ProjectID)
	}
	if op.policy != "" && !caller.IsAdmin() {
		return forbidden(op.policy)
	}
	switch {
	case op.later != "":
		return c.answerLater(op.later)
	case op.actions != nil:
		return c.perform(op.actions)
	}
	return op.serve(c)
}

// answerLater is for what the API has and this implementation has not yet.
func (c *call) answerLater(what string) error {
	if _, err := c.server(); err != nil {
		return err
	}
	return notHere(what)
}

func notHere(what string) error {
	return fault.Wrap(compute.ErrUnsupported, "%s is not implemented here.", what)
}

func forbidden(policy string) error {
	return fault.Wrap(compute.ErrForbidden, "Policy doesn't allow %s to be performed.", policy)
}

// dialect writes faults as Nova does.
type dialect struct{}

var faultNames = map[int]string{
	http.StatusBadRequest: "badRequest", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden",
	http.StatusNotFound: "itemNotFound", http.StatusMethodNotAllowed: "badMethod", http.StatusConflict: "conflictingRequest",
	http.StatusRequestEntityTooLarge: "overLimit", http.StatusUnsupportedMediaType: "badMediaType",
	http.StatusTooManyRequests: "overLimit", http.StatusNotImplemented: "notImplemented", http.StatusServiceUnavailable: "serviceUnavailable",
}

// Fault answers with Nova's body; a request without a valid token gets the one of Keystone's middleware.
func (dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, err error) {
	if status == http.StatusUnauthorized {
		_ = wire.JSON(w, status, object{"error": object{"code": status, "title": "Unauthorized", "message": "The request you have made requires authentication."}})
		return
	}
	name := faultNames[status]
	if name == "" {
		name = "computeFault"
	}
	_ = wire.JSON(w, status, object{name: object{"code": status, "message": err.Error()}})
}

// object is a JSON object that is being written.
type object = map[string]any
