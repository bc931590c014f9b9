//go:build linux

package filevolume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/kintoun/kintoun/volume/driver"
	"golang.org/x/sys/unix"
)

// device is an open file of the pool's.
type device struct {
	file     *os.File
	writable bool
}

var (
	_ driver.Device = (*device)(nil)
	_ driver.Sparse = (*device)(nil)
)

func newDevice(f *os.File, access driver.Access) *device {
	return &device{file: f, writable: access == driver.ReadWrite}
}

// Size is the file's, which may have grown.
func (d *device) Size() int64 {
	info, err := d.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (d *device) ReadAt(b []byte, offset int64) (int, error) { return d.file.ReadAt(b, offset) }

// inside says whether so many bytes at offset may be written: a file would grow.
func (d *device) inside(offset, length int64) error {
	if !d.writable {
		return &os.PathError{Op: "write", Path: d.file.Name(), Err: fs.ErrPermission}
	}
	if size := d.Size(); offset < 0 || length < 0 || offset > math.MaxInt64-length || offset+length > size {
		return &os.PathError{Op: "write", Path: d.file.Name(), Err: fmt.Errorf("%d bytes at %d are not inside %d: %w", length, offset, size, fs.ErrInvalid)}
	}
	return nil
}

func (d *device) WriteAt(b []byte, offset int64) (int, error) {
	if err := d.inside(offset, int64(len(b))); err != nil {
		return 0, err
	}
	n, err := d.file.WriteAt(b, offset)
	return n, roomed(err)
}

func (d *device) Zero(offset, length int64) error {
	if err := d.inside(offset, length); err != nil || length == 0 {
		return err
	}
	if err := unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, offset, length); err != nil {
		return roomed(&os.PathError{Op: "punch a hole into", Path: d.file.Name(), Err: err})
	}
	return nil
}

func (d *device) NextData(offset int64) (start, end int64, err error) {
	if start, err = unix.Seek(int(d.file.Fd()), offset, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
		return 0, 0, io.EOF
	}
	if err == nil {
		end, err = unix.Seek(int(d.file.Fd()), start, unix.SEEK_HOLE)
	}
	if err != nil {
		return 0, 0, &os.PathError{Op: "seek data in", Path: d.file.Name(), Err: err}
	}
	return start, end, nil
}

func (d *device) Sync() error  { return roomed(d.file.Sync()) }
func (d *device) Close() error { return d.file.Close() }
