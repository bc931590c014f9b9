//go:build unix

package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image/driver"
	"golang.org/x/sys/unix"
)

// block is how much is read at once: enough for both checksums to be computed side by side.
const block = 1 << 20

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader) (driver.Content, error) {
	content, err := s.put(ctx, ref, r)
	if err != nil {
		return driver.Content{}, fmt.Errorf("image content %q: %w", ref, err)
	}
	return content, nil
}

func (s *Store) put(ctx context.Context, ref string, r io.Reader) (content driver.Content, err error) {
	if err := driver.CheckRef(ref); err != nil {
		return content, err
	}
	if _, err := os.Lstat(s.path(refs, ref)); err == nil {
		return content, fs.ErrExist
	}
	upload := s.path(tmp, uuid.NewString())
	f, err := os.OpenFile(upload, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if err != nil {
		return content, err
	}
	defer func() { err = errors.Join(err, unlessMissing(os.Remove(upload)), f.Close()) }()
	// The lock tells a later sweep that somebody still writes. It ends with the process.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return content, err
	}
	if content, err = s.write(ctx, f, r); err != nil {
		return content, err
	}
	return content, s.publish(upload, content.SHA512, ref)
}

// write fills f with what r yields and forces it to disk.
func (s *Store) write(ctx context.Context, f *os.File, r io.Reader) (driver.Content, error) {
	if err := f.Chown(-1, s.group); err != nil {
		return driver.Content{}, err
	}
	digest := driver.NewDigest()
	buffer := make([]byte, block)
	for {
		n, readErr := fill(r, buffer)
		if _, err := f.Write(buffer[:n]); err != nil {
			return driver.Content{}, err
		}
		_, _ = digest.Write(buffer[:n])
		if readErr == io.EOF { //nolint:errorlint // the end itself, not an error about it
			return digest.Content(), f.Sync()
		}
		if err := errors.Join(readErr, ctx.Err()); err != nil {
			return driver.Content{}, err
		}
	}
}

// fill reads until the buffer is full or r fails. Unlike io.ReadFull it leaves r's error as it is, so that an
// upload that was cut (io.ErrUnexpectedEOF) does not pass for one that ended.
func fill(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

// publish gives the finished upload its place. The reference comes first and leads nowhere until the content is in
// place, so that everything in blobs has a reference that List finds.
func (s *Store) publish(upload, sum, ref string) error {
	name, blob := s.path(refs, ref), s.path(blobs, sum, ref)
	if err := os.Symlink(filepath.Join("..", blobs, sum, ref), name); err != nil {
		return err
	}
	for {
		err := s.mkdir(s.path(blobs, sum))
		if err == nil || errors.Is(err, fs.ErrExist) {
			err = s.link(upload, sum, blob)
		} else if _, gone := os.Stat(s.path(blobs)); gone != nil {
			return errors.Join(err, os.Remove(name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // the last equal content was removed meanwhile, and the directory with it
		}
		if err != nil {
			return errors.Join(err, os.Remove(name))
		}
		return errors.Join(syncDir(s.path(blobs, sum)), syncDir(s.path(refs)))
	}
}

// link makes blob a link to an equal content, or to the upload where there is none.
func (s *Store) link(upload, sum, blob string) error {
	equals, err := os.ReadDir(s.path(blobs, sum))
	if err != nil {
		return err
	}
	for _, equal := range equals {
		if err := os.Link(s.path(blobs, sum, equal.Name()), blob); err == nil {
			return nil
		}
		// It was just removed, or has all the links that the file system allows.
	}
	return os.Link(upload, blob)
}

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string) (driver.File, error) {
	name, err := s.Path(ctx, ref)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("image content %q: %w", ref, err)
	}
	return f, nil
}

// Path implements [driver.LocalFiles].
func (s *Store) Path(_ context.Context, ref string) (string, error) {
	blob, err := s.blob(ref)
	if err == nil {
		_, err = os.Stat(blob)
	}
	if err != nil {
		return "", fmt.Errorf("image content %q: %w", ref, err)
	}
	return blob, nil
}

// blob is where a reference leads.
func (s *Store) blob(ref string) (string, error) {
	if driver.CheckRef(ref) != nil {
		return "", fs.ErrNotExist
	}
	target, err := os.Readlink(s.path(refs, ref))
	if err != nil {
		return "", err
	}
	return s.path(refs, target), nil
}

// Remove implements [driver.Store].
func (s *Store) Remove(_ context.Context, ref string) error {
	blob, err := s.blob(ref)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = unlessMissing(os.Remove(blob))
	}
	if err == nil {
		_ = os.Remove(filepath.Dir(blob)) // stays where an equal content is left
		err = unlessMissing(os.Remove(s.path(refs, ref)))
	}
	if err != nil {
		return fmt.Errorf("image content %q: %w", ref, err)
	}
	return nil
}

// List implements [driver.Store].
func (s *Store) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.path(refs))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}
