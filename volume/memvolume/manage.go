package memvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/kintoun/kintoun/volume/driver"
)

// Place puts a volume into the pool that no driver calls its own, for tests of [driver.Manager].
func (p *Pool) Place(name string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unmanaged[name] = newContent(bytes)
}

// Unmanaged lists what was placed or released.
func (d *Driver) Unmanaged(ctx context.Context) ([]driver.Unmanaged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	var all []driver.Unmanaged
	for _, name := range slices.Sorted(maps.Keys(d.pool.unmanaged)) {
		all = append(all, driver.Unmanaged{Name: name, Bytes: d.pool.unmanaged[name].inside(), Safe: true})
	}
	return all, nil
}

// Adopt makes a volume of what was placed or released.
func (d *Driver) Adopt(ctx context.Context, name, id string) error {
	if err := driver.CheckID(id); err != nil {
		return fmt.Errorf("memvolume: volume %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.unmanaged[name]
	switch {
	case c == nil && p.volumes[id] != nil:
		return nil // adopted already
	case c == nil:
		return missing("unmanaged volume", name)
	case p.volumes[id] != nil:
		return fmt.Errorf("memvolume: volume %s: another has that identifier: %w", id, fs.ErrInvalid)
	}
	delete(p.unmanaged, name)
	p.volumes[id] = &volume{content: c, connections: map[string]driver.Connection{}}
	return nil
}

// Release gives a volume up.
func (d *Driver) Release(ctx context.Context, id string) (string, error) {
	if err := driver.CheckID(id); err != nil {
		return "", fmt.Errorf("memvolume: volume %w", err)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[id]
	switch {
	case v == nil:
		return "", missing("volume", id)
	case len(v.connections) > 0:
		return "", fmt.Errorf("memvolume: volume %s is connected: %w", id, driver.ErrBusy)
	}
	name := "released-" + id
	delete(p.volumes, id)
	p.unmanaged[name] = v.content
	return name, nil
}

// UnmanagedSnapshots lists what was released.
func (d *Driver) UnmanagedSnapshots(ctx context.Context) ([]driver.UnmanagedSnapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	var all []driver.UnmanagedSnapshot
	for _, name := range slices.Sorted(maps.Keys(d.pool.released)) {
		s := d.pool.released[name]
		all = append(all, driver.UnmanagedSnapshot{Unmanaged: driver.Unmanaged{Name: name, Bytes: s.inside(), Safe: true}, VolumeID: s.volumeID})
	}
	return all, nil
}

// AdoptSnapshot makes a snapshot of what was released.
func (d *Driver) AdoptSnapshot(ctx context.Context, name string, want driver.Snapshot) error {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return fmt.Errorf("memvolume: %w", err)
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	found, adopted := p.released[name], p.snapshots[want.ID]
	switch {
	case found == nil && adopted != nil && adopted.volumeID == want.VolumeID:
		return nil // by an earlier call
	case adopted != nil:
		return fmt.Errorf("memvolume: snapshot %s: another has that identifier: %w", want.ID, fs.ErrInvalid)
	case found == nil:
		return missing("unmanaged snapshot", name)
	case found.volumeID != want.VolumeID:
		return fmt.Errorf("memvolume: %s is no snapshot of volume %s: %w", name, want.VolumeID, fs.ErrInvalid)
	}
	delete(p.released, name)
	p.snapshots[want.ID] = found
	return nil
}

// ReleaseSnapshot gives a snapshot up.
func (d *Driver) ReleaseSnapshot(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("memvolume: snapshot %w", err)
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.snapshots[id]
	if s == nil {
		return "", missing("snapshot", id)
	}
	name := "released-snapshot-" + id
	delete(p.snapshots, id)
	p.released[name] = s
	return name, nil
}
