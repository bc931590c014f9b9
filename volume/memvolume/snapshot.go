package memvolume

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/kintoun/kintoun/volume/driver"
)

// ApplySnapshots takes snapshots, all at one moment.
func (d *Driver) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	for _, s := range want {
		if err := s.Check(); err != nil {
			return fmt.Errorf("memvolume: %w", err)
		}
		if err := d.begin(ctx, "snapshot apply", s.ID); err != nil {
			return err
		}
	}
	if err := d.wait(ctx); err != nil {
		return fmt.Errorf("memvolume: snapshots: %w", err)
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range want {
		old, taken := p.snapshots[s.ID]
		switch {
		case taken && old.volumeID != s.VolumeID:
			return fmt.Errorf("memvolume: snapshot %s of volume %s: another has that identifier: %w", s.ID, s.VolumeID, fs.ErrInvalid)
		case !taken && p.volumes[s.VolumeID] == nil:
			return missing("volume", s.VolumeID)
		}
	}
	for _, s := range want {
		if p.snapshots[s.ID] == nil {
			p.snapshots[s.ID] = &snapshot{content: p.volumes[s.VolumeID].clone(), volumeID: s.VolumeID}
		}
	}
	return nil
}

// RemoveSnapshot deletes a snapshot.
func (d *Driver) RemoveSnapshot(ctx context.Context, id string) error {
	if err := driver.CheckID(id); err != nil {
		return fmt.Errorf("memvolume: snapshot %w", err)
	}
	if err := d.begin(ctx, "snapshot remove", id); err != nil {
		return err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.snapshots[id]; s != nil {
		p.dropAll(s.content)
		delete(p.snapshots, id)
	}
	return nil
}

// Revert gives the volume its snapshot's content and size.
func (d *Driver) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := (driver.Snapshot{ID: snapshotID, VolumeID: volumeID}).Check(); err != nil {
		return fmt.Errorf("memvolume: %w", err)
	}
	if err := d.begin(ctx, "volume revert", volumeID); err != nil {
		return err
	}
	if err := d.wait(ctx); err != nil {
		return fmt.Errorf("memvolume: volume %s: %w", volumeID, err)
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v, s := p.volumes[volumeID], p.snapshots[snapshotID]
	switch {
	case v == nil:
		return missing("volume", volumeID)
	case s == nil:
		return missing("snapshot", snapshotID)
	case s.volumeID != volumeID:
		return fmt.Errorf("memvolume: snapshot %s is not of volume %s: %w", snapshotID, volumeID, fs.ErrInvalid)
	case len(v.connections) > 0:
		return fmt.Errorf("memvolume: volume %s is connected: %w", volumeID, driver.ErrBusy)
	}
	p.dropAll(v.content)
	v.content = s.clone()
	return nil
}

// Connect notes the connection. Its target is in memory.
func (d *Driver) Connect(ctx context.Context, want driver.Connection) (driver.Target, error) {
	if err := want.Check(); err != nil {
		return driver.Target{}, fmt.Errorf("memvolume: %w", err)
	}
	if err := d.begin(ctx, "volume connect", want.VolumeID); err != nil {
		return driver.Target{}, err
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[want.VolumeID]
	if v == nil {
		return driver.Target{}, missing("volume", want.VolumeID)
	}
	for id, other := range v.connections {
		if id != want.ID && !want.Beside(other) {
			return driver.Target{}, fmt.Errorf("memvolume: volume %s has connection %s: %w", want.VolumeID, id, driver.ErrBusy)
		}
	}
	v.connections[want.ID] = want
	target := driver.Target{Format: "raw", Bytes: v.inside(), ReadOnly: want.ReadOnly}
	if v.encrypted {
		target.Format = "luks"
	}
	return target, nil
}

// Disconnect forgets the connection.
func (d *Driver) Disconnect(ctx context.Context, volumeID, connectionID string) error {
	if err := (driver.Connection{ID: connectionID, VolumeID: volumeID, Host: "any"}).Check(); err != nil {
		return fmt.Errorf("memvolume: %w", err)
	}
	if err := d.begin(ctx, "volume disconnect", volumeID); err != nil {
		return err
	}
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if v := d.pool.volumes[volumeID]; v != nil {
		delete(v.connections, connectionID)
	}
	return nil
}
