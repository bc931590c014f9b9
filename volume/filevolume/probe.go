//go:build linux

package filevolume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/internal/process"
	"github.com/kintoun/kintoun/probe"
	"github.com/kintoun/kintoun/volume/internal/nbdserver"
)

// Probe says what is missing for a pool as the options say, with a [probe.Missing] for each thing; nil if nothing. It makes one in a
// temporary directory beside dir, or beside the backing file, or nearest above where those are yet to be made, and removes it. A
// backing file is tried with one of 300 MiB, sparse, mounted for an instant.
func Probe(ctx context.Context, dir string, options *Options) error {
	d, err := prepare(dir, options)
	if err != nil {
		return fmt.Errorf("filevolume: %w", err)
	}
	place := d.dir
	if d.o.BackingFile != "" {
		place = d.o.BackingFile
		if err := programs(); err != nil {
			return err
		}
	}
	if d.o.Listen != "" {
		if _, err := nbdserver.Program("volumes of servers on other hosts"); err != nil {
			return err
		}
	}
	scratch, err := scratchBeside(place)
	if err != nil {
		return err
	}
	trial := Options{BackingFile: d.o.BackingFile, Host: d.o.Host}
	if trial.BackingFile != "" {
		trial.BackingFile, trial.BackingBytes = filepath.Join(scratch, "backing"), minBacking
	}
	t, err := New(ctx, filepath.Join(scratch, "pool"), &trial)
	if err == nil {
		err = t.Unmount(context.WithoutCancel(ctx))
	} else if d.o.BackingFile != "" && ctx.Err() == nil && len(probe.All(err)) == 0 {
		err = &probe.Missing{What: "an XFS on a loop device", Why: "a pool in a backing file", How: "run as root on a kernel with xfs and loop (modprobe xfs loop)", Err: err}
	}
	return probe.Join(err, os.RemoveAll(scratch))
}

// programs are those that a backing file needs.
func programs() error {
	var errs []error
	for _, name := range []string{"mkfs.xfs", "xfs_growfs"} {
		_, err := process.Program(name, "a pool in a backing file", "xfsprogs")
		errs = append(errs, err)
	}
	return probe.Join(errs...)
}

func scratchBeside(place string) (string, error) {
	for {
		place = filepath.Dir(place)
		if _, err := os.Stat(place); err == nil || place == filepath.Dir(place) {
			break
		}
	}
	scratch, err := os.MkdirTemp(place, ".probe-")
	if err != nil {
		return "", &probe.Missing{What: "a writable " + place, Why: "volumes", How: "choose another directory, or let this user write there", Err: err}
	}
	return scratch, nil
}

// tryClone clones a file, and sets an attribute, as volumes and snapshots will.
func (d *Driver) tryClone() error {
	from, err := d.nameless()
	if err != nil {
		return d.unfitDir(err)
	}
	defer func() { _ = from.Close() }()
	to, err := d.nameless()
	if err != nil {
		return d.unfitDir(err)
	}
	defer func() { _ = to.Close() }()
	if _, err := from.WriteString("probe"); err != nil {
		return &probe.Missing{What: "room in " + d.dir, Why: "volumes", How: "free some, or choose another directory", Err: err}
	}
	return d.unfitDir(errors.Join(clone(to, from), setAttribute(to, attrVolume, "probe")))
}

func (d *Driver) unfitDir(err error) error {
	if err == nil || errors.Is(err, os.ErrPermission) {
		return err
	}
	return &probe.Missing{
		What: "a file system that clones files", Why: "volumes in " + d.dir,
		How: "choose a directory on XFS (mkfs.xfs -m reflink=1) or btrfs, or give a backing file (Options.BackingFile), which may lie anywhere", Err: err,
	}
}
