package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/internal/fault"
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

	first   int64 // where the bytes that can be read begin, if a part was asked for
	content ranger
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
	return r.content.open(ctx, r.first+offset, length)
}

// stored is a content in the store.
type stored struct {
	s   *Service
	ref string
}

func (c stored) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	r, err := c.s.contents.Open(ctx, c.ref, offset, length)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(ErrUnavailable, "the content %s is not in the store: the object was replaced at this moment, or lost: %v", c.ref, err)
	}
	return r, err
}

// pins are contents that are being read, which stay until that is done.
type pins struct {
	mu   sync.Mutex
	held map[string]int
}
