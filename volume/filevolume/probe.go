//go:build linux

package filevolume

import (
	"errors"
	"os"

	"github.com/kintoun/kintoun/probe"
)

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
