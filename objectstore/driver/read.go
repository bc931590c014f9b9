package driver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
)

// Body is what a Put reads, for stores to use: r until its end, or until ctx ends. Where size is not negative, a reader that
// yields another number of bytes is fs.ErrInvalid, as [Store.Put] says.
func Body(ctx context.Context, r io.Reader, size int64) io.Reader {
	return &body{ctx: ctx, r: r, size: size}
}

type body struct {
	ctx        context.Context
	r          io.Reader
	size, read int64
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.read += int64(n)
	if b.size >= 0 && (b.read > b.size || err == io.EOF && b.read < b.size) { //nolint:errorlint // the end itself, not an error about it
		return n, fmt.Errorf("%d bytes of %d: %w", b.read, b.size, fs.ErrInvalid)
	}
	return n, err
}

// Range is how many bytes of a content of the size are meant by an offset and a length as [Store.Open] takes them; fs.ErrInvalid
// if the content does not reach that far.
func Range(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size || length > size-offset {
		return 0, fmt.Errorf("%d bytes from %d on of %d: %w", length, offset, size, fs.ErrInvalid)
	}
	if length < 0 {
		return size - offset, nil
	}
	return length, nil
}
