//go:build unix

package fileobjects

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kintoun/kintoun/probe"
	"golang.org/x/sys/unix"
)

// Probe says what is missing for a store in dir, as a [probe.Missing]; nil if nothing. It locks, writes and links a file in a
// temporary directory beside dir, or nearest above it where dir's own parent has yet to be made, and removes it.
func Probe(ctx context.Context, dir string, _ *Options) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("object store: %w", err)
	}
	place := filepath.Dir(dir)
	for ; ; place = filepath.Dir(place) {
		if _, err := os.Stat(place); err == nil || place == filepath.Dir(place) {
			break
		}
	}
	scratch, err := os.MkdirTemp(place, ".probe-")
	if err != nil {
		return &probe.Missing{What: "a writable " + place, Why: "the contents of objects", How: "choose another directory, or let this user write there", Err: err}
	}
	return probe.Join(try(scratch), os.RemoveAll(scratch))
}

// try does what a Put of a file does.
func try(dir string) error {
	s := &Store{dir: dir}
	if err := errors.Join(os.Mkdir(s.path(tmp), 0o750), os.Mkdir(s.path(files), 0o750)); err != nil {
		return room(dir, err)
	}
	lock, err := takeLock(s.path("lock"))
	if err != nil {
		return &probe.Missing{What: "a file system with locks", Why: "one process at a time in the object store", How: "choose a directory on ext4, xfs, btrfs or tmpfs", Err: err}
	}
	defer func() { _ = lock.Close() }()
	s.nameless = s.canBeNameless()
	f, err := s.create()
	if err != nil {
		return room(dir, err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("probe"); err != nil {
		return room(dir, err)
	}
	err = errors.Join(s.makeFan(0), s.publish(f, 0))
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return room(dir, err)
	}
	if err != nil {
		return &probe.Missing{What: "a file system with hard links", Why: "contents that are there completely or not at all", How: "choose a directory on ext4, xfs, btrfs or tmpfs", Err: err}
	}
	return nil
}

func room(dir string, err error) error {
	return &probe.Missing{What: "room in " + dir, Why: "the contents of objects", How: "free some, or choose another directory", Err: err}
}
