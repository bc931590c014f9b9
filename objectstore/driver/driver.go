// Package driver is the contract between the object storage domain and what keeps the bytes of objects: one interface,
// [Store].
//
// A store keeps contents by reference: an identifier that the domain chose and that names one content for ever. What an
// object is called, who may read it and what it is made of is the domain's business; a store knows bytes. Put is all or
// nothing, also when the process is killed in its midst; Remove is happy when the content is already gone; List says what
// exists, so that leftovers are found:
//
//	s := memobjects.New(nil)
//	content, _ := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, _ := s.Open(ctx, "0197-1", 2, 4)
//
// Package fileobjects keeps files on a disk, memobjects memory, s3objects any S3 and swiftobjects an existing Swift;
// sealedobjects encrypts what another one keeps. Package drivertest is the suite that all pass. What only some stores can do is an optional interface, found by type assertion:
// [Checker] and [Small].
//
// The package needs nothing but the standard library, and keeps nothing itself: it has what stores share, [CheckRef], [Body] and
// [Range]. Errors wrap fs.ErrNotExist, fs.ErrExist and fs.ErrInvalid where the
// methods say so; others are the store's own. All methods are safe for concurrent use.
package driver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
)

// Store keeps contents.
type Store interface {
	// Kind names the technology for operators: "file".
	Kind() string
	// Put keeps everything that r yields as the content of ref, and says what it was. Size is the number of bytes that r
	// will yield, or negative if nobody knows; a reader that yields another number is fs.ErrInvalid. The content is durable
	// when Put returns. If r fails, Put returns an error that wraps r's, and keeps nothing. A reference that has a content
	// is fs.ErrExist; one that breaks [CheckRef]'s rules is fs.ErrInvalid.
	Put(ctx context.Context, ref string, r io.Reader, size int64) (Content, error)
	// Open opens length bytes of the content from offset on, or all the rest if length is negative; fs.ErrNotExist if
	// there is no such content, fs.ErrInvalid if it does not reach that far. What Open returned stays readable when the
	// content is removed. A reader of a local file is an *os.File or an io.LimitedReader over one, with a Close: see
	// [FileReader].
	Open(ctx context.Context, ref string, offset, length int64) (io.ReadCloser, error)
	// Remove forgets contents, durably when it returns.
	Remove(ctx context.Context, refs ...string) error
	// List yields every reference that Remove has something to do for, in no order: all that have a content, and what a
	// killed Put or Remove may have left. It ends with the error that cut it, if there was one.
	List(ctx context.Context) iter.Seq2[string, error]
}

// FileReader is implemented by what [Store.Open] returns where the bytes are those of a local file: the kernel can then send
// them by itself (sendfile(2)).
type FileReader interface {
	io.ReadCloser
	// File is the reader to hand to io.Copy: an *os.File that stands at the first byte, or an *io.LimitedReader of one.
	File() io.Reader
}

// Checker is implemented by stores that can find out by themselves that a content has rotted.
type Checker interface {
	// Check reads all contents, at no more than rate bytes a second (zero: as fast as it can), compares them with what was
	// put, mends what it can, and yields the references of those that are damaged.
	Check(ctx context.Context, rate int64) iter.Seq2[string, error]
}

// Small is implemented by stores that would rather not be given contents of up to SmallBytes bytes each: who keeps records of
// contents may keep these with them, which costs one write instead of two. A store that does more for a content than keeping it,
// such as encrypting it, is none of these.
type Small interface{ SmallBytes() int64 }

// Content is what a store learned of a content while keeping it.
type Content struct {
	// Size is in bytes.
	Size int64
	// MD5 is a checksum of the content, in lower-case hexadecimal digits.
	MD5 string
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
