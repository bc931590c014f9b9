package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	imagedriver "github.com/kintoun/kintoun/image/driver"
	"github.com/kintoun/kintoun/objectstore"
)

// ObjectImages is the name of the store that keeps images as objects of the cloud itself.
const ObjectImages = "objects"

const (
	imageAccount   = "glance"
	imageContainer = "images"
	// imagePart is how many bytes an object of a part has; a content has as many parts as it needs.
	imagePart = 256 << 20
)

// imageObjects keeps the contents of images as objects, in an account of their own.
type imageObjects struct {
	objects *objectstore.Service
	caller  objectstore.Caller
	part    int64
	mu      sync.Mutex
	// open counts the readers of contents, removed are those that wait for their last one.
	open    map[string]int
	removed map[string]bool
}

var _ imagedriver.Store = (*imageObjects)(nil)

func newImageObjects(objects *objectstore.Service) *imageObjects {
	return &imageObjects{
		objects: objects, caller: objectstore.Caller{Account: imageAccount, Admin: true}, part: imagePart,
		open: map[string]int{}, removed: map[string]bool{},
	}
}

func imagePath(ref string) objectstore.Path {
	return objectstore.Path{Account: imageAccount, Container: imageContainer, Object: ref}
}

func (s *imageObjects) Kind() string { return ObjectImages }

func (s *imageObjects) Put(ctx context.Context, ref string, r io.Reader) (imagedriver.Content, error) {
	if err := imagedriver.CheckRef(ref); err != nil {
		return imagedriver.Content{}, err
	}
	path := imagePath(ref)
	if _, err := s.objects.Open(ctx, s.caller, path, objectstore.OpenSpec{}); err == nil {
		return imagedriver.Content{}, fmt.Errorf("image content %q: %w", ref, fs.ErrExist)
	} else if !errors.Is(err, objectstore.ErrNotFound) {
		return imagedriver.Content{}, fmt.Errorf("image content %q: %w", ref, err)
	}
	if _, _, err := s.objects.CreateContainer(ctx, s.caller, objectstore.Path{Account: imageAccount, Container: imageContainer}, nil); err != nil {
		return imagedriver.Content{}, fmt.Errorf("image content %q: %w", ref, err)
	}
	content, err := s.put(ctx, path, r)
	if errors.Is(err, objectstore.ErrPrecondition) {
		err = fs.ErrExist
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return imagedriver.Content{}, fmt.Errorf("image content %q: %w", ref, err)
	}
	return content, nil
}

// put uploads the content in parts. Nothing is visible of it before the end.
func (s *imageObjects) put(ctx context.Context, path objectstore.Path, r io.Reader) (content imagedriver.Content, err error) {
	upload, err := s.objects.CreateUpload(ctx, s.caller, path, objectstore.ObjectInfo{})
	if err != nil {
		return content, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.objects.AbortUpload(context.WithoutCancel(ctx), s.caller, path, upload.ID))
		}
	}()
	digest := imagedriver.NewDigest()
	given := &failing{r: r}
	source := io.TeeReader(given, digest)
	var parts []objectstore.CompletedPart
	for {
		part, err := s.objects.PutPart(ctx, s.caller, path, upload.ID, len(parts)+1, objectstore.PutSpec{Size: -1}, io.LimitReader(source, s.part))
		if given.err != nil {
			err = given.err
		}
		if err != nil {
			return content, err
		}
		if part.Size > 0 || len(parts) == 0 {
			parts = append(parts, objectstore.CompletedPart{Number: part.Number, ETag: part.ETag})
		}
		if part.Size < s.part {
			break
		}
	}
	_, err = s.objects.CompleteUpload(ctx, s.caller, path, upload.ID, parts, objectstore.Conditions{IfNoneMatch: []string{"*"}})
	return digest.Content(), err
}

// failing remembers what its reader failed with.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // the end itself, not an error about it
		f.err = err
	}
	return n, err
}

func (s *imageObjects) Open(ctx context.Context, ref string) (imagedriver.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if imagedriver.CheckRef(ref) != nil || s.removed[ref] {
		return nil, fmt.Errorf("image content %q: %w", ref, fs.ErrNotExist)
	}
	r, err := s.objects.Open(ctx, s.caller, imagePath(ref), objectstore.OpenSpec{})
	if errors.Is(err, objectstore.ErrNotFound) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("image content %q: %w", ref, err)
	}
	s.open[ref]++
	return &imageObject{store: s, ref: ref, content: r, ctx: context.WithoutCancel(ctx)}, nil
}

// Remove waits for those of this process that still read the content.
func (s *imageObjects) Remove(ctx context.Context, ref string) error {
	if imagedriver.CheckRef(ref) != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[ref] > 0 {
		s.removed[ref] = true
		return nil
	}
	return s.remove(ctx, ref)
}

func (s *imageObjects) remove(ctx context.Context, ref string) error {
	path := imagePath(ref)
	uploads, err := s.objects.Uploads(ctx, s.caller, objectstore.Path{Account: imageAccount, Container: imageContainer}, objectstore.Listing{Prefix: ref})
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil
	}
	for _, upload := range uploads.Entries {
		if upload.Upload != nil && upload.Name == ref {
			err = errors.Join(err, s.objects.AbortUpload(ctx, s.caller, path, upload.ID))
		}
	}
	if _, gone := s.objects.Delete(ctx, s.caller, path, objectstore.DeleteSpec{}); gone != nil && !errors.Is(gone, objectstore.ErrNotFound) {
		err = errors.Join(err, gone)
	}
	if err != nil {
		return fmt.Errorf("image content %q: %w", ref, err)
	}
	return nil
}

func (s *imageObjects) List(ctx context.Context) ([]string, error) {
	container := objectstore.Path{Account: imageAccount, Container: imageContainer}
	found := map[string]bool{}
	for l := (objectstore.Listing{}); ; {
		page, err := s.objects.Objects(ctx, s.caller, container, l)
		if errors.Is(err, objectstore.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("image contents: %w", err)
		}
		for _, entry := range page.Entries {
			found[entry.Name], l.Marker = true, entry.Name
		}
		if !page.Truncated {
			break
		}
	}
	for l := (objectstore.Listing{}); ; {
		page, err := s.objects.Uploads(ctx, s.caller, container, l)
		if err != nil {
			return nil, fmt.Errorf("image contents: %w", err)
		}
		for _, entry := range page.Entries {
			found[entry.Name], l.Marker, l.VersionMarker = true, entry.Name, entry.ID
		}
		if !page.Truncated {
			break
		}
	}
	refs := make([]string, 0, len(found))
	for ref := range found {
		refs = append(refs, ref)
	}
	return refs, nil
}

// imageObject is an open content.
type imageObject struct {
	store   *imageObjects
	ref     string
	content *objectstore.Reader
	ctx     context.Context //nolint:containedctx // a File's methods take none; it bounds them all
	at      int64
	// body is what Read reads from, where it stands at.
	body   io.ReadCloser
	closed bool
}

func (f *imageObject) Read(p []byte) (int, error) {
	if f.at >= f.content.Size {
		return 0, io.EOF
	}
	if f.body == nil {
		body, err := f.content.Range(f.ctx, f.at, f.content.Size-f.at)
		if err != nil {
			return 0, err
		}
		f.body = body
	}
	n, err := f.body.Read(p)
	f.at += int64(n)
	return n, err
}

func (f *imageObject) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset >= f.content.Size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.content.Size-offset)
	body, err := f.content.Range(f.ctx, offset, n)
	if err != nil {
		return 0, err
	}
	got, err := io.ReadFull(body, p[:n])
	if err = errors.Join(err, body.Close()); err == nil && got < len(p) {
		err = io.EOF
	}
	return got, err
}

func (f *imageObject) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.content.Size
	}
	if offset < 0 {
		return 0, fs.ErrInvalid
	}
	if offset != f.at && f.body != nil {
		_ = f.body.Close() // it was only read
		f.body = nil
	}
	f.at = offset
	return offset, nil
}

func (f *imageObject) Close() (err error) {
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	if f.body != nil {
		err = f.body.Close()
	}
	s := f.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[f.ref]--; s.open[f.ref] > 0 {
		return err
	}
	delete(s.open, f.ref)
	if s.removed[f.ref] {
		delete(s.removed, f.ref)
		err = errors.Join(err, s.remove(f.ctx, f.ref))
	}
	return err
}
