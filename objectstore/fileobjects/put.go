//go:build unix

package fileobjects

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/kintoun/kintoun/objectstore/driver"
)

// block is how much of a large content is read, written and hashed at once.
const block = 256 << 10

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	content, err := s.put(ctx, ref, r, size)
	if err != nil {
		return driver.Content{}, fmt.Errorf("object content %q: %w", ref, err)
	}
	return content, nil
}

func (s *Store) put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if taken, err := s.index.taken(ctx, ref); err != nil {
		return driver.Content{}, err
	} else if taken {
		return driver.Content{}, fs.ErrExist
	}
	body := driver.Body(ctx, r, size)
	if size > s.packLimit || s.packLimit < 0 {
		return s.putFile(ref, body, size)
	}
	limit := s.packLimit
	if size >= 0 {
		limit = size
	}
	start := make([]byte, limit+1)
	n, err := fill(body, start)
	switch {
	case err == io.EOF: //nolint:errorlint // the end itself, not an error about it
		return s.putPacked(ref, start[:n])
	case err != nil:
		return driver.Content{}, err
	}
	return s.putFile(ref, io.MultiReader(bytes.NewReader(start), body), size)
}

// fill reads until the buffer is full or r fails. Unlike io.ReadFull it leaves r's error as it is, so that an upload that was
// cut (io.ErrUnexpectedEOF) does not pass for one that ended.
func fill(r io.Reader, buffer []byte) (n int, err error) {
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

func (s *Store) putPacked(ref string, data []byte) (driver.Content, error) {
	sum := md5.Sum(data)
	var inserted int64
	err := s.index.commit(func(t *transaction) (err error) {
		inserted, err = t.exec(insertContent, ref, len(data), sum[:], nil, data)
		return err
	})
	if err == nil && inserted == 0 {
		err = fs.ErrExist
	}
	return driver.Content{Size: int64(len(data)), MD5: hex.EncodeToString(sum[:])}, err
}

func (s *Store) putFile(ref string, r io.Reader, size int64) (content driver.Content, err error) {
	f, err := s.create()
	if err != nil {
		return content, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	length, sum, err := s.write(f.File, r, size)
	if err != nil {
		return content, err
	}
	number, err := s.take()
	if err != nil {
		return content, err
	}
	if err = s.publish(f, number); err == nil {
		err = s.record(ref, length, sum, number)
	}
	if errors.Is(err, errUndecided) {
		return content, err // the next New sees which it was
	}
	if err != nil {
		err = errors.Join(err, unlessMissing(os.Remove(s.file(number))))
		s.giveBack(number)
	}
	return driver.Content{Size: length, MD5: hex.EncodeToString(sum)}, err
}

// write fills f with what r yields, and says how much it was and what its MD5 is.
func (s *Store) write(f *os.File, r io.Reader, size int64) (int64, []byte, error) {
	if err := preallocate(f, size); err != nil {
		return 0, nil, err
	}
	one, two := s.buffers.Get().(*[block]byte), s.buffers.Get().(*[block]byte)
	defer s.buffers.Put(one)
	defer s.buffers.Put(two)
	n, err := fill(r, one[:])
	if err == io.EOF { //nolint:errorlint // the end itself, not an error about it
		sum := md5.Sum(one[:n])
		_, err = f.Write(one[:n])
		return int64(n), sum[:], err
	}
	if err != nil {
		return 0, nil, err
	}
	return writeOn(f, r, one[:], two[:])
}

// writeOn writes the first block and all that follows. While one block is hashed, the next is read and written.
func writeOn(f *os.File, r io.Reader, full, free []byte) (length int64, sum []byte, err error) {
	hash := md5.New()
	hashed := make(chan []byte, 1)
	for n := len(full); ; {
		go func(block []byte, n int) {
			_, _ = hash.Write(block[:n])
			hashed <- block
		}(full, n)
		_, err := f.Write(full[:n])
		var readErr error
		if err == nil {
			length += int64(n)
			writeBack(f, length, n)
			n, readErr = fill(r, free)
		}
		full, free = free, <-hashed
		switch {
		case err != nil:
			return 0, nil, err
		case readErr == io.EOF: //nolint:errorlint // the end itself, not an error about it
			_, _ = hash.Write(full[:n])
			_, err := f.Write(full[:n])
			return length + int64(n), hash.Sum(nil), err
		case readErr != nil:
			return 0, nil, readErr
		}
	}
}

// publish gives a file its name, and makes both durable. The number is pending meanwhile.
func (s *Store) publish(f *temporary, number int64) error {
	name := s.file(number)
	err := f.link(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeFan(number); err != nil {
			return err
		}
		err = f.link(name)
	}
	if err != nil {
		return err
	}
	// The name first and the sync then, so that one commit of the file system's journal has both.
	return errors.Join(f.Sync(), syncDir(s.path(files, fan(number))))
}

func (s *Store) makeFan(number int64) error {
	if err := os.Mkdir(s.path(files, fan(number)), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(s.path(files))
}

// record says that the content exists, and that its file's number is no longer pending; another number takes its place.
func (s *Store) record(ref string, length int64, sum []byte, number int64) error {
	var inserted int64
	next := fresh(1)
	err := s.index.commit(func(t *transaction) (err error) {
		inserted, err = t.exec(insertContent, ref, length, sum, number, nil)
		if err != nil || inserted == 0 {
			return err
		}
		if _, err := t.exec(deletePending, number); err != nil {
			return err
		}
		_, err = t.exec(insertPending, next[0])
		return err
	})
	if err != nil {
		return err
	}
	if inserted == 0 {
		return fs.ErrExist
	}
	s.giveBack(next...)
	return nil
}
