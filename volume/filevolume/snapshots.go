//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/connections"
	"github.com/kintoun/kintoun/volume/internal/quiet"
	"golang.org/x/sys/unix"
)

// Several snapshots are first made in a directory makingGroup…; renamed to doneGroup… they all exist, and move to their places one
// by one.
const (
	makingGroup = ".making-"
	doneGroup   = ".made-"
)

// ApplySnapshots takes snapshots, all at one moment.
func (d *Driver) ApplySnapshots(ctx context.Context, want ...driver.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range want {
		if err := s.Check(); err != nil {
			return fmt.Errorf("filevolume: %w", err)
		}
	}
	missing, err := d.missing(want)
	switch {
	case err != nil || len(missing) == 0:
	case len(missing) == 1:
		err = d.snapshot(missing[0])
	default:
		err = d.snapshotGroup(ctx, missing)
	}
	if err != nil {
		return fmt.Errorf("filevolume: %w", roomed(err))
	}
	return nil
}

// missing are those that do not exist yet; they can be taken.
func (d *Driver) missing(want []driver.Snapshot) (missing []driver.Snapshot, err error) {
	for _, s := range want {
		switch x, err := describePath(d.snapshotPath(s.ID)); {
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, s)
		case err != nil:
			return nil, err
		case x.volumeID != s.VolumeID:
			return nil, fmt.Errorf("snapshot %s of volume %s: there is one of volume %s: %w", s.ID, s.VolumeID, x.volumeID, fs.ErrInvalid)
		}
	}
	for _, s := range missing {
		switch there, err := exists(d.volumePath(s.VolumeID)); {
		case err != nil:
			return nil, err
		case !there:
			return nil, fmt.Errorf("snapshot %s: volume %s: %w", s.ID, s.VolumeID, fs.ErrNotExist)
		}
	}
	return missing, nil
}

// snapshot takes one: the file system's own clone is of one moment.
func (d *Driver) snapshot(s driver.Snapshot) error {
	f, err := d.taken(s)
	if err != nil {
		return err
	}
	return errors.Join(d.publish(f, d.snapshotPath(s.ID)), f.Close())
}

// taken is a snapshot that has no name yet.
func (d *Driver) taken(s driver.Snapshot) (*os.File, error) {
	f, err := d.nameless()
	if err == nil {
		err = d.fill(f, d.volumePath(s.VolumeID), "volume", s.VolumeID, 0)
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, fmt.Errorf("snapshot %s of volume %s: %w", s.ID, s.VolumeID, err)
	}
	return f, nil
}

// snapshotGroup takes several while nobody writes to their volumes, and gives them their names all at once.
func (d *Driver) snapshotGroup(ctx context.Context, want []driver.Snapshot) error {
	var paths []string
	for _, s := range want {
		paths = append(paths, d.volumePath(s.VolumeID))
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	err := quiet.Do(ctx, paths, func() error {
		for _, s := range want {
			f, err := d.taken(s)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.groups.Lock()
	defer d.groups.Unlock()
	making := d.path(makingGroup + want[0].ID)
	if err := errors.Join(os.RemoveAll(making), os.Mkdir(making, 0o700)); err != nil {
		return err
	}
	for i, s := range want {
		if err := d.publish(files[i], filepath.Join(making, filepath.Base(d.snapshotPath(s.ID)))); err != nil {
			return errors.Join(err, os.RemoveAll(making))
		}
	}
	done := d.path(doneGroup + want[0].ID)
	if err := os.Rename(making, done); err != nil {
		return errors.Join(err, os.RemoveAll(making))
	}
	return errors.Join(connections.SyncDir(d.dir), d.place(done))
}

// place moves the snapshots of a group that is done to their places.
func (d *Driver) place(group string) error {
	entries, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(group, e.Name()), d.path(e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(connections.SyncDir(d.dir), os.Remove(group))
}

// mend ends what killed calls began, or takes it away, and makes durable what they did: who finds it will build on it.
func (d *Driver) mend() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch path := d.path(e.Name()); {
		case strings.HasPrefix(e.Name(), doneGroup):
			err = errors.Join(err, d.place(path))
		case strings.HasPrefix(e.Name(), makingGroup), strings.HasPrefix(e.Name(), reverting("")):
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	dir, openErr := os.Open(d.dir)
	if openErr != nil {
		return errors.Join(err, openErr)
	}
	return errors.Join(err, unix.Syncfs(int(dir.Fd())), dir.Close())
}

// RemoveSnapshot deletes a snapshot.
func (d *Driver) RemoveSnapshot(ctx context.Context, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("filevolume: snapshot %w", err)
	}
	if err := d.remove(d.snapshotPath(id)); err != nil {
		return fmt.Errorf("filevolume: snapshot %s: %w", id, err)
	}
	return nil
}

// rename gives a file another name, which nobody has.
func (d *Driver) rename(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err == nil {
		err = connections.SyncDir(d.dir)
	}
	if err != nil {
		return fmt.Errorf("filevolume: %w", &os.LinkError{Op: "rename", Old: from, New: to, Err: err})
	}
	return nil
}
