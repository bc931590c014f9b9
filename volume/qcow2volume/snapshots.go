//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/kintoun/kintoun/volume/driver"
)

// ApplySnapshots takes snapshots, all at one moment.
func (d *Driver) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range want {
		if err := s.Check(); err != nil {
			return fmt.Errorf("qcow2volume: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.applySnapshots(ctx, want); err != nil {
		return fmt.Errorf("qcow2volume: %w", roomed(err))
	}
	return nil
}

func (d *Driver) applySnapshots(ctx context.Context, want []driver.Snapshot) error {
	missing, err := d.missing(want)
	if err != nil || len(missing) == 0 {
		return err
	}
	var volumes []record
	at := map[string]int{}
	for _, s := range missing {
		if _, there := at[s.VolumeID]; there {
			continue
		}
		r, err := d.record(driver.KindVolume, s.VolumeID)
		if err != nil {
			return fmt.Errorf("snapshot %s: %w", s.ID, err)
		}
		at[s.VolumeID] = len(volumes)
		volumes = append(volumes, r)
	}
	frozen, err := d.freeze(ctx, volumes...)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	var records []record
	for _, s := range missing {
		v := frozen[at[s.VolumeID]]
		records = append(records, record{kind: driver.KindSnapshot, id: s.ID, Layer: v.Layer, VolumeID: s.VolumeID, Outside: v.Outside})
	}
	return d.keepAll(records)
}

// missing are those that do not exist yet.
func (d *Driver) missing(want []driver.Snapshot) (missing []driver.Snapshot, err error) {
	for _, s := range want {
		switch r, err := d.record(driver.KindSnapshot, s.ID); {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, s)
		case err != nil:
			return nil, err
		case r.VolumeID != s.VolumeID:
			return nil, fmt.Errorf("snapshot %s of volume %s: there is one of volume %s: %w", s.ID, s.VolumeID, r.VolumeID, fs.ErrInvalid)
		}
	}
	return missing, nil
}

// freeze has volumes go on in new layers, all from one moment on, and returns their records as they were: nobody writes to those
// layers any more.
//
// The records say so first. Whoever is killed, the layers that they name hold everything: the new ones are empty, and stand on
// those that a daemon may still write to until it goes on in the new ones, too. Nobody takes those for frozen before.
func (d *Driver) freeze(ctx context.Context, volumes ...record) ([]record, error) {
	m, err := d.running(ctx)
	if err != nil {
		return nil, err
	}
	if m != nil {
		defer m.close()
		if err := d.advance(ctx, m, volumes...); err != nil {
			return nil, err
		}
	}
	frozen := make([]record, len(volumes))
	var moved []record
	for i, r := range volumes {
		frozen[i] = r
		x, err := d.layer(r.Layer)
		if err != nil {
			return nil, err
		}
		if untouched, err := d.untouched(m, x); err != nil {
			return nil, err
		} else if untouched {
			frozen[i].Layer = x.backing
			continue
		}
		if r.Layer, err = d.newLayer(x.bytes, x.name, nil); err != nil {
			return nil, fmt.Errorf("volume %s: %w", r.id, err)
		}
		if err := d.keep(r); err != nil {
			return nil, errors.Join(fmt.Errorf("volume %s: %w", r.id, err), d.discard(r.Layer))
		}
		moved = append(moved, r)
	}
	if m != nil {
		if err := d.advance(ctx, m, moved...); err != nil {
			return nil, err
		}
	}
	return frozen, nil
}

// untouched says whether a layer shows nothing but the one that it stands on: many volumes made from one that nobody uses stand on
// the same layer. What the daemon has open, it may have written to.
func (d *Driver) untouched(m *monitor, x layer) (bool, error) {
	if x.backing == "" {
		return false, nil
	}
	if m != nil {
		if used, err := m.uses(nodeOf(x.name)); err != nil || used {
			return false, err
		}
	}
	below, err := d.layer(x.backing)
	if err != nil || below.bytes != x.bytes {
		return false, err
	}
	f, err := open(d.layerPath(x.name), os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	return empty(f)
}

// RemoveSnapshot deletes a snapshot. Its layer stays while others stand on it.
func (d *Driver) RemoveSnapshot(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("qcow2volume: snapshot %w", err)
	}
	if err := d.remove(ctx, driver.KindSnapshot, id); err != nil {
		return fmt.Errorf("qcow2volume: snapshot %s: %w", id, err)
	}
	return nil
}

// Revert gives the volume its snapshot's content and size: it goes on in a new layer above the snapshot's.
func (d *Driver) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := errors.Join(ctx.Err(), (driver.Snapshot{ID: snapshotID, VolumeID: volumeID}).Check()); err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unconnected(volumeID); err != nil {
		return err
	}
	if err := d.revert(ctx, volumeID, snapshotID); err != nil {
		return fmt.Errorf("qcow2volume: volume %s to snapshot %s: %w", volumeID, snapshotID, roomed(err))
	}
	return nil
}

func (d *Driver) revert(ctx context.Context, volumeID, snapshotID string) error {
	r, err := d.record(driver.KindVolume, volumeID)
	if err != nil {
		return err
	}
	s, err := d.record(driver.KindSnapshot, snapshotID)
	if err == nil && s.VolumeID != volumeID {
		err = fmt.Errorf("it is of volume %s: %w", s.VolumeID, fs.ErrInvalid)
	}
	if err != nil {
		return err
	}
	x, err := d.layer(s.Layer)
	if err != nil {
		return err
	}
	if err := d.unopened(ctx, volumeID); err != nil {
		return err
	}
	before := r.Layer
	r.Outside = s.Outside
	if r.Layer, err = d.newLayer(x.bytes, s.Layer, nil); err != nil {
		return err
	}
	if err := d.keep(r); err != nil {
		return errors.Join(err, d.discard(r.Layer))
	}
	return d.discard(before)
}

// unopened returns an ErrBusy for a volume that is open here: its device would go on in what is gone.
func (d *Driver) unopened(ctx context.Context, volumeID string) error {
	m, err := d.running(ctx)
	if m == nil {
		return err
	}
	defer m.close()
	nodes, err := m.writtenTo(volumeID)
	if err == nil && len(nodes) > 0 {
		err = fmt.Errorf("it is open: %w", driver.ErrBusy)
	}
	return err
}
