//go:build linux

package rbdvolume

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/volume/driver"
)

// mend ends what killed calls began, or takes it away: reverts, snapshots of one moment, images that never got their names, images
// that nothing needs, moments that were copied and their groups. It deletes no image that has ever been a volume, unless Remove renamed it.
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
	for _, list := range x.together {
		if err := d.publish(ctx, list, x); err != nil {
			return err
		}
	}
	if len(x.together) > 0 {
		if x, err = d.index(ctx); err != nil {
			return err
		}
	}
	names, err := d.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, makingPrefix); ok && driver.CheckID(id) == nil {
			err = errors.Join(err, d.removeLeft(ctx, name))
		}
	}
	if err != nil {
		return err
	}
	return d.mendImages(ctx, x)
}

// watchTimeout is how long an image counts as open whose client was killed, with something to spare (osd_client_watch_timeout).
const watchTimeout = 40 * time.Second

// removeLeft deletes an image that a killed command may have had open.
func (d *Driver) removeLeft(ctx context.Context, name string) error {
	patience := time.NewTimer(watchTimeout)
	defer patience.Stop()
	for {
		err := d.remove(ctx, name)
		if !is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-patience.C:
			return err
		case <-time.After(time.Second):
		}
	}
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
	snapshots, needed := map[string]bool{}, map[string]bool{}
	images := map[string]*entry{}
	for i, e := range entries {
		if volume, _ := volumeOf(e.Image); volume == "" {
			continue
		} else if id := snapshotOf(e.Snapshot); id != "" {
			snapshots[id] = true
			if x.snapshots[id] == (place{}) {
				err = errors.Join(err, d.setKey(ctx, snapshotKey(id, place{volume: volume, image: e.ID})))
			}
		}
		switch id, ok := strings.CutPrefix(e.Snapshot, copyPrefix); {
		case e.Snapshot == "":
			images[e.ID] = &entries[i]
		case ok && driver.CheckID(id) == nil:
			err = errors.Join(err, d.removeGroup(ctx, id), d.removeSnapshot(ctx, e.Image+"@"+e.Snapshot))
		default:
			needed[e.Image] = true
		}
		if e.Parent != nil {
			needed[e.Parent.Image] = true
		}
	}
	for id, p := range x.snapshots {
		if images[p.image] != nil && !snapshots[id] {
			err = errors.Join(err, d.removeKey(ctx, snapshotKey(id, p)))
		}
	}
	for _, e := range images {
		if _, there := volumeOf(e.Image); !there && !needed[e.Image] {
			err = errors.Join(err, d.mendKept(ctx, e.Image, x))
		}
	}
	return err
}

// mendKept deletes an image that was kept for what is gone.
func (d *Driver) mendKept(ctx context.Context, name string, x *index) error {
	i, err := d.info(ctx, name)
	if err == nil {
		err = d.collect(ctx, i, x)
	}
	if is(err, syscall.ENOENT) || errors.Is(err, driver.ErrBusy) {
		return nil // gone meanwhile, or still waited for: a later driver's
	}
	return err
}
