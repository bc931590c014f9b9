// Package memstore keeps the contents of images in memory: for tests and simulations.
//
// It needs nothing from the host and is safe for concurrent use. Failures are injected as data: see [Faults].
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/image/driver"
)

// Store is a [driver.Store] in memory. Create it with [New].
type Store struct {
	mu       sync.Mutex
	contents map[string][]byte
	faults   Faults
}

// Faults are failures that a test asks for.
type Faults struct {
	// Capacity is how many bytes the store holds before a Put fails with Full; zero is no bound.
	Capacity int64
	// Full is the error of a Put beyond Capacity.
	Full error
	// Put, Open, Remove and List fail with these errors; nil works.
	Put, Open, Remove, List error
}

// New returns an empty store.
func New() *Store { return &Store{contents: map[string][]byte{}} }

// Inject replaces the failures that the store plays.
func (s *Store) Inject(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

func (s *Store) injected() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Kind is "memory".
func (s *Store) Kind() string { return "memory" }

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if err := s.injected().Put; err != nil {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, err)
	}
	var content bytes.Buffer
	digest := driver.NewDigest()
	if _, err := io.Copy(io.MultiWriter(&content, digest), r); err != nil {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, err)
	}
	if err := ctx.Err(); err != nil {
		return driver.Content{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.contents[ref]; taken {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, fs.ErrExist)
	}
	if s.faults.Capacity > 0 && s.used()+int64(content.Len()) > s.faults.Capacity {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, s.faults.Full)
	}
	s.contents[ref] = content.Bytes()
	return digest.Content(), nil
}

func (s *Store) used() (n int64) {
	for _, content := range s.contents {
		n += int64(len(content))
	}
	return n
}

// Open implements [driver.Store].
func (s *Store) Open(_ context.Context, ref string) (driver.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.Open != nil {
		return nil, fmt.Errorf("open %q: %w", ref, s.faults.Open)
	}
	content, ok := s.contents[ref]
	if !ok {
		return nil, fmt.Errorf("open %q: %w", ref, fs.ErrNotExist)
	}
	return file{bytes.NewReader(content)}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// Remove implements [driver.Store].
func (s *Store) Remove(_ context.Context, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.Remove != nil {
		return fmt.Errorf("remove %q: %w", ref, s.faults.Remove)
	}
	delete(s.contents, ref)
	return nil
}

// List implements [driver.Store].
func (s *Store) List(context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.List != nil {
		return nil, s.faults.List
	}
	refs := make([]string, 0, len(s.contents))
	for ref := range s.contents {
		refs = append(refs, ref)
	}
	return refs, nil
}
