// Package fault holds the kinds of error that every domain shares. Each domain exports those it returns under
// its own name (network.ErrNotFound), so that callers never import this package; each wire package turns a
// kind into its dialect's status and body.
//
// An error is wrapped with what and which: fmt.Errorf("subnet %q: %w", id, fault.ErrNotFound).
package fault

import (
	"errors"
	"fmt"
)

// The kinds.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("conflict")
	ErrInvalid      = errors.New("invalid")
	ErrQuota        = errors.New("quota exceeded")
	ErrForbidden    = errors.New("forbidden")
	ErrUnauthorized = errors.New("unauthorized")
	ErrUnavailable  = errors.New("unavailable")
	// ErrInUse is a conflict: something else still needs the thing.
	ErrInUse = fmt.Errorf("in use: %w", ErrConflict)
	// ErrExhausted is a conflict: nothing is left to give.
	ErrExhausted = fmt.Errorf("exhausted: %w", ErrConflict)
	// ErrTooLarge is input over a limit.
	ErrTooLarge = errors.New("too large")
	// ErrUnsupported is a request that is understood and that this host or driver cannot serve.
	ErrUnsupported = errors.New("unsupported")
)

// Wrap says that format, filled with args, is of the given kind: the message comes first, and errors.Is finds kind.
func Wrap(kind error, format string, args ...any) error {
	return &wrapped{kind: kind, text: fmt.Sprintf(format, args...)}
}

type wrapped struct {
	kind error
	text string
}

func (w *wrapped) Error() string { return w.text }
func (w *wrapped) Unwrap() error { return w.kind }
