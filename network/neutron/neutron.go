// Package neutron serves a [network.Service] over HTTP as OpenStack's Networking API v2.0, as the openstack and neutron
// commands, gophercloud and Tempest speak it.
//
//	mux := http.NewServeMux()
//	mux.Handle("/", neutron.Handler(service, auth{}, &neutron.Options{AuthURL: "http://127.0.0.1:5000/v3"}))
//
// [Routes] are the operations as data. Bodies, statuses and fault names are those of the API reference
// (https://docs.openstack.org/api-ref/network/v2/) and of Neutron. Load balancers (package lbaasv1) stand under the
// same address, and are named to clients by [Options.Extensions].
//
// It needs a network.Service and an identity.Authenticator that says whose a token is, and nothing from the host. It
// does not serve extensions that its own list does not name; docs/api-coverage.md lists every operation. It serves
// plain HTTP: TLS is its server's business. Whoever has the role admin may act on every project; everybody else sees
// their own and what is shared with them.
//
// Errors become faults {"NeutronError": {"type", "message", "detail"}} with Neutron's statuses; a failure of the
// server's own is 500 without the reason, which goes to [Options.Log]. A handler is safe for concurrent use and keeps
// no state: several may serve one database, and one that is killed loses nothing.
package neutron

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/network"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token.
	AuthURL string
	// Extensions are those that others serve under the same address, such as load balancers', for the list of extensions.
	Extensions []Extension
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

// Handler serves the API over the service. Tokens are checked by auth.
func Handler(service *network.Service, auth identity.Authenticator, options *Options) http.Handler {
	if options == nil {
		options = &Options{}
	}
	return wire.NewHandler(Routes(service, options), Dialect{}, wire.Options{Auth: auth, AuthURL: options.AuthURL, Before: options.Before, Log: options.Log})
}

// Routes are the operations that [Handler] serves.
func Routes(service *network.Service, options *Options) []wire.Route {
	a := &api{service: service, extensions: extensions}
	if options != nil {
		a.extensions = append(a.extensions[:len(a.extensions):len(a.extensions)], options.Extensions...)
	}
	routes := a.discovery()
	routes = append(routes, a.networks().routes()...)
	routes = append(routes, a.subnets().routes()...)
	routes = append(routes, a.ports().routes()...)
	routes = append(routes, a.routers().routes()...)
	routes = append(routes, a.floatingIPs().routes()...)
	routes = append(routes, a.groups().routes()...)
	routes = append(routes, a.rules().routes()...)
	routes = append(routes, a.subnetPools().routes()...)
	routes = append(routes, a.policies().routes()...)
	routes = append(routes, a.agents().routes()...)
	routes = append(routes, a.interfaces()...)
	routes = append(routes, a.scheduling()...)
	routes = append(routes, a.quotas()...)
	routes = append(routes, a.tags()...)
	routes = append(routes, a.availability()...)
	return routes
}

type api struct {
	service    *network.Service
	extensions []Extension
}

// scope is in whose name the request is made.
func scope(r *http.Request) network.Scope {
	caller := identity.CallerFrom(r.Context())
	if caller == nil {
		return network.Scope{}
	}
	return network.Scope{ProjectID: caller.ProjectID, Admin: caller.IsAdmin()}
}

// Dialect writes faults as Neutron does: {"NeutronError": {"type": …, "message": …, "detail": ""}}.
type Dialect struct{}

// Fault writes one fault. A quota that is used up is 409 here.
func (Dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, err error) {
	if status == http.StatusUnauthorized {
		_ = wire.JSON(w, status, object{"error": object{"code": status, "title": "Unauthorized", "message": "The request you have made requires authentication."}})
		return
	}
	name := map[int]string{http.StatusBadRequest: "HTTPBadRequest", http.StatusForbidden: "PolicyNotAuthorized", http.StatusNotFound: "HTTPNotFound",
		http.StatusMethodNotAllowed: "HTTPMethodNotAllowed", http.StatusConflict: "HTTPConflict", http.StatusRequestEntityTooLarge: "HTTPRequestEntityTooLarge",
		http.StatusServiceUnavailable: "HTTPServiceUnavailable"}[status]
	if name == "" {
		name = "HTTPInternalServerError"
	}
	message := err.Error()
	var refusal *network.Error
	if errors.As(err, &refusal) && status != http.StatusInternalServerError {
		name, message = refusal.Name, refusal.Text
	}
	if errors.Is(err, fault.ErrQuota) {
		status = http.StatusConflict
	}
	_ = wire.JSON(w, status, object{"NeutronError": object{"type": name, "message": message, "detail": ""}})
}

// object is a JSON object.
type object = map[string]any

func badRequest(format string, args ...any) error {
	return fault.Wrap(fault.ErrInvalid, format, args...)
}

// envelope reads {"key": {…}} and returns the inner object.
func envelope(r *http.Request, keys ...string) (key string, inner json.RawMessage, err error) {
	var body map[string]json.RawMessage
	if err := wire.Decode(r, &body); err != nil {
		return "", nil, err
	}
	for _, key := range keys {
		if inner, ok := body[key]; ok {
			return key, inner, nil
		}
	}
	return "", nil, badRequest("Unable to find '%s' in request body", keys[0])
}
