package objectstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
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

// visit is one reading of an object, with all that it leads to.
type visit struct {
	s      *Service
	caller *Caller
	// links and depth are how many links were followed, and how many large objects this is within.
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
	r := &Reader{Object: row.object(), Target: path, Size: row.Size, ETag: row.ETag, ContentType: row.ContentType, row: row, s: v.s}
	switch {
	case row.Link != nil && !spec.NoFollow:
		return v.follow(ctx, r, spec)
	case len(row.Segments) > 0 && !spec.Manifest:
		return r, v.openStatic(r, spec.Part)
	case row.SegmentPrefix != "" && !spec.Manifest && v.depth == 0:
		return r, v.openDynamic(ctx, in.tx, r)
	case row.Composite:
		return r, v.openParts(in.tx, r, spec.Part)
	case spec.Part > 1:
		return r, fmt.Errorf("part %d of %s, which was not uploaded in parts: %w", spec.Part, path, ErrRange)
	}
	r.content = stored{v.s, row.Content}
	return r, nil
}

// follow opens what a link leads to.
func (v *visit) follow(ctx context.Context, link *Reader, spec *OpenSpec) (*Reader, error) {
	if v.links++; v.links > v.s.options.MaxLinks {
		return link, fmt.Errorf("%s: more than %d links lead on to each other: %w", link.Target, v.s.options.MaxLinks, ErrSegment)
	}
	l := link.Object.Link
	r, err := v.open(ctx, l.target(link.Target.Account), &OpenSpec{Manifest: spec.Manifest, Part: spec.Part})
	if r != nil {
		r.Link = link.Object
	}
	if err == nil && l.ETag != "" && r.ETag != l.ETag && r.Object.EntityTag() != l.ETag {
		err = fmt.Errorf("%s: the link's target has the entity tag %s, not %s: %w", link.Target, r.ETag, l.ETag, ErrSegment)
	}
	return r, err
}

// openStatic opens what a static large object is made of, or one of its segments.
func (v *visit) openStatic(r *Reader, number int) error {
	inner := *v
	inner.links = 0
	if inner.depth++; inner.depth > v.s.options.MaxDepth {
		return fmt.Errorf("%s: large objects lie more than %d deep in each other: %w", r.Target, v.s.options.MaxDepth, ErrSegment)
	}
	r.Size, r.ETag, r.Large = r.Object.Length(), r.Object.EntityTag(), true
	account, segments := r.Target.Account, r.Object.Segments
	r.content = assembled{pieces: func(context.Context) iter.Seq2[piece, error] {
		return func(yield func(piece, error) bool) {
			for i := range segments {
				g := &segments[i]
				if !yield(piece{size: g.Length(), ranger: segment{inner, account, g}}, nil) {
					return
				}
			}
		}
	}}
	if number == 0 {
		return nil
	}
	if number > len(segments) {
		return fmt.Errorf("part %d of %s: %w", number, r.Target, ErrRange)
	}
	for i := range segments[:number-1] {
		r.First += segments[i].Length()
	}
	r.Size = segments[number-1].Length()
	return nil
}

// PartTotal is how many parts the object has that can be asked for one by one: its segments, those that it was uploaded in, or
// the whole as one.
func (o *Object) PartTotal() int { return max(1, len(o.Segments), o.PartCount) }

// segment is an element of a large object.
type segment struct {
	visit   visit
	account string
	*Segment
}

func (g segment) open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if g.Data != nil {
		return io.NopCloser(bytes.NewReader(g.Data[offset : offset+length])), nil
	}
	path := Path{Account: g.account, Container: g.Container, Object: g.Name}
	r, err := g.visit.open(ctx, path, &OpenSpec{})
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w: %w", path, ErrSegment, err)
	}
	if r.Size != g.Size || r.ETag != g.ETag {
		return nil, fmt.Errorf("segment %s has %d bytes and the entity tag %s, not %d and %s: %w", path, r.Size, r.ETag, g.Size, g.ETag, ErrSegment)
	}
	return r.Range(ctx, g.First+offset, length)
}

// openDynamic finds what a dynamic large object is made of, page by page, to know how much it is.
func (v *visit) openDynamic(ctx context.Context, tx *record.Tx, r *Reader) error {
	inner := *v
	inner.links, inner.depth = 0, v.depth+1
	container, prefix, _ := strings.Cut(r.Object.SegmentPrefix, "/")
	path := Path{Account: r.Target.Account, Container: container}
	_, c, err := v.s.open(reader{v.s, tx}, v.caller, path, readList)
	r.Large = true
	var id string
	switch {
	case errors.Is(err, ErrNoContainer): // nothing is there yet
	case err != nil:
		return err
	default:
		id = c.ID
	}
	content := assembled{pieces: func(ctx context.Context) iter.Seq2[piece, error] {
		return inner.matching(ctx, id, path.Account, prefix)
	}}
	r.content, r.Size = content, 0
	sum := md5.New()
	for p, err := range content.pieces(ctx) {
		if err != nil {
			return err
		}
		if r.Size += p.size; r.Size > maxLength {
			return fault.Wrap(ErrTooLarge, "%s: the segments are more than %d bytes", r.Target, int64(maxLength))
		}
		_, _ = io.WriteString(sum, p.ranger.(segment).ETag)
	}
	r.ETag = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// matching yields the objects of a container that begin with the prefix, as segments. Dynamic large objects among them count
// with their own content: they could lead here.
func (v *visit) matching(ctx context.Context, container, account, prefix string) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		sp := span{low: prefix, high: successor(prefix)}
		for container != "" {
			rows, err := v.s.objectRange(v.s.records.Read(ctx), container, sp, manySegments)
			if err != nil {
				yield(piece{}, err)
				return
			}
			for i := range rows {
				if sp.low, sp.above = rows[i].Name, true; rows[i].expired(v.s.now()) {
					continue
				}
				p, err := v.dynamicPiece(ctx, account, &rows[i])
				if !yield(p, err) || err != nil {
					return
				}
			}
			if len(rows) < manySegments {
				return
			}
		}
	}
}

// manySegments are those of one page.
const manySegments = 1000

func (v *visit) dynamicPiece(ctx context.Context, account string, row *objectRow) (piece, error) {
	path := pathOf(row.key())
	g := &Segment{Container: path.Container, Name: row.Name, Size: row.Length(), ETag: row.EntityTag()}
	if row.Link != nil {
		to := *v
		r, err := to.open(ctx, path, &OpenSpec{})
		if err != nil {
			return piece{}, fmt.Errorf("segment %s: %w: %w", path, ErrSegment, err)
		}
		g.Size, g.ETag = r.Size, r.ETag
	}
	return piece{size: g.Size, ranger: segment{*v, account, g}}, nil
}

// openParts opens an object that was uploaded in parts, or one of them.
func (v *visit) openParts(tx *record.Tx, r *Reader, number int) error {
	s, upload := v.s, r.row.Content
	r.content = assembled{hold: func() func() { return s.pins.hold(upload) }, pieces: func(ctx context.Context) iter.Seq2[piece, error] {
		return func(yield func(piece, error) bool) {
			for behind := 0; ; {
				rows, err := s.partRange(s.records.Read(ctx), upload, behind, manySegments)
				if err != nil {
					yield(piece{}, err)
					return
				}
				for i := range rows {
					behind = rows[i].Number
					if !yield(piece{size: rows[i].Size, ranger: stored{s, rows[i].Content}}, nil) {
						return
					}
				}
				if len(rows) < manySegments {
					return
				}
			}
		}
	}}
	if number == 0 {
		return nil
	}
	rows, err := s.partRange(tx, upload, 0, 0)
	if err != nil {
		return err
	}
	for i := range rows {
		if rows[i].Number == number {
			r.Size = rows[i].Size
			return nil
		}
		r.First += rows[i].Size
	}
	return fmt.Errorf("part %d of %s: %w", number, r.Target, ErrRange)
}
