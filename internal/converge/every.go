package converge

import (
	"context"
	"math/rand/v2"
	"time"
)

// Every calls do again and again until ctx ends, an interval apart. The first time is at a random moment within the
// interval, so that a thousand agents that started together do not all turn to one database at once, then or ever after.
// What takes longer than the interval is called again as soon as it returns.
func Every(ctx context.Context, interval time.Duration, do func(ctx context.Context)) {
	timer := time.NewTimer(rand.N(interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(interval) // before the work, whose time is not to be added to the interval
		do(ctx)
	}
}
