package memcloud

import (
	"context"
	"sync"
	"time"
)

// clock is the real one, some time ahead.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// Now is the time in the cloud.
func (c *Cloud) Now() time.Time { return c.clock.now() }

// Advance moves the cloud's clock on: tokens expire, silent hosts are found dead, while those that live go on. Delays
// that are under way, of a build or a fault, take their time all the same.
func (c *Cloud) Advance(d time.Duration) error {
	ctx := context.Background()
	// Hosts that live are alive at the other end too: they must say so before the jump, or be taken for dead.
	at := c.clock.now().Add(d)
	for _, h := range c.Hosts() {
		if err := h.beat(ctx, at); err != nil {
			return err
		}
	}
	c.clock.advance(d)
	if err := c.Network.MoveFromDead(ctx); err != nil {
		return err
	}
	return c.LBaaS.Reschedule(ctx)
}
