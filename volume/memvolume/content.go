package memvolume

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kintoun/kintoun/volume/driver"
)

// chunkSize is how much is kept, shared and copied together.
const chunkSize = 64 << 10

// chunk is a piece of contents. Those that share it are counted; who writes to a shared one copies it first.
type chunk struct {
	data   [chunkSize]byte
	shared int
}

// content is what a volume or a snapshot holds: zeroes where it has no chunk. The pool's mutex guards it.
type content struct {
	bytes     int64
	chunks    map[int64]*chunk
	encrypted bool
	gone      bool // nobody has it any more but devices
}

func newContent(bytes int64) *content { return &content{bytes: bytes, chunks: map[int64]*chunk{}} }

// clone shares every chunk.
func (c *content) clone() *content {
	for _, k := range c.chunks {
		k.shared++
	}
	return &content{bytes: c.bytes, chunks: maps.Clone(c.chunks), encrypted: c.encrypted}
}

// used is what the content alone takes.
func (c *content) used() (n int64) {
	for _, k := range c.chunks {
		if k.shared == 1 {
			n += chunkSize
		}
	}
	return n
}

// drop gives up the chunk at number.
func (p *Pool) drop(c *content, number int64) {
	if k := c.chunks[number]; k != nil {
		delete(c.chunks, number)
		if k.shared--; k.shared == 0 {
			p.used -= chunkSize
		}
	}
}

func (p *Pool) dropAll(c *content) {
	c.gone = true
	for number := range c.chunks {
		p.drop(c, number)
	}
}

// writable returns the chunk at number for c alone.
func (p *Pool) writable(c *content, number int64) (*chunk, error) {
	old := c.chunks[number]
	if old != nil && old.shared == 1 {
		return old, nil
	}
	if p.used+chunkSize > p.total {
		return nil, fmt.Errorf("memvolume: %w", driver.ErrFull)
	}
	k := &chunk{shared: 1}
	if old != nil {
		k.data = old.data
		old.shared--
	}
	c.chunks[number] = k
	p.used += chunkSize
	return k, nil
}

// readAt and writeAt go chunk by chunk; the range is inside.
func (c *content) readAt(b []byte, offset int64) {
	for len(b) > 0 {
		within := offset % chunkSize
		n := min(int64(len(b)), chunkSize-within)
		if k := c.chunks[offset/chunkSize]; k != nil {
			copy(b[:n], k.data[within:])
		} else {
			clear(b[:n])
		}
		b, offset = b[n:], offset+n
	}
}

func (p *Pool) writeAt(c *content, b []byte, offset int64) error {
	for len(b) > 0 {
		k, err := p.writable(c, offset/chunkSize)
		if err != nil {
			return err
		}
		n := copy(k.data[offset%chunkSize:], b)
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// zero drops whole chunks, and clears the others' parts.
func (p *Pool) zero(c *content, offset, length int64) error {
	for length > 0 {
		within := offset % chunkSize
		n := min(length, chunkSize-within)
		switch number := offset / chunkSize; {
		case n == chunkSize:
			p.drop(c, number)
		case c.chunks[number] != nil:
			k, err := p.writable(c, number)
			if err != nil {
				return err
			}
			clear(k.data[within : within+n])
		}
		offset, length = offset+n, length-n
	}
	return nil
}

// nextData finds the first run of chunks that ends after offset.
func (c *content) nextData(offset int64) (start, end int64, err error) {
	numbers := slices.Sorted(maps.Keys(c.chunks))
	i, _ := slices.BinarySearch(numbers, offset/chunkSize)
	if i == len(numbers) {
		return 0, 0, io.EOF
	}
	last := i
	for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
		last++
	}
	return max(offset, numbers[i]*chunkSize), min((numbers[last]+1)*chunkSize, c.bytes), nil
}
