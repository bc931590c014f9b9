// Package memlb runs load balancers in memory: a whole implementation of [driver.Balancers] that chooses members as a
// real one would, for tests and simulation.
//
//	d := memlb.New(nil)
//	err := d.Apply(ctx, driver.Balancer{
//		Method:   driver.RoundRobin, Protocol: driver.HTTP,
//	})
//	member, _ := d.Choose("pool", netip.MustParseAddr("172.24.17.1"))
//
// Who answers is data ([Driver.SetMember]), and so is what fails and what takes time: see package inject. The steps
// that faults may name are "balancer apply", "balancer remove", "balancer list" and "balancer status".
//
// It needs nothing from the host, so it has no Probe. It passes on no bytes: [Driver.Choose] says who would get them.
// Balancers do not outlive the process. Errors are those that were injected and fs.ErrNotExist for a balancer that is
// not there. A [Driver] is safe for concurrent use.
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

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/lbaas/driver"
)

// ErrRefused is what a client gets that no member answers.
var ErrRefused = errors.New("connection refused")

// Options are what may differ between simulated hosts.
type Options struct {
	// Answers says whether a member answers; by default all do that [Driver.SetMember] has not put down.
	Answers func(driver.Balancer, driver.Member) bool
	// Faults are what goes wrong on the host of that name; nil is nothing.
	Faults *inject.Set
	Host   string
}

// Driver is a simulated host. It implements [driver.Balancers].
type Driver struct {
	answers func(driver.Balancer, driver.Member) bool
	faults  *inject.Set
	host    string

	mu        sync.Mutex
	balancers map[string]*balancer
	down      map[string]bool
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
		d.answers, d.faults, d.host = options.Answers, options.Faults, options.Host
	}
	return d
}

// SetMember has a member answer its monitors, or not.
func (d *Driver) SetMember(id string, up bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[id] = !up
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

// meet lets the call meet its faults.
func (d *Driver) meet(ctx context.Context, call, id string) error {
	return d.faults.Meet(ctx, inject.Step{Name: "balancer " + call, ID: id, Host: d.host})
}

// Apply makes the balancer run as wanted.
func (d *Driver) Apply(ctx context.Context, want driver.Balancer) error {
	if want.ID == "" || !want.Frontend.Address.IsValid() || want.Frontend.Port == 0 {
		return fmt.Errorf("balancer %q: it needs an identifier, an address and a port", want.ID)
	}
	if err := d.meet(ctx, "apply", want.ID); err != nil {
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
	if err := d.meet(ctx, "remove", id); err != nil {
		return fmt.Errorf("balancer %s: %w", id, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.balancers, id)
	return nil
}

// List names the balancers.
func (d *Driver) List(ctx context.Context) ([]string, error) {
	if err := d.meet(ctx, "list", ""); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.balancers)), nil
}

// Status tells what the balancer sees of its members.
func (d *Driver) Status(ctx context.Context, id string) (driver.Status, error) {
	if err := d.meet(ctx, "status", id); err != nil {
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
