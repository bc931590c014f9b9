//go:build unix

package fileobjects

import (
	"errors"
	"os"
)

// temporary is a file that is being written.
type temporary struct {
	*os.File
	name string // empty if it has none yet
}

// create makes a file that is gone if it is closed, or the process ends, before it is linked; where the file system cannot do
// that, its name is in tmp.
func (s *Store) create() (*temporary, error) {
	if s.nameless {
		f, err := openNameless(s.path(files))
		return &temporary{f, ""}, err
	}
	f, err := os.CreateTemp(s.path(tmp), "")
	if err != nil {
		return nil, err
	}
	return &temporary{f, f.Name()}, nil
}

// link gives the file a name, which is not taken.
func (t *temporary) link(name string) error {
	if t.name != "" {
		return os.Link(t.name, name)
	}
	return linkNameless(t.File, name)
}

// Close removes the temporary name too.
func (t *temporary) Close() error {
	err := t.File.Close()
	if t.name != "" {
		err = errors.Join(err, os.Remove(t.name))
	}
	return err
}

// canBeNameless tries whether the file system, and a process without /proc, can do it.
func (s *Store) canBeNameless() bool {
	f, err := openNameless(s.path(tmp))
	if err != nil {
		return false
	}
	name := s.path(tmp, "nameless")
	err = linkNameless(f, name)
	return errors.Join(err, f.Close(), unlessMissing(os.Remove(name))) == nil
}
