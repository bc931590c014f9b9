//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
)

// undoTimeout bounds taking away what a failed call has begun.
const undoTimeout = time.Minute

// Apply creates a volume, or makes it larger.
func (d *Driver) Apply(ctx context.Context, want driver.Volume) error {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return fmt.Errorf("rbdvolume: %w", err)
	}
	i, err := d.info(ctx, volumePrefix+want.ID)
	switch {
	case is(err, syscall.ENOENT):
		err = d.create(ctx, want)
	case err == nil:
		err = d.grow(ctx, i, want.Bytes)
	}
	if err != nil {
		return fmt.Errorf("rbdvolume: volume %s: %w", want.ID, err)
	}
	return nil
}

// grow makes the image as large that a guest sees that many bytes.
func (d *Driver) grow(ctx context.Context, i *image, bytes int64) error {
	x, err := d.index(ctx)
	if err != nil {
		return err
	}
	outside := x.luks[i.ID]
	switch {
	case bytes < i.Bytes-outside:
		return fmt.Errorf("%d bytes never become %d: %w", i.Bytes-outside, bytes, fs.ErrInvalid)
	case bytes == i.Bytes-outside:
		return nil
	}
	return d.resize(ctx, i.Name, outside+bytes)
}

// create makes the volume under another name, which it loses when it is whole.
func (d *Driver) create(ctx context.Context, want driver.Volume) (err error) {
	making := makingPrefix + want.ID
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(err, d.remove(ctx, making))
	}()
	switch s := want.Source; {
	case s.VolumeID != "":
		err = d.copyVolume(ctx, s.VolumeID, want)
	case s.SnapshotID != "":
		err = d.copySnapshot(ctx, s.SnapshotID, want)
	case len(want.Passphrase) > 0:
		err = d.format(ctx, making, want.Bytes, want.Passphrase)
	default:
		_, err = d.rbd(ctx, "create", d.spec(making), "--size", size(want.Bytes))
	}
	if err != nil {
		return err
	}
	return d.name(ctx, making, volumePrefix+want.ID)
}

// name gives a new image its name. A rename that was killed may have left the object that a name has, without an image: "info"
// finds none, and the directory has not that name.
func (d *Driver) name(ctx context.Context, from, to string) error {
	err := d.rename(ctx, from, to)
	if !is(err, syscall.EEXIST) {
		return err
	}
	names, listErr := d.names(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	for _, name := range names {
		if name == to {
			return err
		}
	}
	if _, err := d.rados(ctx, "rm", "rbd_id."+to); err != nil {
		return err
	}
	return d.rename(ctx, from, to)
}

// copyVolume makes the new image from another volume as it is now.
func (d *Driver) copyVolume(ctx context.Context, source string, want driver.Volume) (err error) {
	from, err := d.info(ctx, volumePrefix+source)
	if is(err, syscall.ENOENT) {
		return fmt.Errorf("source volume %s: %w", source, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	moment := from.Name + "@" + copyPrefix + want.ID
	_, err = d.rbd(ctx, "snap", "create", d.spec(moment), "--no-progress")
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(err, d.removeSnapshot(ctx, moment))
	}()
	if err == nil {
		var x *index
		if x, err = d.index(ctx); err == nil {
			err = d.derive(ctx, x.luks[from.ID], moment, want)
		}
	}
	if err != nil {
		return fmt.Errorf("source volume %s: %w", source, err)
	}
	return nil
}

func (d *Driver) copySnapshot(ctx context.Context, source string, want driver.Volume) error {
	x, err := d.index(ctx)
	if err != nil {
		return err
	}
	from, _, err := d.locate(ctx, source, x)
	if err == nil {
		err = d.derive(ctx, x.luks[from.ID], from.Name+"@"+snapshotPrefix+source, want)
	}
	if err != nil {
		return fmt.Errorf("source snapshot %s: %w", source, err)
	}
	return nil
}

// derive makes the new image a clone of "image@snapshot" as large as is wanted; outside is where the content of an encrypted one
// begins.
func (d *Driver) derive(ctx context.Context, outside int64, from string, want driver.Volume) error {
	i, err := d.info(ctx, from)
	if err != nil {
		return err
	}
	if want.Bytes < i.Bytes-outside {
		return fmt.Errorf("%d bytes never become %d: %w", i.Bytes-outside, want.Bytes, fs.ErrInvalid)
	}
	making := makingPrefix + want.ID
	if err := d.clone(ctx, from, making); err != nil {
		return err
	}
	if outside > 0 {
		if err := d.markEncrypted(ctx, making, outside); err != nil {
			return err
		}
	}
	if want.Bytes == i.Bytes-outside {
		return nil
	}
	return d.resize(ctx, making, outside+want.Bytes)
}

// Remove deletes a volume. Its image stays under another name as long as snapshots of it or clones of those exist.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("rbdvolume: volume %w", err)
	}
	x, err := d.unconnected(ctx, id)
	if err != nil {
		return err
	}
	if err := d.removeVolume(ctx, id, x); err != nil {
		return fmt.Errorf("rbdvolume: volume %s: %w", id, err)
	}
	return nil
}

func (d *Driver) removeVolume(ctx context.Context, id string, x *index) error {
	i, err := d.info(ctx, volumePrefix+id)
	if err == nil {
		name := i.kept(id)
		if err := d.rename(ctx, i.Name, name); err != nil {
			return err
		}
		i.Name = name
		return d.collect(ctx, i, x)
	}
	if !is(err, syscall.ENOENT) {
		return err
	}
	// An earlier call has left it, when a guest that had ended without a word was still waited for (30 seconds).
	names, err := d.names(ctx)
	for _, name := range names {
		if !strings.HasPrefix(name, keptPrefix+id+".") {
			continue
		}
		i, infoErr := d.info(ctx, name)
		if infoErr == nil {
			infoErr = d.collect(ctx, i, x)
		}
		err = errors.Join(err, infoErr)
	}
	return err
}

// List says what exists. What killed calls left, a new driver has ended or taken away: nothing is partial. Used is zero: Ceph
// would have to look for each block.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	entries, err := d.entries(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	x, err := d.index(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	var all []driver.Observed
	for _, e := range entries {
		volume, there := volumeOf(e.Image)
		o := driver.Observed{Bytes: e.Bytes - x.luks[e.ID]}
		switch snapshot := snapshotOf(e.Snapshot); {
		case volume != "" && snapshot != "":
			o.Kind, o.ID, o.VolumeID = driver.KindSnapshot, snapshot, volume
		case there && e.Snapshot == "":
			o.Kind, o.ID = driver.KindVolume, volume
			for _, c := range x.connections[volume] {
				o.Connections = append(o.Connections, c.ID)
			}
		default:
			continue
		}
		all = append(all, o)
	}
	return all, nil
}
