package objectstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/kintoun/kintoun/internal/record"
)

// OpenSpec says what of an object to open.
type OpenSpec struct {
	// Version names a version, and NullVersion the one that was written without versioning; else it is the current one.
	Version     string
	NullVersion bool
	// NoFollow opens a symbolic link itself, and Manifest a large object's manifest.
	NoFollow, Manifest bool
	Conditions         Conditions
	// Part opens that part of an object that was uploaded in parts, or that segment of a static large object, from 1 on; zero
	// is all of it.
	Part int
}

// Open opens an object for reading, and evaluates the conditions. With [ErrNotModified], [ErrPrecondition] and [ErrDeleteMarker]
// comes a Reader that says of which object.
func (s *Service) Open(ctx context.Context, caller Caller, path Path, spec OpenSpec) (*Reader, error) {
	if err := s.checkObject(path); err != nil {
		return nil, err
	}
	v := &visit{s: s, caller: &caller}
	r, err := v.open(ctx, path, &spec)
	if err != nil {
		return r, err
	}
	return r, spec.Conditions.check(&state{etag: r.ETag, modified: r.Object.LastModified()}, true)
}

// version returns a version of an object, with [ErrNoObject] or [ErrNoVersion]. A delete marker comes with [ErrDeleteMarker].
func (s *Service) version(tx *record.Tx, container, name, version string, null bool) (*objectRow, error) {
	row, err := s.findObject(tx, container, name)
	if err != nil {
		return nil, err
	}
	if version == "" && !null {
		if row.expired(s.now()) {
			row = nil
		}
		if row == nil {
			return s.markedOrMissing(tx, container, name)
		}
		return row, nil
	}
	if row == nil || row.Version != version || null && row.Version != "" {
		if row, err = s.older(tx, container, name, version); err != nil {
			return nil, err
		}
	}
	switch {
	case row == nil:
		return nil, fmt.Errorf("%.80q of %.80q: %w", version, name, ErrNoVersion)
	case row.expired(s.now()):
		return nil, fmt.Errorf("%.80q: %w", name, ErrNoObject)
	case row.DeleteMarker:
		return row, fmt.Errorf("%.80q: %w", name, ErrDeleteMarker)
	}
	return row, nil
}

// markedOrMissing says why there is no current object.
func (s *Service) markedOrMissing(tx *record.Tx, container, name string) (*objectRow, error) {
	newest, err := (&txn{Tx: tx, s: s}).newest(container, name)
	if err != nil {
		return nil, err
	}
	if newest != nil && newest.DeleteMarker {
		newest.Current = true
		return newest, fmt.Errorf("%.80q: %w", name, ErrDeleteMarker)
	}
	return nil, fmt.Errorf("%.80q: %w", name, ErrNoObject)
}

// older returns an older version, the one without a version if that is empty; nil if there is none.
func (s *Service) older(tx *record.Tx, container, name, version string) (*objectRow, error) {
	if version == "" {
		rows, err := s.versions.List(tx, record.Query{
			Where: []record.Condition{record.Eq("container", container), record.Eq("name", name), record.Eq("version", "")}, Limit: 1,
		})
		if err != nil || len(rows) == 0 {
			return nil, err
		}
		return &rows[0], nil
	}
	written, ok := versionWritten(version)
	if !ok {
		return nil, nil
	}
	row, err := s.versions.Get(tx, versionKey(container, name, written))
	if errors.Is(err, ErrNotFound) || err == nil && row.Version != version {
		return nil, nil
	}
	return row, err
}
