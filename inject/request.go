package inject

import (
	"fmt"
	"net/http"
	"strings"
)

// Request lets an HTTP request meet the faults. Its step is "METHOD /path"; its resource is the last part of the path.
// It is what the Before option of each API wants: the error that it returns has the fault's status, and the API words it
// for its clients.
func (s *Set) Request(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimRight(r.URL.Path, "/")
	f, err := s.strike(r.Context(), Step{Name: r.Method + " " + path, ID: path[strings.LastIndexByte(path, '/')+1:]})
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
		return &statusError{f.Status, fmt.Errorf("%w: %s", ErrInjected, http.StatusText(f.Status))}
	case f.Err != nil:
		return f.Err
	case f.Delay > 0 || f.Hang:
		return nil
	}
	return ErrInjected
}

// statusError says which HTTP status it wants to be answered with.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string   { return e.err.Error() }
func (e *statusError) Unwrap() error   { return e.err }
func (e *statusError) HTTPStatus() int { return e.status }
