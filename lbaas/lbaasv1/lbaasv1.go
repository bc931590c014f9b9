// Package lbaasv1 serves OpenStack's LBaaS v1 (the "lbaas" and "lbaas_agent_scheduler" extensions of Networking API
// v2.0, Grizzly to Kilo) over a [lbaas.Service]: /v2.0/lb/pools, members, health_monitors and vips.
//
//	mux := http.NewServeMux()
//	handler := lbaasv1.Handler(service, tokens{}, nil)
//	for _, pattern := range lbaasv1.Patterns() {
//		mux.Handle(pattern, handler)
//	}
//
// The handler stands under the same address as the network API; [Patterns] are the paths that belong to it, and
// [Extensions] what the network API's list of extensions has to name. Requests are those of the neutron command,
// "neutron lb-pool-create" and its like.
//
// It needs a lbaas.Service and an identity.Authenticator that says whose a token is, and nothing of the host. It does
// not serve LBaaS v2 or Octavia. Where a body leaves admin_state_up out it is true, as the API has it.
//
// Errors are faults of the form {"NeutronError": {"type", "message", "detail"}} with Neutron's statuses; a failure of
// the server's own is 500 without the reason. The handler is safe for concurrent use and keeps no state: one that is
// killed loses nothing.
package lbaasv1

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/lbaas"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token.
	AuthURL string
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

// Extension is an entry of the network API's list of extensions.
type Extension struct {
	Alias, Name, Description, Updated string
}

// Extensions are the ones that this package serves.
func Extensions() []Extension {
	return []Extension{
		{"lbaas", "LoadBalancing service", "Extension for LoadBalancing service", "2012-10-07T10:00:00-00:00"},
		{"lbaas_agent_scheduler", "Loadbalancer Agent Scheduler", "Schedule load balancers among lbaas agents", "2013-02-07T10:00:00-00:00"},
	}
}

// Patterns are the paths that belong to the handler, as [http.ServeMux] writes them.
func Patterns() []string {
	return []string{"/v2.0/lb/", "/v2.0/agents/{id}/loadbalancer-pools"}
}

// Handler serves the API over the service. Tokens are checked by auth.
func Handler(service *lbaas.Service, auth identity.Authenticator, options *Options) http.Handler {
	if options == nil {
		options = &Options{}
	}
	return wire.NewHandler(Routes(service), dialect{}, wire.Options{Auth: auth, AuthURL: options.AuthURL, Before: options.Before, Log: options.Log})
}

type api struct{ service *lbaas.Service }

// Routes are the operations that [Handler] serves.
func Routes(service *lbaas.Service) []wire.Route {
	a := &api{service: service}
	var routes []wire.Route
	add := func(method, path string, serve func(http.ResponseWriter, *http.Request) error) {
		routes = append(routes, wire.Route{Method: method, Path: path, Serve: serve})
	}
	for _, c := range []struct {
		path                            string
		list, create, show, update, del func(http.ResponseWriter, *http.Request) error
	}{
		{"/v2.0/lb/pools", a.listPools, a.createPool, a.showPool, a.updatePool, a.deletePool},
		{"/v2.0/lb/members", a.listMembers, a.createMember, a.showMember, a.updateMember, a.deleteMember},
		{"/v2.0/lb/health_monitors", a.listMonitors, a.createMonitor, a.showMonitor, a.updateMonitor, a.deleteMonitor},
		{"/v2.0/lb/vips", a.listVIPs, a.createVIP, a.showVIP, a.updateVIP, a.deleteVIP},
	} {
		add("GET", c.path, c.list)
		add("POST", c.path, c.create)
		add("GET", c.path+"/{id}", c.show)
		add("PUT", c.path+"/{id}", c.update)
		add("DELETE", c.path+"/{id}", c.del)
	}
	add("GET", "/v2.0/lb/pools/{id}/stats", a.poolStats)
	add("GET", "/v2.0/lb/pools/{id}/loadbalancer-agent", a.agentOfPool)
	add("GET", "/v2.0/agents/{id}/loadbalancer-pools", a.poolsOfAgent)
	add("GET", "/v2.0/lb/pools/{id}/health_monitors", a.monitorsOfPool)
	add("POST", "/v2.0/lb/pools/{id}/health_monitors", a.associate)
	add("GET", "/v2.0/lb/pools/{id}/health_monitors/{monitor}", a.monitorOfPool)
	add("DELETE", "/v2.0/lb/pools/{id}/health_monitors/{monitor}", a.disassociate)
	return routes
}

// scope is in whose name the request is made.
func scope(r *http.Request) lbaas.Scope {
	caller := identity.CallerFrom(r.Context())
	return lbaas.Scope{ProjectID: caller.ProjectID, Admin: caller.IsAdmin()}
}

func adminOnly(r *http.Request) error {
	if !scope(r).Admin {
		return fault.Wrap(fault.ErrForbidden, "Policy doesn't allow this operation to be performed.")
	}
	return nil
}

// dialect is how Neutron words its faults.
type dialect struct{}

type neutronError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Detail  string `json:"detail"`
}

// Fault writes a fault.
func (dialect) Fault(w http.ResponseWriter, _ *http.Request, status int, err error) {
	if status == http.StatusUnauthorized {
		// The token's check stands before Neutron and has its own form.
		_ = wire.JSON(w, status, map[string]any{"error": map[string]any{"code": status, "title": "Unauthorized", "message": err.Error()}})
		return
	}
	if errors.Is(err, fault.ErrQuota) {
		status = http.StatusConflict
	}
	name := "HTTP" + strings.ReplaceAll(http.StatusText(status), " ", "")
	var own *lbaas.Error
	if errors.As(err, &own) {
		name = own.Name
	}
	_ = wire.JSON(w, status, map[string]neutronError{"NeutronError": {Type: name, Message: err.Error()}})
}

// attribute says when a client may give an attribute.
type attribute struct{ post, put, required bool }

var (
	settable  = attribute{post: true, put: true}
	onCreate  = attribute{post: true}
	mandatory = attribute{post: true, required: true}
	readOnly  = attribute{}
)

// decode reads {"pool": {…}} into v, after a look at which attributes it has.
func decode(r *http.Request, resource string, attributes map[string]attribute, v any) error {
	var body map[string]json.RawMessage
	if err := wire.Decode(r, &body); err != nil {
		return err
	}
	inner, ok := body[resource]
	if !ok {
		return fault.Wrap(fault.ErrInvalid, "Unable to find '%s' in request body", resource)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(inner, &given); err != nil || given == nil {
		return fault.Wrap(fault.ErrInvalid, "Body contains invalid data: '%s' is not an object", resource)
	}
	if err := checkAttributes(r.Method, attributes, given); err != nil {
		return err
	}
	if err := json.Unmarshal(inner, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fault.Wrap(fault.ErrInvalid, "Invalid input for %s. Reason: a %s is not allowed there.", wrong.Field, wrong.Value)
		}
		return fault.Wrap(fault.ErrInvalid, "Invalid input for %s. Reason: %s.", resource, err)
	}
	return nil
}

func checkAttributes(method string, attributes map[string]attribute, given map[string]json.RawMessage) error {
	var unknown []string
	for name := range given {
		rule, known := attributes[name]
		switch {
		case !known:
			unknown = append(unknown, name)
		case method == http.MethodPost && !rule.post:
			return fault.Wrap(fault.ErrInvalid, "Attribute '%s' not allowed in POST", name)
		case method == http.MethodPut && !rule.put:
			return fault.Wrap(fault.ErrInvalid, "Cannot update read-only attribute %s", name)
		}
	}
	if len(unknown) > 0 {
		return fault.Wrap(fault.ErrInvalid, "Unrecognized attribute(s) '%s'", strings.Join(sorted(unknown), ", "))
	}
	if method != http.MethodPost {
		return nil
	}
	for name, rule := range attributes {
		if _, ok := given[name]; rule.required && !ok {
			return fault.Wrap(fault.ErrInvalid, "Failed to parse request. Required attribute '%s' not specified", name)
		}
	}
	return nil
}
