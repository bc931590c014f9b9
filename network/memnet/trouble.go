package memnet

import (
	"context"
	"time"
)

// Trouble is what goes wrong with a driver, as data. The zero value is none.
type Trouble struct {
	// Delay is how long every call takes.
	Delay time.Duration
	// Errors are what calls answer, by verb ("Apply", "Remove", "List"), or by verb and identifier ("Apply 3f25…").
	Errors map[string]error
}

// meet waits and fails as ordered.
func (t Trouble) meet(ctx context.Context, verb, id string) error {
	if t.Delay > 0 {
		timer := time.NewTimer(t.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.Errors[verb]; err != nil {
		return err
	}
	return t.Errors[verb+" "+id]
}
