// Package s3objects keeps the contents of objects in a bucket of an S3 that somebody else runs (Amazon's, Ceph's, Garage's,
// versitygw's…): a store of package objectstore/driver, and the way past one machine.
//
//	s, err := s3objects.New(url, "contents", options)
//	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, err := s.Open(ctx, "0197-1", 2, 4)
//
// A content is an object of that bucket, called as its reference is, after [Options.Prefix]. One that is larger than a part
// ([Options.PartSize]) is uploaded in parts; a Put has one part in memory at a time. Each part is sent with its MD5, so that the
// service refuses what changed on the way.
//
// # What it needs
//
// A bucket, whose versioning is off (else what is removed stays, as an older version), and the right to put, get, list and delete
// objects and to list and abort uploads in it: [Probe] tries them. That a reference names one content for ever is asked of the
// service by If-None-Match, which Amazon, Ceph and versitygw obey; a service that does not know it leaves a gap in which two
// processes that put one reference at the same time both succeed. What the reader of a content has not read yet, the service
// has to keep while the object is deleted, as they do.
//
// It does not create the bucket, does not retry a Put whose reader has been read, and does not check contents: that is the
// service's work. Requests are retried by the client of MinIO (minio-go), which was taken because it is right about many
// services, and small: 2 MB of a program. A reader from Open ends with its context.
//
// # Errors
//
// Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid as the contract says; others are minio.ErrorResponse, which has the
// service's code, or of package net.
//
// # Concurrency
//
// A [Store] is safe for concurrent use, and several processes may share a bucket. A killed Put leaves nothing or an unfinished
// upload, which List names and Remove aborts; a rule of the bucket may abort them too.
package s3objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"sync"

	"github.com/kintoun/kintoun/objectstore/driver"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Options of a [Store]; nil and zero values are fine.
type Options struct {
	// Prefix begins the keys of all contents: "kintoun/". Stores with prefixes of which none begins the other share a bucket.
	Prefix string
	// Region is what requests are signed for; empty asks the service.
	Region string
	// AccessKey, SecretKey and SessionToken are the credentials; without them requests are not signed.
	AccessKey, SecretKey, SessionToken string
	// VirtualHost puts the bucket's name into the host's and not into the path.
	VirtualHost bool
	// PartSize is how large the parts of an upload are, in bytes; zero is 8 MiB, and services want 5 MiB at least. A content has
	// 10,000 parts at most: larger ones have larger parts, if their size is known.
	PartSize int64
	// Transport carries the requests; nil is one that knows proxies and has deadlines.
	Transport http.RoundTripper
}

const (
	defaultPartSize = 8 << 20
	maxParts        = 10_000
)

// Store is a [driver.Store] in a bucket. Create it with [New].
type Store struct {
	client  *minio.Core
	bucket  string
	options Options

	mu      sync.Mutex
	putting map[string]bool
}

var _ driver.Store = (*Store)(nil)

// New returns the store in the bucket of the service at the URL: "https://s3.example.org". It sends nothing.
func New(service, bucket string, options *Options) (*Store, error) {
	s := &Store{bucket: bucket, putting: map[string]bool{}}
	if options != nil {
		s.options = *options
	}
	if s.options.PartSize <= 0 {
		s.options.PartSize = defaultPartSize
	}
	u, err := url.Parse(service)
	if err != nil {
		return nil, fmt.Errorf("S3 service: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("S3 service %q: a URL of a host is wanted: %w", service, fs.ErrInvalid)
	}
	lookup := minio.BucketLookupPath
	if s.options.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	s.client, err = minio.NewCore(u.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(s.options.AccessKey, s.options.SecretKey, s.options.SessionToken),
		Secure: u.Scheme == "https", Region: s.options.Region, BucketLookup: lookup, Transport: s.options.Transport,
	})
	if err != nil {
		return nil, fmt.Errorf("S3 service %q: %w", service, err)
	}
	return s, nil
}

// Kind is "s3".
func (s *Store) Kind() string { return "s3" }

func (s *Store) key(ref string) string { return s.options.Prefix + ref }

// fail says what failed, with the contract's errors for the service's codes.
func fail(ref string, err error) error {
	switch code(err) {
	case minio.NoSuchKey:
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case minio.PreconditionFailed, "ConditionalRequestConflict":
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	case minio.InvalidRange:
		err = fmt.Errorf("%w: %w", fs.ErrInvalid, err)
	}
	return fmt.Errorf("object content %q: %w", ref, err)
}

// code is what the service says, if it is the service that says it.
func code(err error) string {
	var said minio.ErrorResponse
	_ = errors.As(err, &said)
	return said.Code
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

// taken says whether the reference has a content.
func (s *Store) taken(ctx context.Context, ref string) (bool, error) {
	_, err := s.client.StatObject(ctx, s.bucket, s.key(ref), minio.StatObjectOptions{})
	if code(err) == minio.NoSuchKey {
		return false, nil
	}
	return err == nil, err
}
