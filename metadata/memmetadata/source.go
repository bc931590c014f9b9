// Package memmetadata knows servers in memory: a [metadata.Source] for tests and simulations, with faults and delays to
// order.
//
//	source := memmetadata.New(nil)
//	source.Put(caller.NetworkID, caller.Address, &metadata.Instance{Name: "vm1", AvailabilityZone: "nova"})
//
// It needs nothing of the host, and does not keep anything when the process ends. Errors are metadata.ErrNotFound for
// an address that was not put in, metadata.ErrConflict for a second password, and whatever [Options] say. A [Source] is
// safe for concurrent use.
package memmetadata

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/kintoun/kintoun/metadata"
)

// Options is what goes wrong, as data; nil and zero values are nothing.
type Options struct {
	// Err is what every question is answered with.
	Err error
	// Delay is how long every answer takes.
	Delay time.Duration
}

// Source implements [metadata.Passwords].
type Source struct {
	options Options

	mu        sync.Mutex
	instances map[metadata.Caller]*metadata.Instance
	passwords map[string][]byte
}

var _ metadata.Passwords = (*Source)(nil)

// New returns a source without servers.
func New(options *Options) *Source {
	s := &Source{instances: make(map[metadata.Caller]*metadata.Instance), passwords: make(map[string][]byte)}
	if options != nil {
		s.options = *options
	}
	return s
}

// Put makes a server known by an address in a network. The server must not be changed afterwards.
func (s *Source) Put(networkID string, address netip.Addr, instance *metadata.Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances[metadata.Caller{NetworkID: networkID, Address: address}] = instance
}

// Delete forgets an address.
func (s *Source) Delete(networkID string, address netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.instances, metadata.Caller{NetworkID: networkID, Address: address})
}

// Instance implements [metadata.Source].
func (s *Source) Instance(ctx context.Context, networkID string, address netip.Addr) (*metadata.Instance, error) {
	if err := s.trouble(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	instance, ok := s.instances[metadata.Caller{NetworkID: networkID, Address: address}]
	if !ok {
		return nil, fmt.Errorf("server with %s in network %s: %w", address, networkID, metadata.ErrNotFound)
	}
	return instance, nil
}

// Password implements [metadata.Passwords].
func (s *Source) Password(ctx context.Context, instanceID string) ([]byte, error) {
	if err := s.trouble(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.passwords[instanceID]), nil
}

// SetPassword implements [metadata.Passwords].
func (s *Source) SetPassword(ctx context.Context, instanceID string, password []byte) error {
	if err := s.trouble(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.passwords[instanceID]) > 0 {
		return fmt.Errorf("password of server %s: %w", instanceID, metadata.ErrConflict)
	}
	s.passwords[instanceID] = bytes.Clone(password)
	return nil
}

// trouble waits and fails as ordered.
func (s *Source) trouble(ctx context.Context) error {
	if s.options.Delay > 0 {
		timer := time.NewTimer(s.options.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.options.Err
}
