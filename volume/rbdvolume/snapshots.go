//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/kintoun/kintoun/volume/driver"
)

// locate finds the image that a snapshot is of; fs.ErrNotExist if there is none.
func (d *Driver) locate(ctx context.Context, snapshotID string, x *index) (*image, place, error) {
	p, ok := x.snapshots[snapshotID]
	if !ok {
		return nil, p, fs.ErrNotExist
	}
	i, err := d.imageOf(ctx, p)
	return i, p, err
}

// imageOf is the image of that identifier, under the volume's name or the one that it is kept under.
func (d *Driver) imageOf(ctx context.Context, p place) (*image, error) {
	i, err := d.info(ctx, volumePrefix+p.volume)
	if err == nil && i.ID == p.image {
		return i, nil
	}
	if err != nil && !is(err, syscall.ENOENT) {
		return nil, err
	}
	i, err = d.info(ctx, (&image{ID: p.image}).kept(p.volume))
	if is(err, syscall.ENOENT) {
		return nil, fs.ErrNotExist
	}
	return i, err
}

// ApplySnapshots takes snapshots, all at one moment. One costs a few commands, several about a second each, whatever they hold, and
// copying what is written meanwhile. A volume whose image an operator has put into a group already cannot be one of several.
func (d *Driver) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	err := ctx.Err()
	for _, s := range want {
		err = errors.Join(err, s.Check())
	}
	if err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	x, err := d.index(ctx)
	if err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	if x, err = d.endTogether(ctx, want, x); err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	var missing []driver.Snapshot
	var images []*image
	for _, s := range want {
		there, i, err := d.taken(ctx, s, x)
		if err != nil {
			return fmt.Errorf("rbdvolume: snapshot %s of volume %s: %w", s.ID, s.VolumeID, err)
		}
		if !there {
			missing, images = append(missing, s), append(images, i)
		}
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		if err := d.take(ctx, missing[0], images[0]); err != nil {
			return fmt.Errorf("rbdvolume: snapshot %s of volume %s: %w", missing[0].ID, missing[0].VolumeID, err)
		}
		return nil
	}
	if err := d.takeTogether(ctx, missing, images, x); err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	return nil
}

// endTogether ends what an earlier call for one of the snapshots has begun and could not, and reads the index again then.
func (d *Driver) endTogether(ctx context.Context, want []driver.Snapshot, x *index) (*index, error) {
	for _, list := range x.together {
		if slices.ContainsFunc(list, func(s driver.Snapshot) bool { return slices.Contains(want, s) }) {
			if err := d.publish(ctx, list, x); err != nil {
				return x, err
			}
			return d.index(ctx)
		}
	}
	return x, nil
}

// taken says whether the snapshot is there. If not, it can be taken of the image.
func (d *Driver) taken(ctx context.Context, s driver.Snapshot, x *index) (bool, *image, error) {
	p, ok := x.snapshots[s.ID]
	if !ok {
		i, err := d.info(ctx, volumePrefix+s.VolumeID)
		return false, i, err
	}
	if p.volume != s.VolumeID {
		return false, nil, fmt.Errorf("there is one of volume %s: %w", p.volume, fs.ErrInvalid)
	}
	i, err := d.imageOf(ctx, p)
	if errors.Is(err, fs.ErrNotExist) {
		// The image is gone, the key was left.
		if err := d.removeKey(ctx, snapshotKey(s.ID, p)); err != nil {
			return false, nil, err
		}
		i, err = d.info(ctx, volumePrefix+s.VolumeID)
		return false, i, err
	}
	if err != nil {
		return false, nil, err
	}
	// The key comes before the snapshot, and goes after it.
	_, err = d.info(ctx, i.Name+"@"+snapshotPrefix+s.ID)
	if is(err, syscall.ENOENT) {
		return false, i, nil
	}
	return true, i, err
}

func (d *Driver) take(ctx context.Context, s driver.Snapshot, i *image) error {
	key := snapshotKey(s.ID, place{volume: s.VolumeID, image: i.ID})
	if err := d.setKey(ctx, key); err != nil {
		return err
	}
	moment := i.Name + "@" + snapshotPrefix + s.ID
	_, err := d.rbd(ctx, "snap", "create", d.spec(moment), "--no-progress")
	if err != nil && !is(err, syscall.EEXIST) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		if undone := d.removeSnapshot(ctx, moment); undone != nil {
			return errors.Join(err, undone)
		}
		return errors.Join(err, d.removeKey(ctx, key))
	}
	return nil
}

// RemoveSnapshot deletes a snapshot.
func (d *Driver) RemoveSnapshot(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("rbdvolume: snapshot %w", err)
	}
	if err := d.forgetSnapshot(ctx, id); err != nil {
		return fmt.Errorf("rbdvolume: snapshot %s: %w", id, err)
	}
	return nil
}

func (d *Driver) forgetSnapshot(ctx context.Context, id string) error {
	x, err := d.index(ctx)
	if err != nil {
		return err
	}
	p, ok := x.snapshots[id]
	if !ok {
		return nil
	}
	i, err := d.imageOf(ctx, p)
	if err == nil {
		err = d.removeSnapshot(ctx, i.Name+"@"+snapshotPrefix+id)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.removeKey(ctx, snapshotKey(id, p)); err != nil || i == nil {
		return err
	}
	if _, there := volumeOf(i.Name); there {
		return nil
	}
	return d.collect(ctx, i, x)
}

// Revert makes the volume a new clone of its snapshot, whatever the size, at once: the image before is kept for its snapshots.
func (d *Driver) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := errors.Join(ctx.Err(), (driver.Snapshot{ID: snapshotID, VolumeID: volumeID}).Check()); err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	x, err := d.unconnected(ctx, volumeID)
	if err != nil {
		return err
	}
	if err := d.revert(ctx, volumeID, snapshotID, x); err != nil {
		return fmt.Errorf("rbdvolume: volume %s to snapshot %s: %w", volumeID, snapshotID, err)
	}
	return nil
}

func (d *Driver) revert(ctx context.Context, volumeID, snapshotID string, x *index) error {
	before, err := d.info(ctx, volumePrefix+volumeID)
	if err != nil {
		return err
	}
	from, p, err := d.locate(ctx, snapshotID, x)
	if err != nil {
		return err
	}
	if p.volume != volumeID {
		return fmt.Errorf("it is of volume %s: %w", p.volume, fs.ErrInvalid)
	}
	making, moment := makingPrefix+volumeID, from.Name+"@"+snapshotPrefix+snapshotID
	if err := errors.Join(d.remove(ctx, making), d.clone(ctx, moment, making)); err != nil {
		return err
	}
	if outside := x.luks[from.ID]; outside > 0 {
		if err := d.markEncrypted(ctx, making, outside); err != nil {
			return err
		}
	}
	if err := d.setKey(ctx, revertKey(volumeID)); err != nil {
		return err
	}
	// From here on a new driver ends it, if this one cannot.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	name := before.kept(volumeID)
	if err := d.rename(ctx, before.Name, name); err != nil {
		return err
	}
	before.Name = name
	if err := d.endRevert(ctx, volumeID); err != nil {
		return err
	}
	return d.collect(ctx, before, x)
}

// endRevert gives the new image the volume's name.
func (d *Driver) endRevert(ctx context.Context, volumeID string) error {
	if err := d.name(ctx, makingPrefix+volumeID, volumePrefix+volumeID); err != nil {
		return err
	}
	return d.removeKey(ctx, revertKey(volumeID))
}
