//go:build unix

package fileobjects

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"time"
)

// Check implements [driver.Checker]. It reads files from the disk, not from what the kernel remembers of them. An error is what
// keeps it from going on; a damaged content comes with none. Files that no row knows, as a restored backup may have, it removes;
// other files in the directory it leaves alone.
func (s *Store) Check(ctx context.Context, rate int64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r := &slowly{ctx: ctx, rate: rate, since: time.Now()}
		for ref, err := range s.List(ctx) {
			if err == nil {
				err = s.checkOne(ctx, ref, r)
			}
			if damaged := errors.Is(err, ErrDamaged); damaged && !yield(ref, nil) {
				return
			} else if err != nil && !damaged {
				yield("", err)
				return
			}
		}
		if err := s.removeUnknown(ctx); err != nil {
			yield("", fmt.Errorf("object store: %w", err))
		}
	}
}

// checkOne returns an [ErrDamaged] if that is what the content is.
func (s *Store) checkOne(ctx context.Context, ref string, r *slowly) error {
	content, f, err := s.look(ctx, ref)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was removed meanwhile
	}
	if err != nil {
		return err
	}
	r.r = bytes.NewReader(content.data)
	if f != nil {
		defer func() { _ = f.Close() }()
		uncache(f)
		r.r = f
	}
	hash := md5.New()
	if _, err := io.Copy(hash, r); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err) // the disk cannot read it
	}
	if !bytes.Equal(hash.Sum(nil), content.md5) {
		return ErrDamaged
	}
	return nil
}

// slowly reads at no more than a rate, over all that it reads.
type slowly struct {
	ctx   context.Context
	r     io.Reader
	rate  int64 // bytes a second; zero is no bound
	read  int64
	since time.Time
}

func (s *slowly) Read(p []byte) (int, error) {
	if err := s.wait(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	s.read += int64(n)
	return n, err
}

// wait returns when what was read was not too much for the time that has passed.
func (s *slowly) wait() error {
	if s.rate <= 0 {
		return s.ctx.Err()
	}
	due := s.since.Add(time.Duration(float64(s.read) / float64(s.rate) * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.ctx.Err()
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// removeUnknown removes the files of contents that no row knows.
func (s *Store) removeUnknown(ctx context.Context) error {
	dirs, err := os.ReadDir(s.path(files))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(s.path(files, dir.Name()))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			number, ours := numberOf(dir.Name(), entry.Name())
			if !ours {
				continue
			}
			known, err := s.index.known(ctx, number)
			if err == nil && !known {
				err = unlessMissing(os.Remove(s.file(number)))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
