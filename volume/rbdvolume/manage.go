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

const releasedPrefix = "released-"

// Unmanaged lists the pool's images that are not the driver's.
func (d *Driver) Unmanaged(ctx context.Context) ([]driver.Unmanaged, error) {
	entries, err := d.entries(ctx)
	if err != nil {
		return nil, fmt.Errorf("rbdvolume: pool %s: %w", d.pool, err)
	}
	var all []driver.Unmanaged
	for _, e := range entries {
		if e.Snapshot != "" || foreign(e.Image) != nil {
			continue
		}
		u := driver.Unmanaged{Name: e.Image, Bytes: e.Bytes, Reason: unfit(e.Bytes)}
		u.Safe = u.Reason == ""
		all = append(all, u)
	}
	return all, nil
}

// foreign returns an fs.ErrInvalid for names that no image of somebody else has.
func foreign(name string) error {
	own, _ := volumeOf(name)
	making, ok := strings.CutPrefix(name, makingPrefix)
	if own != "" || ok && driver.CheckID(making) == nil || name == "" || strings.ContainsAny(name, "/@") {
		return fmt.Errorf("%q cannot be adopted: %w", name, fs.ErrInvalid)
	}
	return nil
}

// unfit says why an image, or its snapshot, cannot become the driver's.
func unfit(bytes int64) string {
	if bytes <= 0 || bytes%512 != 0 {
		return "its size is not a multiple of 512 bytes"
	}
	return ""
}

// Adopt makes an image of somebody else's a volume, by another name. Snapshots that it has are found by UnmanagedSnapshots.
func (d *Driver) Adopt(ctx context.Context, name, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id), foreign(name)); err != nil {
		return fmt.Errorf("rbdvolume: adopt: %w", err)
	}
	if err := d.adopt(ctx, name, id); err != nil {
		return fmt.Errorf("rbdvolume: adopt image %q as volume %s: %w", name, id, err)
	}
	return nil
}

func (d *Driver) adopt(ctx context.Context, name, id string) error {
	_, adoptedErr := d.info(ctx, volumePrefix+id)
	if adoptedErr != nil && !is(adoptedErr, syscall.ENOENT) {
		return adoptedErr
	}
	i, err := d.info(ctx, name)
	switch {
	case is(err, syscall.ENOENT) && adoptedErr == nil:
		return nil // by an earlier call
	case err != nil:
		return err
	case adoptedErr == nil:
		return fmt.Errorf("another has that identifier: %w", fs.ErrInvalid)
	}
	if why := unfit(i.Bytes); why != "" {
		return fmt.Errorf("%s: %w", why, fs.ErrInvalid)
	}
	return d.rename(ctx, name, volumePrefix+id)
}

// Release gives a volume up as the image released-ID. One that has snapshots, or is encrypted, is not anybody's: ErrBusy.
func (d *Driver) Release(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("rbdvolume: volume %w", err)
	}
	x, err := d.unconnected(ctx, id)
	if err != nil {
		return "", err
	}
	if err := d.release(ctx, id, x); err != nil {
		return "", fmt.Errorf("rbdvolume: release volume %s: %w", id, err)
	}
	return releasedPrefix + id, nil
}

func (d *Driver) release(ctx context.Context, id string, x *index) error {
	i, err := d.info(ctx, volumePrefix+id)
	if err != nil {
		return err
	}
	for snapshot, p := range x.snapshots {
		if p.image == i.ID {
			return fmt.Errorf("it has snapshot %s: %w", snapshot, driver.ErrBusy)
		}
	}
	if x.luks[i.ID] > 0 {
		return fmt.Errorf("it is encrypted, which its image does not tell: %w", driver.ErrBusy)
	}
	return d.rename(ctx, i.Name, releasedPrefix+id)
}
