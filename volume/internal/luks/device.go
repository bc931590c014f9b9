package luks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/kintoun/kintoun/volume/driver"
)

// Device is what is inside a container.
type Device struct {
	outside driver.Device
	cipher  *xts
	offset  int64

	// mu is held for writing parts of sectors, and for reading by writers of others.
	mu sync.RWMutex
}

// NewDevice opens the container on a device, which it takes over, and closes when it cannot.
func NewDevice(outside driver.Device, passphrase []byte) (*Device, error) {
	d, err := newDevice(outside, passphrase)
	if err != nil {
		return nil, errors.Join(err, outside.Close())
	}
	return d, nil
}

func newDevice(outside driver.Device, passphrase []byte) (*Device, error) {
	h, err := readHeader(outside)
	if err != nil {
		return nil, err
	}
	key, err := h.key(outside, passphrase)
	if err != nil {
		return nil, err
	}
	cipher, err := newXTS(key)
	return &Device{outside: outside, cipher: cipher, offset: int64(h.PayloadOffset) * sector}, err
}

// Size is the content's.
func (d *Device) Size() int64 { return max(0, d.outside.Size()-d.offset) }

// Sync makes durable what was written.
func (d *Device) Sync() error { return d.outside.Sync() }

// Close closes the container's device.
func (d *Device) Close() error { return d.outside.Close() }

// pieceBytes is how much is encrypted or decrypted at once.
const pieceBytes = 256 << 10

// ReadAt reads. Sectors of zeroes in the container, which no encryption makes, were never written.
func (d *Device) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("LUKS read at %d: %w", offset, fs.ErrInvalid)
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := int(max(0, min(int64(len(b)), d.Size()-offset)))
	for done := 0; done < n; {
		at := offset + int64(done)
		first := at &^ (sector - 1)
		piece := make([]byte, min(pieceBytes, roundUp(offset+int64(n)-first)))
		if err := d.decrypted(piece, first); err != nil {
			return done, err
		}
		done += copy(b[done:n], piece[at-first:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func roundUp(n int64) int64 { return (n + sector - 1) &^ (sector - 1) }

// decrypted reads whole sectors.
func (d *Device) decrypted(piece []byte, offset int64) error {
	n, err := d.outside.ReadAt(piece, d.offset+offset)
	if n < len(piece) {
		return fmt.Errorf("LUKS read of %d bytes at %d: %w", len(piece), offset, err)
	}
	for i := 0; i < len(piece); i += sector {
		if s := piece[i:][:sector]; !zero(s) {
			d.cipher.decrypt(s, s, uint64(offset+int64(i))/sector)
		}
	}
	return nil
}

func zero(b []byte) bool { return b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1]) }

// WriteAt writes. Of sectors that are written in part, the rest is read first.
func (d *Device) WriteAt(b []byte, offset int64) (int, error) {
	if size := d.Size(); offset < 0 || offset > size || int64(len(b)) > size-offset {
		return 0, fmt.Errorf("LUKS write of %d bytes at %d, not inside %d: %w", len(b), offset, size, fs.ErrInvalid)
	}
	if offset%sector == 0 && len(b)%sector == 0 {
		d.mu.RLock()
		defer d.mu.RUnlock()
	} else {
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	for done := 0; done < len(b); {
		n, err := d.writePiece(b[done:], offset+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(b), nil
}

// writePiece writes the beginning of b, and says how much that is.
func (d *Device) writePiece(b []byte, offset int64) (int, error) {
	first := offset &^ (sector - 1)
	piece := make([]byte, min(pieceBytes, roundUp(offset+int64(len(b))-first)))
	end := first + int64(len(piece))
	if offset != first {
		if err := d.decrypted(piece[:sector], first); err != nil {
			return 0, err
		}
	}
	if last := len(piece) - sector; offset+int64(len(b)) < end && (last > 0 || offset == first) {
		if err := d.decrypted(piece[last:], first+int64(last)); err != nil {
			return 0, err
		}
	}
	n := copy(piece[offset-first:], b)
	for i := 0; i < len(piece); i += sector {
		s := piece[i:][:sector]
		d.cipher.encrypt(s, s, uint64(first+int64(i))/sector)
	}
	if _, err := d.outside.WriteAt(piece, d.offset+first); err != nil {
		return 0, err
	}
	return n, nil
}

// NextData finds the next extent that was written, where the container's device knows.
func (d *Device) NextData(offset int64) (start, end int64, err error) {
	size := d.Size()
	if offset < 0 {
		return 0, 0, fmt.Errorf("LUKS extents at %d: %w", offset, fs.ErrInvalid)
	}
	if offset >= size {
		return 0, 0, io.EOF
	}
	sparse, ok := d.outside.(driver.Sparse)
	if !ok {
		return offset, size, nil
	}
	start, end, err = sparse.NextData(d.offset + offset)
	return max(start-d.offset, offset), min(end-d.offset, size), err
}

// Zero writes zeroes: a hole would be noise for others.
func (d *Device) Zero(offset, length int64) error {
	zeroes := make([]byte, min(length, pieceBytes))
	for length > 0 {
		n, err := d.WriteAt(zeroes[:min(length, pieceBytes)], offset)
		if err != nil {
			return err
		}
		offset, length = offset+int64(n), length-int64(n)
	}
	return nil
}

var (
	_ driver.Device = (*Device)(nil)
	_ driver.Sparse = (*Device)(nil)
)
