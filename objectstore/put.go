package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"syscall"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// emptyMD5 is that of no bytes.
const emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"

// PutSpec is what a content is to become.
type PutSpec struct {
	ObjectInfo
	// Size is how many bytes the content has, or -1 if nobody knows.
	Size int64
	// ETag is the content's MD5 in hexadecimal digits, or empty: a content that has another is [ErrChecksum].
	ETag       string
	Conditions Conditions
	// Verify, if not nil, is called when the content has been read whole and before anything of it is visible: what it returns
	// is returned, and nothing is kept. It may set checksums.
	Verify func(*ObjectInfo) error
}

// Put makes an object of what body yields, or replaces it. Nothing is visible, and nothing stays, if body fails or ends early
// ([ErrIncomplete]), or the content is refused: [ErrTooLarge], [ErrQuota], [ErrChecksum], [ErrPrecondition]. What body fails
// with is returned as it is. A nil body is no bytes.
func (s *Service) Put(ctx context.Context, caller Caller, path Path, spec PutSpec, body io.Reader) (*Object, error) {
	if err := s.checkObject(path); err != nil {
		return nil, err
	}
	info := spec.ObjectInfo
	if err := s.checkInfo(&info); err != nil {
		return nil, err
	}
	if err := s.paceObject(ctx, &caller, path, writeObject); err != nil {
		return nil, err
	}
	room, err := s.admit(ctx, &caller, path, &spec)
	if err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, &caller, path, &info); err != nil {
		return nil, err
	}
	kept, err := s.keep(ctx, body, &spec, &info, room)
	if err != nil {
		return nil, err
	}
	row := objectRow{Object: Object{Name: path.Object, ObjectInfo: info, Size: kept.size, ETag: kept.md5}, Content: kept.ref}
	result, err := s.place(ctx, &caller, path, row, &spec.Conditions, kept.write)
	if err != nil {
		s.giveUp(ctx, kept.ref, err)
		return nil, err
	}
	return result, nil
}

// place records an object whose content is kept, if everything still allows it; check, if not nil, has the last word.
func (s *Service) place(ctx context.Context, caller *Caller, path Path, row objectRow, conditions *Conditions, check func(*txn) error) (*Object, error) {
	var result *Object
	err := s.write(ctx, func(t *txn) error {
		a, c, err := s.open(t, caller, path, writeObject)
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
		if err := fits(a, c, old, row.Size); err != nil {
			return err
		}
		if check != nil {
			if err := check(t); err != nil {
				return err
			}
		}
		fresh := row
		if err := t.place(c, &fresh, old); err != nil {
			return err
		}
		result = fresh.object()
		return nil
	})
	return result, err
}

// admit refuses what would be refused in the end, before the content comes. It returns how many bytes there is room for.
func (s *Service) admit(ctx context.Context, caller *Caller, path Path, spec *PutSpec) (int64, error) {
	if spec.Size > s.options.MaxObjectSize {
		return 0, s.tooLarge()
	}
	if spec.Conditions.none() && s.recent.admits(s, caller, path) {
		return math.MaxInt64, nil
	}
	in := s.reading(ctx)
	a, c, err := s.open(in, caller, path, writeObject)
	if err != nil {
		return 0, err
	}
	if a.QuotaBytes == nil && a.QuotaObjects == nil && c.QuotaBytes == nil && c.QuotaObjects == nil && spec.Conditions.none() {
		return math.MaxInt64, nil
	}
	old, err := s.findObject(in.tx, c.ID, path.Object)
	if err != nil {
		return 0, err
	}
	if err := spec.Conditions.check(old.state(s.now()), false); err != nil {
		return 0, err
	}
	return roomFor(a, c, old), fits(a, c, old, max(spec.Size, 0))
}

func (s *Service) tooLarge() error {
	return fault.Wrap(ErrTooLarge, "the object is larger than the %d bytes that are allowed", s.options.MaxObjectSize)
}

// freed are the bytes that an object leaves free when it is replaced: none where it is kept as an older version.
func freed(c *Container, old *objectRow) int64 {
	if old == nil || c.Versioning == VersioningEnabled || c.Versioning == VersioningSuspended && old.Version != "" ||
		c.VersionsLocation != "" || c.HistoryLocation != "" {
		return 0
	}
	return old.Size
}

// roomFor is how large an object in place of old may be.
func roomFor(a *Account, c *Container, old *objectRow) int64 {
	room := int64(math.MaxInt64)
	if c.QuotaBytes != nil {
		room = *c.QuotaBytes - c.Bytes - c.VersionBytes + freed(c, old)
	}
	if a.QuotaBytes != nil {
		room = min(room, *a.QuotaBytes-a.Bytes-a.UploadBytes+freed(c, old))
	}
	return room
}

// fits says whether the quotas let an object of that size take the place of old.
func fits(a *Account, c *Container, old *objectRow, size int64) error {
	if roomFor(a, c, old) < size {
		return fault.Wrap(ErrQuota, "upload exceeds the quota")
	}
	if old == nil && (c.QuotaObjects != nil && c.Objects >= *c.QuotaObjects || a.QuotaObjects != nil && a.Objects >= *a.QuotaObjects) {
		return fault.Wrap(ErrQuota, "upload exceeds the quota of objects")
	}
	return nil
}

// kept is a content that nothing has yet. It is in the store, or is to be written with the record that has it.
type kept struct {
	ref, md5 string
	size     int64
	write    func(*txn) error // nil if it is in the store
}

// newRef names a content: by host and Service, so that it is known whose it was, and by time, so that it is known when.
func (s *Service) newRef() string {
	return fmt.Sprintf("%s-%s-%012x-%s", s.host, s.run, s.now().UnixMilli(), randomHex(8))
}

// keep stores a content, and checks what was said of it.
func (s *Service) keep(ctx context.Context, body io.Reader, spec *PutSpec, info *ObjectInfo, room int64) (kept, error) {
	if body == nil {
		body = strings.NewReader("")
	}
	source := &source{r: body, want: spec.Size, left: min(s.options.MaxObjectSize, room), full: s.tooLarge()}
	if room < s.options.MaxObjectSize {
		source.full = fault.Wrap(ErrQuota, "upload exceeds the quota")
	}
	k := kept{md5: emptyMD5}
	if spec.Size == 0 {
		if _, err := io.Copy(io.Discard, source); err != nil {
			return kept{}, err
		}
		return k, s.verify(&k, spec, info)
	}
	if spec.Size > 0 && spec.Size <= s.small {
		return s.keepSmall(source, spec, info)
	}
	begun := s.now()
	k.ref = s.newRef()
	content, err := s.contents.Put(ctx, k.ref, source, spec.Size)
	if err != nil {
		return kept{}, storeError(source, err)
	}
	k.size, k.md5 = content.Size, content.MD5
	err = s.verify(&k, spec, info)
	if s.now().Sub(begun) >= s.options.ReclaimAfter {
		err = errors.Join(err, fault.Wrap(ErrUnavailable, "the upload took longer than %s", s.options.ReclaimAfter))
	}
	if err != nil {
		s.discard(ctx, k.ref)
		return kept{}, err
	}
	return k, nil
}

func (s *Service) verify(k *kept, spec *PutSpec, info *ObjectInfo) error {
	if spec.ETag != "" && !strings.EqualFold(spec.ETag, k.md5) {
		return fmt.Errorf("the content's MD5 is %s, not %.40q: %w", k.md5, spec.ETag, ErrChecksum)
	}
	if spec.Verify == nil {
		return nil
	}
	if err := spec.Verify(info); err != nil {
		return err
	}
	return s.checkInfo(info)
}

func storeError(source *source, err error) error {
	switch {
	case source.err != nil:
		return source.err // as it was, without the store's words around it
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the object storage is full: %w: %w", ErrUnavailable, err)
	}
	return err
}

// giveUp discards a content that could not be recorded. One that may be recorded all the same stays, until a later start knows.
func (s *Service) giveUp(ctx context.Context, ref string, err error) {
	var unsure unsureError
	if !errors.As(err, &unsure) {
		s.discard(ctx, ref)
	} else if ref != "" {
		s.options.Log.Warn("a write failed, and its content stays until the next start", "ref", ref, "error", err)
	}
}

// discard removes a content that nothing ever had. What fails is left to a later start.
func (s *Service) discard(ctx context.Context, ref string) {
	if ref == "" || isSmall(ref) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	if err := s.contents.Remove(ctx, ref); err != nil {
		s.options.Log.Warn("the content of a refused upload stays until the next start", "ref", ref, "error", err)
	}
}

// source hands a content to the store: bounded and complete.
type source struct {
	r               io.Reader
	got, want, left int64
	full            error // what a content that is larger than left is
	err             error // what it ended with, if not well
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.got += int64(n)
	switch {
	case s.want >= 0 && s.got > s.want:
		s.err = fault.Wrap(ErrInvalid, "more came than the %d bytes that were announced", s.want)
	case s.got > s.left:
		s.err = s.full
	case err == nil:
		return n, nil
	case errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF && s.got < s.want: //nolint:errorlint // the end itself, not an error about it
		s.err = fmt.Errorf("the content ended after %d bytes: %w", s.got, ErrIncomplete)
	case err != io.EOF: //nolint:errorlint // likewise
		s.err = err
	default:
		return n, io.EOF
	}
	return 0, s.err
}

// findObject returns what is read under the name; nil if nothing is.
func (s *Service) findObject(tx *record.Tx, container, name string) (*objectRow, error) {
	row, err := s.objects.Get(tx, objectKey(container, name))
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return row, err
}

func (r *objectRow) expired(now time.Time) bool {
	return r != nil && !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now)
}
