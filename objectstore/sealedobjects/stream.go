package sealedobjects

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"

	"github.com/kintoun/kintoun/objectstore/driver"
)

// sealer reads a content and yields what is kept of it.
type sealer struct {
	body   io.Reader
	chunks cipher.AEAD
	hash   hash.Hash
	size   int64
	number int64
	plain  []byte // read and not sealed: a byte more than a chunk tells that the chunk is not the last
	sealed []byte // sealed and not yielded
	buffer []byte // where chunks are sealed
	err    error
}

// Read yields what is sealed, and seals another chunk where nothing is left. It fails as the body does.
func (s *sealer) Read(p []byte) (int, error) {
	if len(s.sealed) == 0 && s.err == nil {
		s.err = s.more()
	}
	if len(s.sealed) == 0 {
		return 0, s.err
	}
	n := copy(p, s.sealed)
	s.sealed = s.sealed[n:]
	return n, nil
}

// more seals the next chunk. The last comes with io.EOF.
func (s *sealer) more() error {
	for len(s.plain) <= chunkSize {
		n, err := s.body.Read(s.plain[len(s.plain) : chunkSize+1])
		_, _ = s.hash.Write(s.plain[len(s.plain) : len(s.plain)+n])
		s.plain = s.plain[:len(s.plain)+n]
		s.size += int64(n)
		if err == nil {
			continue
		}
		if err != io.EOF { //nolint:errorlint // the end itself, not an error about it
			return err
		}
		if len(s.plain) > chunkSize {
			break // another one comes, with the byte that is too many
		}
		s.sealChunk(len(s.plain), true)
		return io.EOF
	}
	s.sealChunk(chunkSize, false)
	return nil
}

func (s *sealer) sealChunk(n int, last bool) {
	s.buffer = s.chunks.Seal(s.buffer[:0], chunkNonce(s.number, last), s.plain[:n], nil)
	s.sealed = s.buffer
	s.number++
	s.plain = s.plain[:copy(s.plain, s.plain[n:])]
}

// maxOffset is the largest offset whose place in the inner store can be told.
const maxOffset = math.MaxInt64 / 2

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	if _, err := driver.Range(maxOffset, offset, length); err != nil {
		return nil, fmt.Errorf("object content %q: %w", ref, err)
	}
	if end := offset + max(length, 0); end > 0 || length == 0 {
		there, err := s.inner.Open(ctx, ref, sealedEnd(end), 0)
		if err != nil || length == 0 {
			return there, err
		}
		if err := there.Close(); err != nil {
			return nil, err
		}
	}
	// A part that begins where a chunk does is read from the chunk before: whether the content ends there has to be sealed too.
	first := max(0, offset-1) / chunkSize
	o := &opener{ref: ref, number: first, skip: int(offset - first*chunkSize), left: length}
	if err := s.begin(ctx, o); err != nil {
		return nil, err
	}
	return o, nil
}

// begin reads the key, and goes to the first chunk.
func (s *Store) begin(ctx context.Context, o *opener) (err error) {
	header := int64(-1) // with all that follows
	if o.number > 0 {
		header = int64(headerSize)
	}
	if o.source, err = s.inner.Open(ctx, o.ref, 0, header); err != nil {
		if errors.Is(err, fs.ErrInvalid) {
			err = fmt.Errorf("object content %q: %w", o.ref, ErrTampered)
		}
		return err
	}
	if o.chunks, err = s.readKey(o.source, o.ref); err != nil {
		return errors.Join(fmt.Errorf("object content %q: %w", o.ref, err), o.source.Close())
	}
	if o.number == 0 {
		return nil
	}
	if err := o.source.Close(); err != nil {
		return err
	}
	o.source, err = s.inner.Open(ctx, o.ref, int64(headerSize)+o.number*(chunkSize+tagSize), -1)
	return err
}

func (s *Store) readKey(r io.Reader, ref string) (cipher.AEAD, error) {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(r, header); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, ErrTampered
	} else if err != nil {
		return nil, err
	}
	nonce, sealed := header[len(magic):len(magic)+nonceSize], header[len(magic)+nonceSize:]
	key, err := s.master.Open(nil, nonce, sealed, []byte(string(header[:len(magic)])+ref))
	if err != nil {
		return nil, ErrTampered
	}
	return seal(key)
}

// opener reads what is kept and yields the content.
type opener struct {
	source io.ReadCloser
	ref    string
	chunks cipher.AEAD
	number int64
	skip   int    // bytes of the first chunk that were not asked for
	left   int64  // bytes to yield; negative is all
	ahead  []byte // read and not opened: a byte more than a sealed chunk tells that the chunk is not the last
	plain  []byte // opened and not yielded
	buffer []byte // where chunks are opened
	err    error
}

func (o *opener) Close() error { return o.source.Close() }

func (o *opener) Read(p []byte) (int, error) {
	for len(o.plain) == 0 && o.err == nil && o.left != 0 {
		o.err = o.more()
	}
	if o.left == 0 {
		return 0, io.EOF
	}
	if len(o.plain) == 0 {
		return 0, o.err
	}
	if o.left > 0 && int64(len(p)) > o.left {
		p = p[:o.left]
	}
	n := copy(p, o.plain)
	o.plain = o.plain[n:]
	if o.left > 0 {
		o.left -= int64(n)
	}
	return n, nil
}

// more opens the next chunk. The last comes with io.EOF.
func (o *opener) more() error {
	if o.ahead == nil {
		o.ahead = make([]byte, 0, chunkSize+tagSize+1)
	}
	var err error
	for len(o.ahead) < cap(o.ahead) && err == nil {
		var n int
		n, err = o.source.Read(o.ahead[len(o.ahead):cap(o.ahead)])
		o.ahead = o.ahead[:len(o.ahead)+n]
	}
	if err != nil && err != io.EOF { //nolint:errorlint // the end itself, not an error about it
		return err
	}
	sealed := o.ahead[:min(len(o.ahead), chunkSize+tagSize)]
	last := len(sealed) == len(o.ahead)
	plain, openErr := o.chunks.Open(o.buffer[:0], chunkNonce(o.number, last), sealed, nil)
	if openErr != nil || o.skip > len(plain) {
		return fmt.Errorf("object content %q, from byte %d on: %w", o.ref, o.number*chunkSize, ErrTampered)
	}
	o.buffer, o.plain, o.skip = plain, plain[o.skip:], 0
	o.number++
	o.ahead = o.ahead[:copy(o.ahead, o.ahead[len(sealed):])]
	if last {
		return io.EOF
	}
	return nil
}
