//go:build unix

package fileobjects

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"

	"github.com/kintoun/kintoun/objectstore/driver"
)

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.open(ctx, ref, offset, length)
	if err != nil {
		return nil, fmt.Errorf("object content %q: %w", ref, err)
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	if driver.CheckRef(ref) != nil {
		return nil, fs.ErrNotExist
	}
	content, f, err := s.look(ctx, ref)
	if err != nil {
		return nil, err
	}
	length, err = driver.Range(content.size, offset, length)
	if f == nil {
		if err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(content.data[offset : offset+length])), nil
	}
	if err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fileReader{io.LimitedReader{R: f, N: length}, f}, nil
}

// fileReader reads a part of a file.
type fileReader struct {
	io.LimitedReader
	file *os.File
}

var _ driver.FileReader = (*fileReader)(nil)

func (r *fileReader) File() io.Reader { return &r.LimitedReader }
func (r *fileReader) Close() error    { return r.file.Close() }

// look finds a content, and opens its file if it has one. It looks at the size of either.
func (s *Store) look(ctx context.Context, ref string) (row, *os.File, error) {
	for again := false; ; again = true {
		content, err := s.index.find(ctx, ref)
		if errors.Is(err, sql.ErrNoRows) {
			return row{}, nil, fs.ErrNotExist
		} else if err != nil {
			return row{}, nil, err
		}
		if !content.file.Valid {
			if int64(len(content.data)) != content.size {
				err = fmt.Errorf("%w: its row has %d bytes of %d", ErrDamaged, len(content.data), content.size)
			}
			return content, nil, err
		}
		f, err := os.Open(s.file(content.file.Int64))
		switch {
		case err == nil:
			return content, f, content.measure(f)
		case !errors.Is(err, fs.ErrNotExist):
			return row{}, nil, err
		case again:
			return row{}, nil, fmt.Errorf("%w: its file %x is gone", ErrDamaged, content.file.Int64)
		}
		// It was removed after it was found, or it is lost.
	}
}

// measure closes the file if it is not as long as it was.
func (c *row) measure(f *os.File) error {
	info, err := f.Stat()
	if err == nil && info.Size() != c.size {
		err = fmt.Errorf("%w: its file %x has %d bytes of %d", ErrDamaged, c.file.Int64, info.Size(), c.size)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// List implements [driver.Store]. What a killed Put or Remove left is none of its business: [New] has removed it.
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for after := ""; ; {
			refs, err := s.index.page(ctx, after)
			if err != nil {
				yield("", fmt.Errorf("object store: %w", err))
				return
			}
			for _, ref := range refs {
				if !yield(ref, nil) {
					return
				}
			}
			if len(refs) == 0 {
				return
			}
			after = refs[len(refs)-1]
		}
	}
}

// together is how many contents are removed in one transaction.
const together = 1000

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, refs ...string) error {
	for some := range slices.Chunk(refs, together) {
		err := ctx.Err()
		if err == nil {
			err = s.remove(some)
		}
		if err != nil {
			return fmt.Errorf("removing object contents: %w", err)
		}
	}
	return nil
}

func (s *Store) remove(refs []string) error {
	var numbers []int64
	err := s.index.commit(func(t *transaction) error {
		numbers = numbers[:0]
		for _, ref := range refs {
			var file sql.NullInt64
			err := t.queryRow(deleteContent, ref).Scan(&file)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			} else if err != nil {
				return err
			}
			if !file.Valid {
				continue
			}
			if _, err := t.exec(insertPending, file.Int64); err != nil {
				return err
			}
			numbers = append(numbers, file.Int64)
		}
		return nil
	})
	if err != nil || len(numbers) == 0 {
		return err
	}
	for _, number := range numbers {
		if err := unlessMissing(os.Remove(s.file(number))); err != nil {
			return err
		}
	}
	return s.retire(numbers)
}
