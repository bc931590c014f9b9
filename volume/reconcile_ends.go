package volume

import (
	"context"
	"errors"

	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// report changes a volume as its agent left it at was, unless something else has been asked since.
func (s *Service) report(ctx context.Context, was *Volume, fn func(tx *record.Tx, v *Volume) error) error {
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.volumes.Get(tx, was.ID)
		if err != nil {
			return err
		}
		if v.Task != was.Task || v.Host != was.Host {
			return errNothing
		}
		if err := fn(tx, v); err != nil {
			return err
		}
		v.UpdatedAt = s.now()
		return s.volumes.Report(tx, v)
	})
	if errors.Is(err, errNothing) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// done ends a task that succeeded.
func (s *Service) done(ctx context.Context, was *Volume, fn func(tx *record.Tx, v *Volume) error) error {
	return s.report(ctx, was, func(tx *record.Tx, v *Volume) error {
		if err := fn(tx, v); err != nil {
			return err
		}
		if v.Task.Kind == TaskCreate {
			t := s.now()
			v.LaunchedAt, v.Progress, v.Hints, v.Tried = &t, 100, Hints{}, nil
		}
		if err := s.copied(tx, v); err != nil {
			return err
		}
		reserved := v.Task.Kind == TaskCreate && v.Status == Available
		v.Task = Task{}
		if reserved {
			return s.reservedMeanwhile(tx, v)
		}
		return nil
	})
}

// reservedMeanwhile keeps the promise that was made of a volume while its image was copied.
func (s *Service) reservedMeanwhile(tx *record.Tx, v *Volume) error {
	n, err := s.attachments.Count(tx, record.Eq("volume", v.ID))
	if err == nil && n > 0 {
		v.Status = Reserved
	}
	return err
}

// gaveUp ends a task that failed.
func (s *Service) gaveUp(ctx context.Context, was *Volume, cause error) error {
	return s.report(ctx, was, func(tx *record.Tx, v *Volume) error {
		action, detail := actionCreate, detailCreateFailed
		if err := s.copied(tx, v); err != nil {
			return err
		}
		switch v.Task.Kind {
		case TaskExtend:
			v.Status, action, detail = ErrorExtending, actionExtend, detailExtendFailed
		case TaskReimage:
			v.Status, action, detail = Errored, actionReimage, detailUnknown
		case TaskDelete:
			v.Status, action, detail = ErrorDeleting, "", ""
		case TaskRevert:
			v.Status, action, detail = Errored, "", ""
			if err := s.wentBack(tx, v.Task.ID); err != nil {
				return err
			}
		default:
			v.Status = Errored
			if v.ImageID != "" {
				action, detail = actionDownload, detailUnknown
				if errors.Is(cause, driver.ErrFull) {
					detail = detailNoSpace
				}
			}
		}
		request := v.Task.RequestID
		v.Task = Task{}
		if action == "" {
			return nil
		}
		return s.message(tx, v.ProjectID, request, aboutVolume, v.ID, action, detail)
	})
}
