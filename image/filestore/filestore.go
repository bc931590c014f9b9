//go:build unix

// Package filestore keeps the contents of images as files in a directory: a store of package image/driver, with
// [driver.LocalFiles].
//
//	s, err := filestore.New(dir, nil)
//	content, _ := s.Put(ctx, "image-1", strings.NewReader("a disk"))
//	name, _ := s.Path(ctx, "image-1")
//
// Contents lie under the hash of their bytes: blobs/SHA512/REF, and refs/REF is a symbolic link to that. Equal contents
// are hard links to one file. A content is written to a file below tmp/, forced to disk, and only then linked to its
// place.
//
// It needs a file system with hard links, and room; [Probe] tries both. It does not compress, encrypt or verify what it
// reads, and knows no quota.
//
// Errors are those of package os (no space is syscall.ENOSPC), wrapped with the reference, so that errors.Is finds
// fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid. A [Store] is safe for concurrent use, and several processes may share
// a directory.
//
// A content is there completely or not at all, whenever the process or the machine dies. What killed uploads left in
// tmp/ is removed by [New].
package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Options are optional.
type Options struct {
	// Group is the numeric group that may read the files besides their owner, such as that of an unprivileged
	// QEMU; zero is the process's own group.
	Group int
}

// Store is a [driver.Store] in a directory, with [driver.LocalFiles]. Create it with [New].
type Store struct {
	dir   string
	group int
}

const (
	tmp   = "tmp"
	blobs = "blobs"
	refs  = "refs"
)

// New opens the store in dir, which it creates if it is not there, and removes leftovers.
func New(dir string, options *Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	s := &Store{dir: dir, group: -1}
	if options != nil && options.Group != 0 {
		s.group = options.Group
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	for _, d := range []string{dir, s.path(tmp), s.path(blobs), s.path(refs)} {
		if err := s.mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("image store %s: removing leftovers: %w", dir, err)
	}
	return s, nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// mkdir makes a directory that the group may read, and that lasts.
func (s *Store) mkdir(name string) error {
	if err := os.Mkdir(name, 0o750); err != nil {
		return err
	}
	return errors.Join(os.Chown(name, -1, s.group), syncDir(filepath.Dir(name)))
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes what killed uploads left in tmp: files that nobody holds the lock of.
func (s *Store) sweep() error {
	left, err := os.ReadDir(s.path(tmp))
	if err != nil {
		return err
	}
	for _, entry := range left {
		if err := sweepUpload(s.path(tmp, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func sweepUpload(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil // somebody is still writing it
	} else if err != nil {
		return err
	}
	return unlessMissing(os.Remove(name))
}

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// URL implements [driver.Locator].
func (s *Store) URL(ref string) string {
	return (&url.URL{Scheme: "file", Path: s.path(refs, ref)}).String()
}

// Kind is "file".
func (s *Store) Kind() string { return "file" }
