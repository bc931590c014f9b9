package objectstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// RateLimits say how fast accounts and containers may be changed, so that nobody keeps the database to himself. What comes faster
// waits, and is refused with [ErrTooFast] if it would wait for longer than Patience. The words and the meaning are those of Swift's
// ratelimit middleware (https://docs.openstack.org/swift/latest/ratelimit.html); the zero value limits nothing.
//
// Each Service counts by itself: two that share a database allow twice as much. Who may not do a thing does not use up anything of
// those who may.
type RateLimits struct {
	// Account is how many containers may be made and deleted in an account, per second; zero is no limit.
	Account float64
	// Container is how many objects may be written, changed, copied to and deleted in a container, per second, and Listing how
	// often it may be listed, by how many objects it has. Both are in order of sizes.
	Container, Listing []SizeRate
	// Patience is how long a request may wait: 60 seconds.
	Patience time.Duration
	// Buffer is how long what was not used may be made up for, at any speed: 5 seconds.
	Buffer time.Duration
}

// SizeRate limits containers that have at least so many objects, up to the next size. Between two sizes the rate is in between.
type SizeRate struct {
	Objects   int64
	PerSecond float64
}

func (l *RateLimits) none() bool {
	return l.Account == 0 && len(l.Container) == 0 && len(l.Listing) == 0
}

// Check finds limits that cannot be kept: they are [ErrInvalid].
func (l *RateLimits) Check() error {
	if l.Account < 0 {
		return fmt.Errorf("rate limit of accounts: %v: %w", l.Account, ErrInvalid)
	}
	for _, rates := range [][]SizeRate{l.Container, l.Listing} {
		if !slices.IsSortedFunc(rates, func(a, b SizeRate) int { return int(max(-1, min(1, a.Objects-b.Objects))) }) {
			return fmt.Errorf("rate limits of containers: not in order of sizes: %w", ErrInvalid)
		}
		for i, r := range rates {
			if r.PerSecond <= 0 || r.Objects < 0 || i > 0 && r.Objects == rates[i-1].Objects {
				return fmt.Errorf("rate limits of containers: %v per second from %d objects on: %w", r.PerSecond, r.Objects, ErrInvalid)
			}
		}
	}
	return nil
}

// rateOf is the limit of a container with so many objects; zero is none.
func rateOf(rates []SizeRate, objects int64) float64 {
	next := slices.IndexFunc(rates, func(r SizeRate) bool { return r.Objects > objects })
	switch next {
	case 0:
		return 0
	case -1:
		if len(rates) == 0 {
			return 0
		}
		return rates[len(rates)-1].PerSecond
	}
	from, to := rates[next-1], rates[next]
	return from.PerSecond + (to.PerSecond-from.PerSecond)*float64(objects-from.Objects)/float64(to.Objects-from.Objects)
}

// pacer keeps the limits.
type pacer struct {
	limits RateLimits
	now    func() time.Time
	mu     sync.Mutex
	// limiters are those that are not full; full ones are forgotten from time to time.
	limiters map[string]*rate.Limiter
	sweepAt  int
}

// fewLimiters are kept without looking which of them are full.
const fewLimiters = 1024

func newPacer(o *Options) *pacer {
	return &pacer{limits: o.RateLimits, now: o.Now, limiters: map[string]*rate.Limiter{}, sweepAt: fewLimiters}
}

// wait has the caller wait for its turn.
func (p *pacer) wait(ctx context.Context, key string, perSecond float64) error {
	turn, delay := p.reserve(key, perSecond)
	if delay == 0 {
		return nil
	}
	if delay > p.limits.Patience {
		turn.CancelAt(p.now())
		return fmt.Errorf("%.3g requests per second, this one would have to wait for %v: %w", perSecond, delay.Round(time.Millisecond), ErrTooFast)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.CancelAt(p.now())
		return ctx.Err()
	}
}

func (p *pacer) reserve(key string, perSecond float64) (*rate.Reservation, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if len(p.limiters) >= p.sweepAt {
		for k, l := range p.limiters {
			if l.TokensAt(now) >= float64(l.Burst()) {
				delete(p.limiters, k)
			}
		}
		p.sweepAt = max(fewLimiters, 2*len(p.limiters))
	}
	burst := max(1, int(perSecond*p.limits.Buffer.Seconds()))
	l := p.limiters[key]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(perSecond), burst)
		p.limiters[key] = l
	} else if l.Limit() != rate.Limit(perSecond) {
		l.SetLimitAt(now, rate.Limit(perSecond))
		l.SetBurstAt(now, burst)
	}
	turn := l.ReserveN(now, 1)
	return turn, turn.DelayFrom(now)
}

// paceAccount waits until the caller may make or delete a container.
func (s *Service) paceAccount(ctx context.Context, caller *Caller, path Path) error {
	if s.pacer == nil || s.pacer.limits.Account == 0 {
		return nil
	}
	_, _, err := s.open(s.reading(ctx), caller, path, changeOwn)
	if err != nil && !errors.Is(err, ErrNoContainer) {
		return err
	}
	return s.pacer.wait(ctx, "account/"+path.Account, s.pacer.limits.Account)
}

// paceObject waits until the caller may do what it needs that right for.
func (s *Service) paceObject(ctx context.Context, caller *Caller, path Path, need right) error {
	if s.pacer == nil {
		return nil
	}
	kind, rates := "container/", s.pacer.limits.Container
	if need == readList {
		kind, rates = "list/", s.pacer.limits.Listing
	}
	if len(rates) == 0 {
		return nil
	}
	_, c, err := s.open(s.reading(ctx), caller, path, need)
	if err != nil {
		return err
	}
	limit := rateOf(rates, c.Objects)
	if limit == 0 {
		return nil
	}
	return s.pacer.wait(ctx, kind+c.ID, limit)
}
