package volume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// UploadSpec is an image to make of a volume.
type UploadSpec struct {
	// DiskFormat is "raw", by default too; ContainerFormat is "bare" by default.
	ImageName, DiskFormat, ContainerFormat, Visibility string
	// Force uploads a volume that is in use, as it is at one moment.
	Protected, Force bool
}

// Upload is an image that is being made.
type Upload struct {
	ImageID string
	Spec    UploadSpec
	// Volume is the volume, which is uploading.
	Volume Volume
}

// UploadToImage makes an image of a volume, with the properties of the image that it was made from. Meanwhile the volume is
// uploading.
func (s *Service) UploadToImage(ctx context.Context, scope Scope, id string, spec UploadSpec) (*Upload, error) {
	if s.options.Images == nil {
		return nil, fault.Wrap(ErrUnavailable, "There is no image service.")
	}
	if spec.DiskFormat == "" {
		spec.DiskFormat = "raw"
	}
	if spec.ContainerFormat == "" {
		spec.ContainerFormat = "bare"
	}
	if spec.DiskFormat != "raw" || spec.ContainerFormat != "bare" {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: volumes become images of the formats raw and bare here, not %.20s and %.20s.", spec.DiskFormat, spec.ContainerFormat)
	}
	v, err := s.beginUpload(ctx, scope, id, spec)
	if err != nil {
		return nil, err
	}
	imageID, err := s.options.Images.CreateImage(ctx, scope, imageOf(v, spec))
	j := &job{ID: id, Action: jobUpload}
	if err == nil {
		err = s.store.Update(ctx, func(tx *record.Tx) error {
			now, err := s.current(tx, j)
			if err != nil {
				return err
			}
			now.ImageID = imageID
			return s.jobs.Update(tx, now)
		})
	}
	if err != nil {
		ctx := context.WithoutCancel(ctx)
		return nil, errors.Join(err, s.finish(ctx, j, func(tx *record.Tx) error { return s.endUpload(tx, j, nil) }))
	}
	return &Upload{ImageID: imageID, Spec: spec, Volume: *v}, nil
}

// beginUpload makes the volume uploading. Its job waits until the image is there.
func (s *Service) beginUpload(ctx context.Context, scope Scope, id string, spec UploadSpec) (*Volume, error) {
	var uploading *Volume
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		if v.Status != Available && (v.Status != InUse || !spec.Force) {
			allowed := "available"
			if spec.Force {
				allowed = "available or in-use"
			}
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s status must be %s", id, allowed)
		}
		if v.EncryptionKeyID != "" {
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume %s is encrypted, and is not made an image here.", id)
		}
		j := job{ID: v.ID, Action: jobUpload, Host: v.Host, VolumeID: v.ID, NewID: uuid.NewString(), Live: v.Status == InUse, Before: v.Status, StartedAt: s.now(), ProjectID: v.ProjectID, RequestID: scope.RequestID}
		v.PreviousStatus, v.Status, v.UpdatedAt = v.Status, Uploading, s.now()
		uploading = v
		return errors.Join(s.volumes.Update(tx, v), s.startJob(tx, j))
	})
	return uploading, err
}

// notProperties are what image metadata has beside an image's own properties.
func notProperties() []string {
	return []string{"image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk", "min_ram", "size", "signature_verified"}
}

func imageOf(v *Volume, spec UploadSpec) ImageSpec {
	image := ImageSpec{
		Name: spec.ImageName, DiskFormat: spec.DiskFormat, ContainerFormat: spec.ContainerFormat, Visibility: spec.Visibility,
		Protected: spec.Protected, Properties: map[string]string{},
	}
	for key, value := range v.ImageMetadata {
		if !slices.Contains(notProperties(), key) {
			image.Properties[key] = value
		}
	}
	if n, err := strconv.Atoi(v.ImageMetadata["min_disk"]); err == nil {
		image.MinDiskGiB = n
	}
	return image
}

// upload does the job of UploadToImage. It begins anew after a kill: an image is made in one piece.
func (a *Agent) upload(ctx context.Context, j *job) error {
	s := a.service
	if j.ImageID == "" {
		if s.now().Sub(j.StartedAt) < s.options.DownAfter {
			return errNotYet
		}
		return fmt.Errorf("the image of volume %s was never made: %w", j.VolumeID, ErrInvalid)
	}
	image, err := s.options.Images.Image(ctx, Scope{ProjectID: j.ProjectID, Admin: true}, j.ImageID)
	if err != nil {
		return fmt.Errorf("image %s: %w", j.ImageID, err)
	}
	if image.Status != "active" {
		if err := a.uploadTo(ctx, j); err != nil {
			return err
		}
	}
	if err := a.dropTemporary(ctx, j); err != nil {
		return err
	}
	return s.finish(ctx, j, func(tx *record.Tx) error { return s.endUpload(tx, j, nil) })
}

func (a *Agent) uploadTo(ctx context.Context, j *job) error {
	from, err := a.openSource(ctx, j)
	if err != nil {
		return err
	}
	err = a.service.options.Images.UploadImage(ctx, j.ImageID, &deviceReader{ctx: ctx, from: from}, from.Size())
	if err != nil {
		err = fmt.Errorf("image %s: %w", j.ImageID, err)
	}
	return errors.Join(err, from.Close())
}

// endUpload lets the volume go on as before; it may be gone.
func (s *Service) endUpload(tx *record.Tx, j *job, cause error) error {
	v, err := s.volumes.Get(tx, j.ID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if v.Status == Uploading {
		if v.Status, err = s.idleStatus(tx, v, v.PreviousStatus); err != nil {
			return err
		}
		v.PreviousStatus, v.UpdatedAt = Uploading, s.now()
		if err := s.volumes.Update(tx, v); err != nil {
			return err
		}
	}
	if cause == nil {
		return nil
	}
	return s.message(tx, j.ProjectID, j.RequestID, aboutVolume, j.VolumeID, actionUpload, detailUploadFailed)
}

// deviceReader reads a device from its beginning to its end.
type deviceReader struct {
	ctx  context.Context //nolint:containedctx // it is a reader for one call
	from driver.Device
	at   int64
}

// Read reads what comes next, as far as a block of the copy goes.
func (r *deviceReader) Read(p []byte) (int, error) {
	left := r.from.Size() - r.at
	if left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left, copyBlock)]
	if err := readSparse(r.ctx, r.from, p, r.at); err != nil {
		return 0, err
	}
	r.at += int64(len(p))
	return len(p), nil
}
