package objectstore

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Upload is an object that is being uploaded in parts, as S3 has it.
type Upload struct {
	// ID sorts by the time of its making.
	ID string
	// Container is the container's identifier.
	Container, Name string
	ObjectInfo
	// Bytes are those of the parts that were uploaded.
	Bytes     int64
	CreatedAt time.Time
	Revision  int64 `json:"-"`
}

// UploadPart is a part that was uploaded.
type UploadPart struct {
	Number    int
	Size      int64
	ETag      string
	Checksums map[string]string `json:",omitempty"`
	CreatedAt time.Time
}

// CompletedPart is a part that an object is to be made of. With Checksums the part must have them.
type CompletedPart struct {
	Number    int
	ETag      string
	Checksums map[string]string
}

// UploadEntry is an upload, or a Prefix that others have in common.
type UploadEntry struct {
	*Upload
	Prefix string
}

// UploadList is a page.
type UploadList struct {
	Entries   []UploadEntry
	Truncated bool
}

// CreateUpload begins an upload: nothing is visible of it until [Service.CompleteUpload].
func (s *Service) CreateUpload(ctx context.Context, caller Caller, path Path, info ObjectInfo) (*Upload, error) {
	if err := s.checkObject(path); err != nil {
		return nil, err
	}
	if err := s.checkInfo(&info); err != nil {
		return nil, err
	}
	if info.Segments != nil || info.SegmentPrefix != "" || info.Link != nil {
		return nil, fault.Wrap(ErrInvalid, "an object that is uploaded in parts is no large object and no link")
	}
	if err := s.paceObject(ctx, &caller, path, writeObject); err != nil {
		return nil, err
	}
	u := &Upload{ID: fmt.Sprintf("%016x%s", s.clock.next(s.now()), randomHex(8)), Name: path.Object, ObjectInfo: info, CreatedAt: s.now()}
	err := s.write(ctx, func(t *txn) error {
		_, c, err := s.open(t, &caller, path, writeObject)
		if err != nil {
			return err
		}
		t.wrote++
		u.Container = c.ID
		return s.uploads.Insert(t.Tx, u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// uploading returns the account, the container and the upload, if the caller may go on with it.
func (s *Service) uploading(in finder, tx *record.Tx, caller *Caller, path Path, upload string) (*Account, *Container, *Upload, error) {
	a, c, err := s.open(in, caller, path, writeObject)
	if err != nil {
		return nil, nil, nil, err
	}
	u, err := s.uploads.Get(tx, upload)
	if errors.Is(err, ErrNotFound) || err == nil && (u.Container != c.ID || u.Name != path.Object) {
		return nil, nil, nil, fmt.Errorf("%.80q of %.80q: %w", upload, path.Object, ErrNoUpload)
	}
	return a, c, u, err
}

func (s *Service) checkPart(path Path, upload string, number int) error {
	if err := s.checkObject(path); err != nil {
		return err
	}
	if number < 1 || number > s.options.MaxParts {
		return fault.Wrap(ErrInvalid, "part number %d is not between 1 and %d", number, s.options.MaxParts)
	}
	return checkText("upload", upload)
}

// PutPart uploads a part, or replaces it. Of the spec's information the checksums are kept; its conditions are not looked at.
func (s *Service) PutPart(ctx context.Context, caller Caller, path Path, upload string, number int, spec PutSpec, body io.Reader) (*UploadPart, error) {
	if err := s.checkPart(path, upload, number); err != nil {
		return nil, err
	}
	if spec.Size > s.options.MaxObjectSize {
		return nil, s.tooLarge()
	}
	if err := s.paceObject(ctx, &caller, path, writeObject); err != nil {
		return nil, err
	}
	in := s.reading(ctx)
	a, c, _, err := s.uploading(in, in.tx, &caller, path, upload)
	if err != nil {
		return nil, err
	}
	if err := fits(a, c, &objectRow{}, max(spec.Size, 0)); err != nil {
		return nil, err
	}
	info := spec.ObjectInfo
	kept, err := s.keep(ctx, body, &spec, &info, roomFor(a, c, nil))
	if err != nil {
		return nil, err
	}
	row := partRow{Upload: upload, Content: kept.ref, UploadPart: UploadPart{Number: number, Size: kept.size, ETag: kept.md5, Checksums: info.Checksums}}
	part, err := s.placePart(ctx, &caller, path, row, kept.write)
	if err != nil {
		s.giveUp(ctx, kept.ref, err)
		return nil, err
	}
	return part, nil
}

// placePart records a part; check, if not nil, has the last word.
func (s *Service) placePart(ctx context.Context, caller *Caller, path Path, row partRow, check func(t *txn) error) (*UploadPart, error) {
	row.CreatedAt = s.now()
	err := s.write(ctx, func(t *txn) error {
		a, c, u, err := s.uploading(t, t.Tx, caller, path, row.Upload)
		if err != nil {
			return err
		}
		old, err := s.parts.Get(t.Tx, partKey(row.Upload, row.Number))
		if errors.Is(err, ErrNotFound) {
			old = nil
		} else if err != nil {
			return err
		}
		if err := fits(a, c, &objectRow{}, row.Size); err != nil {
			return err
		}
		if check != nil {
			if err := check(t); err != nil {
				return err
			}
		}
		return t.putPart(c, u, row, old)
	})
	if err != nil {
		return nil, err
	}
	return &row.UploadPart, nil
}

func (t *txn) putPart(c *Container, u *Upload, row partRow, old *partRow) error {
	t.wrote++
	more, save := row.Size, t.s.parts.Insert
	if old != nil {
		more, save, row.Revision = row.Size-old.Size, t.s.parts.Update, old.Revision
	}
	if err := save(t.Tx, &row); err != nil {
		return err
	}
	u.Bytes += more
	if err := t.s.uploads.Update(t.Tx, u); err != nil {
		return err
	}
	if err := t.count(c, usage{uploadBytes: more}); err != nil || old == nil {
		return err
	}
	return t.release(old.Content, false)
}

// CompleteUpload makes an object of an upload's parts, in their order. Parts that are not named are dropped. It returns
// [ErrPart], [ErrPartOrder] or [ErrPartTooSmall], and the upload goes on.
func (s *Service) CompleteUpload(ctx context.Context, caller Caller, path Path, upload string, parts []CompletedPart, conditions Conditions) (*Object, error) {
	if err := s.checkPart(path, upload, 1); err != nil {
		return nil, err
	}
	if err := s.checkOrder(parts); err != nil {
		return nil, err
	}
	if err := s.paceObject(ctx, &caller, path, writeObject); err != nil {
		return nil, err
	}
	var result *Object
	err := s.write(ctx, func(t *txn) error {
		a, c, u, err := s.uploading(t, t.Tx, &caller, path, upload)
		if err != nil {
			return err
		}
		old, err := t.current(c.ID, path.Object)
		if err != nil {
			return err
		}
		if err := conditions.check(old.state(s.now()), false); err != nil {
			return err
		}
		row := objectRow{Content: upload, Composite: true, Object: Object{Name: path.Object, ObjectInfo: u.ObjectInfo}}
		others, err := t.pick(&row, parts)
		if err != nil {
			return err
		}
		counted := *a
		counted.UploadBytes -= u.Bytes
		if err := fits(&counted, c, old, row.Size); err != nil {
			return err
		}
		if err := t.place(c, &row, old); err != nil {
			return err
		}
		result = row.object()
		return t.complete(c, u, others)
	})
	return result, err
}

func (s *Service) checkOrder(parts []CompletedPart) error {
	if len(parts) == 0 || len(parts) > s.options.MaxParts {
		return fault.Wrap(ErrInvalid, "an object has 1 to %d parts, not %d", s.options.MaxParts, len(parts))
	}
	for i := 1; i < len(parts); i++ {
		if parts[i].Number <= parts[i-1].Number {
			return fmt.Errorf("part %d comes after part %d: %w", parts[i].Number, parts[i-1].Number, ErrPartOrder)
		}
	}
	return nil
}

// pick adds the parts up in row, and returns those that are not among them.
func (t *txn) pick(row *objectRow, parts []CompletedPart) (others []partRow, err error) {
	have, err := t.s.partRange(t.Tx, row.Content, 0, 0)
	if err != nil {
		return nil, err
	}
	sum, i := md5.New(), 0
	for _, part := range parts {
		for ; i < len(have) && have[i].Number < part.Number; i++ {
			others = append(others, have[i])
		}
		if i == len(have) || have[i].Number != part.Number || !part.is(&have[i].UploadPart) {
			return nil, fmt.Errorf("part %d with the entity tag %.40q: %w", part.Number, part.ETag, ErrPart)
		}
		if have[i].Size < t.s.options.MinPartSize && part.Number != parts[len(parts)-1].Number {
			return nil, fmt.Errorf("part %d has %d bytes of %d: %w", part.Number, have[i].Size, t.s.options.MinPartSize, ErrPartTooSmall)
		}
		addTag(sum, have[i].ETag)
		row.Size += have[i].Size
		i++
	}
	row.PartCount = len(parts)
	row.ETag = fmt.Sprintf("%x-%d", sum.Sum(nil), len(parts))
	return append(others, have[i:]...), nil
}

func addTag(sum hash.Hash, etag string) {
	raw, _ := hex.DecodeString(etag) // the store made it
	_, _ = sum.Write(raw)
}

func (p *CompletedPart) is(have *UploadPart) bool {
	for algorithm, checksum := range p.Checksums {
		if have.Checksums[algorithm] != checksum {
			return false
		}
	}
	return strings.EqualFold(strings.Trim(p.ETag, `"`), have.ETag)
}

// complete ends an upload whose parts are an object's now.
func (t *txn) complete(c *Container, u *Upload, others []partRow) error {
	for i := range others {
		if err := t.dropPart(&others[i]); err != nil {
			return err
		}
	}
	if err := t.s.uploads.Delete(t.Tx, u.ID); err != nil {
		return err
	}
	return t.count(c, usage{uploadBytes: -u.Bytes})
}

func (t *txn) dropPart(p *partRow) error {
	if err := t.s.parts.Delete(t.Tx, partKey(p.Upload, p.Number)); err != nil {
		return err
	}
	return t.release(p.Content, false)
}

// partRange returns the parts of an upload, or of the object that came of it, behind a number; no limit is all.
func (s *Service) partRange(tx *record.Tx, upload string, behind, limit int) ([]partRow, error) {
	return s.parts.List(tx, record.Query{
		Where: []record.Condition{record.Gt("id", partKey(upload, behind)), record.Lt("id", behindAll(upload))}, Limit: limit,
	})
}

// AbortUpload gives an upload up. Its parts are gone.
func (s *Service) AbortUpload(ctx context.Context, caller Caller, path Path, upload string) error {
	if err := s.checkPart(path, upload, 1); err != nil {
		return err
	}
	return s.write(ctx, func(t *txn) error {
		_, c, u, err := s.uploading(t, t.Tx, &caller, path, upload)
		if err != nil {
			return err
		}
		return t.abort(c, u)
	})
}

func (t *txn) abort(c *Container, u *Upload) error {
	t.wrote++
	if err := t.s.uploads.Delete(t.Tx, u.ID); err != nil {
		return err
	}
	if err := t.count(c, usage{uploadBytes: -u.Bytes}); err != nil {
		return err
	}
	return t.throwAway(u.ID, true)
}

// abortUploads gives all uploads to a container up.
func (t *txn) abortUploads(c *Container) error {
	all, err := t.s.uploads.List(t.Tx, record.Query{Where: []record.Condition{record.Eq("container", c.ID)}})
	for i := range all {
		if err := t.abort(c, &all[i]); err != nil {
			return err
		}
	}
	return err
}

// Upload returns an upload and its parts, in their order.
func (s *Service) Upload(ctx context.Context, caller Caller, path Path, upload string) (*Upload, []UploadPart, error) {
	if err := s.checkPart(path, upload, 1); err != nil {
		return nil, nil, err
	}
	in := s.reading(ctx)
	_, _, u, err := s.uploading(in, in.tx, &caller, path, upload)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.partRange(in.tx, upload, 0, 0)
	return u, uploadParts(rows), err
}

func uploadParts(rows []partRow) []UploadPart {
	parts := make([]UploadPart, len(rows))
	for i := range rows {
		parts[i] = rows[i].UploadPart
	}
	return parts
}

// Uploads lists the unfinished uploads to a container, by name and then by time; a VersionMarker is an upload's identifier. It
// does not list in reverse.
func (s *Service) Uploads(ctx context.Context, caller Caller, path Path, l Listing) (UploadList, error) {
	tx, c, err := s.listed(ctx, &caller, path, &l)
	if err != nil {
		return UploadList{}, err
	}
	if l.Reverse {
		return UploadList{}, fault.Wrap(ErrUnsupported, "uploads are not listed in reverse")
	}
	rows, truncated, err := walk(l, l.VersionMarker,
		func(sp span, n int) ([]Upload, error) { return scanNames(s.uploads, tx, c.ID, "id", sp, n) },
		func(u *Upload) (string, string) { return u.Name, u.ID })
	list := UploadList{Truncated: truncated, Entries: make([]UploadEntry, len(rows))}
	for i, f := range rows {
		list.Entries[i] = UploadEntry{Upload: f.row, Prefix: f.prefix}
	}
	return list, err
}
