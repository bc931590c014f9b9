package memvolume

import (
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/kintoun/kintoun/volume/driver"
)

// device is an open content. When its volume is removed or goes back to a snapshot, it is over.
type device struct {
	pool     *Pool
	content  *content
	name     string
	writable bool
	closed   bool // guarded by the pool's mutex
}

var (
	_ driver.Device = (*device)(nil)
	_ driver.Sparse = (*device)(nil)
)

func (d *device) Size() int64 {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.content.bytes
}

func (d *device) check() error {
	if d.closed {
		return fmt.Errorf("memvolume: %s: %w", d.name, fs.ErrClosed)
	}
	if d.content.gone {
		return fmt.Errorf("memvolume: %s is gone: %w", d.name, fs.ErrNotExist)
	}
	return nil
}

// checkWrite says whether so many bytes may be written at offset.
func (d *device) checkWrite(offset, length int64) error {
	if err := d.check(); err != nil {
		return err
	}
	switch {
	case !d.writable:
		return fmt.Errorf("memvolume: %s is open for reading: %w", d.name, fs.ErrPermission)
	case offset < 0 || length < 0 || offset > math.MaxInt64-length || offset+length > d.content.bytes:
		return fmt.Errorf("memvolume: %s: %d bytes at %d are not inside %d: %w", d.name, length, offset, d.content.bytes, fs.ErrInvalid)
	}
	return nil
}

func (d *device) ReadAt(b []byte, offset int64) (int, error) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if err := d.check(); err != nil {
		return 0, err
	}
	if offset < 0 {
		return 0, fmt.Errorf("memvolume: %s: offset %d: %w", d.name, offset, fs.ErrInvalid)
	}
	n := int(max(0, min(int64(len(b)), d.content.bytes-offset)))
	d.content.readAt(b[:n], offset)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (d *device) WriteAt(b []byte, offset int64) (int, error) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if err := d.checkWrite(offset, int64(len(b))); err != nil {
		return 0, err
	}
	if err := d.pool.writeAt(d.content, b, offset); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (d *device) Zero(offset, length int64) error {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if err := d.checkWrite(offset, length); err != nil {
		return err
	}
	return d.pool.zero(d.content, offset, length)
}

func (d *device) NextData(offset int64) (start, end int64, err error) {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if err := d.check(); err != nil {
		return 0, 0, err
	}
	if offset < 0 {
		return 0, 0, fmt.Errorf("memvolume: %s: offset %d: %w", d.name, offset, fs.ErrInvalid)
	}
	return d.content.nextData(offset)
}

func (d *device) Sync() error {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.check()
}

func (d *device) Close() error {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	if d.closed {
		return d.check()
	}
	d.closed = true
	return nil
}
