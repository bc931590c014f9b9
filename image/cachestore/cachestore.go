// Package cachestore gives a store of image contents that lie elsewhere local files: copies in a directory, made when
// somebody asks for a path, as an agent does that boots a server.
//
//	s, err := cachestore.New(dir, objects)
//	name, err := s.Path(ctx, "image-1")
//
// It implements the contract of package image/driver with [driver.LocalFiles] and [driver.Cache], whatever the store
// behind it does. A copy is complete or not there: it is written beside its place and then renamed. Removing a content
// removes its copy. Copies are not counted against any bound, and stay until they are dropped or the content is removed.
//
// It needs a directory of its own with room for the copies, and nothing else of the host. It does not verify the copies
// that it finds.
//
// Errors are the store's, and those of package os for the directory. A [Store] is safe for concurrent use; a content
// that two ask for at once is copied once. A directory belongs to one Store at a time: what a killed one left half made is
// removed by the next [New].
package cachestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kintoun/kintoun/image/driver"
)

// Store is a [driver.Store] with local copies. Create it with [New].
type Store struct {
	driver.Store
	dir string

	mu    sync.Mutex
	using map[string]*copied
}

// copied is a copy, or one that is being made.
type copied struct {
	// making is held by who makes or removes the copy.
	making sync.Mutex
	hits   int64
	used   time.Time
}

const (
	copies = "copies"
	tmp    = "tmp"
)

var (
	_ driver.LocalFiles = (*Store)(nil)
	_ driver.Cache      = (*Store)(nil)
	_ driver.Locator    = (*Store)(nil)
)

// New keeps copies of what store has in dir, which it makes if it is not there.
func New(dir string, store driver.Store) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image copies: %w", err)
	}
	s := &Store{Store: store, dir: dir, using: map[string]*copied{}}
	err = errors.Join(os.RemoveAll(filepath.Join(dir, tmp)), os.MkdirAll(filepath.Join(dir, copies), 0o750), os.MkdirAll(filepath.Join(dir, tmp), 0o750))
	if err != nil {
		return nil, fmt.Errorf("image copies: %w", err)
	}
	return s, nil
}

// URL implements [driver.Locator] with the name that the store behind this one has for the content.
func (s *Store) URL(ref string) string {
	if locator, ok := s.Store.(driver.Locator); ok {
		return locator.URL(ref)
	}
	return s.Kind() + ":///" + ref
}

func (s *Store) name(ref string) string { return filepath.Join(s.dir, copies, ref) }

// hold returns the copy of ref with its lock held.
func (s *Store) hold(ref string) *copied {
	s.mu.Lock()
	c := s.using[ref]
	if c == nil {
		c = &copied{}
		s.using[ref] = c
	}
	s.mu.Unlock()
	c.making.Lock()
	return c
}

// Path implements [driver.LocalFiles]. The first time, it takes as long as the copy does.
func (s *Store) Path(ctx context.Context, ref string) (string, error) {
	if driver.CheckRef(ref) != nil {
		return "", fmt.Errorf("image content %q: %w", ref, fs.ErrNotExist)
	}
	c := s.hold(ref)
	defer c.making.Unlock()
	name := s.name(ref)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		err = s.fetch(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("copy of image content %q: %w", ref, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("copy of image content %q: %w", ref, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hits++
	c.used = time.Now()
	return name, nil
}

// fetch makes the copy.
func (s *Store) fetch(ctx context.Context, ref string) (err error) {
	from, err := s.Open(ctx, ref)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	made := filepath.Join(s.dir, tmp, ref)
	to, err := os.OpenFile(made, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(made))
		}
	}()
	_, err = io.Copy(to, withContext{ctx, from})
	if err = errors.Join(err, to.Sync(), to.Close()); err != nil {
		return err
	}
	return os.Rename(made, s.name(ref))
}

// withContext is a reader that ends with ctx.
type withContext struct {
	ctx context.Context //nolint:containedctx // it lives for one copy
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// Remove implements [driver.Store]: the copy goes first.
func (s *Store) Remove(ctx context.Context, ref string) error {
	if err := s.Drop(ctx, ref); err != nil {
		return err
	}
	return s.Store.Remove(ctx, ref)
}

// Drop implements [driver.Cache].
func (s *Store) Drop(_ context.Context, ref string) error {
	if driver.CheckRef(ref) != nil {
		return nil
	}
	c := s.hold(ref)
	defer c.making.Unlock()
	if err := os.Remove(s.name(ref)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copy of image content %q: %w", ref, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.hits = 0
	return nil
}

// Cached implements [driver.Cache].
func (s *Store) Cached(context.Context) ([]driver.Cached, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, copies))
	if err != nil {
		return nil, fmt.Errorf("image copies: %w", err)
	}
	var all []driver.Cached
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // just dropped
		} else if err != nil {
			return nil, fmt.Errorf("image copies: %w", err)
		}
		one := driver.Cached{Ref: entry.Name(), Size: info.Size(), MadeAt: info.ModTime(), UsedAt: info.ModTime()}
		s.mu.Lock()
		if c := s.using[one.Ref]; c != nil && c.hits > 0 {
			one.Hits, one.UsedAt = c.hits, c.used
		}
		s.mu.Unlock()
		all = append(all, one)
	}
	return all, nil
}
