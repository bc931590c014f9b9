//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/volume/driver"
)

// mend ends what killed calls began, or takes it away: reverts, images that never got their names, images that nothing needs,
// moments that were copied. It deletes no image that has ever been a volume, unless Remove renamed it.
func (d *Driver) mend(ctx context.Context) error {
	x, err := d.index(ctx)
	if err != nil {
		return err
	}
	for _, volume := range x.reverting {
		if err := d.mendRevert(ctx, volume); err != nil {
			return err
		}
	}
	names, err := d.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, makingPrefix); ok && driver.CheckID(id) == nil {
			err = errors.Join(err, d.remove(ctx, name))
		}
	}
	if err != nil {
		return err
	}
	return d.mendImages(ctx, x)
}

func (d *Driver) mendRevert(ctx context.Context, volume string) error {
	_, err := d.info(ctx, volumePrefix+volume)
	if is(err, syscall.ENOENT) {
		err = d.endRevert(ctx, volume)
		if is(err, syscall.ENOENT) {
			err = nil // the volume was removed
		}
	}
	if err != nil {
		return err
	}
	return d.removeKey(ctx, revertKey(volume))
}

func (d *Driver) mendImages(ctx context.Context, x *index) error {
	entries, err := d.entries(ctx)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, e := range entries {
		volume, _ := volumeOf(e.Image)
		if volume == "" || e.Snapshot == "" {
			continue
		}
		if id, ok := strings.CutPrefix(e.Snapshot, copyPrefix); ok && driver.CheckID(id) == nil {
			err = errors.Join(err, d.removeSnapshot(ctx, e.Image+"@"+e.Snapshot))
			continue
		}
		needed[e.Image] = true
		if id := snapshotOf(e.Snapshot); id != "" && x.snapshots[id] == (place{}) {
			err = errors.Join(err, d.setKey(ctx, snapshotKey(id, place{volume: volume, image: e.ID})))
		}
	}
	for _, e := range entries {
		if e.Parent != nil {
			needed[e.Parent.Image] = true
		}
	}
	for _, e := range slices.Backward(entries) {
		if id, there := volumeOf(e.Image); id != "" && !there && e.Snapshot == "" && !needed[e.Image] {
			err = errors.Join(err, d.collect(ctx, e.Image))
		}
	}
	return err
}
