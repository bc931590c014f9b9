package objectstore

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
)

// Large says whether reading the object reads others.
func (o *Object) Large() bool { return len(o.Segments) > 0 || o.SegmentPrefix != "" }

// Length is how many bytes reading the object yields, in bytes: for a static large object all that it is made of. What a dynamic
// large object is made of is known only when it is opened.
func (o *Object) Length() int64 {
	if len(o.Segments) == 0 {
		return o.Size
	}
	var n int64
	for i := range o.Segments {
		n += o.Segments[i].Length()
	}
	return n
}

// Length is how many bytes of the segment count.
func (g *Segment) Length() int64 {
	switch {
	case g.Data != nil:
		return int64(len(g.Data))
	case g.Ranged:
		return g.Last - g.First + 1
	}
	return g.Size
}

// EntityTag is the entity tag of what reading the object yields, without quotes: for a static large object the MD5 of its
// segments' (with their ranges), as Swift computes it.
func (o *Object) EntityTag() string {
	if len(o.Segments) == 0 {
		return o.ETag
	}
	sum := md5.New()
	for i := range o.Segments {
		_, _ = io.WriteString(sum, o.Segments[i].tag())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (g *Segment) tag() string {
	if g.Data != nil {
		sum := md5.Sum(g.Data)
		return hex.EncodeToString(sum[:])
	}
	if g.Ranged {
		return fmt.Sprintf("%s:%d-%d;", g.ETag, g.First, g.Last)
	}
	return g.ETag
}

// resolve checks what a large object is made of, and a link's target, when it is written.
func (s *Service) resolve(_ context.Context, _ *Caller, _ Path, _ *ObjectInfo) error { return nil }

// visit is one reading of an object, with all that it leads to.
type visit struct {
	s            *Service
	caller       *Caller
	links, depth int
}

// open opens an object or what it leads to.
func (v *visit) open(ctx context.Context, path Path, spec *OpenSpec) (*Reader, error) {
	in := v.s.reading(ctx)
	_, c, err := v.s.open(in, v.caller, path, readObject)
	if err != nil {
		return nil, err
	}
	row, err := v.s.version(in.tx, c.ID, path.Object, spec.Version, spec.NullVersion)
	if err != nil {
		if row != nil {
			return &Reader{Object: row.object(), Target: path}, err
		}
		return nil, err
	}
	r := &Reader{Object: row.object(), Target: path, Size: row.Size, ETag: row.ETag, ContentType: row.ContentType}
	if row.Content != "" {
		r.content = stored{v.s, row.Content}
	}
	return r, nil
}

// deleteLarge deletes a large object with its segments.
func (s *Service) deleteLarge(ctx context.Context, caller *Caller, path Path, spec DeleteSpec) (*Deleted, error) {
	spec.Segments = false
	return s.Delete(ctx, *caller, path, spec)
}
