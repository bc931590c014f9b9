package objectstore

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// small is a content that is kept in the database, because its store would rather not have it: it is written, and flushed to the
// disk, in one transaction with the object that has it.
type small struct {
	Ref, MD5 string
	Data     []byte
	Revision int64 `json:"-"`
}

var smallTable = record.Spec[small]{
	Key:      func(c *small) string { return c.Ref },
	Revision: func(c *small) *int64 { return &c.Revision },
	Quiet:    true,
}

// smallPrefix is what the references of these contents begin with; those of the store begin with a host.
const smallPrefix = "small-"

func isSmall(ref string) bool { return strings.HasPrefix(ref, smallPrefix) }

// keepSmall reads a content whole, and checks what was said of it.
func (s *Service) keepSmall(source *source, spec *PutSpec, info *ObjectInfo) (kept, error) {
	data := bytes.NewBuffer(make([]byte, 0, spec.Size+bytes.MinRead))
	if _, err := data.ReadFrom(source); err != nil {
		return kept{}, err
	}
	sum := md5.Sum(data.Bytes())
	k := kept{ref: smallPrefix + s.newRef(), md5: hex.EncodeToString(sum[:]), size: int64(data.Len())}
	k.write = func(t *txn) error {
		t.wrote++
		return s.contained.Insert(t.Tx, &small{Ref: k.ref, MD5: k.md5, Data: data.Bytes()})
	}
	return k, s.verify(&k, spec, info)
}

func (s *Service) openSmall(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	content, err := s.contained.Get(s.records.Read(ctx), ref)
	if errors.Is(err, ErrNotFound) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if sum := md5.Sum(content.Data); hex.EncodeToString(sum[:]) != content.MD5 {
		return nil, fault.Wrap(ErrUnavailable, "the content %s is damaged", ref)
	}
	if offset+length > int64(len(content.Data)) {
		return nil, fs.ErrInvalid
	}
	return io.NopCloser(bytes.NewReader(content.Data[offset : offset+length])), nil
}
