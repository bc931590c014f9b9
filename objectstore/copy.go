package objectstore

import (
	"context"
)

// CopySpec says how to copy.
type CopySpec struct {
	// Version names the source's version, and NullVersion the one that was written without versioning; else it is the current
	// one.
	Version     string
	NullVersion bool
	// Replace has the copy's ObjectInfo be the one given here; else it is the source's.
	Replace bool
	ObjectInfo
	// SourceConditions are about the source, and Conditions about what is to be replaced.
	SourceConditions, Conditions Conditions
	// NoFollow copies a symbolic link itself, and Manifest a large object's manifest.
	NoFollow, Manifest bool
}

// Copy makes a copy of an object, which shares the content with it where that is one.
func (s *Service) Copy(ctx context.Context, caller Caller, from, to Path, spec CopySpec) (*Object, error) {
	if err := s.checkObject(to); err != nil {
		return nil, err
	}
	r, err := s.Open(ctx, caller, from, OpenSpec{Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: spec.NoFollow, Manifest: spec.Manifest})
	if err != nil {
		return nil, err
	}
	info := r.Object.ObjectInfo
	if spec.Replace {
		info = spec.ObjectInfo
	}
	body, err := r.Range(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return s.Put(ctx, caller, to, PutSpec{ObjectInfo: info, Size: r.Size, Conditions: spec.Conditions}, body)
}
