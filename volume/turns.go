package volume

import (
	"slices"
	"sync"
)

// turns keeps what is done with one volume and its snapshots from overlapping.
type turns struct {
	mu   sync.Mutex
	free *sync.Cond
	held map[string]bool
}

// take waits until none of the volumes is held, and holds them all until done is called.
func (t *turns) take(volumeIDs ...string) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free == nil {
		t.free = sync.NewCond(&t.mu)
	}
	for slices.ContainsFunc(volumeIDs, func(id string) bool { return t.held[id] }) {
		t.free.Wait()
	}
	for _, id := range volumeIDs {
		t.held[id] = true
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, id := range volumeIDs {
			delete(t.held, id)
		}
		t.free.Broadcast()
	}
}

// turn waits until nothing else is done with the volumes, and holds them until done is called. Whoever holds a turn takes
// no other.
func (a *Agent) turn(volumeIDs ...string) (done func()) { return a.turns.take(volumeIDs...) }
