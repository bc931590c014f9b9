package s3store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/image/driver"
	"github.com/minio/minio-go/v7"
)

const (
	// skip is how far a seek forward reads on; what is farther is another request.
	skip = 1 << 20
	// smallest and largest are how much ReadAt asks for at once when it is called for one range after the other.
	smallest, largest = 64 << 10, 8 << 20
	// attempts is how often a request is made that brings nothing.
	attempts = 3
)

// File is an open content. It ends with the context of Open.
type File struct {
	store *Store
	ref   string
	size  int64
	etag  string
	ctx   context.Context //nolint:containedctx // a File's methods take none; it bounds them all
	end   context.CancelFunc

	// at is where Read goes on, body what it reads from: the content from stands on.
	at, stands int64
	body       io.ReadCloser

	mu     sync.Mutex
	closed bool
	// ahead is what ReadAt has of the content, from from on, and next how much it asks for next.
	ahead []byte
	from  int64
	next  int
}

var _ driver.File = (*File)(nil)

// Open implements [driver.Store]. The result is a [File].
func (s *Store) Open(ctx context.Context, ref string) (driver.File, error) {
	if driver.CheckRef(ref) != nil || !s.opened(ref) {
		return nil, fail(ref, fs.ErrNotExist)
	}
	info, err := s.client.StatObject(ctx, s.bucket, s.key(ref), minio.StatObjectOptions{})
	if err != nil {
		return nil, fail(ref, errors.Join(err, s.closed(ctx, ref)))
	}
	f := &File{store: s, ref: ref, size: info.Size, etag: info.ETag}
	f.ctx, f.end = context.WithCancel(ctx)
	return f, nil
}

// opened counts a reader; false where the content is as good as removed.
func (s *Store) opened(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.removed[ref] {
		return false
	}
	s.open[ref]++
	return true
}

// closed counts a reader less. The last one removes a content that waits for it.
func (s *Store) closed(ctx context.Context, ref string) error {
	s.mu.Lock()
	if s.open[ref]--; s.open[ref] > 0 {
		s.mu.Unlock()
		return nil
	}
	remove := s.removed[ref]
	delete(s.open, ref)
	delete(s.removed, ref)
	s.mu.Unlock()
	if !remove {
		return nil
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	return s.remove(ctx, ref)
}

// get asks for the bytes from first on, up to last.
func (f *File) get(first, last int64) (io.ReadCloser, error) {
	var options minio.GetObjectOptions
	options.Set("Range", fmt.Sprintf("bytes=%d-%d", first, last))
	if err := options.SetMatchETag(f.etag); err != nil {
		return nil, err
	}
	body, info, header, err := f.store.client.GetObject(f.ctx, f.store.bucket, f.store.key(f.ref), options)
	if err != nil {
		return nil, f.failed(err)
	}
	if want := fmt.Sprintf("bytes %d-%d/%d", first, last, f.size); header.Get("Content-Range") != want && (last-first+1 != f.size || info.Size != f.size) {
		return nil, errors.Join(f.failed(fmt.Errorf("the service answers %q and not %q", header.Get("Content-Range"), want)), body.Close())
	}
	return body, nil
}

func (f *File) failed(err error) error {
	if code(err) == minio.PreconditionFailed {
		return fmt.Errorf("image content %q: it was replaced: %w", f.ref, err)
	}
	return fail(f.ref, err)
}

// Read reads on. What is cut is asked for again.
func (f *File) Read(p []byte) (int, error) {
	var problem error
	for range attempts {
		switch {
		case f.isClosed():
			return 0, fs.ErrClosed
		case f.at >= f.size:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		if problem = f.ready(); problem != nil {
			return 0, problem // the client has tried more than once
		}
		n, err := f.body.Read(p)
		f.at, f.stands = f.at+int64(n), f.stands+int64(n)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			problem = err
			f.drop()
		}
		if err := f.ctx.Err(); err != nil {
			return 0, fail(f.ref, err)
		}
	}
	if problem == nil || errors.Is(problem, io.EOF) {
		problem = io.ErrUnexpectedEOF
	}
	return 0, f.failed(problem)
}

// ready has the body stand where Read goes on.
func (f *File) ready() error {
	if f.body != nil && f.stands <= f.at && f.at-f.stands <= skip {
		n, err := io.CopyN(io.Discard, f.body, f.at-f.stands)
		if f.stands += n; err == nil {
			return nil
		}
	}
	f.drop()
	body, err := f.get(f.at, f.size-1)
	if err != nil {
		return err
	}
	f.body, f.stands = body, f.at
	return nil
}

// drop gives up what Read reads from.
func (f *File) drop() {
	if f.body != nil {
		_ = f.body.Close() // it was only read
		f.body = nil
	}
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, fail(f.ref, fs.ErrInvalid)
	}
	f.at = offset
	return offset, nil
}

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	switch {
	case f.isClosed():
		return 0, fs.ErrClosed
	case offset < 0:
		return 0, fail(f.ref, fs.ErrInvalid)
	case offset >= f.size:
		return 0, io.EOF
	case len(p) >= largest:
		return f.readRange(p, offset)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for n < len(p) && offset+int64(n) < f.size {
		at := offset + int64(n)
		if at < f.from || at >= f.from+int64(len(f.ahead)) {
			if err := f.readAhead(at, len(p)-n); err != nil {
				return n, err
			}
		}
		n += copy(p[n:], f.ahead[at-f.from:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readAhead fetches what lies at the offset: what is wanted, and more the longer one range follows the other.
func (f *File) readAhead(at int64, wanted int) error {
	if at == f.from+int64(len(f.ahead)) && f.next > 0 {
		f.next = min(2*f.next, largest)
	} else {
		f.next = smallest
	}
	length := min(int64(max(f.next, wanted)), f.size-at)
	if int64(cap(f.ahead)) < length {
		f.ahead = make([]byte, length)
	}
	f.from, f.ahead = at, f.ahead[:length]
	n, err := f.readRange(f.ahead, at)
	f.ahead = f.ahead[:n]
	return err
}

// readRange fetches len(p) bytes, or as many as there are and io.EOF.
func (f *File) readRange(p []byte, offset int64) (n int, err error) {
	want := int(min(int64(len(p)), f.size-offset))
	for try := 0; n < want && try < attempts && f.ctx.Err() == nil; try++ {
		body, openErr := f.get(offset+int64(n), offset+int64(want)-1)
		if openErr != nil {
			return n, openErr
		}
		var more int
		more, err = io.ReadFull(body, p[n:want])
		n += more
		_ = body.Close() // it was only read
	}
	switch {
	case n < want:
		return n, fail(f.ref, errors.Join(f.ctx.Err(), err))
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

func (f *File) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Close ends what is being read.
func (f *File) Close() error {
	f.end()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return fs.ErrClosed
	}
	f.closed = true
	f.mu.Unlock()
	f.drop()
	return f.store.closed(f.ctx, f.ref)
}
