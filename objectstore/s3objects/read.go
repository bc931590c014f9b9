package s3objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/internal/remote"
	"github.com/minio/minio-go/v7"
)

// Open implements [driver.Store].
func (s *Store) Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	if driver.CheckRef(ref) != nil {
		return nil, fail(ref, fs.ErrNotExist)
	}
	r, err := s.open(ctx, ref, offset, length)
	if err != nil {
		return nil, fail(ref, err)
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	var options minio.GetObjectOptions
	switch {
	case offset < 0 || length == 0 || length > 0 && offset+length < offset:
		return s.openNothing(ctx, ref, offset, length)
	case length > 0:
		options.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	case offset > 0:
		options.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	body, _, header, err := s.client.GetObject(ctx, s.bucket, s.key(ref), options)
	if err != nil {
		if code(err) == minio.InvalidRange {
			return s.openNothing(ctx, ref, offset, length)
		}
		return nil, err
	}
	if options.Header().Get("Range") == "" {
		return body, nil
	}
	// The service answers with less where a range reaches too far.
	if err := remote.CompareRange(header, offset, length); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}

// openNothing is for what no range of HTTP can say (RFC 9110, section 14.1.2): the empty part, and what is no part.
func (s *Store) openNothing(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error) {
	info, err := s.client.StatObject(ctx, s.bucket, s.key(ref), minio.StatObjectOptions{})
	if err != nil {
		return nil, err
	}
	if length, err = driver.Range(info.Size, offset, length); err != nil {
		return nil, err
	}
	if length > 0 {
		return nil, fmt.Errorf("the service has no %d bytes from %d on of %d", length, offset, info.Size)
	}
	return http.NoBody, nil
}

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, refs ...string) error {
	gone := map[string]bool{}
	var objects []minio.ObjectInfo
	for _, ref := range refs {
		if key := s.key(ref); driver.CheckRef(ref) == nil && !gone[key] {
			gone[key] = true
			objects = append(objects, minio.ObjectInfo{Key: key})
		}
	}
	if len(objects) == 0 {
		return nil
	}
	if err := s.abort(ctx, gone); err != nil {
		return fmt.Errorf("removing unfinished object contents: %w", err)
	}
	if len(objects) == 1 {
		if err := s.client.RemoveObject(ctx, s.bucket, objects[0].Key, minio.RemoveObjectOptions{}); err != nil && !errors.Is(fail("", err), fs.ErrNotExist) {
			return fmt.Errorf("removing object contents: %w", err)
		}
		return nil
	}
	results, err := s.client.RemoveObjectsWithIter(ctx, s.bucket, slices.Values(objects), minio.RemoveObjectsOptions{})
	if err == nil {
		for result := range results {
			if result.Err != nil && !errors.Is(fail("", result.Err), fs.ErrNotExist) {
				err = result.Err
			}
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("removing object contents: %w", err)
	}
	return nil
}

// abort gives up the unfinished uploads of the keys.
func (s *Store) abort(ctx context.Context, keys map[string]bool) error {
	prefix := s.options.Prefix
	if len(keys) == 1 {
		for key := range keys {
			prefix = key
		}
	}
	for upload, err := range s.uploads(ctx, prefix) {
		if err == nil && keys[upload.Key] {
			err = s.client.AbortMultipartUpload(ctx, s.bucket, upload.Key, upload.UploadID)
		}
		if err != nil && code(err) != minio.NoSuchUpload {
			return err
		}
	}
	return nil
}

// uploads are the unfinished ones.
func (s *Store) uploads(ctx context.Context, prefix string) iter.Seq2[minio.ObjectMultipartInfo, error] {
	return func(yield func(minio.ObjectMultipartInfo, error) bool) {
		for key, id := "", ""; ; {
			page, err := s.client.ListMultipartUploads(ctx, s.bucket, prefix, key, id, "", 1000)
			if err != nil {
				yield(minio.ObjectMultipartInfo{}, err)
				return
			}
			for _, upload := range page.Uploads {
				if !yield(upload, nil) {
					return
				}
			}
			if !page.IsTruncated {
				return
			}
			key, id = page.NextKeyMarker, page.NextUploadIDMarker
		}
	}
}

// List implements [driver.Store]. Uploads of this process that are under way are not left over.
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		inner, cancel := context.WithCancel(ctx)
		defer cancel()
		for object := range s.client.ListObjectsIter(inner, s.bucket, minio.ListObjectsOptions{Prefix: s.options.Prefix, Recursive: true}) {
			if object.Err != nil {
				yield("", fmt.Errorf("listing object contents: %w", object.Err))
				return
			}
			if ref, ours := s.ref(object.Key); ours && !yield(ref, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
			return
		}
		listed := map[string]bool{}
		for upload, err := range s.uploads(ctx, s.options.Prefix) {
			if err != nil {
				yield("", fmt.Errorf("listing unfinished object contents: %w", err))
				return
			}
			ref, ours := s.ref(upload.Key)
			if !ours || listed[ref] || s.underWay(ref) {
				continue
			}
			if listed[ref] = true; !yield(ref, nil) {
				return
			}
		}
	}
}

func (s *Store) underWay(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putting[ref]
}

// ref is the reference that the key is of; false if it is of none.
func (s *Store) ref(key string) (string, bool) {
	ref, found := strings.CutPrefix(key, s.options.Prefix)
	return ref, found && driver.CheckRef(ref) == nil
}
