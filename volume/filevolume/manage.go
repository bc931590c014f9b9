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
)

// Unmanaged lists the files in the pool's directory that are not the driver's.
func (d *Driver) Unmanaged(ctx context.Context) ([]driver.Unmanaged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	var all []driver.Unmanaged
	for _, e := range entries {
		if !e.Type().IsRegular() || foreign(e.Name()) != nil {
			continue
		}
		if info, err := e.Info(); err == nil {
			u := driver.Unmanaged{Name: e.Name(), Bytes: info.Size()}
			u.Reason = d.unfit(e.Name())
			u.Safe = u.Reason == ""
			all = append(all, u)
		}
	}
	return all, nil
}

// foreign returns an fs.ErrInvalid for names that no file of somebody else has.
func foreign(name string) error {
	kind, _ := named(name)
	if kind != "" || name == "" || strings.HasPrefix(name, ".") || strings.Contains(name, "/") || name == connectionsDir {
		return fmt.Errorf("%q cannot be adopted: %w", name, fs.ErrInvalid)
	}
	return nil
}

// unfit says why the file cannot become a volume.
func (d *Driver) unfit(name string) string {
	f, err := open(d.path(name), os.O_RDONLY)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	x, err := describe(f)
	switch {
	case err != nil:
		return err.Error()
	case x.volumeID != "":
		return "it is a snapshot of volume " + x.volumeID
	case x.bytes <= 0 || x.bytes%512 != 0:
		return "its size is not a multiple of 512 bytes"
	}
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err == nil && string(magic) == "QFI\xfb" {
		return "it is a qcow2 file; volumes are raw (qemu-img convert -O raw)"
	}
	return ""
}

// Adopt makes a file in the pool's directory a volume.
func (d *Driver) Adopt(ctx context.Context, name, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id), foreign(name)); err != nil {
		return fmt.Errorf("filevolume: adopt: %w", err)
	}
	adopted, err := exists(d.volumePath(id))
	if err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	there, err := exists(d.path(name))
	switch {
	case err != nil:
		return fmt.Errorf("filevolume: %w", err)
	case adopted && there:
		return fmt.Errorf("filevolume: volume %s: another has that identifier: %w", id, fs.ErrInvalid)
	case adopted:
		return nil
	case !there:
		return fmt.Errorf("filevolume: file %q: %w", name, fs.ErrNotExist)
	}
	if why := d.unfit(name); why != "" {
		return fmt.Errorf("filevolume: file %q: %s: %w", name, why, fs.ErrInvalid)
	}
	return d.rename(d.path(name), d.volumePath(id))
}

// Release gives a volume up as the file released-ID.
func (d *Driver) Release(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("filevolume: volume %w", err)
	}
	if err := d.unconnected(id); err != nil {
		return "", err
	}
	name := "released-" + id
	return name, d.rename(d.volumePath(id), d.path(name))
}

// UnmanagedSnapshots lists the files in the pool's directory that are snapshots, by their attribute, and not the driver's.
func (d *Driver) UnmanagedSnapshots(ctx context.Context) ([]driver.UnmanagedSnapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("filevolume: %w", err)
	}
	var all []driver.UnmanagedSnapshot
	for _, e := range entries {
		if !e.Type().IsRegular() || foreign(e.Name()) != nil {
			continue
		}
		x, err := describePath(d.path(e.Name()))
		if err != nil || x.volumeID == "" {
			continue
		}
		u := driver.UnmanagedSnapshot{Unmanaged: driver.Unmanaged{Name: e.Name(), Bytes: x.bytes, Safe: !x.encrypted}, VolumeID: x.volumeID}
		if x.encrypted {
			u.Reason = "it is encrypted"
		}
		all = append(all, u)
	}
	return all, nil
}

// AdoptSnapshot makes a file in the pool's directory a snapshot.
func (d *Driver) AdoptSnapshot(ctx context.Context, name string, want driver.Snapshot) error {
	if err := errors.Join(ctx.Err(), want.Check(), foreign(name)); err != nil {
		return fmt.Errorf("filevolume: adopt: %w", err)
	}
	if err := d.adoptSnapshot(name, want); err != nil {
		return fmt.Errorf("filevolume: adopt file %q as snapshot %s: %w", name, want.ID, err)
	}
	return nil
}

func (d *Driver) adoptSnapshot(name string, want driver.Snapshot) error {
	adopted, err := describePath(d.snapshotPath(want.ID))
	if unlessMissing(err) != nil {
		return err
	}
	is := err == nil
	found, err := describePath(d.path(name))
	switch {
	case is && errors.Is(err, fs.ErrNotExist) && adopted.volumeID == want.VolumeID:
		return nil // by an earlier call
	case is:
		return fmt.Errorf("another has that identifier: %w", fs.ErrInvalid)
	case err != nil:
		return err
	case found.volumeID != want.VolumeID:
		return fmt.Errorf("it is no snapshot of volume %s: %w", want.VolumeID, fs.ErrInvalid)
	}
	return d.rename(d.path(name), d.snapshotPath(want.ID))
}

// ReleaseSnapshot gives a snapshot up as the file released-snapshot-ID.
func (d *Driver) ReleaseSnapshot(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("filevolume: snapshot %w", err)
	}
	name := "released-snapshot-" + id
	return name, d.rename(d.snapshotPath(id), d.path(name))
}
