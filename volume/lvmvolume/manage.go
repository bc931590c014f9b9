//go:build linux

package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/volume/driver"
)

const releasedPrefix = "released-"

// Unmanaged lists the pool's thin volumes that are not the driver's.
func (d *Driver) Unmanaged(ctx context.Context) ([]driver.Unmanaged, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := d.settled(ctx)
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: %w", err)
	}
	var list []driver.Unmanaged
	for _, v := range all {
		if d.foreign(v) {
			list = append(list, driver.Unmanaged{Name: v.name, Bytes: v.bytes, Safe: true})
		}
	}
	slices.SortFunc(list, func(a, b driver.Unmanaged) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// foreign says that a logical volume is somebody else's, and could be ours.
func (d *Driver) foreign(v *logical) bool {
	kind, _ := named(v.name)
	return kind == "" && v.name != d.o.ThinPool && !strings.HasPrefix(v.name, revertPrefix)
}

// Adopt makes a thin volume of somebody else's in the same pool a volume, by another name.
func (d *Driver) Adopt(ctx context.Context, name, id string) error {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return fmt.Errorf("lvmvolume: adopt: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err == nil {
		err = d.adopt(ctx, all, name, id)
	}
	if err != nil {
		return fmt.Errorf("lvmvolume: adopt logical volume %q as volume %s: %w", name, id, err)
	}
	return nil
}

func (d *Driver) adopt(ctx context.Context, all map[string]*logical, name, id string) error {
	theirs, adopted := all[name], all[volumePrefix+id]
	switch {
	case theirs == nil && adopted != nil:
		return nil // by an earlier call
	case adopted != nil:
		return fmt.Errorf("another has that identifier: %w", fs.ErrInvalid)
	case theirs == nil:
		return fs.ErrNotExist
	case !d.foreign(theirs):
		return fmt.Errorf("it is not somebody else's: %w", fs.ErrInvalid)
	}
	for _, option := range [][]string{{"--setactivationskip", "n"}, {"--activate", "y"}} {
		if _, err := d.lvm(ctx, "lvchange", append(option, d.full(name))...); err != nil {
			return err
		}
	}
	return d.rename(ctx, name, volumePrefix+id)
}

// Release gives a volume up as released-ID. It keeps its tags, and is what it was when it is adopted again.
func (d *Driver) Release(ctx context.Context, id string) (string, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return "", fmt.Errorf("lvmvolume: volume %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.unconnected(id); err != nil {
		return "", err
	}
	all, err := d.settle(ctx)
	if err == nil {
		_, err = whole(all, volumePrefix+id)
	}
	if err == nil {
		err = d.rename(ctx, volumePrefix+id, releasedPrefix+id)
	}
	if err != nil {
		return "", fmt.Errorf("lvmvolume: release volume %s: %w", id, err)
	}
	return releasedPrefix + id, nil
}
