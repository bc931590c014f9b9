package cloud

import (
	"context"
	"errors"
)

// Cloud is a running cloud.
type Cloud struct{}

// Start starts the cloud.
func Start(_ context.Context, o Options) (*Cloud, error) {
	return nil, errors.Join(errors.New("nothing is composed yet"), o.closeListeners())
}

// Wait returns when the cloud has stopped.
func (*Cloud) Wait() error { return nil }

// Purge removes everything that drivers find on this host.
func Purge(context.Context, Options) error { return nil }
