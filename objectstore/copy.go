package objectstore

import (
	"context"
	"fmt"

	"github.com/kintoun/kintoun/internal/fault"
)

// CopySpec says how to copy.
type CopySpec struct {
	// Version names the source's version, and NullVersion the one that was written without versioning; else it is the current
	// one.
	Version     string
	NullVersion bool
	// Replace has the copy's ObjectInfo be the one given here (but for checksums, if it has none); else it is the source's.
	Replace bool
	ObjectInfo
	// SourceConditions are about the source, and Conditions about what is to be replaced.
	SourceConditions, Conditions Conditions
	// NoFollow copies a symbolic link itself, and Manifest a large object's manifest.
	NoFollow, Manifest bool
}

// Copy makes a copy of an object, which shares the content with it: no byte is copied. A large object, unless its manifest is
// asked for, is read, and written as one object.
func (s *Service) Copy(ctx context.Context, caller Caller, from, to Path, spec CopySpec) (*Object, error) {
	if err := s.checkObject(from); err != nil {
		return nil, err
	}
	if err := s.checkObject(to); err != nil {
		return nil, err
	}
	open := OpenSpec{Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: spec.NoFollow, Manifest: spec.Manifest}
	r, err := s.source(ctx, &caller, from, &open, &spec.SourceConditions)
	if err != nil {
		return nil, err
	}
	info := spec.info(r)
	if err := s.checkInfo(&info); err != nil {
		return nil, err
	}
	put := PutSpec{ObjectInfo: info, Size: r.Size, Conditions: spec.Conditions}
	if r.Large {
		body, err := r.Range(ctx, 0, -1)
		if err != nil {
			return nil, err
		}
		defer func() { _ = body.Close() }()
		return s.Put(ctx, caller, to, put, body)
	}
	if err := s.paceObject(ctx, &caller, to, writeObject); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, &caller, to, &info); err != nil {
		return nil, err
	}
	row := objectRow{Object: *r.Object, Content: r.row.Content, Composite: r.row.Composite}
	row.Name, row.ObjectInfo = to.Object, info
	return s.place(ctx, &caller, to, row, &spec.Conditions, func(t *txn) error { return t.still(r.row) })
}

// source opens what is to be copied.
func (s *Service) source(ctx context.Context, caller *Caller, from Path, spec *OpenSpec, conditions *Conditions) (*Reader, error) {
	r, err := (&visit{s: s, caller: caller}).open(ctx, from, spec)
	if err != nil {
		return nil, err
	}
	return r, conditions.check(&state{etag: r.ETag, modified: r.Object.LastModified()}, false)
}

// info is what the copy is.
func (spec *CopySpec) info(r *Reader) ObjectInfo {
	info := r.Object.ObjectInfo
	if spec.Replace {
		info = spec.ObjectInfo
		if info.Checksums == nil && !r.Large {
			info.Checksums = r.Object.Checksums
		}
	}
	if r.Large {
		info.Segments, info.SegmentPrefix, info.Checksums = nil, "", nil
	}
	return info
}

// still makes sure that the row that was read has its content yet: else it could be gone before the copy has it.
func (t *txn) still(row *objectRow) error {
	if row.Content == "" {
		return nil
	}
	now, err := t.current(row.Container, row.Name)
	if err == nil && (now == nil || now.Content != row.Content) {
		now, err = t.s.older(t.Tx, row.Container, row.Name, row.Version)
	}
	if err != nil {
		return err
	}
	if now == nil || now.Content != row.Content {
		return fmt.Errorf("%.80q was replaced while it was copied: %w", row.Name, ErrConflict)
	}
	return nil
}

// CopyPartSpec says what to make a part of.
type CopyPartSpec struct {
	Version     string
	NullVersion bool
	// First and Last are the bytes that count, if Ranged.
	Ranged      bool
	First, Last int64
	Conditions  Conditions
}

// CopyPart makes a part of an object, or of a range of it. A part that is a whole object shares its content.
func (s *Service) CopyPart(ctx context.Context, caller Caller, from Path, spec CopyPartSpec, to Path, upload string, number int) (*UploadPart, error) {
	if err := s.checkObject(from); err != nil {
		return nil, err
	}
	if err := s.checkPart(to, upload, number); err != nil {
		return nil, err
	}
	r, err := s.source(ctx, &caller, from, &OpenSpec{Version: spec.Version, NullVersion: spec.NullVersion}, &spec.Conditions)
	if err != nil {
		return nil, err
	}
	first, size := int64(0), r.Size
	if spec.Ranged {
		first, size = spec.First, spec.Last-spec.First+1
		if first < 0 || spec.Last < first || spec.Last >= r.Size {
			return nil, fmt.Errorf("bytes %d to %d of %s, which has %d: %w", first, spec.Last, from, r.Size, ErrRange)
		}
	}
	if size > s.options.MaxObjectSize {
		return nil, fault.Wrap(ErrTooLarge, "the part is larger than the %d bytes that are allowed", s.options.MaxObjectSize)
	}
	if !r.Large && !r.row.Composite && size == r.Size {
		if err := s.paceObject(ctx, &caller, to, writeObject); err != nil {
			return nil, err
		}
		row := partRow{Upload: upload, Content: r.row.Content, UploadPart: UploadPart{Number: number, Size: size, ETag: r.ETag}}
		return s.placePart(ctx, &caller, to, row, func(t *txn) error { return t.still(r.row) })
	}
	body, err := r.Range(ctx, first, size)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return s.PutPart(ctx, caller, to, upload, number, PutSpec{Size: size}, body)
}
