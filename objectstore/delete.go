package objectstore

import (
	"context"
	"fmt"
)

// DeleteSpec says what of an object to delete.
type DeleteSpec struct {
	// Version names a version that is removed for good, and NullVersion the one that was written without versioning; else the
	// object is deleted as its container has it.
	Version     string
	NullVersion bool
	// Segments deletes a static large object with all that it is made of.
	Segments   bool
	Conditions Conditions
}

// Deleted is what Delete did.
type Deleted struct {
	// Version is that of what was made or removed.
	Version string
	// DeleteMarker says that a marker was made, or, if a version was named, removed.
	DeleteMarker bool
	// Existed says that there was an object to be deleted.
	Existed bool
	// Count is how many objects were deleted, segments among them; Missing how many of the segments were not there.
	Count, Missing int
	// Failed says which segments are still there, and why.
	Failed map[Path]error
}

// Delete deletes an object. In a container with versioning that makes a delete marker, unless a version is named. One that is not
// there is [ErrNoObject] or [ErrNoVersion].
func (s *Service) Delete(ctx context.Context, caller Caller, path Path, spec DeleteSpec) (*Deleted, error) {
	if err := s.checkObject(path); err != nil {
		return nil, err
	}
	if err := s.paceObject(ctx, &caller, path, deleteObject); err != nil {
		return nil, err
	}
	if spec.Segments {
		return s.deleteLarge(ctx, &caller, path, spec)
	}
	var result Deleted
	err := s.write(ctx, func(t *txn) (err error) {
		_, c, err := s.open(t, &caller, path, deleteObject)
		if err != nil {
			return err
		}
		result = Deleted{}
		if spec.Version != "" || spec.NullVersion {
			return t.deleteVersion(c, path.Object, &spec, &result)
		}
		return t.deleteCurrent(c, path.Object, &spec.Conditions, &result)
	})
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// deleteCurrent deletes what is current, as the container has it.
func (t *txn) deleteCurrent(c *Container, name string, conditions *Conditions, result *Deleted) error {
	old, err := t.current(c.ID, name)
	if err != nil {
		return err
	}
	live := old.state(t.s.now())
	if err := conditions.check(live, false); err != nil {
		return err
	}
	if result.Existed = live != nil; result.Existed {
		result.Count = 1
	}
	switch {
	case c.Versioning != "":
		return t.mark(c, name, old, result)
	case live == nil:
		return fmt.Errorf("%.80q: %w", name, ErrNoObject)
	case c.VersionsLocation != "" || c.HistoryLocation != "":
		return t.unarchive(c, old)
	}
	return t.removeCurrent(c, old)
}

// mark hides an object behind a delete marker.
func (t *txn) mark(c *Container, name string, old *objectRow, result *Deleted) error {
	t.wrote++
	now := t.s.now()
	marker := objectRow{Object: Object{Container: c.ID, Name: name, DeleteMarker: true, CreatedAt: now, ChangedAt: now}}
	var err error
	if marker.Written, err = t.later(c, name, old); err != nil {
		return err
	}
	if c.Versioning == VersioningEnabled {
		marker.Version = versionID(marker.Written)
	}
	result.Version, result.DeleteMarker = marker.Version, true
	dropped, err := t.retire(c, name, old)
	if err != nil {
		return err
	}
	if old != nil {
		if err := t.s.objects.Delete(t.Tx, old.key()); err != nil {
			return err
		}
	}
	if dropped {
		if err := t.release(old.Content, old.Composite); err != nil {
			return err
		}
	}
	return t.s.versions.Insert(t.Tx, &marker)
}

// deleteVersion removes a version for good. Where it was the newest, the one before is current again.
func (t *txn) deleteVersion(c *Container, name string, spec *DeleteSpec, result *Deleted) error {
	current, err := t.current(c.ID, name)
	if err != nil {
		return err
	}
	row := current
	if row == nil || row.Version != spec.Version {
		if row, err = t.s.older(t.Tx, c.ID, name, spec.Version); err != nil {
			return err
		}
	}
	if row == nil {
		return fmt.Errorf("%.80q of %.80q: %w", spec.Version, name, ErrNoVersion)
	}
	if err := spec.Conditions.check(row.state(t.s.now()), false); err != nil {
		return err
	}
	*result = Deleted{Version: row.Version, DeleteMarker: row.DeleteMarker, Existed: true, Count: 1}
	if row.Current {
		err = t.removeCurrent(c, row)
	} else {
		err = t.removeVersion(c, row)
	}
	if err != nil || !row.Current && current != nil {
		return err
	}
	return t.promote(c, name)
}

// promote makes the newest version current, if nothing is and it is no delete marker.
func (t *txn) promote(c *Container, name string) error {
	row, err := t.newest(c.ID, name)
	if err != nil || row == nil || row.DeleteMarker {
		return err
	}
	if err := t.s.versions.Delete(t.Tx, versionKey(row.Container, row.Name, row.Written)); err != nil {
		return err
	}
	if err := t.count(c, usage{versionBytes: -row.Size}); err != nil {
		return err
	}
	row.Current = true
	return t.putCurrent(c, row, nil)
}
