// Package cinder serves a [volume.Service] over HTTP as OpenStack's Block Storage API v3 does, with its microversions
// 3.[MinMinor] to 3.[MaxMinor], so that unmodified clients work: the openstack command, cinderclient, gophercloud,
// Tempest.
//
//	mux := http.NewServeMux()
//	mux.Handle("/", cinder.Handler(service, tokens{}, &cinder.Options{AuthURL: "http://127.0.0.1:5000/v3"}))
//
// [Routes] are the operations as data. The API reference is https://docs.openstack.org/api-ref/block-storage/v3/.
//
// # What it needs
//
// A volume.Service, and an identity.Authenticator that says whose a token is. Of the host it needs nothing.
//
// # What it does not do
//
// It decides nothing but who may ask, as Cinder's default policies do: whoever has the role admin may act on every
// project; everybody else sees only their own, and never learns that another's resource exists. Replication, clusters
// of services and the consistency groups that came before groups do not exist here: lists of them are empty, and
// what would change them is answered with 501 and the reason; docs/api-coverage.md lists every operation. It serves
// plain HTTP: TLS is its server's business.
//
// # Errors
//
// Faults have Cinder's bodies ({"itemNotFound": {"code": 404, "message": …}}) and statuses: a quota that is exceeded is
// 413 with Retry-After, what the service finds in the wrong state 400. [Options.Before] can add some. A failure of the
// server's own is 500 without the reason, which goes to [Options.Log].
//
// # Concurrency
//
// The handler is safe for concurrent use and keeps no state: several may serve one database, and one that is killed
// loses nothing.
package cinder

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token.
	AuthURL string
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
	volumes *volume.Service
	options Options
	known   map[string]bool // first segments of paths behind the version and the project
}

// operation is one call of the API.
type operation struct {
	method, path string
	serve        func(c *call) error
	// since is the microversion that has it first.
	since int
	// policy is the name of the rule that lets only admins pass; empty lets everybody.
	policy string
	// unsupported is why it cannot be done here; there is no serve then.
	unsupported string
	// actions are what the body of a POST …/action may name; they are served, and there is no serve then.
	actions map[string]action
}

// Handler serves the API.
func Handler(service *volume.Service, auth identity.Authenticator, options *Options) http.Handler {
	a := newAPI(service, options)
	inner := wire.NewHandler(a.routes(root), dialect{}, wire.Options{Auth: auth, AuthURL: a.options.AuthURL, Before: a.options.Before, Log: a.options.Log})
	return a.negotiate(inner)
}

// Routes are the calls that [Handler] serves, for tables of what is covered: with the project in their paths, which
// clients may leave out.
func Routes(service *volume.Service, options *Options) []wire.Route {
	routes := newAPI(service, options).routes(root + "/{project_id}")
	for i := range routes {
		// These name a project of their own.
		if rest, ok := strings.CutPrefix(routes[i].Path, root+"/{project_id}/default-types"); ok {
			routes[i].Path = root + "/default-types" + rest
		}
	}
	return routes
}

func newAPI(service *volume.Service, options *Options) *api {
	a := &api{volumes: service, known: map[string]bool{}}
	if options != nil {
		a.options = *options
	}
	if a.options.MaxLimit <= 0 {
		a.options.MaxLimit = defaultMaxLimit
	}
	for _, op := range a.operations() {
		first, _, _ := strings.Cut(strings.TrimPrefix(op.path, "/"), "/")
		a.known[first] = true
	}
	return a
}

func (a *api) operations() []operation {
	return slices.Concat(
		a.volumeOperations(), a.metadataOperations(), a.snapshotOperations(), a.attachmentOperations(), a.typeOperations(), a.defaultTypeOperations(),
		a.quotaOperations(), a.serviceOperations(), a.messageOperations(), a.groupTypeOperations(), a.groupOperations(),
		a.backupOperations(), a.transferOperations(), a.qosOperations(), a.manageOperations(), a.filterOperations(),
		a.extensionOperations(), a.absentOperations(),
	)
}

func (a *api) routes(prefix string) []wire.Route {
	routes := []wire.Route{
		{Method: "GET", Path: "/", Public: true, Serve: a.versions(http.StatusMultipleChoices)},
		{Method: "GET", Path: root, Public: true, Serve: a.versions(http.StatusOK)},
	}
	for _, op := range a.operations() {
		route := wire.Route{Method: op.method, Path: prefix + op.path, Unsupported: op.unsupported, Serve: func(w http.ResponseWriter, r *http.Request) error {
			return a.serve(w, r, &op)
		}}
		for _, name := range slices.Sorted(maps.Keys(op.actions)) {
			route.Actions = append(route.Actions, wire.Action{Name: name, Unsupported: op.actions[name].unsupported})
		}
		routes = append(routes, route)
	}
	return routes
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, op *operation) error {
	caller := identity.CallerFrom(r.Context())
	c := &call{ResponseWriter: w, Request: r, api: a, negotiated: negotiatedFrom(r.Context()), caller: caller}
	w.Header().Set("X-Compute-Request-Id", w.Header().Get("X-Openstack-Request-Id"))
	switch {
	case c.minor < op.since:
		return fault.Wrap(volume.ErrNotFound, "The resource could not be found.")
	case caller.ProjectID == "" && !caller.IsAdmin():
		return fault.Wrap(volume.ErrForbidden, "Policy doesn't allow the request without a project.")
	case c.project != "" && c.project != caller.ProjectID:
		return fault.Wrap(volume.ErrInvalid, "Malformed request url")
	case op.policy != "" && !caller.IsAdmin():
		return forbidden(op.policy)
	case op.unsupported != "":
		return fault.Wrap(volume.ErrUnsupported, "%s", op.unsupported)
	case op.actions != nil:
		return c.perform(op.actions)
	}
	return op.serve(c)
}

func forbidden(policy string) error {
	return fault.Wrap(volume.ErrForbidden, "Policy doesn't allow %s to be performed.", policy)
}

// dialect writes faults as Cinder does.
type dialect struct{}

func faultName(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "badRequest"
	case http.StatusUnauthorized:
		return "unauthorized"
	case http.StatusForbidden:
		return "forbidden"
	case http.StatusNotFound:
		return "itemNotFound"
	case http.StatusMethodNotAllowed:
		return "badMethod"
	case http.StatusConflict:
		return "conflictingRequest"
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return "overLimit"
	case http.StatusUnsupportedMediaType:
		return "badMediaType"
	case http.StatusNotImplemented:
		return "notImplemented"
	case http.StatusServiceUnavailable:
		return "serviceUnavailable"
	}
	return "computeFault"
}

// Fault answers with Cinder's body; a request without a valid token gets the one of Keystone's middleware.
func (dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, err error) {
	if status == http.StatusUnauthorized {
		_ = wire.JSON(w, status, object{"error": object{"code": status, "title": "Unauthorized", "message": "The request you have made requires authentication."}})
		return
	}
	inner := object{"message": err.Error()}
	if errors.Is(err, volume.ErrQuota) {
		status = http.StatusRequestEntityTooLarge
		w.Header().Set("Retry-After", "0")
		inner["retryAfter"] = "0"
	}
	inner["code"] = status
	_ = wire.JSON(w, status, object{faultName(status): inner})
}

// object is a JSON object that is being written.
type object = map[string]any
