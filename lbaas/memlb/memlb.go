// Package memlb runs load balancers in memory: a whole implementation of [driver.Balancers] that chooses members as
// a real one would, for tests and simulation. It needs nothing from the host.
//
// Who answers, what fails and what takes time is data: [Driver.SetMember], [Driver.Inject]. Errors are those that
// were injected and fs.ErrNotExist for a balancer that is not there. A Driver is safe for concurrent use.
package memlb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/lbaas/driver"
)

// ErrRefused is what a client gets that no member answers.
var ErrRefused = errors.New("connection refused")

// Options are what may differ between simulated hosts.
type Options struct {
	// Answers says whether a member answers; by default all do that [Driver.SetMember] has not put down.
	Answers func(driver.Balancer, driver.Member) bool
}

// Fault makes calls fail or last.
type Fault struct {
	// Call is Apply, Remove, List or Status.
	Call string
	// ID is the balancer; empty is any.
	ID string
	// Times is how many calls it meets; zero is all.
	Times int
	// Delay passes before the call fails or goes on.
	Delay time.Duration
	// Err is returned in place of the call's work; nil lets it go on.
	Err error
}

// Driver is a simulated host. It implements [driver.Balancers].
type Driver struct {
	answers func(driver.Balancer, driver.Member) bool

	mu        sync.Mutex
	balancers map[string]*balancer
	down      map[string]bool
	faults    []*Fault
	lastPID   int
}

type balancer struct {
	want  driver.Balancer
	pid   int
	turn  int
	stuck map[netip.Addr]string
	stats driver.Stats
}

var _ driver.Balancers = (*Driver)(nil)

// New returns a host without balancers.
func New(options *Options) *Driver {
	d := &Driver{balancers: map[string]*balancer{}, down: map[string]bool{}, lastPID: 1000}
	if options != nil {
		d.answers = options.Answers
	}
	return d
}

// SetMember has a member answer its monitors, or not.
func (d *Driver) SetMember(id string, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[id] = !up
}

// Inject adds a fault; [Driver.Heal] takes all faults away.
func (d *Driver) Inject(fault Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, &fault)
}

// Heal takes all faults away.
func (d *Driver) Heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
}

// Kill ends a balancer's process; the next Apply starts another.
func (d *Driver) Kill(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.balancers[id]; b != nil {
		b.pid = 0
	}
}

// Balancer is what was last applied.
func (d *Driver) Balancer(id string) (driver.Balancer, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.balancers[id]
	if !ok {
		return driver.Balancer{}, false
	}
	return clone(b.want), true
}

// suffer lets the call meet its faults.
func (d *Driver) suffer(ctx context.Context, call, id string) error {
	d.mu.Lock()
	var met *Fault
	for i, f := range d.faults {
		if f.Call == call && (f.ID == "" || f.ID == id) {
			met = &Fault{Delay: f.Delay, Err: f.Err}
			if f.Times == 1 {
				d.faults = slices.Delete(d.faults, i, i+1)
			} else if f.Times > 1 {
				f.Times--
			}
			break
		}
	}
	d.mu.Unlock()
	if met == nil {
		return ctx.Err()
	}
	if met.Delay > 0 {
		timer := time.NewTimer(met.Delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	return errors.Join(ctx.Err(), met.Err)
}

// Apply makes the balancer run as wanted.
func (d *Driver) Apply(ctx context.Context, want driver.Balancer) error {
	if want.ID == "" || !want.Frontend.Address.IsValid() || want.Frontend.Port == 0 {
		return fmt.Errorf("balancer %q: it needs an identifier, an address and a port", want.ID)
	}
	if err := d.suffer(ctx, "Apply", want.ID); err != nil {
		return fmt.Errorf("balancer %s: %w", want.ID, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.balancers[want.ID]
	if b == nil {
		b = &balancer{}
		d.balancers[want.ID] = b
	}
	if b.pid == 0 {
		d.lastPID++
		*b = balancer{pid: d.lastPID, stuck: map[netip.Addr]string{}}
	}
	b.want = clone(want)
	return nil
}

func clone(b driver.Balancer) driver.Balancer {
	b.Members = slices.Clone(b.Members)
	b.Monitors = slices.Clone(b.Monitors)
	if b.Persistence != nil {
		p := *b.Persistence
		b.Persistence = &p
	}
	return b
}

// Remove ends the balancer.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := d.suffer(ctx, "Remove", id); err != nil {
		return fmt.Errorf("balancer %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.balancers, id)
	return nil
}

// List names the balancers.
func (d *Driver) List(ctx context.Context) ([]string, error) {
	if err := d.suffer(ctx, "List", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.balancers)), nil
}

// Status tells what the balancer sees of its members.
func (d *Driver) Status(ctx context.Context, id string) (driver.Status, error) {
	if err := d.suffer(ctx, "Status", id); err != nil {
		return driver.Status{}, fmt.Errorf("balancer %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.balancers[id]
	if b == nil {
		return driver.Status{}, fmt.Errorf("balancer %s: %w", id, fs.ErrNotExist)
	}
	if b.pid == 0 {
		return driver.Status{}, nil
	}
	status := driver.Status{PID: b.pid, Members: map[string]bool{}, Stats: b.stats}
	for _, m := range b.want.Members {
		status.Members[m.ID] = !m.Disabled && (len(b.want.Monitors) == 0 || d.reachable(b.want, m))
	}
	return status, nil
}

func (d *Driver) reachable(b driver.Balancer, m driver.Member) bool {
	return !d.down[m.ID] && (d.answers == nil || d.answers(b, m))
}

// Choose sends one request of the client through the balancer and returns the member that answered.
func (d *Driver) Choose(id string, client netip.Addr) (driver.Member, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.balancers[id]
	if b == nil || b.pid == 0 || b.want.Frontend.Disabled {
		return driver.Member{}, ErrRefused
	}
	chosen, ok := d.choose(b, client)
	if !ok {
		return driver.Member{}, ErrRefused
	}
	b.stats.TotalConnections++
	if b.want.Persistence != nil {
		b.stuck[client] = chosen.ID
	}
	return chosen, nil
}

func (d *Driver) choose(b *balancer, client netip.Addr) (driver.Member, bool) {
	var able []driver.Member
	for _, m := range b.want.Members {
		if !m.Disabled && m.Weight > 0 && d.reachable(b.want, m) {
			able = append(able, m)
		}
	}
	if len(able) == 0 {
		return driver.Member{}, false
	}
	if b.want.Persistence != nil {
		for _, m := range able {
			if m.ID == b.stuck[client] {
				return m, true
			}
		}
	}
	if b.want.Method == driver.SourceIP {
		last := client.As16()
		return able[int(last[15])%len(able)], true
	}
	total := 0
	for _, m := range able {
		total += m.Weight
	}
	turn := b.turn % total
	b.turn++
	// With equal weights, one after the other; otherwise in runs of each one's weight.
	if total == len(able)*able[0].Weight {
		return able[turn%len(able)], true
	}
	for _, m := range able {
		if turn -= m.Weight; turn < 0 {
			return m, true
		}
	}
	return able[0], true
}
