//go:build linux

package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/luks"
	"golang.org/x/sys/unix"
)

func unlessMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// roomed adds what the contract calls a full pool.
func roomed(err error) error {
	if errors.Is(err, unix.ENOSPC) && !errors.Is(err, driver.ErrFull) {
		return fmt.Errorf("%w: %w", driver.ErrFull, err)
	}
	return err
}

// device is an open logical volume, as far as its exact size goes.
type device struct {
	file     *os.File
	size     int64
	writable bool
	driver   *Driver
}

// Open opens a volume, or a snapshot.
func (d *Driver) Open(ctx context.Context, id string, access driver.Access) (driver.Device, error) {
	_, opened, err := d.open(ctx, id, access)
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: open %s: %w", id, err)
	}
	return opened, nil
}

// Unlock opens what is inside an encrypted volume or snapshot.
func (d *Driver) Unlock(ctx context.Context, id string, access driver.Access, passphrase []byte) (driver.Device, error) {
	v, opened, err := d.open(ctx, id, access)
	if err == nil && !v.encrypted {
		err = errors.Join(fmt.Errorf("not encrypted: %w", fs.ErrInvalid), opened.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: unlock %s: %w", id, err)
	}
	inside, err := luks.NewDevice(opened, passphrase)
	if err != nil {
		return nil, fmt.Errorf("lvmvolume: unlock %s: %w", id, err)
	}
	return inside, nil
}

func (d *Driver) open(ctx context.Context, id string, access driver.Access) (*logical, *device, error) {
	if err := errors.Join(ctx.Err(), driver.CheckID(id)); err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	all, err := d.settle(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := whole(all, volumePrefix+id)
	flags := os.O_RDONLY
	if err != nil {
		if v, err = whole(all, snapshotPrefix+id); err == nil && access == driver.ReadWrite {
			err = fmt.Errorf("it is a snapshot: %w", fs.ErrInvalid)
		}
	} else if access == driver.ReadWrite {
		flags, err = os.O_RDWR, d.connections().None(id)
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(d.path(v.name), flags, 0)
	if err != nil {
		return nil, nil, err
	}
	return v, &device{file: f, size: v.outside + v.bytes, writable: access == driver.ReadWrite, driver: d}, nil
}

// Size is what the volume had when it was opened.
func (d *device) Size() int64 { return d.size }

func (d *device) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 || offset >= d.size {
		if offset < 0 {
			return 0, &os.PathError{Op: "read", Path: d.file.Name(), Err: fs.ErrInvalid}
		}
		return 0, io.EOF
	}
	n, err := d.file.ReadAt(b[:min(int64(len(b)), d.size-offset)], offset)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

// inside says whether so many bytes at offset may be written.
func (d *device) inside(offset, length int64) error {
	if !d.writable {
		return &os.PathError{Op: "write", Path: d.file.Name(), Err: fs.ErrPermission}
	}
	if offset < 0 || length < 0 || offset > math.MaxInt64-length || offset+length > d.size {
		return &os.PathError{Op: "write", Path: d.file.Name(), Err: fmt.Errorf("%d bytes at %d are not inside %d: %w", length, offset, d.size, fs.ErrInvalid)}
	}
	return nil
}

func (d *device) WriteAt(b []byte, offset int64) (int, error) {
	if err := d.inside(offset, int64(len(b))); err != nil {
		return 0, err
	}
	n, err := d.file.WriteAt(b, offset)
	return n, d.roomed(err)
}

// Sync makes durable what was written.
func (d *device) Sync() error { return d.roomed(d.file.Sync()) }

// Close closes the device.
func (d *device) Close() error { return d.file.Close() }

// full is how much of a pool is used, in percent, when nothing can be written any more: LVM prints two decimals.
const full = 99.99

// roomed says of a write that failed if that was because the pool is full: the kernel has one error number for all that fail behind
// its cache.
func (d *device) roomed(err error) error {
	if !errors.Is(err, unix.EIO) {
		return roomed(err)
	}
	all, failed := d.driver.settled(context.Background())
	if pool := all[d.driver.o.ThinPool]; failed == nil && pool != nil && pool.data >= full {
		return fmt.Errorf("%w: %w", driver.ErrFull, err)
	}
	return err
}
