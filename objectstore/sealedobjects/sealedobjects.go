// Package sealedobjects encrypts the contents of objects before another store keeps them: a store of package objectstore/driver
// around any other. A disk, a bucket or a backup that somebody else gets hold of tells nothing but sizes, and what they change is
// refused.
//
//	s, err := sealedobjects.New(inner, key)
//	content, err := s.Put(ctx, "0197-1", strings.NewReader("a song"), 6)
//	r, err := s.Open(ctx, "0197-1", 2, 4)
//
// # How contents are sealed
//
// Each content has a key of its own, of 32 random bytes, which stands sealed by the master key at its beginning. After it come
// chunks of 64 KiB, each sealed with AES-256 in Galois/Counter Mode (NIST SP 800-38D) under its number and whether it is the last:
// chunks cannot be changed, moved, left out or added. The reference is sealed with the key, so that no content can take another's
// place. A part is read from its first chunk on; that the content reaches to its end is asked of the inner store before, and the key
// is read from the beginning: a read of a part is up to three of the inner store. What is kept is larger than the content by 64 bytes and by 16 for each
// chunk.
//
//	{beginning: "KOS1", 12 bytes of nonce, 48 of sealed key; chunk…: up to 65,536 bytes sealed, 16 of tag}
//
// # What it needs
//
// A store, and a master key of 32 bytes, which the caller keeps safe: without it everything is lost. It does not hide sizes and
// references, and is not for stores with contents that were put without it. It does not change the key of contents that are there.
// The MD5 that Put says is the content's own; the inner store's is of what it keeps.
//
// # Errors
//
// [ErrTampered] is what was changed, or was sealed with another master key. It comes from Open or from the reader, before any byte
// of the chunk that was changed. Others are the inner store's.
//
// # Concurrency
//
// A [Store] is safe for concurrent use. It keeps nothing itself: when the process ends, or is killed, the inner store's promises
// hold.
package sealedobjects

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/kintoun/kintoun/objectstore/driver"
)

// ErrTampered is a content that is not what was put, or was sealed with another master key.
var ErrTampered = errors.New("the seal is broken")

// KeySize is how long a master key is, in bytes.
const KeySize = 32

const (
	magic      = "KOS1"
	chunkSize  = 64 << 10
	nonceSize  = 12
	tagSize    = 16
	headerSize = len(magic) + nonceSize + KeySize + tagSize
)

// Store is a [driver.Store] around another. Create it with [New].
type Store struct {
	inner  driver.Store
	master cipher.AEAD
}

var _ driver.Store = (*Store)(nil)

// New returns a store that seals what inner keeps, with a master key of [KeySize] bytes. If inner is a [driver.Checker], so is the
// store.
func New(inner driver.Store, masterKey []byte) (driver.Store, error) {
	if len(masterKey) != KeySize {
		return nil, fmt.Errorf("a master key of %d bytes, not of %d: %w", len(masterKey), KeySize, fs.ErrInvalid)
	}
	master, err := seal(masterKey)
	if err != nil {
		return nil, err
	}
	s := &Store{inner, master}
	if checker, ok := inner.(driver.Checker); ok {
		return &checkedStore{s, checker}, nil
	}
	return s, nil
}

// checkedStore can check because the inner store can: what is whole there is whole here.
type checkedStore struct {
	*Store
	driver.Checker
}

func seal(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Kind is the inner store's, and that it is sealed: "sealed file".
func (s *Store) Kind() string { return "sealed " + s.inner.Kind() }

// sealedSize is how much is kept of a content; the empty content has one chunk too.
func sealedSize(size int64) int64 {
	chunks := max(1, (size+chunkSize-1)/chunkSize)
	return int64(headerSize) + size + chunks*tagSize
}

// sealedEnd is where a content must reach to in the inner store, to reach to the offset itself.
func sealedEnd(offset int64) int64 {
	if offset == 0 {
		return 0
	}
	return int64(headerSize) + offset + ((offset-1)/chunkSize+1)*tagSize
}

// chunkNonce is the number of a chunk, and whether it is the last. A key seals each number once.
func chunkNonce(number int64, last bool) []byte {
	nonce := make([]byte, nonceSize)
	binary.BigEndian.PutUint64(nonce, uint64(number))
	if last {
		nonce[nonceSize-1] = 1
	}
	return nonce
}

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, ref string, r io.Reader, size int64) (driver.Content, error) {
	sealer, err := s.newSealer(ref, driver.Body(ctx, r, size))
	if err != nil {
		return driver.Content{}, fmt.Errorf("object content %q: %w", ref, err)
	}
	sealed := int64(-1)
	if size >= 0 {
		sealed = sealedSize(size)
	}
	if _, err := s.inner.Put(ctx, ref, sealer, sealed); err != nil {
		return driver.Content{}, err
	}
	return driver.Content{Size: sealer.size, MD5: hex.EncodeToString(sealer.hash.Sum(nil))}, nil
}

// newSealer makes a key and begins with it.
func (s *Store) newSealer(ref string, body io.Reader) (*sealer, error) {
	var key [KeySize]byte
	var nonce [nonceSize]byte
	_, _ = rand.Read(key[:]) // which never fails
	_, _ = rand.Read(nonce[:])
	chunks, err := seal(key[:])
	if err != nil {
		return nil, err
	}
	sealed := append([]byte(magic), nonce[:]...)
	sealed = s.master.Seal(sealed, nonce[:], key[:], []byte(magic+ref))
	return &sealer{body: body, chunks: chunks, sealed: sealed, hash: md5.New(), plain: make([]byte, 0, chunkSize+1)}, nil
}

// Remove implements [driver.Store].
func (s *Store) Remove(ctx context.Context, refs ...string) error {
	return s.inner.Remove(ctx, refs...)
}

// List implements [driver.Store].
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] { return s.inner.List(ctx) }
