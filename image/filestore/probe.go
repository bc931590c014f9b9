//go:build unix

package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/probe"
)

// Probe says what is missing for a store in dir, as a [probe.Missing]; nil if nothing. It writes and links a file in a
// temporary directory beside dir, or nearest above it where dir's own parent has yet to be made, and removes it.
func Probe(ctx context.Context, dir string, options *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("image store: %w", err)
	}
	place := filepath.Dir(dir)
	for ; ; place = filepath.Dir(place) {
		if _, err := os.Stat(place); err == nil || place == filepath.Dir(place) {
			break
		}
	}
	scratch, err := os.MkdirTemp(place, ".probe-")
	if err != nil {
		return &probe.Missing{What: "a writable " + place, Why: "the contents of images", How: "choose another directory, or let this user write there", Err: err}
	}
	err = tryLinks(scratch, options)
	return probe.Join(err, os.RemoveAll(scratch))
}

func tryLinks(dir string, options *Options) error {
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("probe"), 0o640); err != nil {
		return &probe.Missing{What: "room in " + dir, Why: "the contents of images", How: "free some, or choose another directory", Err: err}
	}
	if options != nil && options.Group != 0 {
		if err := os.Chown(file, -1, options.Group); err != nil {
			return &probe.Missing{What: fmt.Sprintf("the right to give files to group %d", options.Group), Why: "programs of that group that read images", How: "run as root, or as a member of the group", Err: err}
		}
	}
	if err := errors.Join(os.Link(file, file+"-hard"), os.Symlink("file", file+"-symbolic"), syncDir(dir)); err != nil {
		return &probe.Missing{What: "a file system with hard and symbolic links", Why: "contents that are there completely or not at all", How: "choose a directory on ext4, xfs, btrfs or tmpfs", Err: err}
	}
	return nil
}
