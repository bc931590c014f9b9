// Package wire is what the HTTP dialects share: routes as data, limits, authentication, decoding, faults.
//
// A wire package lists its [Route] values and gives them to [NewHandler] with its [Dialect]. A route's function
// returns an error instead of writing one; the dialect turns it into the right status and body.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/fault"
)

// Route is one operation.
type Route struct {
	Method string
	// Path is a pattern of [http.ServeMux], without the method: "/v2.0/networks/{id}".
	Path string
	// Serve answers the request, or returns an error and has written nothing.
	Serve func(w http.ResponseWriter, r *http.Request) error
	// Public routes are served without a token.
	Public bool
	// MaxBody bounds the request's body in bytes; zero is [DefaultMaxBody], negative is no bound.
	MaxBody int64
	// Unsupported is what the route says to everybody, where the operation cannot be done here; empty where it can.
	Unsupported string
	// Actions are what the body may ask for, where one route has several: those of POST /servers/{id}/action.
	Actions []Action
}

// Action is one of the operations of a route whose body names the operation.
type Action struct {
	Name string
	// Unsupported is as a [Route] has it.
	Unsupported string
}

// DefaultMaxBody is the largest request body that a route takes unless it says otherwise.
const DefaultMaxBody = 1 << 20

// Dialect writes faults the way that a service's clients expect them.
type Dialect interface {
	Fault(w http.ResponseWriter, r *http.Request, status int, err error)
}

// Options are what a handler needs besides its routes.
type Options struct {
	// Auth validates the X-Auth-Token of routes that are not public.
	Auth identity.Authenticator
	// AuthURL is the identity service's address, named to clients without a valid token; may be empty.
	AuthURL string
	// Before is asked first of all; the error that it returns is the answer. It may have set headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

// NewHandler serves the routes. Anything else is 404, or 405 where the path has other methods.
func NewHandler(routes []Route, dialect Dialect, options Options) http.Handler {
	h := &handler{dialect: dialect, options: options}
	if h.options.Log == nil {
		h.options.Log = slog.New(slog.DiscardHandler)
	}
	h.mux = sync.OnceValue(func() *http.ServeMux { return h.route(routes) })
	return h
}

type handler struct {
	dialect Dialect
	options Options
	// mux is made for the first request: in a test's cloud most services never have one.
	mux func() *http.ServeMux
}

func (h *handler) route(routes []Route) *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range routes {
		pattern := strings.TrimSuffix(route.Path, "/")
		if route.Path == "/" {
			pattern = "/{$}"
		}
		mux.HandleFunc(route.Method+" "+pattern, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, &route) })
	}
	return mux
}

// ServeHTTP names the request, and keeps a panic from taking other requests with it.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := "req-" + uuid.NewString()
	w.Header().Set("X-Openstack-Request-Id", id)
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value that net/http panics with
			h.options.Log.Error("panic", "request", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			h.dialect.Fault(w, r, http.StatusInternalServerError, errors.New("an unexpected error prevented the server from fulfilling the request"))
		} else if p != nil {
			panic(p)
		}
	}()
	given := r
	// Clients say /v2.0/networks/ and /v2.0/networks alike.
	if len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.Path, "/") {
		r = r.Clone(r.Context())
		r.URL.Path, r.URL.RawPath = strings.TrimRight(r.URL.Path, "/"), strings.TrimRight(r.URL.RawPath, "/")
		if r.URL.Path == "" {
			r.URL.Path = "/"
		}
	}
	_, pattern := h.mux().Handler(r)
	given.Pattern = pattern // for whoever measures requests from outside
	if h.options.Before != nil {
		if err := h.options.Before(w, r); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	if pattern == "" {
		h.unknown(w, r)
		return
	}
	h.mux().ServeHTTP(w, r)
}

// unknown says what ServeMux says of a path without a route, 404 or 405, in the dialect's words.
func (h *handler) unknown(w http.ResponseWriter, r *http.Request) {
	said := &recorder{header: http.Header{}}
	h.mux().ServeHTTP(said, r)
	if allow := said.header.Get("Allow"); said.status == http.StatusMethodNotAllowed && allow != "" {
		w.Header().Set("Allow", allow)
		h.dialect.Fault(w, r, said.status, errors.New("the method is not allowed for this resource"))
		return
	}
	h.dialect.Fault(w, r, http.StatusNotFound, errors.New("the resource could not be found"))
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func (h *handler) serve(w http.ResponseWriter, r *http.Request, route *Route) {
	if !route.Public {
		caller, err := h.authenticate(r)
		if err != nil {
			if h.options.AuthURL != "" {
				w.Header().Set("Www-Authenticate", fmt.Sprintf("Keystone uri=%q", h.options.AuthURL))
			}
			h.fail(w, r, err)
			return
		}
		r = r.WithContext(identity.WithCaller(r.Context(), caller))
	}
	if limit := route.MaxBody; limit >= 0 {
		if limit == 0 {
			limit = DefaultMaxBody
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	if err := route.Serve(w, r); err != nil {
		h.fail(w, r, err)
	}
}

func (h *handler) authenticate(r *http.Request) (*identity.Caller, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" {
		return nil, fault.Wrap(fault.ErrUnauthorized, "The request you have made requires authentication.")
	}
	return h.options.Auth.Validate(r.Context(), token)
}

// fail answers with the error's kind; what has none is the server's own failure, logged and not told.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := Status(err)
	if status == http.StatusInternalServerError {
		h.options.Log.Error("request failed", "request", w.Header().Get("X-Openstack-Request-Id"), "method", r.Method, "path", r.URL.Path, "error", err)
		err = errors.New("an unexpected error prevented the server from fulfilling the request")
	}
	h.dialect.Fault(w, r, status, err)
}

// StatusError is an error that brings its own HTTP status, where a dialect differs from the usual one.
type StatusError struct {
	Code int
	Err  error
}

func (e *StatusError) Error() string { return e.Err.Error() }
func (e *StatusError) Unwrap() error { return e.Err }

// WithStatus gives err a status.
func WithStatus(code int, err error) error { return &StatusError{Code: code, Err: err} }

// Status is the HTTP status of an error's kind.
func Status(err error) int {
	var own *StatusError
	var others interface{ HTTPStatus() int }
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own.Code
	case errors.As(err, &others):
		return others.HTTPStatus()
	case errors.As(err, &tooLarge), errors.Is(err, fault.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, fault.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, fault.ErrUnauthorized):
		return http.StatusUnauthorized
	case errors.Is(err, fault.ErrForbidden), errors.Is(err, fault.ErrQuota):
		return http.StatusForbidden
	case errors.Is(err, fault.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, fault.ErrConflict):
		return http.StatusConflict
	case errors.Is(err, fault.ErrUnsupported):
		return http.StatusNotImplemented
	case errors.Is(err, fault.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Decode reads the request's JSON body into v. What is not JSON, or not of v's types, is fault.ErrInvalid.
func Decode(r *http.Request, v any) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fault.Wrap(fault.ErrInvalid, "the request has no body")
	}
	if err := json.Unmarshal(data, v); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fault.Wrap(fault.ErrInvalid, "Invalid input for field/attribute %s: a %s is not allowed there", wrong.Field, wrong.Value)
		}
		return fault.Wrap(fault.ErrInvalid, "malformed request body: %s", err)
	}
	return nil
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that has gone cannot be told
	return nil
}
