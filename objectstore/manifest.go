package objectstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
)

// maxLength bounds what large objects add up to, so that sizes are numbers everywhere: 4 EiB.
const maxLength = 1 << 62

// resolve checks what a large object is made of, and a link's target, when it is written; and fills in what it finds.
func (s *Service) resolve(ctx context.Context, caller *Caller, path Path, info *ObjectInfo) error {
	v := &visit{s: s, caller: caller, depth: 1}
	switch {
	case info.Link != nil:
		link := *info.Link
		info.Link = &link
		return v.resolveLink(ctx, path, &link)
	case info.SegmentPrefix != "":
		container, _, found := strings.Cut(info.SegmentPrefix, "/")
		if !found || container == "" {
			return fault.Wrap(ErrInvalid, "%.80q does not name a container and a prefix of segments", info.SegmentPrefix)
		}
		return checkText("the prefix of segments", info.SegmentPrefix)
	case len(info.Segments) > s.options.MaxSegments:
		return fault.Wrap(ErrTooLarge, "%d segments are more than %d", len(info.Segments), s.options.MaxSegments)
	}
	info.Segments = slices.Clone(info.Segments)
	var total int64
	for i := range info.Segments {
		g := &info.Segments[i]
		if err := v.resolveSegment(ctx, path.Account, g); err != nil {
			return err
		}
		if total += g.Length(); total > maxLength {
			return fault.Wrap(ErrTooLarge, "the segments are more than %d bytes", int64(maxLength))
		}
	}
	return nil
}

func (v *visit) resolveLink(ctx context.Context, path Path, link *Link) error {
	target := link.target(path.Account)
	if err := v.s.checkObject(target); err != nil {
		return err
	}
	if target == path {
		return fault.Wrap(ErrInvalid, "%s: a link to itself", path)
	}
	if link.ETag == "" {
		return nil
	}
	r, err := v.open(ctx, target, &OpenSpec{Manifest: true})
	if err != nil {
		return fmt.Errorf("the link's target: %w: %w", ErrSegment, err)
	}
	if r.ETag != link.ETag && r.Object.EntityTag() != link.ETag {
		return fmt.Errorf("the link's target %s has the entity tag %s, not %.40q: %w", target, r.ETag, link.ETag, ErrSegment)
	}
	link.Size, link.ContentType = r.Object.Length(), r.Object.ContentType
	return nil
}

func (l *Link) target(account string) Path {
	if l.Account != "" {
		account = l.Account
	}
	return Path{Account: account, Container: l.Container, Object: l.Object}
}

// resolveSegment compares a segment with what is said of it.
func (v *visit) resolveSegment(ctx context.Context, account string, g *Segment) error {
	if g.Data != nil {
		if len(g.Data) == 0 {
			return fault.Wrap(ErrInvalid, "a segment's data is empty")
		}
		return nil
	}
	path := Path{Account: account, Container: g.Container, Object: g.Name}
	if err := v.s.checkObject(path); err != nil {
		return err
	}
	inner := *v
	r, err := inner.open(ctx, path, &OpenSpec{})
	if err != nil {
		return fmt.Errorf("segment %s: %w: %w", path, ErrSegment, err)
	}
	if g.ETag != "" && g.ETag != r.ETag || g.Size >= 0 && g.Size != r.Size {
		return fmt.Errorf("segment %s has %d bytes and the entity tag %s, not %d and %.40q: %w", path, r.Size, r.ETag, g.Size, g.ETag, ErrSegment)
	}
	g.ETag, g.Size, g.SubManifest = r.ETag, r.Size, len(r.Object.Segments) > 0
	g.ContentType, g.ModifiedAt = r.ContentType, r.Object.LastModified()
	switch {
	case g.Size == 0:
		return fault.Wrap(ErrInvalid, "segment %s is empty", path)
	case g.Ranged && (g.First < 0 || g.Last < g.First || g.Last >= g.Size):
		return fmt.Errorf("bytes %d to %d of segment %s, which has %d: %w", g.First, g.Last, path, g.Size, ErrRange)
	}
	return nil
}

// deleteLarge deletes a static large object with all that it is made of. What of it cannot be deleted is told in the result.
func (s *Service) deleteLarge(ctx context.Context, caller *Caller, path Path, spec DeleteSpec) (*Deleted, error) {
	result := &Deleted{Failed: map[Path]error{}}
	if err := s.deleteSegments(ctx, caller, path, 1, result); err != nil {
		return nil, err
	}
	spec.Segments = false
	last, err := s.Delete(ctx, *caller, path, spec)
	if err != nil {
		return result, err
	}
	result.Version, result.DeleteMarker, result.Existed = last.Version, last.DeleteMarker, last.Existed
	result.Count++
	return result, nil
}

func (s *Service) deleteSegments(ctx context.Context, caller *Caller, path Path, depth int, result *Deleted) error {
	in := s.reading(ctx)
	_, c, err := s.open(in, caller, path, deleteObject)
	if err != nil {
		return err
	}
	row, err := s.version(in.tx, c.ID, path.Object, "", false)
	switch {
	case err != nil:
		return err
	case len(row.Segments) == 0:
		return fault.Wrap(ErrInvalid, "%s is not a static large object", path)
	case depth > s.options.MaxDepth:
		return fmt.Errorf("%s: large objects lie more than %d deep in each other: %w", path, s.options.MaxDepth, ErrSegment)
	}
	for i := range row.Segments {
		g := &row.Segments[i]
		if g.Data != nil {
			continue
		}
		at := Path{Account: path.Account, Container: g.Container, Object: g.Name}
		err := error(nil)
		if g.SubManifest {
			err = s.deleteSegments(ctx, caller, at, depth+1, result)
		}
		if err == nil {
			_, err = s.Delete(ctx, *caller, at, DeleteSpec{})
		}
		switch {
		case err == nil:
			result.Count++
		case errors.Is(err, ErrNotFound):
			result.Missing++
		case ctx.Err() != nil:
			return err
		default:
			result.Failed[at] = err
		}
	}
	return nil
}
