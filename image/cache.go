package image

import (
	"context"
	"slices"
	"sync"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// CachedImage is an image that this host has a local copy of, although it is kept elsewhere.
type CachedImage struct {
	ImageID string
	driver.Cached
}

// cacheQueue are the images that are to be copied to this host.
type cacheQueue struct {
	mu     sync.Mutex
	images []string
	// wake tells Run that there is something in it.
	wake chan struct{}
}

// errNoCache is what a service answers that has no store with local copies.
func errNoCache() error {
	return fault.Wrap(ErrNotFound, "Caching via API is not supported at this site.")
}

// caches are the stores that keep local copies, for administrators.
func (s *Service) caches(scope Scope) (map[string]driver.Cache, error) {
	if !scope.Admin {
		return nil, fault.Wrap(ErrForbidden, "You are not authorized to manage the cache of images.")
	}
	all := map[string]driver.Cache{}
	for name, store := range s.stores {
		if cache, ok := store.(driver.Cache); ok {
			all[name] = cache
		}
	}
	if len(all) == 0 {
		return nil, errNoCache()
	}
	return all, nil
}

// Cached lists the images that this host has local copies of, and those that wait to be copied. A service without a
// store that keeps local copies ([driver.Cache]) is [ErrNotFound].
func (s *Service) Cached(ctx context.Context, scope Scope) (cached []CachedImage, queued []string, err error) {
	caches, err := s.caches(scope)
	if err != nil {
		return nil, nil, err
	}
	s.cache.mu.Lock()
	queued = slices.Clone(s.cache.images)
	s.cache.mu.Unlock()
	images, err := s.images.List(s.records.Read(ctx), record.Query{Where: []record.Condition{record.Ne(string(ByHashValue), "")}})
	if err != nil {
		return nil, nil, err
	}
	for name, cache := range caches {
		copies, err := cache.Cached(ctx)
		if err != nil {
			return nil, nil, err
		}
		for i := range images {
			for _, c := range copies {
				if d := images[i].Data; d != nil && d.refs()[name] == c.Ref {
					cached = append(cached, CachedImage{ImageID: images[i].ID, Cached: c})
				}
			}
		}
	}
	return cached, queued, nil
}

// QueueForCache has [Service.Run] copy an active image's content to this host.
func (s *Service) QueueForCache(ctx context.Context, scope Scope, id string) error {
	img, err := s.Get(ctx, scope, id)
	if err != nil {
		return err
	}
	if _, err := s.caches(scope); err != nil {
		return err
	}
	if img.Status != Active {
		return fault.Wrap(ErrInvalid, "Only images with status active can be targeted for queueing")
	}
	s.cache.mu.Lock()
	if !slices.Contains(s.cache.images, id) {
		s.cache.images = append(s.cache.images, id)
	}
	s.cache.mu.Unlock()
	poke(s.cache.wake)
	return nil
}

// DropFromCache removes the local copy of an image, or takes it from the queue.
func (s *Service) DropFromCache(ctx context.Context, scope Scope, id string) error {
	cached, queued, err := s.Cached(ctx, scope)
	if err != nil {
		return err
	}
	here := slices.ContainsFunc(cached, func(c CachedImage) bool { return c.ImageID == id }) || slices.Contains(queued, id)
	if _, err := s.Get(ctx, scope, id); err != nil && !here {
		return err
	}
	s.unqueue(id)
	return s.drop(ctx, scope, cached, id)
}

// ClearCache removes all local copies, or empties the queue, or both.
func (s *Service) ClearCache(ctx context.Context, scope Scope, copies, queue bool) error {
	cached, _, err := s.Cached(ctx, scope)
	if err != nil {
		return err
	}
	if queue {
		s.unqueue("")
	}
	if !copies {
		return nil
	}
	return s.drop(ctx, scope, cached, "")
}

// drop removes the local copies of one image, or of all.
func (s *Service) drop(ctx context.Context, scope Scope, cached []CachedImage, id string) error {
	caches, err := s.caches(scope)
	if err != nil {
		return err
	}
	for _, c := range cached {
		if id != "" && c.ImageID != id {
			continue
		}
		for _, cache := range caches {
			if err := cache.Drop(ctx, c.Ref); err != nil {
				return err
			}
		}
	}
	return nil
}

// unqueue takes an image from the queue, or all.
func (s *Service) unqueue(id string) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	s.cache.images = slices.DeleteFunc(s.cache.images, func(other string) bool { return id == "" || id == other })
}

// fillCache copies what is queued, until ctx ends.
func (s *Service) fillCache(ctx context.Context) {
	for {
		id := s.firstQueued()
		if id == "" {
			select {
			case <-ctx.Done():
				return
			case <-s.cache.wake:
			}
			continue
		}
		// A path to a local file is what a copy is made for.
		if _, err := s.LocalPath(ctx, Scope{Admin: true}, id); err != nil {
			s.options.Log.Warn("an image could not be cached", "image", id, "error", err)
		}
		s.unqueue(id)
	}
}

func (s *Service) firstQueued() string {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if len(s.cache.images) == 0 {
		return ""
	}
	return s.cache.images[0]
}
