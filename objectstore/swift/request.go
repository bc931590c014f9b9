package swift

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/objectstore"
)

// reseller is what the names of accounts begin with, before the project's identifier.
const reseller = "AUTH_"

// request is what is known of a request before its operation begins.
type request struct {
	*http.Request
	w    http.ResponseWriter
	path objectstore.Path
	// named is the path as the client wrote it: the account with its prefix.
	named objectstore.Path
	query url.Values
	// caller is who asks, and known says whether that is somebody.
	caller objectstore.Caller
	known  bool
	// temp is the temporary URL that the request came by, or nil.
	temp *tempURL
	// shared is how the container shares with pages of other origins, for requests that come from one.
	shared *sharing
	reads  *patientReader
}

type requestKey struct{}

// serve makes a route's function of an operation on a request.
func serve(operation func(*request) error) func(http.ResponseWriter, *http.Request) error {
	return func(_ http.ResponseWriter, r *http.Request) error {
		q, ok := r.Context().Value(requestKey{}).(*request)
		if !ok {
			return status(http.StatusNotFound)
		}
		return operation(q)
	}
}

// splitPath takes the path of a request apart as Swift does: everything behind the third slash is the object's name,
// whatever it is.
func splitPath(path string) (objectstore.Path, error) {
	if !utf8.ValidString(path) || strings.ContainsRune(path, 0) {
		return objectstore.Path{}, refuse(http.StatusPreconditionFailed, "Invalid UTF8 or contains NULL")
	}
	rest, rooted := strings.CutPrefix(path, "/")
	parts := strings.SplitN(rest, "/", 4)
	if !rooted || parts[0] == "" {
		return objectstore.Path{}, status(http.StatusNotFound)
	}
	parts = append(parts, "", "", "")
	p := objectstore.Path{Account: parts[1], Container: parts[2], Object: parts[3]}
	switch {
	case p.Account == "" || p.Container == "" && p.Object != "":
		return objectstore.Path{}, refuse(http.StatusPreconditionFailed, "Bad URL")
	case parts[0] != "v1" && parts[0] != "v1.0":
		return objectstore.Path{}, status(http.StatusBadRequest)
	}
	return p, nil
}

func pattern(p objectstore.Path) string {
	switch {
	case p.Object != "":
		return objectPath
	case p.Container != "":
		return containerPath
	}
	return accountPath
}

// table finds routes by path and method.
func table(routes []wire.Route) map[string]map[string]*wire.Route {
	t := map[string]map[string]*wire.Route{}
	for i := range routes {
		r := &routes[i]
		if t[r.Path] == nil {
			t[r.Path] = map[string]*wire.Route{}
		}
		t[r.Path][r.Method] = r
		if _, own := t[r.Path][http.MethodHead]; r.Method == http.MethodGet && !own {
			t[r.Path][http.MethodHead] = r
		}
	}
	return t
}

// handler serves the routes without looking at paths as a ServeMux does, which cleans them.
type handler struct {
	api    *api
	routes map[string]map[string]*wire.Route
}

// ServeHTTP names the request, and keeps a panic from taking other requests with it.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := transaction(h.api.options.Now())
	if extra := r.Header.Get("X-Trans-Id-Extra"); extra != "" {
		id += "-" + url.QueryEscape(extra[:min(len(extra), 32)])
	}
	w.Header().Set("X-Trans-Id", id)
	w.Header().Set("X-Openstack-Request-Id", id)
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value that net/http panics with
			h.api.options.Log.Error("panic", "request", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			h.api.fail(w, r, status(http.StatusInternalServerError), false)
		} else if p != nil {
			panic(p)
		}
	}()
	q := &request{Request: r, w: w}
	err := h.serve(q)
	if err == nil {
		return
	}
	q.shared.dress(q)
	drain(q)
	h.api.fail(w, r, err, q.known)
}

// serve finds the route and the caller, and serves the request.
func (h *handler) serve(q *request) error {
	path, bad := "", error(nil)
	_, fixed := h.routes[q.URL.Path]
	if fixed = fixed && !strings.Contains(q.URL.Path, "{"); fixed {
		path = q.URL.Path
	} else if q.named, bad = splitPath(q.URL.Path); bad == nil {
		path = pattern(q.named)
	}
	if route := h.routes[path][q.Method]; route != nil {
		q.Pattern = route.Method + " " + route.Path // for whoever measures requests from outside
	} else {
		q.Pattern = ""
	}
	if before := h.api.options.Before; before != nil {
		if err := before(q.w, q.Request); err != nil {
			return err
		}
	}
	if bad != nil {
		return bad
	}
	route := h.routes[path][q.Method]
	if route == nil {
		return &refusal{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {allowed(h.routes[path])}}}
	}
	if fixed {
		return route.Serve(q.w, q.Request)
	}
	if err := h.api.prepare(q, route.Public); err != nil {
		return err
	}
	limit := route.MaxBody
	if limit == 0 {
		limit = wire.DefaultMaxBody
	}
	if limit > 0 {
		q.Body = http.MaxBytesReader(q.w, q.Body, limit)
	}
	q.reads = &patientReader{body: q.Body, control: http.NewResponseController(q.w), idle: h.api.options.UploadIdle}
	return route.Serve(q.w, q.WithContext(context.WithValue(q.Context(), requestKey{}, q)))
}

func allowed(routes map[string]*wire.Route) string {
	var methods []string
	for m := range routes {
		methods = append(methods, m)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// prepare finds out who asks for what.
func (a *api) prepare(q *request, public bool) error {
	var err error
	if q.query, err = url.ParseQuery(q.URL.RawQuery); err != nil {
		return refuse(http.StatusBadRequest, "the query is malformed")
	}
	bare, ours := strings.CutPrefix(q.named.Account, reseller)
	q.path = objectstore.Path{Account: bare, Container: q.named.Container, Object: q.named.Object}
	q.caller.Referrer = q.Referer()
	if err := a.identify(q); err != nil {
		return err
	}
	if !ours || bare == "" {
		return objectstore.ErrForbidden
	}
	if most := a.limits().MaxAccountNameLength; len(q.named.Account) > most {
		return refuse(http.StatusBadRequest, "Account name length of %d longer than %d", len(q.named.Account), most)
	}
	a.load(q)
	if public {
		return nil
	}
	return a.acceptTempURL(q)
}

// identify finds the caller. A token that is none makes nobody, who may still read what is public.
func (a *api) identify(q *request) error {
	token := q.Header.Get("X-Auth-Token")
	if token == "" {
		token = q.Header.Get("X-Storage-Token")
	}
	if token == "" {
		return nil
	}
	if user, ok := a.logins.user(token); ok {
		q.caller, q.known = user.caller(q.Referer()), true
		return nil
	}
	if a.auth == nil {
		return nil
	}
	who, err := a.auth.Validate(q.Context(), token)
	switch {
	case errors.Is(err, objectstore.ErrUnauthorized), errors.Is(err, objectstore.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("token: %w", err)
	}
	q.caller, q.known = a.options.CallerOf(who), true
	q.caller.Referrer = q.Referer()
	return nil
}

// CallerOf is what the domain needs to know of who was authenticated, by whatever means: its account, if one of its roles
// is an operator's, and what access control lists can name.
func (o *Options) CallerOf(who *identity.Caller) objectstore.Caller {
	full := o.withDefaults()
	c := objectstore.Caller{UserID: who.UserID, ProjectID: who.ProjectID, Admin: who.HasRole(full.ResellerRole)}
	// Names are only unique in a domain: access control lists can name those of the default one.
	if who.UserDomainID == "default" && who.ProjectDomainID == "default" {
		c.UserName, c.ProjectName = who.UserName, who.ProjectName
	}
	for _, role := range who.Roles {
		c.Roles = append(c.Roles, role.Name)
	}
	if who.ProjectID != "" && slices.ContainsFunc(full.OperatorRoles, who.HasRole) {
		c.Account = who.ProjectID
	}
	return c
}

// operator is the wire itself, which looks at keys, sharing and web settings before it knows what the caller may.
func operator() objectstore.Caller { return objectstore.Caller{Admin: true} }

// transaction is a name for a request, as Swift writes them.
func transaction(now time.Time) string {
	var random [11]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("tx%s-%010x", hex.EncodeToString(random[:])[:21], now.Unix())
}

// drainLimit is how much of a refused upload is still taken, so that a client that does not listen while it sends
// hears why.
const drainLimit = 64 << 20

// drain takes what a client goes on sending. One that waits to be told to continue sends nothing.
func drain(q *request) {
	if q.reads == nil || q.reads.err != nil || !q.reads.begun && strings.EqualFold(q.Header.Get("Expect"), "100-continue") {
		return
	}
	_, _ = io.CopyN(io.Discard, q.reads, drainLimit)
}

// patientReader reads a body that may take as long as it wants, while it moves.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
	idle    time.Duration
	begun   bool
	err     error
}

// Read gives the client more time. Where the server cannot, its own limits hold.
func (p *patientReader) Read(b []byte) (int, error) {
	p.begun = true
	_ = p.control.SetReadDeadline(time.Now().Add(p.idle))
	n, err := p.body.Read(b)
	if err != nil {
		p.err = err
	}
	if errors.Is(err, io.EOF) {
		// The server goes on to watch the connection, for a client that goes away while it waits for the answer.
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
