// Package memobjects keeps the contents of objects in memory: for tests and simulations.
//
//	s := memobjects.New(nil)
//	content, _ := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, _ := s.Open(ctx, "0197-1", 2, 4)
//
// It implements the contract of package objectstore/driver and passes its suite. What fails is data: see [Options] and
// package inject.
//
// It needs nothing from the host but memory, without bound, and does not keep anything when the process ends. Errors wrap
// fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid as the contract says, and whatever a fault says. A [Store] is safe for
// concurrent use.
package memobjects

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/objectstore/driver"
)

// Store is a [driver.Store] in memory. Create it with [New].
type Store struct {
	options Options

	mu       sync.RWMutex
	contents map[string][]byte
}

// Options of a [Store]; nil and zero values are fine.
type Options struct {
	// Faults are what goes wrong, in the steps "object put", "object open", "object remove" (once for each reference) and
	// "object list"; nil is nothing.
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
	if err := s.options.Faults.Meet(ctx, inject.Step{Name: "object " + call, ID: ref}); err != nil {
		return fmt.Errorf("%s %q: %w", call, ref, err)
	}
	return nil
}

// Kind is "memory".
func (s *Store) Kind() string { return "memory" }

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if err := s.meet(ctx, "put", ref); err != nil {
		return driver.Content{}, err
	}
	content, err := io.ReadAll(driver.Body(ctx, r, size))
	if err != nil {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, err)
	}
	sum := md5.Sum(content)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.contents[ref]; taken {
		return driver.Content{}, fmt.Errorf("put %q: %w", ref, fs.ErrExist)
	}
	s.contents[ref] = bytes.Clone(content) // without what ReadAll has spare
	return driver.Content{Size: int64(len(content)), MD5: hex.EncodeToString(sum[:])}, nil
}

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	if err := s.meet(ctx, "open", ref); err != nil {
		return nil, err
	}
	s.mu.RLock()
	content, ok := s.contents[ref]
	s.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("open %q: %w", ref, fs.ErrNotExist)
	}
	length, err := driver.Range(int64(len(content)), offset, length)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", ref, err)
	}
	return io.NopCloser(bytes.NewReader(content[offset : offset+length])), nil
}

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, refs ...string) error {
	for _, ref := range refs {
		if err := s.meet(ctx, "remove", ref); err != nil {
			return err
		}
		s.mu.Lock()
		delete(s.contents, ref)
		s.mu.Unlock()
	}
	return nil
}

// List implements [driver.Store].
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.meet(ctx, "list", ""); err != nil {
			yield("", err)
			return
		}
		s.mu.RLock()
		refs := make([]string, 0, len(s.contents))
		for ref := range s.contents {
			refs = append(refs, ref)
		}
		s.mu.RUnlock()
		for _, ref := range refs {
			if !yield(ref, nil) {
				return
			}
		}
	}
}
