//go:build linux

package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/quiet"
)

// ApplySnapshots takes snapshots. Those of several volumes are taken while no other process writes to these, which stand still for
// some 0.1 seconds for each.
func (d *Driver) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range want {
		if err := s.Check(); err != nil {
			return fmt.Errorf("lvmvolume: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err != nil {
		return fmt.Errorf("lvmvolume: %w", err)
	}
	missing, err := missing(all, want)
	switch {
	case err != nil || len(missing) == 0:
	case len(missing) == 1:
		err = d.snapshot(ctx, all, missing[0])
	default:
		err = d.snapshotGroup(ctx, all, missing)
	}
	if err != nil {
		return fmt.Errorf("lvmvolume: %w", roomed(err))
	}
	return nil
}

// missing are those that do not exist yet; they can be taken.
func missing(all map[string]*logical, want []driver.Snapshot) (missing []driver.Snapshot, err error) {
	for _, s := range want {
		p := all[snapshotPrefix+s.ID]
		switch {
		case p == nil:
			missing = append(missing, s)
		case p.volumeID != s.VolumeID:
			return nil, fmt.Errorf("snapshot %s of volume %s: there is one of volume %s: %w", s.ID, s.VolumeID, p.volumeID, fs.ErrInvalid)
		}
	}
	for _, s := range missing {
		if _, err := whole(all, volumePrefix+s.VolumeID); err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", s.ID, err)
		}
	}
	return missing, nil
}

// snapshot takes one, with more tags than it needs: LVM suspends the volume for it.
func (d *Driver) snapshot(ctx context.Context, all map[string]*logical, s driver.Snapshot, tags ...string) error {
	from := all[volumePrefix+s.VolumeID]
	if err := d.clone(ctx, from, snapshotPrefix+s.ID, append(tags, number(tagBytes, from.bytes), tagOf+s.VolumeID)...); err != nil {
		return fmt.Errorf("snapshot %s of volume %s: %w", s.ID, s.VolumeID, err)
	}
	return nil
}

// snapshotGroup takes several while nobody writes to their volumes. All but the last carry its name, and count when that is there.
func (d *Driver) snapshotGroup(ctx context.Context, all map[string]*logical, want []driver.Snapshot) error {
	var paths []string
	for _, s := range want {
		paths = append(paths, d.path(volumePrefix+s.VolumeID))
	}
	last := want[len(want)-1]
	err := quiet.Do(ctx, paths, func() error {
		for _, s := range want[:len(want)-1] {
			if err := d.snapshot(ctx, all, s, tagUntil+snapshotPrefix+last.ID); err != nil {
				return err
			}
		}
		return d.snapshot(ctx, all, last)
	})
	_, settleErr := d.settle(context.WithoutCancel(ctx))
	return errors.Join(err, settleErr)
}

// resume lets a logical volume go on that a killed command has suspended.
func (d *Driver) resume(ctx context.Context, name string) error {
	// device-mapper doubles the hyphens of both names.
	args := []string{"resume", strings.ReplaceAll(d.group, "-", "--") + "-" + strings.ReplaceAll(name, "-", "--")}
	if !d.udev {
		args = append(args, "--noudevsync", "--noudevrules")
	}
	_, err := d.run(ctx, "dmsetup", args...)
	return err
}

// RemoveSnapshot deletes a snapshot.
func (d *Driver) RemoveSnapshot(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("lvmvolume: snapshot %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err == nil && all[snapshotPrefix+id] != nil {
		err = d.remove(ctx, snapshotPrefix+id)
	}
	if err != nil {
		return fmt.Errorf("lvmvolume: snapshot %s: %w", id, err)
	}
	return nil
}

// Revert makes the volume a clone of its snapshot. The clone gets the volume's name when that is gone.
func (d *Driver) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(volumeID), driver.CheckID(snapshotID)); err != nil {
		return fmt.Errorf("lvmvolume: revert: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unconnected(volumeID); err != nil {
		return err
	}
	if err := d.revert(ctx, volumeID, snapshotID); err != nil {
		return fmt.Errorf("lvmvolume: revert volume %s to snapshot %s: %w", volumeID, snapshotID, roomed(err))
	}
	return nil
}

func (d *Driver) revert(ctx context.Context, volumeID, snapshotID string) error {
	all, err := d.settle(ctx)
	if err != nil {
		return err
	}
	if _, err := whole(all, volumePrefix+volumeID); err != nil {
		return err
	}
	p, err := whole(all, snapshotPrefix+snapshotID)
	if err == nil && p.volumeID != volumeID {
		err = fmt.Errorf("it is one of volume %s: %w", p.volumeID, fs.ErrInvalid)
	}
	if err == nil {
		err = d.clone(ctx, p, revertPrefix+volumeID, number(tagBytes, p.bytes))
	}
	if err != nil {
		return err
	}
	if err := d.remove(ctx, volumePrefix+volumeID); err != nil {
		return errors.Join(err, d.remove(context.WithoutCancel(ctx), revertPrefix+volumeID))
	}
	return d.rename(context.WithoutCancel(ctx), revertPrefix+volumeID, volumePrefix+volumeID)
}

func (d *Driver) rename(ctx context.Context, from, to string) error {
	_, err := d.lvm(ctx, "lvrename", d.group, from, to)
	return err
}

// settle reads what the group has, and does what an earlier call could not end: clones that are to take a volume's place take it if
// that is free, and go otherwise; snapshots that wait for another go if that was never taken.
func (d *Driver) settle(ctx context.Context) (map[string]*logical, error) {
	all, err := d.report(ctx)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, v := range all {
		id, reverting := strings.CutPrefix(v.name, revertPrefix)
		switch {
		case reverting && all[volumePrefix+id] == nil:
			err = d.rename(ctx, v.name, volumePrefix+id)
		case reverting:
			err = d.remove(ctx, v.name)
		case v.until != "" && all[v.until] == nil:
			err = d.remove(ctx, v.name)
		case v.until != "":
			_, err = d.lvm(ctx, "lvchange", "--deltag", tagUntil+v.until, d.full(v.name))
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		changed = true
	}
	if !changed {
		return all, nil
	}
	return d.report(ctx)
}

// mend takes away what a killed process has left partial, and lets devices go on that it has stopped.
func (d *Driver) mend(ctx context.Context, all map[string]*logical) error {
	for _, v := range all {
		kind, _ := named(v.name)
		if kind == "" && !strings.HasPrefix(v.name, revertPrefix) {
			continue
		}
		switch {
		case v.suspended:
			if err := d.resume(ctx, v.name); err != nil {
				return err
			}
		case !v.active:
			if _, err := d.lvm(ctx, "lvchange", "--activate", "y", "--ignoreactivationskip", d.full(v.name)); err != nil {
				return err
			}
		}
		if v.making {
			if err := d.remove(ctx, v.name); err != nil {
				return err
			}
		}
	}
	_, err := d.settle(ctx)
	return err
}
