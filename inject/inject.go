// Package inject makes things fail on purpose, so that a program can be tested against a cloud that has a bad day.
//
//	faults := inject.New(1,
//		inject.Fault{Step: "server apply", Resource: "db", After: 1, Times: 1, Err: errors.New("no memory left")},
//		inject.Fault{Step: "server *", Host: "host2", Delay: time.Second},
//	)
//
// What goes wrong is data. A [Fault] names a step ("server apply", "POST /v2.1/servers"), perhaps one resource and one
// host, says when it strikes (always, once, every third time, one time in ten) and what happens then (the step is slow,
// hangs, fails, or the client's connection breaks). Faults are put into a [Set]; the in-memory drivers
// (compute/memcompute, network/memnet, lbaas/memlb, image/memstore, objectstore/memobjects) and the HTTP APIs (by
// inject/injecthttp) ask the set before each step.
//
// A run can be repeated: which of its meetings a fault with a probability strikes follows from the set's seed and from
// the name of what it meets, not from the clock or from which goroutine came first. [Set.Strikes] tells what struck.
//
// The package needs nothing from the host and imports only the standard library. It does not reach into real drivers,
// which fail by themselves. An error that strikes is the fault's own, or [ErrInjected]. Everything is safe for
// concurrent use. Delays and hanging follow the clock of testing/synctest inside its bubbles. Nothing of it outlives
// the process.
package inject

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"
)

// ErrInjected is what a step fails with whose fault names no error of its own.
var ErrInjected = errors.New("injected fault")

// Fault says what goes wrong, when, and where. All fields that say where and when must fit; the zero value of each fits
// everything. A fault with neither Delay, Hang, Err, Status nor Drop fails its step with [ErrInjected].
type Fault struct {
	// Step is what is struck: a driver's step such as "server apply", or a request such as "POST /v2.1/servers".
	// "*" stands for any text up to the next space or slash: "port *", "* /v2.1/servers/*/action".
	Step string
	// Resource is the identifier or the name of what the step works on.
	Resource string
	// Host is the name of the host that the step is on.
	Host string

	// After lets as many meetings pass before the first strike.
	After int
	// Every strikes only one meeting in so many: 3 lets two pass and strikes the third.
	Every int
	// Times is how often the fault strikes at most.
	Times int
	// Probability strikes only so often, from 0 (which, as zero value, means always) to 1.
	Probability float64

	// Delay passes first.
	Delay time.Duration
	// Hang has the step wait until its context ends or the fault is removed.
	Hang bool
	// Err is what the step fails with.
	Err error
	// Status is the HTTP status that a request is answered with, in the fault format of the API that was asked.
	Status int
	// Header is added to that answer: {"Retry-After": "1"}.
	Header map[string]string
	// Drop closes the client's connection without an answer.
	Drop bool
}

// Step is something that is about to be done.
type Step struct {
	// Name is the step's: "server apply", "GET /v2.1/servers/4711".
	Name string
	// ID and ResourceName are what the step works on, as far as it knows.
	ID, ResourceName string
	// Host is where.
	Host string
}

// Strike is a fault that struck.
type Strike struct {
	Fault Fault
	Step  Step
}

// Set holds faults. Create it with [New]; a nil set has none.
type Set struct {
	seed uint64

	mu      sync.Mutex
	waiting int
	struck  int
	next    uint64
	faults  []*placed
	strikes []Strike
}

// placed is a fault with what it has seen.
type placed struct {
	Fault
	number  uint64
	met     int
	struck  int
	byName  map[string]uint64
	removed chan struct{}
}

// kept bounds the memory of strikes.
const kept = 10_000

// New returns a set of faults. The seed decides the strikes of faults with a probability.
func New(seed uint64, faults ...Fault) *Set {
	s := &Set{seed: seed}
	for _, f := range faults {
		s.Add(f)
	}
	return s
}

// Add adds a fault and returns what removes it again.
func (s *Set) Add(f Fault) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &placed{Fault: f, number: s.next, byName: map[string]uint64{}, removed: make(chan struct{})}
	s.next++
	s.faults = append(s.faults, p)
	return func() { s.remove(p) }
}

func (s *Set) remove(gone *placed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.faults {
		if p == gone {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			close(p.removed)
			return
		}
	}
}

// Clear removes all faults. Steps that hang go on.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.faults {
		close(p.removed)
	}
	s.faults = nil
}

// Strikes are what struck so far, the newest 10,000 of them, in order.
func (s *Set) Strikes() []Strike {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Strike(nil), s.strikes...)
}

// Struck is how often faults struck so far.
func (s *Set) Struck() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck
}

// Waiting is how many steps a fault holds up at the moment, by a delay or until it is removed.
func (s *Set) Waiting() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

func (s *Set) wait(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
}

// Idle are the faults that never met a step: a test that expected them to strike may have misspelt one.
func (s *Set) Idle() []Fault {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var idle []Fault
	for _, p := range s.faults {
		if p.met == 0 {
			idle = append(idle, p.Fault)
		}
	}
	return idle
}

// Meet is called by whoever is about to do the step: it waits as the first fault that strikes says, and returns the
// error that the step has to fail with. Without a fault it returns ctx's error, usually nil.
func (s *Set) Meet(ctx context.Context, step Step) error {
	f, err := s.Strike(ctx, step)
	if err != nil || f == nil {
		return err
	}
	switch {
	case f.Err != nil:
		return f.Err
	case f.Delay > 0 || f.Hang:
		return nil
	}
	return ErrInjected
}

// Strike is [Set.Meet] for those who play faults in their own way: it finds the fault that strikes the step, waits as
// the fault says, and returns it; nil if none strikes.
func (s *Set) Strike(ctx context.Context, step Step) (*Fault, error) {
	if err := ctx.Err(); err != nil || s == nil {
		return nil, err
	}
	p := s.find(step)
	if p == nil {
		return nil, nil
	}
	s.wait(1)
	defer s.wait(-1)
	if p.Delay > 0 {
		timer := time.NewTimer(p.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.Hang {
		select {
		case <-p.removed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &p.Fault, nil
}

func (s *Set) find(step Step) *placed {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.faults {
		if !p.fits(step) || !p.due(s.seed, step) {
			continue
		}
		p.struck++
		s.struck++
		if len(s.strikes) == kept {
			s.strikes = append(s.strikes[:0], s.strikes[1:]...)
		}
		s.strikes = append(s.strikes, Strike{Fault: p.Fault, Step: step})
		return p
	}
	return nil
}

func (p *placed) fits(step Step) bool {
	return (p.Host == "" || p.Host == step.Host) &&
		(p.Resource == "" || p.Resource == step.ID || p.Resource == step.ResourceName) &&
		(p.Step == "" || matches(p.Step, step.Name))
}

// due counts the meeting and says whether it is one to strike.
func (p *placed) due(seed uint64, step Step) bool {
	meeting := p.met
	p.met++
	if p.Times > 0 && p.struck >= p.Times || meeting < p.After {
		return false
	}
	if p.Every > 1 && (meeting-p.After+1)%p.Every != 0 {
		return false
	}
	if p.Probability <= 0 || p.Probability >= 1 {
		return true
	}
	nth := p.byName[step.ResourceName]
	p.byName[step.ResourceName]++
	return chance(seed, p.number, step.ResourceName, nth) < p.Probability
}

// matches compares word by word, so that a "*" ends at a space.
func matches(pattern, name string) bool {
	if pattern == name {
		return true
	}
	wanted, given := strings.Fields(pattern), strings.Fields(name)
	if len(wanted) != len(given) {
		return false
	}
	for i := range wanted {
		if ok, err := path.Match(wanted[i], given[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// chance is a number from 0 to 1 that looks random and is the same for the same arguments: FNV-1a of them, stirred as
// in SplitMix64.
func chance(seed, fault uint64, name string, nth uint64) float64 {
	h := uint64(14695981039346656037)
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for _, n := range [...]uint64{seed, fault, nth} {
		for i := range 8 {
			add(byte(n >> (8 * i)))
		}
	}
	for i := range len(name) {
		add(name[i])
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}
