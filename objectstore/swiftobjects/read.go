package swiftobjects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/internal/remote"
	"github.com/kintoun/kintoun/probe"
)

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	if driver.CheckRef(ref) != nil {
		return nil, fail(ref, fs.ErrNotExist)
	}
	h := s.hold(ref)
	r, err := s.open(ctx, ref, offset, length)
	if err != nil {
		return nil, fail(ref, errors.Join(err, s.leave(ctx, ref, h)))
	}
	return &reader{ReadCloser: r, leave: sync.OnceValue(func() error { return s.leave(context.WithoutCancel(ctx), ref, h) })}, nil
}

// reader lets segments go when it is closed.
type reader struct {
	io.ReadCloser
	leave func() error
}

func (r *reader) Close() error { return errors.Join(r.ReadCloser.Close(), r.leave()) }

// leave deletes the segments that were left to readers, if this was the last.
func (s *Store) leave(ctx context.Context, ref string, h *held) error {
	if !s.letGo(ref, h) {
		return nil
	}
	return s.deleteSegments(ctx, ref)
}

func (s *Store) open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	var options objects.DownloadOpts
	switch {
	case offset < 0 || length == 0 || length > 0 && offset+length < offset:
		return s.openNothing(ctx, ref, offset, length)
	case length > 0:
		options.Range = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		options.Range = fmt.Sprintf("bytes=%d-", offset)
	}
	result := objects.Download(ctx, s.client, s.container, s.name(ref), options)
	if gophercloud.ResponseCodeIs(result.Err, http.StatusRequestedRangeNotSatisfiable) {
		return s.openNothing(ctx, ref, offset, length)
	}
	if result.Err != nil {
		return nil, result.Err
	}
	if options.Range == "" {
		return result.Body, nil
	}
	// Swift answers with less where a range reaches too far.
	if err := remote.CompareRange(result.Header, offset, length); err != nil {
		return nil, errors.Join(err, result.Body.Close())
	}
	return result.Body, nil
}

// openNothing is for what no range of HTTP can say (RFC 9110, section 14.1.2): the empty part, and what is no part.
func (s *Store) openNothing(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	size, err := s.size(ctx, ref)
	if err != nil {
		return nil, err
	}
	if length, err = driver.Range(size, offset, length); err != nil {
		return nil, err
	}
	if length > 0 {
		return nil, fmt.Errorf("Swift has no %d bytes from %d on of %d", length, offset, size)
	}
	return http.NoBody, nil
}

// together is how many contents are removed at the same time.
const together = 8

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, refs ...string) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	turn := make(chan struct{}, together)
	for _, ref := range refs {
		if driver.CheckRef(ref) != nil {
			continue
		}
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			if err := s.remove(ctx, ref); err != nil {
				mu.Lock()
				failed = fmt.Errorf("removing object contents: %q: %w", ref, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// remove deletes the manifest first: without it the segments are what List finds.
func (s *Store) remove(ctx context.Context, ref string) error {
	if err := s.delete(ctx, s.name(ref)); err != nil {
		return err
	}
	if s.leaveToReaders(ref) {
		return nil
	}
	return s.deleteSegments(ctx, ref)
}

// List implements [driver.Store]. Segments that are being put or read in this process are not left over.
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		left := false
		each := func(ref string) (bool, error) {
			left = driver.CheckRef(ref) == nil && !yield(ref, nil)
			return !left, ctx.Err()
		}
		err := s.names(ctx, s.options.Prefix, func(name string) (bool, error) {
			return each(strings.TrimPrefix(name, s.options.Prefix))
		})
		if err == nil && !left {
			err = s.listLeftovers(ctx, each)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !left {
			yield("", fmt.Errorf("listing object contents: %w", err))
		}
	}
}

// listLeftovers finds segments without a manifest.
func (s *Store) listLeftovers(ctx context.Context, each func(ref string) (bool, error)) error {
	begin := s.options.Prefix + segments
	return s.names(ctx, begin, func(name string) (bool, error) {
		ref := strings.TrimSuffix(strings.TrimPrefix(name, begin), "/")
		if s.busy(ref) {
			return true, nil
		}
		_, err := s.size(ctx, ref)
		switch {
		case err == nil:
			return true, nil // it was listed
		case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
			return each(ref)
		}
		return false, err
	})
}

// Probe says what is missing for a store in the container, as a [probe.Missing]; nil if nothing. It puts, reads and removes a
// content of its own.
func Probe(ctx context.Context, client *gophercloud.ServiceClient, container string, options *Options) error {
	s, err := New(client, container, options)
	if err != nil {
		return err
	}
	if err := s.try(ctx, "probe-"+uuid.NewString()); err != nil {
		return &probe.Missing{What: "container " + container + " at " + client.Endpoint, Why: "the contents of objects", How: "create the container, and let this user put, get, list and delete objects in it", Err: err}
	}
	return nil
}

func (s *Store) try(ctx context.Context, ref string) error {
	if _, err := s.Put(ctx, ref, strings.NewReader("probe"), 5); err != nil {
		return err
	}
	r, err := s.Open(ctx, ref, 1, 3)
	if err == nil {
		err = r.Close()
	}
	return errors.Join(err, s.Remove(ctx, ref))
}
