// Package injecthttp puts the faults of package inject in the way of HTTP requests: a status, a delay, a connection
// that breaks. It plays them to the option Before that each of Kintoun's APIs has, which words them as its clients
// expect.
//
//	faults := inject.New(1, inject.Fault{Step: "POST /v2.1/servers", Every: 2, Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "1"}})
//	before := injecthttp.Before(faults) // for nova.Options and the like
//
// It needs nothing of the host. It does not change answers that an API has begun, and does not stand in front of other
// handlers. The error of a fault has the method HTTPStatus, by which the API answers; one without a status is the API's
// 500, and one that drops the connection panics with http.ErrAbortHandler, which net/http expects. It is safe for
// concurrent use.
package injecthttp

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/inject"
)

// Before lets each request meet the faults of the set: it is for the option Before of the APIs. A request's step is
// "METHOD /path", its resource the last part of the path. The error that it returns has the fault's status.
func Before(s *inject.Set) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error { return meet(s, w, r) }
}

func meet(s *inject.Set, w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimRight(r.URL.Path, "/")
	f, err := s.Strike(r.Context(), inject.Step{Name: r.Method + " " + path, ID: path[strings.LastIndexByte(path, '/')+1:]})
	if err != nil || f == nil {
		return err
	}
	if f.Drop {
		panic(http.ErrAbortHandler) // how net/http is told to close the connection
	}
	for name, value := range f.Header {
		w.Header().Set(name, value)
	}
	switch {
	case f.Status != 0 && f.Err != nil:
		return &statusError{f.Status, f.Err}
	case f.Status != 0:
		return &statusError{f.Status, fmt.Errorf("%w: %s", inject.ErrInjected, http.StatusText(f.Status))}
	case f.Err != nil:
		return f.Err
	case f.Delay > 0 || f.Hang:
		return nil
	}
	return inject.ErrInjected
}

// statusError says which HTTP status it wants to be answered with.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string   { return e.err.Error() }
func (e *statusError) Unwrap() error   { return e.err }
func (e *statusError) HTTPStatus() int { return e.status }
