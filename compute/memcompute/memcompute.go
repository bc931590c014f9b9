// Package memcompute is a driver of servers that exist only in memory: for tests, for simulation, and for trying out a
// control plane on a host that cannot run servers.
//
//	host := memcompute.NewHost()
//	servers := memcompute.New(host, nil)
//	err := servers.Apply(ctx, driver.Server{ID: "f2a4", Name: "vm1", VCPUs: 1, MemoryMiB: 128, Running: true, Boots: 1})
//	_ = host.Crash("f2a4", "out of memory")
//
// It implements the whole contract of package compute/driver and passes its suite. What goes wrong, and how long things
// take, is data: see [Options] and package inject. Delays follow the clock of testing/synctest inside its bubbles.
//
// It needs nothing from the host, so it has no Probe. It runs no guest: no code, no disk, no packet; a console has what
// [Options.Console] prints, and the copy of a disk is empty. Servers do not outlive their [Host]; several drivers can share one, as the values before
// and after a restart of a program share a real host.
//
// Errors are ErrInvalid for bad input, ErrNotFound for a server that is not there, and whatever a fault says.
// Everything is safe for concurrent use.
package memcompute

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/internal/fault"
)

// The kinds of error.
var (
	ErrInvalid  = fault.ErrInvalid
	ErrNotFound = fault.ErrNotFound
)

// firstPID is the first process number given out; no real process of a small host has it.
const firstPID = 1 << 22

// Options says what goes wrong and how long things take.
type Options struct {
	// Faults are what goes wrong on the host of that name, in the steps "server apply", "server remove", "server list",
	// "server disks", "server console", "server capture" and "server discard", see package inject; nil is nothing. A server is known to them by its ID and its DisplayName.
	Faults *inject.Set
	Host   string
	// Delay is how long a start, stop or reboot takes, and the copy of a disk.
	Delay time.Duration
	// Console is what a server prints when it boots. Default: a line with its name.
	Console func(want driver.Server) string
}

// Host holds servers.
type Host struct {
	mu       sync.Mutex
	servers  map[string]*server
	nextPID  int
	watchers map[chan string]struct{}
}

type server struct {
	observed driver.Observed
	want     driver.Server
	console  bytes.Buffer
}

// NewHost makes a host without servers.
func NewHost() *Host {
	return &Host{servers: map[string]*server{}, nextPID: firstPID, watchers: map[chan string]struct{}{}}
}

// Driver runs servers on a host in memory.
type Driver struct {
	host *Host
	o    Options
}

var (
	_ driver.Servers  = (*Driver)(nil)
	_ driver.Consoles = (*Driver)(nil)
	_ driver.Watcher  = (*Driver)(nil)
	_ driver.Disks    = (*Driver)(nil)
	_ driver.Imager   = (*Driver)(nil)
)

// New makes a driver for the host; o may be nil.
func New(host *Host, o *Options) *Driver {
	d := &Driver{host: host}
	if o != nil {
		d.o = *o
	}
	if d.o.Console == nil {
		d.o.Console = func(want driver.Server) string { return fmt.Sprintf("%s\n\n%s login: ", want.Name, want.Name) }
	}
	return d
}

// begin is what every call does first.
func (d *Driver) begin(ctx context.Context, call, id, name string) error {
	if err := d.o.Faults.Meet(ctx, inject.Step{Name: "server " + call, ID: id, ResourceName: name, Host: d.o.Host}); err != nil {
		return fmt.Errorf("memcompute: %s server %s: %w", call, id, err)
	}
	return nil
}

// wait lets a start, stop or reboot take its time.
func (d *Driver) wait(ctx context.Context) error {
	if d.o.Delay == 0 {
		return nil
	}
	timer := time.NewTimer(d.o.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Host) nameOf(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.servers[id]; s != nil {
		return s.want.DisplayName
	}
	return ""
}

func validate(want driver.Server) error {
	switch {
	case want.ID == "" || strings.Contains(want.ID, "/"):
		return fault.Wrap(ErrInvalid, "memcompute: server %q: not an identifier", want.ID)
	case want.VCPUs < 1 || want.MemoryMiB < 1:
		return fault.Wrap(ErrInvalid, "memcompute: server %s: %d processors, %d MiB", want.ID, want.VCPUs, want.MemoryMiB)
	case want.Root.SizeGiB < 0 || strings.HasSuffix(want.Root.Base, "-missing"):
		return fault.Wrap(ErrInvalid, "memcompute: server %s: no such disk", want.ID)
	case want.Root.Base != "" && want.Root.Format != "raw" && want.Root.Format != "qcow2":
		return fault.Wrap(ErrInvalid, "memcompute: server %s: image format %q", want.ID, want.Root.Format)
	}
	seen := map[string]bool{}
	for _, v := range want.Volumes {
		if v.ID == "" || seen[v.ID] || v.Bytes <= 0 || strings.HasSuffix(v.Path, "-missing") {
			return fault.Wrap(ErrInvalid, "memcompute: server %s: volume %q: no such disk", want.ID, v.ID)
		}
		seen[v.ID] = true
	}
	return nil
}

// Apply makes the server exist and run, or not, as want says. An image whose path ends in "-missing" does not exist.
func (d *Driver) Apply(ctx context.Context, want driver.Server) error {
	if err := d.begin(ctx, "apply", want.ID, want.DisplayName); err != nil {
		return err
	}
	if err := validate(want); err != nil {
		return err
	}
	if d.host.matches(want) {
		return nil
	}
	if err := d.wait(ctx); err != nil {
		return fmt.Errorf("memcompute: server %s: %w", want.ID, err)
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	s := d.host.servers[want.ID]
	if s == nil {
		s = &server{observed: driver.Observed{ID: want.ID, Boots: want.Boots}}
		d.host.servers[want.ID] = s
	}
	if s.observed.State == driver.Running && want.Running && s.observed.Boots >= want.Boots {
		s.want.Volumes = want.Volumes
		return nil
	}
	s.want = want
	s.observed.State, s.observed.PID, s.observed.Reason = driver.Stopped, 0, ""
	if want.Running {
		s.observed.State, s.observed.PID, s.observed.Boots = driver.Running, d.host.nextPID, max(want.Boots, s.observed.Boots)
		d.host.nextPID++
		s.console.WriteString(d.o.Console(want))
	}
	return nil
}

// matches says whether nothing is left to do.
func (h *Host) matches(want driver.Server) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.servers[want.ID]
	switch {
	case s == nil:
		return false
	case want.Running:
		return s.observed.State == driver.Running && s.observed.Boots >= want.Boots && slices.Equal(disksOf(want), disksOf(s.want))
	}
	return s.observed.State == driver.Stopped
}

// Disks says which volumes a running server has.
func (d *Driver) Disks(ctx context.Context, id string) ([]driver.ObservedVolume, error) {
	if err := d.begin(ctx, "disks", id, d.host.nameOf(id)); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	s := d.host.servers[id]
	if s == nil || s.observed.State != driver.Running {
		return nil, fault.Wrap(ErrNotFound, "memcompute: server %s does not run here", id)
	}
	return disksOf(s.want), nil
}

func disksOf(want driver.Server) []driver.ObservedVolume {
	var disks []driver.ObservedVolume
	for _, v := range want.Volumes {
		disks = append(disks, driver.ObservedVolume{ID: v.ID, Bytes: v.Bytes})
	}
	slices.SortFunc(disks, func(a, b driver.ObservedVolume) int { return strings.Compare(a.ID, b.ID) })
	return disks
}

// Remove ends the server.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := d.begin(ctx, "remove", id, d.host.nameOf(id)); err != nil {
		return err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	delete(d.host.servers, id)
	return nil
}

// List says what exists, in the order of identifiers.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	if err := d.begin(ctx, "list", "", ""); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	var all []driver.Observed
	for _, id := range slices.Sorted(maps.Keys(d.host.servers)) {
		all = append(all, d.host.servers[id].observed)
	}
	return all, nil
}

// ConsoleLog returns the last lines of what the server printed, all of it when lines is 0.
func (d *Driver) ConsoleLog(ctx context.Context, id string, lines int) ([]byte, error) {
	if err := d.begin(ctx, "console", id, d.host.nameOf(id)); err != nil {
		return nil, err
	}
	d.host.mu.Lock()
	defer d.host.mu.Unlock()
	s := d.host.servers[id]
	if s == nil {
		return nil, fault.Wrap(ErrNotFound, "memcompute: server %s does not exist here", id)
	}
	all := bytes.SplitAfter(bytes.Clone(s.console.Bytes()), []byte("\n"))
	if n := len(all); len(all[n-1]) == 0 {
		all = all[:n-1]
	}
	if lines > 0 && lines < len(all) {
		all = all[len(all)-lines:]
	}
	return bytes.Join(all, nil), nil
}

// Watch calls changed whenever a server ends by itself, until ctx ends.
func (d *Driver) Watch(ctx context.Context, changed func(id string)) error {
	news := make(chan string, 64)
	d.host.mu.Lock()
	d.host.watchers[news] = struct{}{}
	d.host.mu.Unlock()
	defer func() {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		delete(d.host.watchers, news)
	}()
	// What ended before is told too: nobody can know whether it was seen.
	for _, id := range d.host.ended() {
		changed(id)
	}
	for {
		select {
		case id := <-news:
			changed(id)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *Host) ended() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(h.servers)) {
		if s := h.servers[id]; s.want.Running && s.observed.State != driver.Running {
			ids = append(ids, id)
		}
	}
	return ids
}

// Crash ends a running server by a fault.
func (h *Host) Crash(id, reason string) error { return h.end(id, driver.Crashed, reason) }

// PowerOff ends a running server as its guest's own power off does.
func (h *Host) PowerOff(id string) error { return h.end(id, driver.Stopped, "") }

func (h *Host) end(id string, state driver.State, reason string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.servers[id]
	if s == nil || s.observed.State != driver.Running {
		return fault.Wrap(ErrNotFound, "memcompute: server %s does not run here", id)
	}
	s.observed.State, s.observed.PID, s.observed.Reason = state, 0, reason
	for news := range h.watchers {
		select {
		case news <- id:
		default:
			// A watcher that is 64 changes behind has enough to look at.
		}
	}
	return nil
}

// Print makes a server print text on its console.
func (h *Host) Print(id, text string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.servers[id]
	if s == nil {
		return fault.Wrap(ErrNotFound, "memcompute: server %s does not exist here", id)
	}
	s.console.WriteString(text)
	return nil
}

// Want is what was last applied to the server, for tests that ask what a control plane wished.
func (h *Host) Want(id string) (driver.Server, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.servers[id]
	if s == nil {
		return driver.Server{}, false
	}
	return s.want, true
}
