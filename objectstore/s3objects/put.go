package s3objects

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/kintoun/kintoun/objectstore/internal/remote"
	"github.com/minio/minio-go/v7"
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
	if taken, err := s.taken(ctx, ref); err != nil {
		return driver.Content{}, err
	} else if taken {
		return driver.Content{}, fs.ErrExist
	}
	length := max(s.options.PartSize, (size+maxParts-1)/maxParts)
	if size >= 0 {
		length = min(length, size+1) // whose end is seen at once
	}
	buffer := make([]byte, length)
	n, err := remote.Fill(body, buffer)
	switch {
	case err == io.EOF: //nolint:errorlint // the end itself, not an error about it
		sum := md5.Sum(buffer[:n])
		_, err := s.client.PutObject(ctx, s.bucket, s.key(ref), bytes.NewReader(buffer[:n]), int64(n), base64.StdEncoding.EncodeToString(sum[:]), "", unlessTaken())
		return driver.Content{Size: int64(n), MD5: hex.EncodeToString(sum[:])}, err
	case err != nil:
		return driver.Content{}, err
	}
	return s.putParts(ctx, s.key(ref), body, buffer)
}

// unlessTaken has the service refuse what would replace an object.
func unlessTaken() minio.PutObjectOptions {
	var options minio.PutObjectOptions
	options.SetMatchETagExcept("*")
	return options
}

// putParts uploads what is in the buffer, which is full, and then what the body yields.
func (s *Store) putParts(ctx context.Context, key string, body io.Reader, buffer []byte) (content driver.Content, err error) {
	upload, err := s.client.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{})
	if err != nil {
		return content, err
	}
	defer func() {
		if err != nil {
			// Also when it is the context that has ended.
			err = errors.Join(err, s.client.AbortMultipartUpload(context.WithoutCancel(ctx), s.bucket, key, upload))
		}
	}()
	var parts []minio.CompletePart
	hash := md5.New()
	for n, end := len(buffer), false; ; {
		part, err := s.putPart(ctx, key, upload, len(parts)+1, buffer[:n])
		if err != nil {
			return content, err
		}
		parts = append(parts, part)
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
	_, err = s.client.CompleteMultipartUpload(ctx, s.bucket, key, upload, parts, unlessTaken())
	return content, err
}

func (s *Store) putPart(ctx context.Context, key, upload string, number int, b []byte) (minio.CompletePart, error) {
	if number > maxParts {
		return minio.CompletePart{}, fmt.Errorf("larger than %d parts of %d bytes: %w", maxParts, len(b), fs.ErrInvalid)
	}
	sum := md5.Sum(b)
	part, err := s.client.PutObjectPart(ctx, s.bucket, key, upload, number, bytes.NewReader(b), int64(len(b)), minio.PutObjectPartOptions{Md5Base64: base64.StdEncoding.EncodeToString(sum[:])})
	return minio.CompletePart{PartNumber: number, ETag: part.ETag}, err
}
