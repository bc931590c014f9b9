// Package memvolume is a driver of volumes that exist only in memory: for tests, for simulation, and for trying out a
// control plane on a host that has no pool.
//
//	pool := memvolume.NewPool(10 << 30)
//	volumes := memvolume.New(pool, nil)
//	err := volumes.Apply(ctx, driver.Volume{ID: volume, Bytes: 1 << 30})
//	device, err := volumes.Open(ctx, volume, driver.ReadWrite)
//
// It implements the whole contract of package volume/driver and passes its suite; contents are real, kept in pieces that
// volumes, snapshots and clones share until one of them is written to. What goes wrong, and how long things take, is data:
// see [Options] and package inject. Delays follow the clock of testing/synctest inside its bubbles.
//
// It needs nothing from the host but the memory that is written to, so it has no Probe. What it will not do: a connection's
// target names no file and no server, so that only servers in memory can be connected, and what encrypts is not LUKS.
// Volumes do not outlive their [Pool]; several drivers can share one, as the values before and after a restart of a program
// share a real pool.
//
// Errors are those of the contract, and whatever a fault says. Everything is safe for concurrent use.
package memvolume

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kintoun/kintoun/inject"
	"github.com/kintoun/kintoun/volume/driver"
)

// Options says what goes wrong and how long things take.
type Options struct {
	// Faults are what goes wrong on the host of that name, in the steps "volume apply", "volume remove", "volume revert",
	// "volume list", "volume open", "volume connect", "volume disconnect", "snapshot apply" and "snapshot remove", see package
	// inject; nil is nothing.
	Faults *inject.Set
	Host   string
	// Delay is how long making, growing and reverting a volume and taking snapshots take.
	Delay time.Duration
}

// Pool holds volumes and snapshots.
type Pool struct {
	total int64

	mu        sync.Mutex
	used      int64
	volumes   map[string]*volume
	snapshots map[string]*snapshot
	unmanaged map[string]*content
	released  map[string]*snapshot
}

type volume struct {
	*content
	connections map[string]driver.Connection
}

type snapshot struct {
	*content
	volumeID string
}

// NewPool makes an empty pool with room for so many bytes.
func NewPool(bytes int64) *Pool {
	return &Pool{total: bytes, volumes: map[string]*volume{}, snapshots: map[string]*snapshot{}, unmanaged: map[string]*content{}, released: map[string]*snapshot{}}
}

// Driver keeps volumes in a pool in memory.
type Driver struct {
	pool *Pool
	o    Options
}

var (
	_ driver.Volumes  = (*Driver)(nil)
	_ driver.Reverter = (*Driver)(nil)
	_ driver.Manager  = (*Driver)(nil)
	_ driver.Unlocker = (*Driver)(nil)

	_ driver.SnapshotManager = (*Driver)(nil)
)

// New makes a driver for the pool; o may be nil.
func New(pool *Pool, o *Options) *Driver {
	d := &Driver{pool: pool}
	if o != nil {
		d.o = *o
	}
	return d
}

// begin is what every call does first.
func (d *Driver) begin(ctx context.Context, step, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.o.Faults.Meet(ctx, inject.Step{Name: step, ID: id, Host: d.o.Host}); err != nil {
		return fmt.Errorf("memvolume: %s %s: %w", step, id, err)
	}
	return nil
}

// wait lets what is made take its time.
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

func missing(what, id string) error {
	return fmt.Errorf("memvolume: %s %s: %w", what, id, fs.ErrNotExist)
}

// Kind is "memory".
func (d *Driver) Kind() string { return "memory" }

// Capacity says how much is written, and that everything is possible but to connect from elsewhere: every host's servers in
// memory reach the pool.
func (d *Driver) Capacity(ctx context.Context) (driver.Capacity, error) {
	if err := ctx.Err(); err != nil {
		return driver.Capacity{}, err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c := driver.Capacity{Total: p.total, Free: p.total - p.used, Thin: true, Shared: true, Encryption: true, Remote: true}
	for _, v := range p.volumes {
		c.Provisioned += v.bytes
	}
	for _, s := range p.snapshots {
		c.Provisioned += s.bytes
	}
	return c, nil
}

// Apply creates a volume, or makes it larger.
func (d *Driver) Apply(ctx context.Context, want driver.Volume) error {
	if err := want.Check(); err != nil {
		return fmt.Errorf("memvolume: %w", err)
	}
	if err := d.begin(ctx, "volume apply", want.ID); err != nil {
		return err
	}
	if bytes, ok := d.pool.size(want.ID); !ok || bytes < want.Bytes {
		if err := d.wait(ctx); err != nil {
			return fmt.Errorf("memvolume: volume %s: %w", want.ID, err)
		}
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[want.ID]
	if v != nil {
		return grow(v.content, want)
	}
	c, err := p.begun(want)
	if err != nil {
		return err
	}
	p.volumes[want.ID] = &volume{content: c, connections: map[string]driver.Connection{}}
	return nil
}

// size is the volume's, as a guest sees it.
func (p *Pool) size(id string) (int64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.volumes[id]; v != nil {
		return v.inside(), true
	}
	return 0, false
}

func grow(c *content, want driver.Volume) error {
	if want.Bytes < c.inside() {
		return fmt.Errorf("memvolume: volume %s: %d bytes never become %d: %w", want.ID, c.inside(), want.Bytes, fs.ErrInvalid)
	}
	c.bytes += want.Bytes - c.inside()
	return nil
}

// begun is what a new volume begins as.
func (p *Pool) begun(want driver.Volume) (*content, error) {
	var source *content
	switch {
	case want.Source.VolumeID != "":
		v := p.volumes[want.Source.VolumeID]
		if v == nil {
			return nil, missing("source volume", want.Source.VolumeID)
		}
		source = v.content
	case want.Source.SnapshotID != "":
		s := p.snapshots[want.Source.SnapshotID]
		if s == nil {
			return nil, missing("source snapshot", want.Source.SnapshotID)
		}
		source = s.content
	default:
		c := newContent(want.Bytes)
		if len(want.Passphrase) == 0 {
			return c, nil
		}
		return c, p.lock(c, want.Passphrase)
	}
	if source.inside() > want.Bytes {
		return nil, fmt.Errorf("memvolume: volume %s: its source has %d bytes, more than %d: %w", want.ID, source.inside(), want.Bytes, fs.ErrInvalid)
	}
	c := source.clone()
	return c, grow(c, want)
}

// Remove deletes a volume.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := driver.CheckID(id); err != nil {
		return fmt.Errorf("memvolume: volume %w", err)
	}
	if err := d.begin(ctx, "volume remove", id); err != nil {
		return err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[id]
	if v == nil {
		return nil
	}
	if len(v.connections) > 0 {
		return fmt.Errorf("memvolume: volume %s is connected: %w", id, driver.ErrBusy)
	}
	p.dropAll(v.content)
	delete(p.volumes, id)
	return nil
}

// List says what exists, volumes first, in the order of identifiers.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	if err := d.begin(ctx, "volume list", ""); err != nil {
		return nil, err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []driver.Observed
	for _, id := range slices.Sorted(maps.Keys(p.volumes)) {
		v := p.volumes[id]
		all = append(all, driver.Observed{
			Kind: driver.KindVolume, ID: id, Bytes: v.inside(), Used: v.used(), Connections: slices.Sorted(maps.Keys(v.connections)),
		})
	}
	for _, id := range slices.Sorted(maps.Keys(p.snapshots)) {
		s := p.snapshots[id]
		all = append(all, driver.Observed{Kind: driver.KindSnapshot, ID: id, VolumeID: s.volumeID, Bytes: s.inside(), Used: s.used()})
	}
	return all, nil
}

// Open opens a volume's or a snapshot's content.
func (d *Driver) Open(ctx context.Context, id string, access driver.Access) (driver.Device, error) {
	opened, err := d.open(ctx, id, access)
	if err != nil {
		return nil, err
	}
	return opened, nil
}

func (d *Driver) open(ctx context.Context, id string, access driver.Access) (*device, error) {
	if err := driver.CheckID(id); err != nil {
		return nil, fmt.Errorf("memvolume: %w", err)
	}
	if err := d.begin(ctx, "volume open", id); err != nil {
		return nil, err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.volumes[id]; v != nil {
		if access == driver.ReadWrite && len(v.connections) > 0 {
			return nil, fmt.Errorf("memvolume: volume %s is connected: %w", id, driver.ErrBusy)
		}
		return &device{pool: p, content: v.content, name: "volume " + id, writable: access == driver.ReadWrite}, nil
	}
	s := p.snapshots[id]
	if s == nil {
		return nil, missing("volume or snapshot", id)
	}
	if access == driver.ReadWrite {
		return nil, fmt.Errorf("memvolume: snapshot %s is only read: %w", id, fs.ErrInvalid)
	}
	return &device{pool: p, content: s.content, name: "snapshot " + id}, nil
}
