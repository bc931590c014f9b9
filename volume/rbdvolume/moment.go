//go:build linux

package rbdvolume

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/volume/driver"
)

// groupPrefix begins the name of a group of images that exists while snapshots of them are taken; the first snapshot's follows.
const groupPrefix = "moment-"

// exclusiveLock is the feature of images by which nobody writes to any of a group while its snapshot is taken.
const exclusiveLock = "exclusive-lock"

// snapshotsTogether is what Python is needed for.
const snapshotsTogether = "snapshots of several volumes in Ceph at one moment"

// momentProgram makes the clones. What it does no command does: it goes through librbd, in the language that ceph-common brings it in.
//
//go:embed moment.py
var momentProgram string

// takeTogether takes snapshots of the images at one moment. Each is a clone that gets a snapshot at once, and is kept for that
// snapshot as images of removed volumes are. The clones become snapshots all together, when the index says so.
func (d *Driver) takeTogether(ctx context.Context, want []driver.Snapshot, images []*image, x *index) error {
	for n, i := range images {
		if !slices.Contains(i.Features, exclusiveLock) {
			return fmt.Errorf("snapshots at one moment: volume %s: its image has no feature %s (rbd feature enable): %w", want[n].VolumeID, exclusiveLock, errors.ErrUnsupported)
		}
	}
	err := d.cloneTogether(ctx, want, images, x)
	// The moment is over, and whatever was not published is to go.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	err = errors.Join(err, d.endMoment(ctx, want, images))
	if err == nil {
		err = d.setKey(ctx, togetherKey(want))
	}
	if err != nil {
		for _, s := range want {
			err = errors.Join(err, d.remove(ctx, makingPrefix+s.ID))
		}
		return err
	}
	return d.publish(ctx, want, x)
}

// cloneTogether makes the images making-SNAPSHOT.
func (d *Driver) cloneTogether(ctx context.Context, want []driver.Snapshot, images []*image, x *index) error {
	args, err := python()
	if err != nil {
		return err
	}
	args = append(args, "-", "client."+d.o.User, d.o.Config, d.pool, d.o.Namespace, groupPrefix+want[0].ID)
	for n, s := range want {
		args = append(args, images[n].Name, copyPrefix+s.ID, makingPrefix+s.ID)
	}
	bounded, cancel := context.WithTimeout(ctx, removalPatience)
	defer cancel()
	cmd := exec.CommandContext(bounded, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(momentProgram)
	if _, err := command(bounded, cmd); err != nil {
		return fmt.Errorf("snapshots at one moment: %w", err)
	}
	for n, s := range want {
		if outside := x.luks[images[n].ID]; outside > 0 {
			err = errors.Join(err, d.markEncrypted(ctx, makingPrefix+s.ID, outside))
		}
	}
	return err
}

// python is how the command ceph is run, itself a program in Python: on a host with several, librbd's module is where that one looks.
func python() ([]string, error) {
	ceph, err := process.Program("ceph", "volumes in Ceph", "ceph-common")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(ceph)
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	interpreter, ok := strings.CutPrefix(line, "#!")
	if words := strings.Fields(interpreter); ok && len(words) > 0 {
		return words, nil
	}
	return []string{"python3"}, nil
}

// endMoment removes the group with its snapshot, and the snapshots that the clones were made from.
func (d *Driver) endMoment(ctx context.Context, want []driver.Snapshot, images []*image) error {
	err := d.removeGroup(ctx, want[0].ID)
	for n, s := range want {
		err = errors.Join(err, d.removeSnapshot(ctx, images[n].Name+"@"+copyPrefix+s.ID))
	}
	return err
}

// removeGroup removes the group that a snapshot was taken with; one that is gone is no error.
func (d *Driver) removeGroup(ctx context.Context, snapshotID string) error {
	_, err := d.repeated(ctx, removalPatience, "group", "rm", d.spec(groupPrefix+snapshotID))
	if is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// publish makes clones snapshots. It goes on where an earlier call was killed.
func (d *Driver) publish(ctx context.Context, want []driver.Snapshot, x *index) error {
	for _, s := range want {
		if err := d.publishOne(ctx, s, x); err != nil {
			return fmt.Errorf("snapshot %s of volume %s: %w", s.ID, s.VolumeID, err)
		}
	}
	return d.removeKey(ctx, togetherKey(want))
}

func (d *Driver) publishOne(ctx context.Context, s driver.Snapshot, x *index) error {
	i, err := d.info(ctx, makingPrefix+s.ID)
	switch {
	case err == nil:
		name := i.kept(s.VolumeID)
		if err := d.setKey(ctx, snapshotKey(s.ID, place{volume: s.VolumeID, image: i.ID})); err != nil {
			return err
		}
		if err := d.rename(ctx, i.Name, name); err != nil {
			return err
		}
		i.Name = name
	case is(err, syscall.ENOENT):
		if i, _, err = d.locate(ctx, s.ID, x); errors.Is(err, fs.ErrNotExist) {
			return nil // published, and removed since
		}
	}
	if err != nil {
		return err
	}
	_, err = d.rbd(ctx, "snap", "create", d.spec(i.Name+"@"+snapshotPrefix+s.ID), "--no-progress")
	if is(err, syscall.EEXIST) {
		return nil
	}
	return err
}
