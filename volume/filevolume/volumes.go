//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
)

// Apply creates a volume, or makes it larger.
func (d *Driver) Apply(ctx context.Context, want driver.Volume) error {
	if err := errors.Join(ctx.Err(), want.Check()); err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	f, err := open(d.volumePath(want.ID), os.O_RDWR)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = d.create(want)
	case err == nil:
		err = errors.Join(grow(f, want.Bytes), f.Close())
	}
	if err != nil {
		return fmt.Errorf("filevolume: volume %s: %w", want.ID, roomed(err))
	}
	return nil
}

// grow makes the file larger if it is smaller than what a guest should see.
func grow(f *os.File, bytes int64) error {
	x, err := describe(f)
	switch {
	case err != nil:
		return err
	case bytes < x.bytes:
		return fmt.Errorf("%d bytes never become %d: %w", x.bytes, bytes, fs.ErrInvalid)
	case bytes == x.bytes:
		return nil
	}
	return errors.Join(f.Truncate(x.outside+bytes), f.Sync())
}

func (d *Driver) create(want driver.Volume) error {
	f, err := d.nameless()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	switch s := want.Source; {
	case s.VolumeID != "":
		err = d.fill(f, d.volumePath(s.VolumeID), "source volume "+s.VolumeID, "", want.Bytes)
	case s.SnapshotID != "":
		err = d.fill(f, d.snapshotPath(s.SnapshotID), "source snapshot "+s.SnapshotID, "", want.Bytes)
	case len(want.Passphrase) > 0:
		err = format(f, want.Bytes, want.Passphrase)
	default:
		err = f.Truncate(want.Bytes)
	}
	if err != nil {
		return err
	}
	return d.publish(f, d.volumePath(want.ID))
}

// fill clones a volume or snapshot into the new file f, which is of that volume if it is a snapshot, and makes it that large; 0
// keeps the source's size.
func (d *Driver) fill(f *os.File, source, name, volumeID string, bytes int64) error {
	from, err := open(source, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	encrypted, err := attribute(from, attrEncrypted)
	if err == nil {
		err = errors.Join(clone(f, from), setAttribute(f, attrEncrypted, encrypted), setAttribute(f, attrVolume, volumeID))
	}
	if err != nil || bytes == 0 {
		return err
	}
	if err := grow(f, bytes); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Remove deletes a volume.
func (d *Driver) Remove(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("filevolume: volume %w", err)
	}
	if err := d.unconnected(id); err != nil {
		return err
	}
	err := errors.Join(
		os.RemoveAll(d.path(connectionsDir, id)),
		unlessMissing(os.Remove(d.path(reverting(id)))),
		d.remove(d.volumePath(id)))
	if err != nil {
		return fmt.Errorf("filevolume: volume %s: %w", id, err)
	}
	return nil
}

// remove deletes a file for good.
func (d *Driver) remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, connections.SyncDir(d.dir))
}

// List says what exists. What killed calls left, a new driver has ended or taken away: nothing is partial.
func (d *Driver) List(ctx context.Context) ([]driver.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	var all []driver.Observed
	for _, e := range entries {
		kind, id := named(e.Name())
		if kind == "" {
			continue
		}
		x, err := describePath(d.path(e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("filevolume: %w", err)
		}
		o := driver.Observed{Kind: kind, ID: id, VolumeID: x.volumeID, Bytes: x.bytes, Used: x.used}
		if kind == driver.KindVolume {
			list, err := d.connections().Of(id)
			if err != nil {
				return nil, fmt.Errorf("filevolume: %w", err)
			}
			for _, c := range list {
				o.Connections = append(o.Connections, c.ID)
			}
		}
		all = append(all, o)
	}
	return all, nil
}

// named tells what the driver's own file is by its name.
func named(name string) (driver.Kind, string) {
	prefix, id, _ := strings.Cut(name, "-")
	kind := driver.Kind(prefix)
	if (kind != driver.KindVolume && kind != driver.KindSnapshot) || driver.CheckID(id) != nil {
		return "", ""
	}
	return kind, id
}

// Open opens a volume's or a snapshot's content; of an encrypted one, the container.
func (d *Driver) Open(ctx context.Context, id string, access driver.Access) (driver.Device, error) {
	path, err := d.openable(ctx, id, access)
	if err != nil {
		return nil, err
	}
	f, err := openFor(path, access)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	return newDevice(f, access), nil
}

func openFor(path string, access driver.Access) (*os.File, error) {
	if access == driver.ReadWrite {
		return open(path, os.O_RDWR)
	}
	return open(path, os.O_RDONLY)
}

// openable finds the file, if it may be opened so.
func (d *Driver) openable(ctx context.Context, id string, access driver.Access) (path string, err error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("filevolume: %w", err)
	}
	path = d.volumePath(id)
	if there, err := exists(path); err != nil || there {
		if err == nil && access == driver.ReadWrite {
			err = d.unconnected(id)
		}
		return path, err
	}
	path = d.snapshotPath(id)
	there, err := exists(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("filevolume: %w", err)
	case !there:
		return "", fmt.Errorf("filevolume: volume or snapshot %s: %w", id, fs.ErrNotExist)
	case access == driver.ReadWrite:
		return "", fmt.Errorf("filevolume: snapshot %s is only read: %w", id, fs.ErrInvalid)
	}
	return path, nil
}

func reverting(id string) string { return ".reverting-" + id }

// Revert gives the volume its snapshot's content and size.
func (d *Driver) Revert(ctx context.Context, volumeID, snapshotID string) error {
	if err := errors.Join(ctx.Err(), (driver.Snapshot{ID: snapshotID, VolumeID: volumeID}).Check()); err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	if err := d.unconnected(volumeID); err != nil {
		return err
	}
	if err := d.revert(volumeID, snapshotID); err != nil {
		return fmt.Errorf("filevolume: volume %s to snapshot %s: %w", volumeID, snapshotID, roomed(err))
	}
	return nil
}

func (d *Driver) revert(volumeID, snapshotID string) error {
	if there, err := exists(d.volumePath(volumeID)); err != nil || !there {
		return errors.Join(err, fs.ErrNotExist)
	}
	snapshot := d.snapshotPath(snapshotID)
	x, err := describePath(snapshot)
	if err == nil && x.volumeID != volumeID {
		err = fmt.Errorf("it is of volume %s: %w", x.volumeID, fs.ErrInvalid)
	}
	if err != nil {
		return err
	}
	f, err := d.nameless()
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := d.fill(f, snapshot, "snapshot", "", 0); err != nil {
		return err
	}
	// A link replaces nothing; a rename does, at once.
	between := d.path(reverting(volumeID))
	if err := errors.Join(unlessMissing(os.Remove(between)), d.publish(f, between), os.Rename(between, d.volumePath(volumeID))); err != nil {
		return err
	}
	return connections.SyncDir(d.dir)
}
