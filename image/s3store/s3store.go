// Package s3store keeps the contents of images in a bucket of an S3 that somebody else runs (Amazon's, Ceph's, Garage's, another
// Kintoun's…): a store of package image/driver, and the way past one machine.
//
//	s, err := s3store.New(url, "contents", options)
//	content, err := s.Put(ctx, "image-1", strings.NewReader("a disk"))
//	f, err := s.Open(ctx, "image-1")
//
// A content is an object of that bucket, called as its reference is, after [Options.Prefix]. Put uploads what is larger than a
// part ([Options.PartSize]) in parts, one at a time while the next is read: it has two of them in memory. It need not know the
// size. Parts grow by one PartSize every 250 of them, so that the 10,000 that an object may have are 1.5 TiB with the default. Each
// is sent with its MD5, so that the service refuses what changed on the way.
//
// A [File] that is read from the beginning to the end is one request, which is made again from where it stands if it is cut; a
// short seek forward reads on. ReadAt asks for ranges, and for larger ones the longer it is called for one after the other. There
// are no local files: package cachestore adds them, for agents that boot servers.
//
// # What it needs
//
// A bucket, whose versioning is off (else what is removed stays, as an older version), and the right to put, get, list and delete
// objects and to list and abort uploads in it: [Probe] tries them. That a reference names one content for ever is asked of the
// service by If-None-Match, which Amazon, Ceph, versitygw and this module's own objectstore/s3 obey; a service that does not know
// it leaves a gap in which two processes that put one reference at the same time both succeed.
//
// It does not create the bucket, compress, encrypt or share equal contents (the Service of package image does that), and does not
// check what it reads: that is the service's work. Requests are retried by the client of MinIO (minio-go), 2 MB of a program.
//
// # Errors
//
// Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid as the contract says; others are minio.ErrorResponse, which has the
// service's code, or of package net. A bucket without room or quota is syscall.ENOSPC.
//
// # Concurrency
//
// A [Store] and its Files are safe for concurrent use (but for Read and Seek of one File), and several processes may share a
// bucket. What a File of this Store still reads is deleted when the last one is closed; what another process reads then ends in
// an error. A killed Put leaves nothing or an unfinished upload, which List names and Remove aborts; a rule of the bucket may
// abort them too.
package s3store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"github.com/kintoun/kintoun/image/driver"
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
	// PartSize is how large the first parts of an upload are, in bytes; zero is 8 MiB, and services want 5 MiB at least.
	PartSize int64
	// Transport carries the requests; nil is one that knows proxies and has deadlines.
	Transport http.RoundTripper
}

const defaultPartSize = 8 << 20

// Store is a [driver.Store] in a bucket. Create it with [New].
type Store struct {
	client  *minio.Core
	bucket  string
	options Options

	mu sync.Mutex
	// putting are the references that are being put, open counts the readers of contents, removed are those that wait for
	// their last one.
	putting map[string]bool
	open    map[string]int
	removed map[string]bool
}

var (
	_ driver.Store   = (*Store)(nil)
	_ driver.Locator = (*Store)(nil)
)

// New returns the store in the bucket of the service at the URL: "https://s3.example.org". It sends nothing.
func New(service, bucket string, options *Options) (*Store, error) {
	s := &Store{bucket: bucket, putting: map[string]bool{}, open: map[string]int{}, removed: map[string]bool{}}
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

// URL implements [driver.Locator]: "s3://bucket/key".
func (s *Store) URL(ref string) string {
	return (&url.URL{Scheme: "s3", Host: s.bucket, Path: "/" + s.key(ref)}).String()
}

// Kind is "s3".
func (s *Store) Kind() string { return "s3" }

func (s *Store) key(ref string) string { return s.options.Prefix + ref }

// ref is the reference that the key is of; false if it is of none.
func (s *Store) ref(key string) (string, bool) {
	ref, found := strings.CutPrefix(key, s.options.Prefix)
	return ref, found && driver.CheckRef(ref) == nil
}

// fail says what failed, with the contract's errors for the service's codes.
func fail(ref string, err error) error {
	switch code(err) {
	case minio.NoSuchKey:
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case minio.PreconditionFailed, "ConditionalRequestConflict":
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	case "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull":
		err = fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return fmt.Errorf("image content %q: %w", ref, err)
}

// code is what the service says, if it is the service that says it.
func code(err error) string {
	var said minio.ErrorResponse
	_ = errors.As(err, &said)
	return said.Code
}

// Remove implements [driver.Store]. It waits for those of this Store that still read the content.
func (s *Store) Remove(ctx context.Context, ref string) error {
	if _, ours := s.ref(s.key(ref)); !ours {
		return nil
	}
	s.mu.Lock()
	waits := s.open[ref] > 0
	if waits {
		s.removed[ref] = true
	}
	s.mu.Unlock()
	if waits {
		return nil
	}
	return s.remove(ctx, ref)
}

func (s *Store) remove(ctx context.Context, ref string) error {
	key := s.key(ref)
	for upload, err := range s.uploads(ctx, key) {
		if err == nil && upload.Key == key {
			err = s.client.AbortMultipartUpload(ctx, s.bucket, key, upload.UploadID)
		}
		if err != nil && code(err) != minio.NoSuchUpload {
			return fmt.Errorf("removing unfinished uploads of image content %q: %w", ref, err)
		}
	}
	if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}); err != nil && !errors.Is(fail(ref, err), fs.ErrNotExist) {
		return fmt.Errorf("removing image content %q: %w", ref, err)
	}
	return nil
}

// List implements [driver.Store]. Uploads of this Store that are under way are not left over.
func (s *Store) List(ctx context.Context) ([]string, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing where it is not heard to its end
	found := map[string]bool{}
	for object := range s.client.ListObjectsIter(inner, s.bucket, minio.ListObjectsOptions{Prefix: s.options.Prefix, Recursive: true}) {
		if object.Err != nil {
			return nil, fmt.Errorf("listing image contents: %w", object.Err)
		}
		if ref, ours := s.ref(object.Key); ours {
			found[ref] = true
		}
	}
	for upload, err := range s.uploads(ctx, s.options.Prefix) {
		if err != nil {
			return nil, fmt.Errorf("listing unfinished image contents: %w", err)
		}
		if ref, ours := s.ref(upload.Key); ours && !s.underWay(ref) {
			found[ref] = true
		}
	}
	refs := make([]string, 0, len(found))
	for ref := range found {
		refs = append(refs, ref)
	}
	return refs, ctx.Err()
}
