package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// ReimageVolume gives a volume that is not in use the content of an image, and forgets what it had. One that is reserved
// only where that is said.
func (s *Service) ReimageVolume(ctx context.Context, scope Scope, id, imageID string, reserved bool) error {
	v, err := s.visibleVolume(s.store.Read(ctx), scope, id)
	if err != nil {
		return err
	}
	image, err := s.usableImage(ctx, scope, &VolumeSpec{ImageID: imageID, SizeGiB: v.SizeGiB})
	if err != nil {
		return err
	}
	_, err = s.changeVolume(ctx, scope, id, func(tx *record.Tx, v *Volume) error {
		if v.Status != Available && v.Status != Errored && (v.Status != Reserved || !reserved) || v.Task.Kind != "" || v.Host == "" {
			return invalidVolume("Volume %s status must be available or error or reserved to be re-imaged, but the current status is %s.", id, v.Status)
		}
		if v.SizeGiB < ceilGiB(max(image.Size, image.VirtualBytes)) {
			return fault.Wrap(ErrInvalid, "Invalid input received: Image %s is larger than volume %s.", imageID, id)
		}
		if err := s.checkThawed(tx, v.Host); err != nil {
			return err
		}
		before := v.Status
		if before == Errored {
			before = Available
		}
		v.Task = Task{Kind: TaskReimage, ID: imageID, Before: before, RequestID: scope.RequestID}
		v.Status, v.Bootable, v.ImageMetadata = Downloading, true, imageMetadata(image)
		return nil
	})
	return err
}

// reimage overwrites the volume. Killed meanwhile, it begins anew.
func (a *Agent) reimage(ctx context.Context, v *Volume) error {
	if a.service.options.Images == nil {
		return fmt.Errorf("image %s: %w", v.Task.ID, ErrUnsupported)
	}
	image, err := a.service.options.Images.OpenImage(ctx, v.Task.ID)
	if err != nil {
		return fmt.Errorf("image %s: %w", v.Task.ID, err)
	}
	defer func() { _ = image.Close() }()
	if err := a.clear(ctx, v); err != nil {
		return fmt.Errorf("clear volume %s: %w", v.ID, err)
	}
	if err := a.fillFrom(ctx, v, image); err != nil {
		return fmt.Errorf("copy image %s to volume %s: %w", v.Task.ID, v.ID, err)
	}
	return a.service.done(ctx, v, func(tx *record.Tx, v *Volume) error { return a.service.settle(tx, v) })
}

// clear fills a volume with zeroes.
func (a *Agent) clear(ctx context.Context, v *Volume) error {
	device, err := a.openPlain(ctx, v.key(), driver.ReadWrite, v.EncryptionKeyID)
	if err != nil {
		return err
	}
	if sparse, ok := device.(driver.Sparse); ok {
		err = sparse.Zero(0, device.Size())
	} else {
		err = overwrite(ctx, device, nothing{})
	}
	return errors.Join(err, device.Close())
}

// nothing is an empty content.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
func (nothing) Size() int64                       { return 0 }
