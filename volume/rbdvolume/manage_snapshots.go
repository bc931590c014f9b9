//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/volume/driver"
)

const releasedSnapshotPrefix = "released-snapshot-"

// UnmanagedSnapshots lists the snapshots of volumes that are not the driver's. Their names are what follows the "@": a volume's image
// changes its own when the volume is removed.
func (d *Driver) UnmanagedSnapshots(ctx context.Context) ([]driver.UnmanagedSnapshot, error) {
	entries, err := d.entries(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	x, err := d.index(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	var all []driver.UnmanagedSnapshot
	for _, e := range entries {
		volume, _ := volumeOf(e.Image)
		if volume == "" || e.Snapshot == "" || foreignSnapshot(e.Snapshot) != nil {
			continue
		}
		u := driver.UnmanagedSnapshot{
			Unmanaged: driver.Unmanaged{Name: e.Snapshot, Bytes: e.Bytes - x.luks[e.ID], Reason: unfitSnapshot(e, entries)},
			VolumeID:  volume,
		}
		u.Safe = u.Reason == ""
		all = append(all, u)
	}
	return all, nil
}

// foreignSnapshot returns an fs.ErrInvalid for names that no snapshot of somebody else has.
func foreignSnapshot(name string) error {
	moment, ok := strings.CutPrefix(name, copyPrefix)
	if snapshotOf(name) != "" || ok && driver.CheckID(moment) == nil || name == "" || strings.ContainsAny(name, "/@") {
		return fmt.Errorf("%q cannot be adopted: %w", name, fs.ErrInvalid)
	}
	return nil
}

// unfitSnapshot says why one cannot become a snapshot of the driver's.
func unfitSnapshot(e entry, all []entry) string {
	volume, _ := volumeOf(e.Image)
	for _, other := range all {
		if id, _ := volumeOf(other.Image); id == volume && other.Snapshot == e.Snapshot && other.ID != e.ID {
			return "the volume has two of that name (rbd snap rename)"
		}
	}
	if e.Protected == "true" {
		return "it is protected from removal (rbd snap unprotect)"
	}
	return unfit(e.Bytes)
}

// AdoptSnapshot makes a volume's snapshot of somebody else's the driver's, by another name.
func (d *Driver) AdoptSnapshot(ctx context.Context, name string, want driver.Snapshot) error {
	if err := errors.Join(ctx.Err(), want.Check(), foreignSnapshot(name)); err != nil {
		return fmt.Errorf("rbdvolume: adopt: %w", err)
	}
	if err := d.adoptSnapshot(ctx, name, want); err != nil {
		return fmt.Errorf("rbdvolume: adopt %q of volume %s as snapshot %s: %w", name, want.VolumeID, want.ID, err)
	}
	return nil
}

func (d *Driver) adoptSnapshot(ctx context.Context, name string, want driver.Snapshot) error {
	entries, err := d.entries(ctx)
	if err != nil {
		return err
	}
	var adopted, found, elsewhere *entry
	for i, e := range entries {
		volume, _ := volumeOf(e.Image)
		switch {
		case volume == "" || e.Snapshot == "":
		case snapshotOf(e.Snapshot) == want.ID:
			adopted = &entries[i]
		case e.Snapshot == name && volume == want.VolumeID:
			found = &entries[i]
		case e.Snapshot == name:
			elsewhere = &entries[i]
		}
	}
	switch {
	case adopted != nil:
		if volume, _ := volumeOf(adopted.Image); found == nil && volume == want.VolumeID {
			return nil // by an earlier call
		}
		return fmt.Errorf("another has that identifier: %w", fs.ErrInvalid)
	case found == nil && elsewhere != nil:
		return fmt.Errorf("it is of image %s: %w", elsewhere.Image, fs.ErrInvalid)
	case found == nil:
		return fs.ErrNotExist
	}
	if why := unfitSnapshot(*found, entries); why != "" {
		return fmt.Errorf("%s: %w", why, fs.ErrInvalid)
	}
	if err := d.setKey(ctx, snapshotKey(want.ID, place{volume: want.VolumeID, image: found.ID})); err != nil {
		return err
	}
	return d.renameSnapshot(ctx, found.Image, name, snapshotPrefix+want.ID)
}

// ReleaseSnapshot gives a snapshot up as released-snapshot-ID of the same image.
func (d *Driver) ReleaseSnapshot(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("rbdvolume: snapshot %w", err)
	}
	name := releasedSnapshotPrefix + id
	if err := d.releaseSnapshot(ctx, id, name); err != nil {
		return "", fmt.Errorf("rbdvolume: release snapshot %s: %w", id, err)
	}
	return name, nil
}

func (d *Driver) releaseSnapshot(ctx context.Context, id, name string) error {
	x, err := d.index(ctx)
	if err != nil {
		return err
	}
	i, p, err := d.locate(ctx, id, x)
	if err != nil {
		return err
	}
	if err := d.renameSnapshot(ctx, i.Name, snapshotPrefix+id, name); err != nil {
		return err
	}
	return d.removeKey(ctx, snapshotKey(id, p))
}

// renameSnapshot gives an image's snapshot another name.
func (d *Driver) renameSnapshot(ctx context.Context, image, from, to string) error {
	_, err := d.rbd(ctx, "snap", "rename", d.spec(image+"@"+from), d.spec(image+"@"+to))
	if is(err, syscall.ENOENT) {
		return errors.Join(err, fs.ErrNotExist)
	}
	return err
}
