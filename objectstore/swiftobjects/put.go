package swiftobjects

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/internal/remote"
)

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if !s.reserve(ref) {
		return driver.Content{}, fail(ref, fs.ErrExist)
	}
	defer s.release(ref)
	content, err := s.put(ctx, ref, driver.Body(ctx, r, size), size)
	if err != nil {
		return driver.Content{}, fail(ref, err)
	}
	return content, nil
}

func (s *Store) put(ctx context.Context, ref string, body io.Reader, size int64) (driver.Content, error) {
	if _, err := s.size(ctx, ref); err == nil {
		return driver.Content{}, fs.ErrExist
	} else if !gophercloud.ResponseCodeIs(err, 404) {
		return driver.Content{}, err
	}
	length := max(s.options.SegmentSize, (size+maxSegments-1)/maxSegments)
	if size >= 0 {
		length = min(length, size+1) // whose end is seen at once
	}
	buffer := make([]byte, length)
	n, err := remote.Fill(body, buffer)
	switch {
	case err == io.EOF: //nolint:errorlint // the end itself, not an error about it
		sum, err := s.send(ctx, s.name(ref), buffer[:n], objects.CreateOpts{IfNoneMatch: "*"})
		return driver.Content{Size: int64(n), MD5: sum}, err
	case err != nil:
		return driver.Content{}, err
	}
	content, err := s.putSegments(ctx, ref, body, buffer)
	if err != nil {
		// Also when it is the context that has ended.
		err = errors.Join(err, s.deleteSegments(context.WithoutCancel(ctx), ref))
	}
	return content, err
}

// send puts an object, and says what its MD5 is.
func (s *Store) send(ctx context.Context, name string, b []byte, options objects.CreateOpts) (string, error) {
	sum := md5.Sum(b)
	options.Content, options.ETag, options.ContentType = bytes.NewReader(b), hex.EncodeToString(sum[:]), "application/octet-stream"
	err := objects.Create(ctx, s.client, s.container, name, options).Err
	return hex.EncodeToString(sum[:]), err
}

// segment is a line of a static large object's manifest.
type segment struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
	Size int    `json:"size_bytes"`
}

// putSegments puts what is in the buffer, which is full, then what the body yields, and at last the manifest.
func (s *Store) putSegments(ctx context.Context, ref string, body io.Reader, buffer []byte) (content driver.Content, err error) {
	var manifest []segment
	hash := md5.New()
	for n, end := len(buffer), false; ; {
		if len(manifest) == maxSegments {
			return content, fmt.Errorf("larger than %d segments of %d bytes: %w", maxSegments, len(buffer), fs.ErrInvalid)
		}
		name := fmt.Sprintf("%s%08d", s.segmentsOf(ref), len(manifest))
		sum, err := s.send(ctx, name, buffer[:n], objects.CreateOpts{})
		if err != nil {
			return content, err
		}
		manifest = append(manifest, segment{"/" + s.container + "/" + name, sum, n})
		_, _ = hash.Write(buffer[:n])
		content.Size += int64(n)
		if end {
			break
		}
		n, err = remote.Fill(body, buffer)
		if end = err == io.EOF; err != nil && !end { //nolint:errorlint // the end itself, not an error about it
			return content, err
		}
		if n == 0 {
			break
		}
	}
	content.MD5 = hex.EncodeToString(hash.Sum(nil))
	text, err := json.Marshal(manifest)
	if err != nil {
		return content, err
	}
	return content, objects.Create(ctx, s.client, s.container, s.name(ref), objects.CreateOpts{
		Content: bytes.NewReader(text), NoETag: true, ContentType: "application/octet-stream", MultipartManifest: "put", IfNoneMatch: "*",
	}).Err
}
