package s3store

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/image/driver"
	"github.com/minio/minio-go/v7"
)

const (
	// maxParts is how many parts an object may have.
	maxParts = 10_000
	// growth is after how many parts they are larger.
	growth = 250
	// mark is the metadata that tells one Put's object from another's.
	mark = "Kintoun-Put"
	// finishing is how long it may take to clean up after a Put whose context has ended.
	finishing = 30 * time.Second
)

// partSize is how large the part of a number is, from 1 on.
func (s *Store) partSize(number int) int64 {
	return s.options.PartSize * int64(1+(number-1)/growth)
}

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader) (driver.Content, error) {
	if err := driver.CheckRef(ref); err != nil {
		return driver.Content{}, err
	}
	if !s.reserve(ref) {
		return driver.Content{}, fail(ref, fs.ErrExist)
	}
	defer s.release(ref)
	content, err := s.put(ctx, s.key(ref), r)
	if err != nil {
		return driver.Content{}, fail(ref, err)
	}
	return content, nil
}

// reserve keeps a second Put of the reference in this process out.
func (s *Store) reserve(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putting[ref] {
		return false
	}
	s.putting[ref] = true
	return true
}

func (s *Store) release(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.putting, ref)
}

func (s *Store) underWay(ref string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putting[ref]
}

func (s *Store) put(ctx context.Context, key string, r io.Reader) (driver.Content, error) {
	_, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err == nil {
		return driver.Content{}, fs.ErrExist
	} else if code(err) != minio.NoSuchKey {
		return driver.Content{}, err
	}
	digest, id := driver.NewDigest(), uuid.NewString()
	first := make([]byte, s.partSize(1))
	n, end, err := fill(ctx, r, first)
	if err != nil {
		return driver.Content{}, err
	}
	_, _ = digest.Write(first[:n])
	if end {
		options := unlessTaken()
		options.UserMetadata = map[string]string{mark: id}
		_, err = s.client.PutObject(ctx, s.bucket, key, bytes.NewReader(first[:n]), int64(n), md5Of(first[:n]), "", options)
		err = s.unlessDone(ctx, key, id, err)
	} else {
		err = s.putParts(ctx, key, id, first, io.TeeReader(r, digest))
	}
	return digest.Content(), err
}

// unlessTaken has the service refuse what would replace an object.
func unlessTaken() minio.PutObjectOptions {
	var options minio.PutObjectOptions
	options.SetMatchETagExcept("*")
	return options
}

// unlessDone is the error of the request that makes an object, or none where the object is there all the same: the answer was
// lost, and the client's second attempt met what the first had made.
func (s *Store) unlessDone(ctx context.Context, key, id string, err error) error {
	if err == nil {
		return nil
	}
	ctx, cancel := afterwards(ctx)
	defer cancel()
	if info, gone := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{}); gone == nil && info.UserMetadata[mark] == id {
		return nil
	}
	return err
}

// afterwards is for what is done also when ctx has ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), finishing)
}

// putParts uploads what is in the buffer, which is full, and then what r yields.
func (s *Store) putParts(ctx context.Context, key, id string, first []byte, r io.Reader) (err error) {
	upload, err := s.client.NewMultipartUpload(ctx, s.bucket, key, minio.PutObjectOptions{UserMetadata: map[string]string{mark: id}})
	if err != nil {
		return err
	}
	parts, err := s.sendParts(ctx, key, upload, first, r)
	if err == nil {
		_, err = s.client.CompleteMultipartUpload(ctx, s.bucket, key, upload, parts, unlessTaken())
		err = s.unlessDone(ctx, key, id, err)
	}
	if err != nil {
		ctx, cancel := afterwards(ctx)
		defer cancel()
		if left := s.client.AbortMultipartUpload(ctx, s.bucket, key, upload); code(left) != minio.NoSuchUpload {
			err = errors.Join(err, left)
		}
	}
	return err
}

// sendParts sends one part while it reads the next.
func (s *Store) sendParts(ctx context.Context, key, upload string, full []byte, r io.Reader) (parts []minio.CompletePart, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var spare []byte
	for end := false; ; {
		number := len(parts) + 1
		if number > maxParts {
			return nil, fmt.Errorf("larger than %d parts, the last of %d bytes: %w", maxParts, len(full), fs.ErrInvalid)
		}
		sent := s.sendPart(ctx, key, upload, number, full)
		var n int
		if !end {
			if want := s.partSize(number + 1); int64(cap(spare)) < want {
				spare = make([]byte, want)
			}
			if n, end, err = fill(ctx, r, spare[:cap(spare)]); err != nil {
				cancel()
				<-sent
				return nil, err
			}
		}
		part := <-sent
		if part.err != nil {
			return nil, part.err
		}
		if parts = append(parts, part.CompletePart); n == 0 {
			return parts, nil
		}
		full, spare = spare[:n], full[:cap(full)]
	}
}

type sentPart struct {
	minio.CompletePart
	err error
}

// sendPart begins to send a part. The buffer is the service's until the channel has said what came of it.
func (s *Store) sendPart(ctx context.Context, key, upload string, number int, b []byte) <-chan sentPart {
	sent := make(chan sentPart, 1)
	go func() {
		options := minio.PutObjectPartOptions{Md5Base64: md5Of(b)}
		part, err := s.client.PutObjectPart(ctx, s.bucket, key, upload, number, bytes.NewReader(b), int64(len(b)), options)
		sent <- sentPart{minio.CompletePart{PartNumber: number, ETag: part.ETag}, err}
	}()
	return sent
}

func md5Of(b []byte) string {
	sum := md5.Sum(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// fill reads until the buffer is full or r ends. Unlike io.ReadFull it leaves r's error as it is, so that an upload that was cut
// (io.ErrUnexpectedEOF) does not pass for one that ended.
func fill(ctx context.Context, r io.Reader, buffer []byte) (n int, end bool, err error) {
	for n < len(buffer) && err == nil {
		if err := ctx.Err(); err != nil {
			return n, false, err
		}
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	if err == io.EOF { //nolint:errorlint // the end itself, not an error about it
		return n, true, nil
	}
	return n, false, err
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
