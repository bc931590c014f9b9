package volume

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
)

// reach opens a target as a host does that has nothing but this process: by NBD, or the file or device itself.
func reach(ctx context.Context, target driver.Target) (driver.Device, error) {
	switch {
	case target.NBD != nil:
		client, err := nbd.Open(ctx, target.NBD)
		if err != nil {
			return nil, fmt.Errorf("reach the other pool: %w", err)
		}
		return client, nil
	case target.Path != "" && target.Format != "qcow2":
		return openDisk(target.Path)
	}
	return nil, fault.Wrap(ErrUnsupported, "this pool's agent cannot open volumes of the other's: run both agents in one process")
}

// hostDisk is a file or block device of another pool's on this host.
type hostDisk struct {
	*os.File
	size int64
}

func openDisk(path string) (driver.Device, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &hostDisk{File: f, size: size}, nil
}

func (d *hostDisk) Size() int64 { return d.size }
