package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/objectstore/driver"
)

// Reader is an object that was opened.
type Reader struct {
	// Object is what the name led to, behind links.
	Object *Object
	// Target is where that is.
	Target Path
	// Link is the first symbolic link, if the name was one's.
	Link *Object
	// Size is how many bytes can be read; ETag and ContentType are what goes with them: for a large object those of all that
	// it is made of.
	Size              int64
	ETag, ContentType string
	// Large says that the content is put together from other objects.
	Large bool

	// First is where the bytes that can be read begin in the whole, if a part was asked for.
	First int64

	content ranger
	row     *objectRow
	s       *Service
}

// Parts are those that the object was uploaded in, in their order, or the segments of a static large object, numbered from 1
// on; none for other objects.
func (r *Reader) Parts(ctx context.Context) ([]UploadPart, error) {
	if r.Object != nil && len(r.Object.Segments) > 0 {
		parts := make([]UploadPart, len(r.Object.Segments))
		for i := range parts {
			g := &r.Object.Segments[i]
			parts[i] = UploadPart{Number: i + 1, Size: g.Length(), ETag: g.ETag}
		}
		return parts, nil
	}
	if r.row == nil || !r.row.Composite || r.Large {
		return nil, nil
	}
	rows, err := r.s.partRange(r.s.records.Read(ctx), r.row.Content, 0, 0)
	return uploadParts(rows), err
}

// ranger opens a range of a content, which lies within it.
type ranger interface {
	open(ctx context.Context, offset, length int64) (io.ReadCloser, error)
}

// Range opens length bytes from offset on, or all the rest if length is negative; [ErrRange] if there are not as many. The bytes
// of an object whose content is one file of this host are read by what the store's Open returned, which can be a
// driver.FileReader. What was opened stays readable when the object is deleted.
func (r *Reader) Range(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = r.Size - offset
	}
	if offset < 0 || length < 0 || offset > r.Size-length {
		return nil, fmt.Errorf("%d bytes from %d on of %d: %w", length, offset, r.Size, ErrRange)
	}
	if length == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return r.content.open(ctx, r.First+offset, length)
}

// stored is a content in the store.
type stored struct {
	s   *Service
	ref string
}

func (c stored) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	open := c.s.contents.Open
	if isSmall(c.ref) {
		open = c.s.openSmall
	}
	r, err := open(ctx, c.ref, offset, length)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(ErrUnavailable, "the content %s is not in the store: the object was replaced at this moment, or lost: %v", c.ref, err)
	}
	return r, err
}

// piece is a part of a content that is put together.
type piece struct {
	size int64
	ranger
}

// assembled is a content in pieces, which are found and opened when they are reached: it takes as much memory as one does.
type assembled struct {
	pieces func(ctx context.Context) iter.Seq2[piece, error]
	hold   func() (release func()) // nil if nothing is to be held while it is read
}

func (a assembled) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	c := &chain{ctx: ctx, skip: offset, left: length}
	if a.hold != nil {
		c.release = a.hold()
	}
	c.next, c.stop = iter.Pull2(a.pieces(ctx))
	if err := c.advance(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// chain reads pieces one after the other.
type chain struct {
	ctx        context.Context
	next       func() (piece, error, bool)
	stop       func()
	release    func()
	skip, left int64 // bytes before the next piece that is read, and bytes to read
	current    io.ReadCloser
	rest       int64 // of current
}

// advance opens the next piece.
func (c *chain) advance() error {
	for {
		p, err, ok := c.next()
		switch {
		case err != nil:
			return err
		case !ok:
			return fmt.Errorf("%d bytes are missing at the end: %w", c.left, io.ErrUnexpectedEOF)
		case p.size <= c.skip:
			c.skip -= p.size
			continue
		}
		c.rest = min(p.size-c.skip, c.left)
		c.current, err = p.open(c.ctx, c.skip, c.rest)
		c.skip = 0
		return err
	}
}

// ready has current be a piece with bytes left; io.EOF is the end.
func (c *chain) ready() error {
	if c.left == 0 {
		return io.EOF
	}
	if c.current != nil && c.rest > 0 {
		return nil
	}
	if c.current != nil {
		err := c.current.Close()
		c.current = nil
		if err != nil {
			return err
		}
	}
	return c.advance()
}

func (c *chain) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := c.ready(); err != nil {
		return 0, err
	}
	n, err := c.current.Read(p[:min(int64(len(p)), c.rest)])
	c.rest, c.left = c.rest-int64(n), c.left-int64(n)
	if err == io.EOF && c.rest > 0 { //nolint:errorlint // the end itself, not an error about it
		return n, io.ErrUnexpectedEOF
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// WriteTo implements [io.WriterTo]: each piece that is a local file can be sent by the kernel.
func (c *chain) WriteTo(w io.Writer) (written int64, err error) {
	for {
		if err := c.ready(); err != nil {
			if err == io.EOF { //nolint:errorlint // likewise
				err = nil
			}
			return written, err
		}
		var from io.Reader = c.current
		if file, ok := c.current.(driver.FileReader); ok {
			from = file.File()
		}
		n, err := io.Copy(w, from)
		written, c.rest, c.left = written+n, c.rest-n, c.left-n
		if err == nil && c.rest != 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return written, err
		}
	}
}

func (c *chain) Close() error {
	c.stop()
	if c.release != nil {
		c.release()
		c.release = nil
	}
	if c.current == nil {
		return nil
	}
	err := c.current.Close()
	c.current = nil
	return err
}

// pins are the objects in parts that are being read: their parts stay until that is done.
type pins struct {
	mu   sync.Mutex
	held map[string]int
}

func (p *pins) hold(upload string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = map[string]int{}
	}
	p.held[upload]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held[upload]--; p.held[upload] == 0 {
			delete(p.held, upload)
		}
	}
}

func (p *pins) has(upload string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[upload] > 0
}
