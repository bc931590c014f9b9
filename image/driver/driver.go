// Package driver is the contract between the image domain and what keeps the contents of images: one interface,
// [Store].
//
// A store keeps contents by reference: an identifier that the domain chose and that names one content for ever. Put is
// all or nothing, also when the process is killed in its midst; Remove is happy when the content is already gone; List
// says what exists, so that leftovers are found:
//
//	s := memstore.New(nil)
//	content, _ := s.Put(ctx, "image-1", strings.NewReader("a disk"))
//	f, _ := s.Open(ctx, "image-1")
//
// What only some stores can do is an optional interface, found by type assertion: [LocalFiles], [Cache] and [Locator]. Package filestore
// keeps files, package s3store objects of a bucket, package memstore memory, package cachestore local copies of what another
// store keeps, examples/customdriver encrypts; package drivertest is the suite that all pass.
//
// The package needs nothing but the standard library, and does nothing but what stores share: [CheckRef] and [Digest].
//
// Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid where the methods say so; others are the store's own. All
// methods are safe for concurrent use.
package driver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// Store keeps contents.
type Store interface {
	// Kind names the technology for operators: "file".
	Kind() string
	// Put keeps everything that r yields as the content of ref, and says what it was. The content is durable when
	// Put returns. If r fails, Put returns an error that wraps r's, and keeps nothing. A reference that has a
	// content is fs.ErrExist; one that breaks [CheckRef]'s rules is fs.ErrInvalid.
	Put(ctx context.Context, ref string, r io.Reader) (Content, error)
	// Open opens the content for reading; fs.ErrNotExist if there is none. The content stays readable through
	// an open File when it is removed.
	Open(ctx context.Context, ref string) (File, error)
	// Remove forgets the content.
	Remove(ctx context.Context, ref string) error
	// List names every reference that Remove has something to do for, in no order: all that have a content, and
	// what a killed Put or Remove may have left.
	List(ctx context.Context) ([]string, error)
}

// File is an open content.
type File interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// LocalFiles is implemented by stores whose contents are files of this host.
type LocalFiles interface {
	// Path names the file that holds the content, for reading only; fs.ErrNotExist if there is none. The name is
	// good until the content is removed: who needs the file longer makes a hard link or a copy of it.
	Path(ctx context.Context, ref string) (string, error)
}

// Cache is implemented by stores that keep local copies of contents that lie elsewhere, made when
// [LocalFiles] is asked for a path.
type Cache interface {
	// Cached lists the copies.
	Cached(ctx context.Context) ([]Cached, error)
	// Drop removes a copy, and is happy when there is none. The content stays.
	Drop(ctx context.Context, ref string) error
}

// Locator is implemented by stores whose contents have names that others understand.
type Locator interface {
	// URL names the content that has or would have the reference: "file:///var/lib/images/refs/x". It holds no secret.
	URL(ref string) string
}

// Cached is a local copy of a content.
type Cached struct {
	Ref string
	// Size is in bytes, Hits how often the copy was asked for.
	Size, Hits int64
	// MadeAt is when the copy was made, UsedAt when it was last asked for.
	MadeAt, UsedAt time.Time
}

// Content is what a store learned of a content while keeping it.
type Content struct {
	// Size is in bytes.
	Size int64
	// MD5 and SHA512 are checksums of the content, in lower-case hexadecimal digits.
	MD5, SHA512 string
}

// MaxRef is the longest reference in bytes.
const MaxRef = 128

// CheckRef returns an fs.ErrInvalid for what no store takes as a reference: it is 1 to [MaxRef] ASCII letters, digits,
// hyphens, underscores and dots, and does not begin with a dot.
func CheckRef(ref string) error {
	good := ref != "" && len(ref) <= MaxRef && ref[0] != '.'
	for _, c := range []byte(ref) {
		good = good && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
	}
	if !good {
		return fmt.Errorf("reference %q: %w", ref, fs.ErrInvalid)
	}
	return nil
}
