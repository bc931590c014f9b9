//go:build linux

package qcow2volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// Probe says what is missing for a pool as the options say, with a [probe.Missing] for each thing; nil if nothing. It makes one in a
// temporary directory beside dir, or nearest above where that is yet to be made, takes a snapshot of a volume in use there, and
// removes it.
func Probe(ctx context.Context, dir string, options *Options) error {
	if _, err := nbdserver.Program("volumes that are qcow2 files"); err != nil {
		return err
	}
	place, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("qcow2volume: %w", err)
	}
	for {
		place = filepath.Dir(place)
		if _, err := os.Stat(place); err == nil || place == filepath.Dir(place) {
			break
		}
	}
	scratch, err := os.MkdirTemp(place, ".probe-")
	if err != nil {
		return &probe.Missing{What: "a writable " + place, Why: "volumes", How: "choose another directory, or let this user write there", Err: err}
	}
	trial := Options{Host: "probe"}
	if options != nil {
		trial.User = options.User
	}
	err = try(ctx, filepath.Join(scratch, "pool"), &trial)
	if err != nil && ctx.Err() == nil && len(probe.All(err)) == 0 && !errors.Is(err, os.ErrPermission) {
		err = &probe.Missing{What: "a working qemu-storage-daemon", Why: "volumes that are qcow2 files", How: "install QEMU 7.2 or newer", Err: err}
	}
	return probe.Join(err, os.RemoveAll(scratch))
}

// try takes a snapshot of a volume in use.
func try(ctx context.Context, dir string, o *Options) error {
	d, err := New(ctx, dir, o)
	if err != nil {
		return err
	}
	c := driver.Connection{ID: uuid.NewString(), VolumeID: uuid.NewString(), Host: o.Host}
	if err := d.Apply(ctx, driver.Volume{ID: c.VolumeID, Bytes: 1 << 20}); err != nil {
		return err
	}
	_, err = d.Connect(ctx, c)
	if err == nil {
		err = d.ApplySnapshots(ctx, driver.Snapshot{ID: uuid.NewString(), VolumeID: c.VolumeID})
	}
	return errors.Join(err, d.Disconnect(context.WithoutCancel(ctx), c.VolumeID, c.ID))
}
