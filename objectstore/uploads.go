package objectstore

import (
	"context"
	"io"
	"time"
)

// Upload is an object that is being uploaded in parts.
type Upload struct {
	// ID sorts by the time of its making.
	ID string
	// Container is the container's identifier.
	Container, Name string
	ObjectInfo
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

// CompletedPart is a part that an object is to be made of.
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

// CopyPartSpec says what to make a part of.
type CopyPartSpec struct {
	Version     string
	NullVersion bool
	// First and Last are the bytes that count, if Ranged.
	Ranged      bool
	First, Last int64
	Conditions  Conditions
}

// CreateUpload begins an upload.
func (s *Service) CreateUpload(context.Context, Caller, Path, ObjectInfo) (*Upload, error) {
	return nil, ErrUnsupported
}

// PutPart uploads a part.
func (s *Service) PutPart(context.Context, Caller, Path, string, int, PutSpec, io.Reader) (*UploadPart, error) {
	return nil, ErrUnsupported
}

// CopyPart makes a part of an object.
func (s *Service) CopyPart(context.Context, Caller, Path, CopyPartSpec, Path, string, int) (*UploadPart, error) {
	return nil, ErrUnsupported
}

// CompleteUpload makes the object.
func (s *Service) CompleteUpload(context.Context, Caller, Path, string, []CompletedPart, Conditions) (*Object, error) {
	return nil, ErrUnsupported
}

// AbortUpload gives an upload up.
func (s *Service) AbortUpload(context.Context, Caller, Path, string) error { return ErrUnsupported }

// Upload returns an upload.
func (s *Service) Upload(context.Context, Caller, Path, string) (*Upload, []UploadPart, error) {
	return nil, nil, ErrUnsupported
}

// Uploads lists uploads.
func (s *Service) Uploads(context.Context, Caller, Path, Listing) (UploadList, error) {
	return UploadList{}, ErrUnsupported
}

func (t *txn) abortUploads(*Container) error { return nil }

// Versions lists versions.
func (s *Service) Versions(context.Context, Caller, Path, Listing) (ObjectList, error) {
	return ObjectList{}, ErrUnsupported
}

// Run works.
func (s *Service) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Sweep works.
func (s *Service) Sweep(context.Context) error { return nil }
