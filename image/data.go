package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/image/format"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// finishing is how long the end of an upload may take to be recorded after its client has gone.
const finishing = 30 * time.Second

// Upload stores what r yields as the image's content, and makes the image active. If r or the store fails, or the
// content is refused ([ErrFormat]) or too large ([ErrTooLarge]), the image is queued again and nothing of the content is
// left. An image that has a content, or is being uploaded, is [ErrConflict]. A size that is known is given; -1 is unknown.
func (s *Service) Upload(ctx context.Context, scope Scope, id string, r io.Reader, size int64) (*Image, error) {
	return s.UploadTo(ctx, scope, id, "", r, size)
}

// UploadTo is [Service.Upload] to the named store; empty is the default.
func (s *Service) UploadTo(ctx context.Context, scope Scope, id, store string, r io.Reader, size int64) (*Image, error) {
	return s.take(ctx, scope, id, store, Saving, r, size)
}

// Stage keeps what r yields until [Service.Import] makes it the image's content. It is checked as an upload is, and
// what fails leaves the image queued.
func (s *Service) Stage(ctx context.Context, scope Scope, id string, r io.Reader, size int64) (*Image, error) {
	return s.take(ctx, scope, id, "", Uploading, r, size)
}

// take receives a content from a client, for an image that is in the given state meanwhile.
func (s *Service) take(ctx context.Context, scope Scope, id, store string, during Status, r io.Reader, size int64) (*Image, error) {
	store, err := s.storeName(store)
	if err != nil {
		return nil, err
	}
	img, left, err := s.beginUpload(ctx, scope, id, during, size)
	if err != nil {
		return nil, err
	}
	data, err := s.receive(ctx, img, place{store, img.Upload.Ref}, r, size, left)
	// The rest is done even where the client has gone, which ends ctx.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	if err != nil {
		return nil, errors.Join(err, s.abandonUpload(ctx, id, img.Upload.Ref))
	}
	img, err = s.finishUpload(ctx, id, img.Upload.Ref, data)
	s.hide(scope, img)
	return img, err
}

// receive puts what r yields in its place, if it is a content for the image and no more than left bytes.
func (s *Service) receive(ctx context.Context, img *Image, to place, r io.Reader, size, left int64) (Data, error) {
	source := &source{r: r, left: left, want: size, tooLarge: s.tooLarge(left), most: s.options.MaxVirtualSize}
	switch {
	case inspected(img):
		source.inspector = format.NewInspector(img.DiskFormat, s.options.AllowUnknownContent)
	case img.ContainerFormat == format.OVA:
		source.inspector = format.NewOVAInspector()
	}
	content, err := s.stores[to.store].Put(ctx, to.ref, source)
	if err != nil {
		if source.err != nil {
			err = source.err // as it was, without the store's words around it
		}
		return Data{}, uploadError(img.ID, err)
	}
	return Data{
		Ref: to.ref, Store: to.store, Size: content.Size, VirtualSize: source.info.VirtualSize,
		Checksum: content.MD5, HashAlgorithm: hashAlgorithm, HashValue: content.SHA512,
	}, nil
}

// inspected says whether the content must be of the image's disk format as it is, outside any container.
func inspected(img *Image) bool {
	switch img.ContainerFormat {
	case "bare", "aki", "ari", "ami":
		return true
	}
	return false
}

// tooLarge is the error of a content of more than left bytes: those that any image may have, or that its project has left.
func (s *Service) tooLarge(left int64) error {
	if left < s.options.MaxSize {
		return fmt.Errorf("%w: the project may keep %d bytes more", ErrQuota, max(left, 0))
	}
	return fault.Wrap(ErrTooLarge, "the image is larger than the %d bytes that are allowed", s.options.MaxSize)
}

// beginUpload returns the image, and how many bytes its content may have.
func (s *Service) beginUpload(ctx context.Context, scope Scope, id string, during Status, size int64) (img *Image, left int64, err error) {
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		if img, err = s.changeable(tx, scope, id); err != nil {
			return err
		}
		if img.Status != Queued {
			return fault.Wrap(ErrConflict, "image %s is %s: data can be uploaded only to an image that is queued", id, img.Status)
		}
		if err := complete(img); err != nil {
			return err
		}
		if left, err = s.room(tx, img.ProjectID, during == Uploading); err != nil {
			return err
		}
		if size > left {
			return s.tooLarge(left)
		}
		img.Status, img.Upload, img.UpdatedAt = during, &Upload{Ref: uuid.NewString(), Host: s.options.Host}, s.now()
		return s.images.Update(tx, img)
	})
	if err != nil {
		return nil, 0, err
	}
	return img, left, nil
}

// complete says whether all is known that a content is checked against.
func complete(img *Image) error {
	if img.DiskFormat == "" || img.ContainerFormat == "" {
		return fault.Wrap(ErrInvalid, "properties disk_format and container_format must be set before data is saved")
	}
	return nil
}

// uploadError says what made an upload fail, in this package's kinds.
func uploadError(id string, err error) error {
	switch {
	case errors.Is(err, format.ErrMismatch), errors.Is(err, format.ErrUnsafe):
		return fmt.Errorf("%w: image %s: %w", ErrFormat, id, err)
	case isFull(err):
		return fmt.Errorf("image %s: %w", id, errFull)
	}
	return fmt.Errorf("upload to image %s: %w", id, err)
}

// errFull does not tell users where a store has its files.
var errFull = fault.Wrap(ErrTooLarge, "the image storage is full")

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (s *Service) abandonUpload(ctx context.Context, id, ref string) error {
	err := s.records.Update(ctx, func(tx *record.Tx) error {
		img, err := s.uploading(tx, id, ref)
		if err != nil {
			return err
		}
		img.Status, img.Upload, img.UpdatedAt = Queued, nil, s.now()
		return s.images.Update(tx, img)
	})
	if errors.Is(err, ErrNotFound) {
		return nil // it was deleted meanwhile
	}
	return err
}

func (s *Service) finishUpload(ctx context.Context, id, ref string, data Data) (img *Image, err error) {
	var surplus []place
	err = s.records.Update(ctx, func(tx *record.Tx) error {
		surplus = nil
		if img, err = s.uploading(tx, id, ref); err != nil {
			return err
		}
		img.Upload, img.UpdatedAt = nil, s.now()
		if img.Status == Uploading {
			img.Staged = &data
			return s.images.Update(tx, img)
		}
		if err := s.fits(tx, img.ProjectID, data.Size); err != nil {
			return err
		}
		kept := data
		if surplus, err = s.share(tx, &kept); err != nil {
			return err
		}
		img.Status, img.Data = Active, &kept
		return s.images.Update(tx, img)
	})
	if err != nil {
		s.discard(ctx, []place{{data.Store, ref}})
		return nil, errors.Join(err, s.abandonUpload(ctx, id, ref))
	}
	s.discard(ctx, surplus)
	return img, nil
}

// uploading returns the image if it still waits for this upload.
func (s *Service) uploading(tx *record.Tx, id, ref string) (*Image, error) {
	img, err := s.images.Get(tx, id)
	if err != nil {
		return nil, err
	}
	if img.Upload == nil || img.Upload.Ref != ref {
		return nil, notFound(id)
	}
	return img, nil
}

// inspector judges what is written to it.
type inspector interface {
	io.Writer
	Close() (format.Info, error)
}

// source hands an upload to the store: bounded, complete and inspected.
type source struct {
	r         io.Reader
	inspector inspector
	info      format.Info
	left      int64
	// most bounds the disk that the content says to be.
	most      int64
	got, want int64
	tooLarge  error
	// err is what the upload failed with, if it was not the store that did.
	err error
}

// Read ends with the upload's own end only if all is well until there.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end itself, not an error about it
		s.err = err
	}
	return n, err
}

func (s *source) read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.got += int64(n)
	if s.left -= int64(n); s.left < 0 {
		return 0, s.tooLarge
	}
	if s.inspector != nil {
		if _, err := s.inspector.Write(p[:n]); err != nil {
			return 0, err
		}
	}
	if err != io.EOF { //nolint:errorlint // the end itself, not an error about it
		return n, err
	}
	if s.want >= 0 && s.got != s.want {
		return 0, fmt.Errorf("%d bytes were announced and %d came: %w", s.want, s.got, io.ErrUnexpectedEOF)
	}
	if s.inspector != nil {
		info, err := s.inspector.Close()
		if err != nil {
			return 0, err
		}
		if info.VirtualSize > s.most {
			return 0, fmt.Errorf("%w: a disk of %d bytes is larger than the %d that are allowed", format.ErrUnsafe, info.VirtualSize, s.most)
		}
		s.info = info
	}
	return n, io.EOF
}

// Open opens the content of an image. One without content is [ErrNoData], a deactivated one [ErrForbidden] for all but
// administrators.
func (s *Service) Open(ctx context.Context, scope Scope, id string) (*Image, driver.File, error) {
	img, err := s.readable(ctx, scope, id)
	if err != nil {
		return nil, nil, err
	}
	var problems []error
	for _, at := range s.places(img.Data) {
		f, err := s.stores[at.store].Open(ctx, at.ref)
		if err == nil {
			return img, f, nil
		}
		problems = append(problems, err)
	}
	err = errors.Join(problems...)
	if len(problems) == 0 || errors.Is(err, fs.ErrNotExist) {
		return nil, nil, s.lost(ctx, scope, id, err)
	}
	return nil, nil, err
}

// LocalPath names the file of this host that holds the content of an image, for reading only, as a server's root disk is
// layered upon. It is good until the image is deleted: who needs the file longer makes a hard link or a copy of it. A
// store that has no such files is [ErrUnsupported]; the other errors are those of [Service.Open].
func (s *Service) LocalPath(ctx context.Context, scope Scope, id string) (string, error) {
	img, err := s.readable(ctx, scope, id)
	if err != nil {
		return "", err
	}
	if !inspected(img) {
		return "", fault.Wrap(ErrUnsupported, "image %s is in a container of format %s, which cannot be booted", id, img.ContainerFormat)
	}
	for _, at := range s.places(img.Data) {
		files, ok := s.stores[at.store].(driver.LocalFiles)
		if !ok {
			continue
		}
		name, err := files.Path(ctx, at.ref)
		if errors.Is(err, fs.ErrNotExist) {
			return "", s.lost(ctx, scope, id, err)
		}
		return name, err
	}
	return "", fault.Wrap(ErrUnsupported, "image %s: the %s store has no local files", id, img.Data.Store)
}

func (s *Service) readable(ctx context.Context, scope Scope, id string) (*Image, error) {
	img, err := s.Get(ctx, scope, id)
	switch {
	case err != nil:
		return nil, err
	case img.Data == nil:
		return nil, fmt.Errorf("image %s: %w", id, ErrNoData)
	case img.Status == Deactivated && !scope.Admin:
		return nil, fault.Wrap(ErrForbidden, "the requested image %s has been deactivated", id)
	}
	return img, nil
}

// lost tells an image that was deleted at this moment from one whose content is gone.
func (s *Service) lost(ctx context.Context, scope Scope, id string, err error) error {
	if _, gone := s.Get(ctx, scope, id); gone != nil {
		return gone
	}
	if err == nil {
		return fault.Wrap(fault.ErrUnavailable, "image %s is in a store that is not there any more", id)
	}
	return fmt.Errorf("the content of image %s is missing in the store: %w", id, err)
}
