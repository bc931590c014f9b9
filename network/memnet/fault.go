package memnet

import (
	"context"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error that this package returns.
var (
	ErrInvalid     = fault.ErrInvalid
	ErrConflict    = fault.ErrConflict
	ErrNotFound    = fault.ErrNotFound
	ErrUnsupported = fault.ErrUnsupported
)

// steps is where a driver meets its faults.
type steps struct {
	faults *inject.Set
	host   string
}

func (s steps) meet(ctx context.Context, step, id string) error {
	return s.faults.Meet(ctx, inject.Step{Name: step, ID: id, Host: s.host})
}
