package converge

import (
	"sync"
	"time"
)

// Turn lets one of many agents in a process do what has to be done once in a while, whoever does it. The zero value is
// ready.
type Turn struct {
	mu   sync.Mutex
	last time.Time
}

// Mine says that it is the caller's turn: nobody's was it since the interval before now.
func (t *Turn) Mine(now time.Time, interval time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && now.Sub(t.last) < interval {
		return false
	}
	t.last = now
	return true
}
