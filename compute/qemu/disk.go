//go:build linux

package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
)

// diskDeadline bounds the making of a layer, which writes a few hundred KiB.
const diskDeadline = time.Minute

// makeDisk makes the copy-on-write layer at path. The image below is looked at by ourselves: qemu-img, which runs
// with our rights, opens nothing but the new file.
func (d *Driver) makeDisk(ctx context.Context, disk driver.Disk, path string) error {
	size := int64(disk.SizeGiB) << 30
	var args []string
	if disk.Base != "" {
		base, err := imageSize(disk.Base, disk.Format)
		if err != nil {
			return err
		}
		if size != 0 && size < base {
			return fault.Wrap(ErrInvalid, "a disk of %d GiB is smaller than its image of %d bytes", disk.SizeGiB, base)
		}
		size = max(size, base)
		args = []string{"-u", "-F", disk.Format, "-b", disk.Base}
	}
	return d.makeQCOW2(ctx, path, size, args...)
}

// makeQCOW2 makes an image of a disk of size bytes.
func (d *Driver) makeQCOW2(ctx context.Context, path string, size int64, more ...string) error {
	args := append([]string{"create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=off"}, more...)
	ctx, cancel := context.WithTimeout(ctx, diskDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.o.ImageBinary, append(args, path, strconv.FormatInt(size, 10))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("qemu-img: %w: %s", err, strings.TrimSpace(string(out))), ctx.Err())
	}
	return os.Chmod(path, 0o600)
}

// imageSize is the size in bytes of the disk that an image holds. A qcow2 that names another file is refused.
func imageSize(path, format string) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, fault.Wrap(ErrUnavailable, "image: %v", err)
	}
	defer func() { _ = file.Close() }()
	if format == "qcow2" {
		return qcow2Size(file)
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	// QEMU counts in sectors.
	return (info.Size() + 511) &^ 511, nil
}

// qcow2Header is the beginning of a qcow2 image (QEMU's docs/interop/qcow2.txt).
type qcow2Header struct {
	Magic         [4]byte
	Version       uint32
	BackingOffset uint64
	BackingSize   uint32
	ClusterBits   uint32
	Size          uint64
	_             [40]byte
	// Incompatible holds feature bits, from version 3 on.
	Incompatible uint64
}

// externalData is the incompatible feature of an image whose data are in another file.
const externalData = 1 << 2

func qcow2Size(r io.Reader) (int64, error) {
	var h qcow2Header
	if err := binary.Read(r, binary.BigEndian, &h); err != nil {
		return 0, fault.Wrap(ErrInvalid, "image: not a qcow2: %v", err)
	}
	switch {
	case h.Magic != [4]byte{'Q', 'F', 'I', 0xfb} || h.Version < 2 || h.Version > 3:
		return 0, fault.Wrap(ErrInvalid, "image: not a qcow2")
	case h.BackingOffset != 0 || h.Version >= 3 && h.Incompatible&externalData != 0:
		return 0, fault.Wrap(ErrInvalid, "image: a qcow2 that names another file is not used")
	case h.Size > 1<<60:
		return 0, fault.Wrap(ErrInvalid, "image: a disk of %d bytes", h.Size)
	}
	return int64(h.Size), nil
}
