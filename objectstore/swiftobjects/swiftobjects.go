// Package swiftobjects keeps the contents of objects in a container of a Swift that somebody else runs (OpenStack's own, or
// Ceph's): a store of package objectstore/driver, and the way past one machine.
//
//	s, err := swiftobjects.New(client, "contents", nil)
//	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, err := s.Open(ctx, "0197-1", 2, 4)
//
// A content is an object of that container, called as its reference is, after [Options.Prefix]. One that is larger than a segment
// ([Options.SegmentSize]) is a static large object, whose segments are beside it under ".segments/REFERENCE/"; a Put has one
// segment in memory at a time. Everything is sent with its MD5, so that Swift refuses what changed on the way.
//
// # What it needs
//
// A client of gophercloud's that is logged in (openstack.NewObjectStorageV1), and a container without versions, in which it may
// put, get, list and delete: [Probe] tries that. It does not create the container and does not check contents: that is Swift's
// work. Swift lists what was put only after a while, and so does List. A reader from Open ends with its context.
//
// # Errors
//
// Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid as the contract says; others are gophercloud.ErrUnexpectedResponseCode,
// or of package net.
//
// # Concurrency
//
// A [Store] is safe for concurrent use, and several processes may share a container. A killed Put leaves nothing or segments, which
// List names and Remove deletes. The segments of a content that is being read when it is removed are deleted when the last reader
// of this process is closed; a reader in another process may miss them.
package swiftobjects

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/gophercloud/gophercloud/v2/pagination"
	"github.com/kintoun/kintoun/objectstore/driver"
)

// Options of a [Store]; nil and zero values are fine.
type Options struct {
	// Prefix begins the names of all contents: "kintoun/". Stores with prefixes of which none begins the other share a container.
	Prefix string
	// SegmentSize is how large the segments of a large content are, in bytes; zero is 8 MiB. A content has 1,000 segments at most:
	// larger ones have larger segments, if their size is known.
	SegmentSize int64
}

const (
	defaultSegmentSize = 8 << 20
	maxSegments        = 1000
)

// segments begins the names of segments: no reference begins with a dot.
const segments = ".segments/"

// Store is a [driver.Store] in a container. Create it with [New].
type Store struct {
	client    *gophercloud.ServiceClient
	container string
	options   Options

	mu      sync.Mutex
	putting map[string]bool
	readers map[string]*held
}

// held is a content that is being read.
type held struct {
	readers int
	removed bool
}

var _ driver.Store = (*Store)(nil)

// New returns the store in the container. It sends nothing.
func New(client *gophercloud.ServiceClient, container string, options *Options) (*Store, error) {
	if client == nil || container == "" {
		return nil, fmt.Errorf("a Swift store without a client or a container: %w", fs.ErrInvalid)
	}
	s := &Store{client: client, container: container, putting: map[string]bool{}, readers: map[string]*held{}}
	if options != nil {
		s.options = *options
	}
	if s.options.SegmentSize <= 0 {
		s.options.SegmentSize = defaultSegmentSize
	}
	return s, nil
}

// Kind is "swift".
func (s *Store) Kind() string { return "swift" }

func (s *Store) name(ref string) string { return s.options.Prefix + ref }

// segmentsOf begins the names of the segments of the content.
func (s *Store) segmentsOf(ref string) string { return s.options.Prefix + segments + ref + "/" }

// fail says what failed, with the contract's errors for Swift's answers.
func fail(ref string, err error) error {
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case gophercloud.ResponseCodeIs(err, http.StatusPreconditionFailed):
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	case gophercloud.ResponseCodeIs(err, http.StatusRequestedRangeNotSatisfiable):
		err = fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	return fmt.Errorf("object content %q: %w", ref, err)
}

// size is how large the content is.
func (s *Store) size(ctx context.Context, ref string) (int64, error) {
	header, err := objects.Get(ctx, s.client, s.container, s.name(ref), nil).Extract()
	if err != nil {
		return 0, err
	}
	return header.ContentLength, nil
}

// delete removes an object, and is happy when there is none.
func (s *Store) delete(ctx context.Context, name string) error {
	err := objects.Delete(ctx, s.client, s.container, name, nil).Err
	if gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// names calls do with the names of a listing, in which a slash cuts names short, until it returns false.
func (s *Store) names(ctx context.Context, prefix string, do func(name string) (bool, error)) error {
	return objects.List(s.client, s.container, objects.ListOpts{Prefix: prefix, Delimiter: "/"}).EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		names, err := objects.ExtractNames(page)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if more, err := do(name); err != nil || !more {
				return false, err
			}
		}
		return true, nil
	})
}

// deleteSegments removes the segments of a content.
func (s *Store) deleteSegments(ctx context.Context, ref string) error {
	return s.names(ctx, s.segmentsOf(ref), func(name string) (bool, error) { return true, s.delete(ctx, name) })
}

// reserve keeps a second Put of the reference in this process out, and one whose segments would be deleted with those that are
// still being read.
func (s *Store) reserve(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.readers[ref]; s.putting[ref] || h != nil && h.removed {
		return false
	}
	s.putting[ref] = true
	return true
}

func (s *Store) release(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.putting, ref)
}

// hold remembers a reader of the content.
func (s *Store) hold(ref string) *held {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.readers[ref]
	if h == nil {
		h = &held{}
		s.readers[ref] = h
	}
	h.readers++
	return h
}

// letGo forgets a reader, and says whether it leaves segments that are to be deleted.
func (s *Store) letGo(ref string, h *held) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.readers--; h.readers > 0 {
		return false
	}
	if s.readers[ref] == h {
		delete(s.readers, ref)
	}
	return h.removed
}

// leaveToReaders says whether somebody reads the content, who then deletes its segments.
func (s *Store) leaveToReaders(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.readers[ref]
	if h != nil {
		h.removed = true
	}
	return h != nil
}

// busy says whether segments of the reference are no leftovers.
func (s *Store) busy(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putting[ref] || s.readers[ref] != nil
}
