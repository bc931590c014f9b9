package identity

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// cache remembers validated tokens by their hash, so that no memory dump has them, and forgets the least recently
// used. An answer is kept only if nothing changed since it was begun.
type cache struct {
	size int
	ttl  time.Duration
	now  func() time.Time

	mu      sync.Mutex
	epoch   uint64
	entries map[[sha256.Size]byte]*list.Element
	recent  *list.List
	catalog []CatalogEntry
}

type cached struct {
	key   [sha256.Size]byte
	token *Token
	until time.Time
}

func newCache(size int, ttl time.Duration, now func() time.Time) *cache {
	c := &cache{size: size, ttl: ttl, now: now}
	c.clear()
	return c
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.entries = map[[sha256.Size]byte]*list.Element{}
	c.recent = list.New()
	c.catalog = nil
}

// get returns the token, or the epoch to give to put.
func (c *cache) get(key [sha256.Size]byte) (*Token, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, found := c.entries[key]
	if !found {
		return nil, c.epoch
	}
	entry := element.Value.(*cached)
	if !c.now().Before(entry.until) {
		c.recent.Remove(element)
		delete(c.entries, key)
		return nil, c.epoch
	}
	c.recent.MoveToFront(element)
	return entry.token, c.epoch
}

func (c *cache) put(key [sha256.Size]byte, token *Token, epoch uint64) {
	until := c.now().Add(c.ttl)
	if token.ExpiresAt.Before(until) {
		until = token.ExpiresAt
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if element, found := c.entries[key]; found {
		c.recent.Remove(element)
	}
	c.entries[key] = c.recent.PushFront(&cached{key: key, token: token, until: until})
	for len(c.entries) > c.size {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		delete(c.entries, oldest.Value.(*cached).key)
	}
}

func (c *cache) getCatalog() ([]CatalogEntry, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.catalog, c.epoch
}

func (c *cache) putCatalog(catalog []CatalogEntry, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == c.epoch {
		c.catalog = catalog
	}
}
