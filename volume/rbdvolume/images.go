//go:build linux

package rbdvolume

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/kintoun/kintoun/volume/driver"
)

// Names of images: a volume, one that is being made, and one that was removed while snapshots or clones still need its blocks. The
// last bears the image's own identifier too, because the volume's can be used again.
const (
	volumePrefix = "volume-"
	makingPrefix = "making-"
	keptPrefix   = "kept-"
)

// Names of snapshots: the wanted ones, and those that a clone is made from, with the identifier of the volume or snapshot that the
// clone becomes.
const (
	snapshotPrefix = "snapshot-"
	copyPrefix     = "copy-"
)

// image is what "rbd info" says.
type image struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Bytes int64  `json:"size"`
	// Features are by name: "layering".
	Features []string `json:"features"`
	Parent   *struct {
		Pool      string `json:"pool"`
		Namespace string `json:"pool_namespace"`
		Image     string `json:"image"`
	} `json:"parent"`
}

// kept is the name that the image has after its volume was removed.
func (i *image) kept(volumeID string) string { return keptPrefix + volumeID + "." + i.ID }

// entry is an image or, where Snapshot is set, a snapshot, as "rbd ls --long" says.
type entry struct {
	Image    string `json:"image"`
	ID       string `json:"id"`
	Snapshot string `json:"snapshot"`
	Bytes    int64  `json:"size"`
	// Protected is "true" or "false" of a snapshot, empty of an image.
	Protected string `json:"protected"`
	Parent    *struct {
		Image string `json:"image"`
	} `json:"parent"`
}

// volumeOf is the volume whose image has that name, and whether the volume is still there.
func volumeOf(name string) (id string, there bool) {
	if id, ok := strings.CutPrefix(name, volumePrefix); ok && driver.CheckID(id) == nil {
		return id, true
	}
	if rest, ok := strings.CutPrefix(name, keptPrefix); ok {
		if id, image, ok := strings.Cut(rest, "."); ok && image != "" && driver.CheckID(id) == nil {
			return id, false
		}
	}
	return "", false
}

// snapshotOf is the snapshot that has that name; empty if it is none of the driver's.
func snapshotOf(name string) string {
	if id, ok := strings.CutPrefix(name, snapshotPrefix); ok && driver.CheckID(id) == nil {
		return id
	}
	return ""
}

// spec is an image's name for commands; "image@snapshot" is one too.
func (d *Driver) spec(name string) string { return d.place() + "/" + name }

// place is the pool, with the namespace in it.
func (d *Driver) place() string {
	if d.o.Namespace != "" {
		return d.pool + "/" + d.o.Namespace
	}
	return d.pool
}

// info says what is known of an image, or of "image@snapshot".
func (d *Driver) info(ctx context.Context, name string) (i *image, err error) {
	i = new(image)
	out, err := d.repeated(ctx, commandPatience, "info", d.spec(name), "--format", "json")
	return i, decode(out, err, i)
}

// entries are all images and snapshots of the pool.
func (d *Driver) entries(ctx context.Context) (all []entry, err error) {
	out, err := d.repeated(ctx, commandPatience, "ls", d.place(), "--long", "--format", "json")
	// Images that come and go while it lists make it fail, after it has told of the others.
	if is(err, syscall.ENOENT) && json.Valid(out) {
		err = nil
	}
	return all, decode(out, err, &all)
}

// names are all images of the pool, also those that cannot be opened.
func (d *Driver) names(ctx context.Context) (all []string, err error) {
	out, err := d.repeated(ctx, commandPatience, "ls", d.place(), "--format", "json")
	return all, decode(out, err, &all)
}

func (d *Driver) resize(ctx context.Context, name string, bytes int64) error {
	_, err := d.rbd(ctx, "resize", d.spec(name), "--size", size(bytes), "--no-progress")
	return err
}

func (d *Driver) rename(ctx context.Context, from, to string) error {
	_, err := d.rbd(ctx, "rename", d.spec(from), d.spec(to))
	return err
}

// remove deletes an image; one that is gone is no error.
func (d *Driver) remove(ctx context.Context, name string) error {
	_, err := d.repeated(ctx, removalPatience, "rm", d.spec(name), "--no-progress")
	if is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// removeSnapshot deletes "image@snapshot"; one that is gone is no error. What was cloned from it keeps it out of sight
// (clone format 2).
func (d *Driver) removeSnapshot(ctx context.Context, name string) error {
	_, err := d.repeated(ctx, removalPatience, "snap", "rm", d.spec(name), "--no-progress")
	if is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// clone makes an image that shares the blocks of "image@snapshot".
func (d *Driver) clone(ctx context.Context, from, to string) error {
	_, err := d.rbd(ctx, "clone", d.spec(from), d.spec(to), "--rbd-default-clone-format", "2")
	return err
}

// collect deletes an image that is only kept, if nothing needs it any more, and then those that it was made from.
func (d *Driver) collect(ctx context.Context, i *image, x *index) error {
	for {
		switch err := d.remove(ctx, i.Name); {
		case is(err, syscall.ENOTEMPTY):
			return nil
		case err != nil:
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
		if err := d.forgetImage(ctx, i.ID, x); err != nil {
			return err
		}
		if i.Parent == nil || i.Parent.Pool != d.pool || i.Parent.Namespace != d.o.Namespace {
			return nil
		}
		parent := i.Parent.Image
		if id, there := volumeOf(parent); id == "" || there {
			return nil
		}
		var err error
		if i, err = d.info(ctx, parent); is(err, syscall.ENOENT) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// size is a number of bytes as rbd takes it: without a unit it would count mebibytes.
func size(bytes int64) string { return strconv.FormatInt(bytes, 10) + "B" }
