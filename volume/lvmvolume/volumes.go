//go:build linux

package lvmvolume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
)

// How what is ours is called. LVM keeps names that begin with "snapshot" for itself.
const (
	volumePrefix   = "volume-"
	snapshotPrefix = "_snapshot-"
	revertPrefix   = "_revert-"
)

// named is what a logical volume of that name is.
func named(name string) (driver.Kind, string) {
	for prefix, kind := range map[string]driver.Kind{volumePrefix: driver.KindVolume, snapshotPrefix: driver.KindSnapshot} {
		if id, ok := strings.CutPrefix(name, prefix); ok && driver.CheckID(id) == nil {
			return kind, id
		}
	}
	return "", ""
}

// full is a name with its group's.
func (d *Driver) full(name string) string { return d.group + "/" + name }

// path is where the device is.
func (d *Driver) path(name string) string { return filepath.Join("/dev", d.group, name) }

// settled is what the group has once what an earlier call has left half done is done.
func (d *Driver) settled(ctx context.Context) (map[string]*logical, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settle(ctx)
}

// whole is the logical volume of that name, if it is there and whole.
func whole(all map[string]*logical, name string) (*logical, error) {
	if v := all[name]; v != nil && !v.making {
		return v, nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// Apply creates the volume, or makes it larger.
func (d *Driver) Apply(ctx context.Context, want driver.Volume) error {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return fmt.Errorf("lvmvolume: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err == nil {
		err = d.apply(ctx, want, all)
	}
	if err != nil {
		return fmt.Errorf("lvmvolume: volume %s: %w", want.ID, roomed(err))
	}
	return nil
}

func (d *Driver) apply(ctx context.Context, want driver.Volume, all map[string]*logical) error {
	v := all[volumePrefix+want.ID]
	switch {
	case v != nil && !v.making:
		return d.grow(ctx, v, want.Bytes)
	case v != nil:
		if err := d.remove(ctx, v.name); err != nil {
			return err
		}
	}
	switch s := want.Source; {
	case s.VolumeID != "":
		return d.copyOf(ctx, want, all, volumePrefix+s.VolumeID)
	case s.SnapshotID != "":
		return d.copyOf(ctx, want, all, snapshotPrefix+s.SnapshotID)
	}
	return d.create(ctx, want)
}

// rounded is a number of bytes in whole extents.
func (d *Driver) rounded(bytes int64) int64 { return (bytes + d.extent - 1) / d.extent * d.extent }

func size(bytes int64) string { return strconv.FormatInt(bytes, 10) + "b" }

func number(tag string, n int64) string { return tag + strconv.FormatInt(n, 10) }

// tagging are the options that give a new logical volume tags.
func tagging(tags ...string) (options []string) {
	for _, t := range tags {
		options = append(options, "--addtag", t)
	}
	return options
}

// create makes a volume that is empty, or an empty container.
func (d *Driver) create(ctx context.Context, want driver.Volume) error {
	name, outside, tags := volumePrefix+want.ID, int64(0), []string{number(tagBytes, want.Bytes)}
	if len(want.Passphrase) > 0 {
		// A whole number of extents, so that what is inside is not larger than it should be.
		outside = d.rounded(luks.HeaderBytes)
		tags = append(tags, number(tagLUKS, outside), tagMaking)
	}
	args := append([]string{"--type", "thin", "--thinpool", d.o.ThinPool, "--virtualsize", size(d.rounded(outside + want.Bytes)), "--name", name}, tagging(tags...)...)
	if _, err := d.lvm(ctx, "lvcreate", append(args, d.group)...); err != nil || outside == 0 {
		return err
	}
	err := d.format(name, want.Passphrase, outside)
	if err == nil {
		err = d.finish(ctx, name)
	}
	if err != nil {
		return errors.Join(err, d.remove(context.WithoutCancel(ctx), name))
	}
	return nil
}

func (d *Driver) format(name string, passphrase []byte, outside int64) error {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(luks.Format(f, passphrase, &luks.Options{Offset: outside, Rounds: d.o.rounds}), f.Sync(), f.Close())
}

// finish says that a logical volume is whole.
func (d *Driver) finish(ctx context.Context, name string) error {
	_, err := d.lvm(ctx, "lvchange", "--deltag", tagMaking, d.full(name))
	return err
}

// clone makes a thin snapshot of a logical volume, with those tags.
func (d *Driver) clone(ctx context.Context, from *logical, name string, tags ...string) error {
	if from.encrypted {
		tags = append(tags, number(tagLUKS, from.outside))
	}
	args := append([]string{"--type", "thin", "--setactivationskip", "n", "--activate", "y", "--name", name}, tagging(tags...)...)
	_, err := d.lvm(ctx, "lvcreate", append(args, d.full(from.name))...)
	return err
}

// copyOf makes a volume of what another logical volume holds.
func (d *Driver) copyOf(ctx context.Context, want driver.Volume, all map[string]*logical, source string) error {
	from, err := whole(all, source)
	switch {
	case err != nil:
		return fmt.Errorf("source %w", err)
	case want.Bytes < from.bytes:
		return fmt.Errorf("source %s has %d bytes, which never become %d: %w", source, from.bytes, want.Bytes, fs.ErrInvalid)
	case want.Bytes == from.bytes:
		return d.clone(ctx, from, volumePrefix+want.ID, number(tagBytes, want.Bytes))
	}
	name := volumePrefix + want.ID
	if err := d.clone(ctx, from, name, number(tagBytes, from.bytes), tagMaking); err != nil {
		return err
	}
	made := *from
	made.name = name
	err = d.grow(ctx, &made, want.Bytes)
	if err == nil {
		err = d.finish(ctx, name)
	}
	if err != nil {
		return errors.Join(err, d.remove(context.WithoutCancel(ctx), name))
	}
	return nil
}

// grow makes a volume larger if it is smaller than it should be.
func (d *Driver) grow(ctx context.Context, v *logical, bytes int64) error {
	switch {
	case bytes < v.bytes:
		return fmt.Errorf("%d bytes never become %d: %w", v.bytes, bytes, fs.ErrInvalid)
	case bytes == v.bytes:
		return nil
	}
	if want := d.rounded(v.outside + bytes); want > v.size {
		if _, err := d.lvm(ctx, "lvextend", "--size", size(want), d.full(v.name)); err != nil {
			return err
		}
	}
	// A guest may have written to the rest of the last extent. What is inside a container is anything there anyway.
	if from, to := v.outside+v.bytes, min(v.size, v.outside+bytes); from < to && !v.encrypted {
		if err := d.clear(v.name, from, to); err != nil {
			return err
		}
	}
	_, err := d.lvm(ctx, "lvchange", "--deltag", number(tagBytes, v.bytes), "--addtag", number(tagBytes, bytes), d.full(v.name))
	return err
}

// clearPiece is how much is looked at, at once.
const clearPiece = 1 << 20

// clear writes zeroes where there is anything else: what nobody wrote to takes no room, also where a killed call had made much more.
func (d *Driver) clear(name string, from, to int64) error {
	f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	piece, zeroes := make([]byte, clearPiece), make([]byte, clearPiece)
	for err == nil && from < to {
		n := min(to-from, clearPiece)
		if _, err = f.ReadAt(piece[:n], from); err == nil && !bytes.Equal(piece[:n], zeroes[:n]) {
			_, err = f.WriteAt(zeroes[:n], from)
		}
		from += n
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// remove deletes logical volumes.
func (d *Driver) remove(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	var args []string
	for _, name := range names {
		args = append(args, d.full(name))
	}
	_, err := d.lvm(ctx, "lvremove", args...)
	return err
}

// Remove deletes a volume.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("lvmvolume: volume %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unconnected(id); err != nil {
		return err
	}
	all, err := d.settle(ctx)
	if err == nil && all[volumePrefix+id] != nil {
		err = d.remove(ctx, volumePrefix+id)
	}
	if err := errors.Join(err, os.RemoveAll(filepath.Join(d.dir, connectionsDir, id))); err != nil {
		return fmt.Errorf("lvmvolume: volume %s: %w", id, err)
	}
	return nil
}

// List says what exists.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := d.settled(ctx)
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: %w", err)
	}
	var list []driver.Observed
	for _, v := range all {
		kind, id := named(v.name)
		if kind == "" {
			continue
		}
		o := driver.Observed{Kind: kind, ID: id, Bytes: v.bytes, Used: int64(v.data / 100 * float64(v.size)), Partial: v.making}
		if kind == driver.KindSnapshot {
			o.VolumeID = v.volumeID
		}
		if kind == driver.KindVolume {
			connected, err := d.connections().Of(id)
			if err != nil {
				return nil, fmt.Errorf("lvmvolume: %w", err)
			}
			for _, c := range connected {
				o.Connections = append(o.Connections, c.ID)
			}
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b driver.Observed) int { return strings.Compare(string(a.Kind)+a.ID, string(b.Kind)+b.ID) })
	return list, nil
}
