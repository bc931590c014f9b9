//go:build linux

package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/kintoun/kintoun/metadata"
)

// Limits on connections in one namespace: of all callers, and of one.
const (
	connectionLimit = 512
	callerLimit     = 16
)

// bucketLimit bounds the memory of the limiter: with more callers than that, all start anew.
const bucketLimit = 16384

// limiter is a token bucket for each caller.
type limiter struct {
	rate, burst float64
	now         func() time.Time

	mu      sync.Mutex
	buckets map[metadata.Caller]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(rate, burst int, now func() time.Time) *limiter {
	return &limiter{rate: float64(rate), burst: float64(burst), now: now, buckets: make(map[metadata.Caller]bucket)}
}

func (l *limiter) allow(caller metadata.Caller) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b, ok := l.buckets[caller]
	if !ok {
		if len(l.buckets) >= bucketLimit {
			clear(l.buckets)
		}
		b = bucket{tokens: l.burst, at: now}
	}
	b.tokens = min(l.burst, b.tokens+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	l.buckets[caller] = b
	return allowed
}

// capped closes connections over the limits at once, so that one server cannot keep the others out.
type capped struct {
	net.Listener

	mu  sync.Mutex
	all int
	of  map[netip.Addr]int
}

func newCapped(l net.Listener) *capped { return &capped{Listener: l, of: make(map[netip.Addr]int)} }

func (c *capped) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		caller := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		if c.enter(caller) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { c.leave(caller) })}, nil
		}
		_ = conn.Close()
	}
}

func (c *capped) enter(caller netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= connectionLimit || c.of[caller] >= callerLimit {
		return false
	}
	c.all++
	c.of[caller]++
	return true
}

func (c *capped) leave(caller netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[caller]--; c.of[caller] == 0 {
		delete(c.of, caller)
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
