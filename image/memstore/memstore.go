// Package memstore keeps the contents of images in memory: for tests and simulations.
//
//	s := memstore.New(nil)
//	content, _ := s.Put(ctx, "image-1", strings.NewReader("a disk"))
//	f, _ := s.Open(ctx, "image-1")
//
// It implements the contract of package image/driver and passes its suite. What fails is data: see [Options] and
// package inject.
//
// It needs nothing from the host but memory, without bound, and does not keep anything when the process ends. There is
// no [driver.LocalFiles]: agents that boot from files need another store. Errors wrap fs.ErrNotExist, fs.ErrExist and
// fs.ErrInvalid as the contract says, and whatever a fault says. A [Store] is safe for concurrent use.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/inject"
)

// Store is a [driver.Store] in memory. Create it with [New].
type Store struct {
	mu       sync.Mutex
	contents map[string][]byte
	options  Options
}

// Options of a [Store]; nil and zero values are fine.
type Options struct {
	// Faults are what goes wrong, in the steps "image put", "image open", "image remove" and "image list"; nil is nothing.
	Faults *inject.Set
}

// New returns an empty store.
func New(options *Options) *Store {
	s := &Store{contents: map[string][]byte{}}
	if options != nil {
		s.options = *options
	}
	return s
}

func (s *Store) meet(ctx context.Context, call, ref string) error {
	if err := s.options.Faults.Meet(ctx, inject.Step{Name: "image " + call, ID: ref}); err != nil {
		return fmt.Errorf("%s %q: %w", call, ref, err)
	}
	return nil
}

// Kind is "memory".
func (s *Store) Kind() string { return "memory" }

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if err := s.meet(ctx, "put", ref); err != nil {
		return driver.Content{}, err
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
	s.contents[ref] = content.Bytes()
	return digest.Content(), nil
}

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string) (driver.File, error) {
	if err := s.meet(ctx, "open", ref); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	content, ok := s.contents[ref]
	if !ok {
		return nil, fmt.Errorf("open %q: %w", ref, fs.ErrNotExist)
	}
	return file{bytes.NewReader(content)}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, ref string) error {
	if err := s.meet(ctx, "remove", ref); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.contents, ref)
	return nil
}

// List implements [driver.Store].
func (s *Store) List(ctx context.Context) ([]string, error) {
	if err := s.meet(ctx, "list", ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refs := make([]string, 0, len(s.contents))
	for ref := range s.contents {
		refs = append(refs, ref)
	}
	return refs, nil
}
