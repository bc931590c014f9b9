package image

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Quota bounds what a project has. Zero is no bound.
type Quota struct {
	// Bytes bounds the sizes of all its images together, StagedBytes of what waits to be imported.
	Bytes, StagedBytes int64
	// Images is how many it has, Uploads how many of them are being uploaded or imported at once.
	Images, Uploads int64
}

// Usage is what a project has of what [Quota] bounds.
func (s *Service) Usage(ctx context.Context, scope Scope) (used, limits Quota, err error) {
	used, err = s.usage(s.records.Read(ctx), scope.ProjectID)
	return used, s.options.Quota, err
}

func (s *Service) usage(tx *record.Tx, project string) (used Quota, err error) {
	own := record.Eq(string(ByOwner), project)
	n, err := s.images.Count(tx, own)
	if err != nil {
		return used, err
	}
	used.Images = int64(n)
	if used.Bytes, err = s.images.Sum(tx, string(BySize), own); err != nil {
		return used, err
	}
	under, err := s.images.List(tx, record.Query{Where: []record.Condition{own, record.In(string(ByStatus), string(Saving), string(Uploading), string(Importing))}})
	if err != nil {
		return used, err
	}
	used.Uploads = int64(len(under))
	for i := range under {
		if under[i].Staged != nil {
			used.StagedBytes += under[i].Staged.Size
		}
	}
	return used, nil
}

// checkCount says whether a project may have one image more.
func (s *Service) checkCount(tx *record.Tx, project string) error {
	most := s.options.Quota.Images
	if most <= 0 {
		return nil
	}
	n, err := s.images.Count(tx, record.Eq(string(ByOwner), project))
	if err == nil && int64(n) >= most {
		return fmt.Errorf("%w: project %s has all the %d images that it may have", ErrQuota, project, most)
	}
	return err
}

// room is how many bytes one more content of a project may have, staged or not. Where it may not upload at all it is an
// error.
func (s *Service) room(tx *record.Tx, project string, staged bool) (int64, error) {
	q, left := s.options.Quota, s.options.MaxSize
	if q.Bytes <= 0 && q.StagedBytes <= 0 && q.Uploads <= 0 {
		return left, nil
	}
	used, err := s.usage(tx, project)
	if err != nil {
		return 0, err
	}
	if q.Uploads > 0 && used.Uploads >= q.Uploads {
		return 0, fmt.Errorf("%w: project %s uploads all the %d images that it may upload at once", ErrQuota, project, q.Uploads)
	}
	if q.Bytes > 0 {
		left = min(left, q.Bytes-used.Bytes)
	}
	if staged && q.StagedBytes > 0 {
		left = min(left, q.StagedBytes-used.StagedBytes)
	}
	if left < 0 {
		return 0, s.tooLarge(left)
	}
	return left, nil
}

// fits says whether a project may keep a content of so many bytes besides what it has.
func (s *Service) fits(tx *record.Tx, project string, size int64) error {
	most := s.options.Quota.Bytes
	if most <= 0 {
		return nil
	}
	used, err := s.images.Sum(tx, string(BySize), record.Eq(string(ByOwner), project))
	if err == nil && size > most-used {
		return s.tooLarge(most - used)
	}
	return err
}

// checkUnused asks whether something still needs the image that the scope wants to delete.
func (s *Service) checkUnused(ctx context.Context, scope Scope, id string) error {
	if s.options.InUse == nil {
		return nil
	}
	if _, err := s.changeable(s.records.Read(ctx), scope, id); err != nil {
		return err
	}
	needed, err := s.options.InUse(ctx, id)
	if err == nil && needed {
		return fault.Wrap(ErrInUse, "Image %s could not be deleted because it is in use.", id)
	}
	return err
}
