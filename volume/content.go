package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// createFromImage makes the volume and copies the image into it. What a killed copy has left is begun anew: nobody knows
// how much of it is there.
func (a *Agent) createFromImage(ctx context.Context, v *Volume, want driver.Volume) error {
	s := a.service
	if s.options.Images == nil {
		return fmt.Errorf("image %s: %w", v.ImageID, ErrUnsupported)
	}
	image, err := s.options.Images.OpenImage(ctx, v.ImageID)
	if err != nil {
		return fmt.Errorf("image %s: %w", v.ImageID, err)
	}
	defer func() { _ = image.Close() }()
	if image.Size() > want.Bytes {
		return fmt.Errorf("image %s has %d bytes, volume %s %d: %w", v.ImageID, image.Size(), v.ID, want.Bytes, ErrInvalid)
	}
	if err := a.startAnew(ctx, v, want); err != nil {
		return err
	}
	if err := s.progressed(ctx, v, 0); err != nil {
		return err
	}
	if err := a.fillFrom(ctx, v, image); err != nil {
		return errors.Join(fmt.Errorf("copy image %s to volume %s: %w", v.ImageID, v.ID, err), a.remove(context.WithoutCancel(ctx), v.key(), v.ID))
	}
	a.measure(ctx) // before the promise of its room ends
	return s.done(ctx, v, func(_ *record.Tx, v *Volume) error { v.Status = Available; return nil })
}

// startAnew makes the volume full of zeroes, whatever there was.
func (a *Agent) startAnew(ctx context.Context, v *Volume, want driver.Volume) error {
	defer a.turn(v.ID)()
	if err := a.volumes.Remove(ctx, v.key()); err != nil {
		return err
	}
	return a.volumes.Apply(ctx, want)
}

// progressed tells how much of the content has been copied.
func (s *Service) progressed(ctx context.Context, was *Volume, percent int) error {
	return s.report(ctx, was, func(_ *record.Tx, v *Volume) error {
		if v.Status == Creating {
			v.Status = Downloading
		}
		v.Progress = percent
		return nil
	})
}

// progressSteps is how often progress is told on the way.
const progressSteps = 10

// fillFrom copies an image into a volume that is full of zeroes.
func (a *Agent) fillFrom(ctx context.Context, v *Volume, image ImageData) error {
	device, err := a.openPlain(ctx, v.key(), driver.ReadWrite, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	told := 0
	err = copyData(ctx, device, image, image.Size(), v.EncryptionKeyID == "", func(copied int64) error {
		percent := int(copied * 100 / max(image.Size(), 1))
		if percent < told+100/progressSteps || percent >= 100 {
			return nil
		}
		told = percent
		return a.service.progressed(ctx, v, percent)
	})
	if err == nil {
		err = device.Sync()
	}
	return errors.Join(err, device.Close())
}

// block is how much is copied at once.
const block = 1 << 20

// copyData copies size bytes to a device. What is zeroes is not written where the device is full of them; one that is
// encrypted is full of anything.
func copyData(ctx context.Context, to io.WriterAt, from io.ReaderAt, size int64, zeroed bool, progress func(copied int64) error) error {
	sparse, _ := from.(SparseImage)
	if !zeroed {
		sparse = nil
	}
	buffer := make([]byte, block)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := size
		if sparse != nil {
			start, stop, err := sparse.NextData(at)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if at, end = max(at, start), min(stop, size); at >= size {
				return nil
			}
		}
		part := buffer[:min(int64(block)-at%block, end-at)]
		if n, err := from.ReadAt(part, at); n < len(part) {
			return fmt.Errorf("read at %d: %w", at+int64(n), errors.Join(err, io.ErrUnexpectedEOF))
		}
		if !zeroed || !zeroes(part) {
			if _, err := to.WriteAt(part, at); err != nil {
				return fmt.Errorf("write at %d: %w", at, err)
			}
		}
		at += int64(len(part))
		if err := progress(at); err != nil {
			return err
		}
	}
	return nil
}

// zeroes compares a text with itself, one byte further: nothing looks through memory faster.
func zeroes(data []byte) bool {
	return len(data) == 0 || data[0] == 0 && bytes.Equal(data[:len(data)-1], data[1:])
}

// copyBack gives a volume its snapshot's content by copying, where the driver cannot do it at once. One that is killed
// meanwhile begins anew; until it has ended, the volume cannot be used.
func (a *Agent) copyBack(ctx context.Context, v *Volume) error {
	from, err := a.volumes.Open(ctx, v.Task.ID, driver.ReadOnly)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := a.volumes.Open(ctx, v.key(), driver.ReadWrite)
	if err != nil {
		return err
	}
	err = overwrite(ctx, to, from)
	if err == nil {
		err = to.Sync()
	}
	return errors.Join(err, to.Close())
}

// sized is a content to read.
type sized interface {
	io.ReaderAt
	Size() int64
}

// overwrite makes the content of a device that of another, followed by zeroes.
func overwrite(ctx context.Context, to driver.Device, from sized) error {
	buffer := make([]byte, block)
	for at := int64(0); at < to.Size(); at += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buffer[:min(int64(block), to.Size()-at)]
		clear(part)
		if have := min(int64(len(part)), from.Size()-at); have > 0 {
			if n, err := from.ReadAt(part[:have], at); int64(n) < have {
				return fmt.Errorf("read at %d: %w", at+int64(n), errors.Join(err, io.ErrUnexpectedEOF))
			}
		}
		if _, err := to.WriteAt(part, at); err != nil {
			return fmt.Errorf("write at %d: %w", at, err)
		}
	}
	return nil
}
