package driver

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"sync"
)

// Digest is a writer that computes the [Content] of what is written to it, for stores to use. It works on both
// checksums at once. The zero Digest is not ready: see [NewDigest].
type Digest struct {
	size        int64
	md5, sha512 hash.Hash
}

// NewDigest returns the digest of nothing.
func NewDigest() *Digest {
	return &Digest{md5: md5.New(), sha512: sha512.New()}
}

// sideBySide is from how many bytes on a second processor is worth asking for help.
const sideBySide = 64 << 10

// Write adds p. It never fails.
func (d *Digest) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	if len(p) < sideBySide {
		_, _ = d.md5.Write(p)
		return d.sha512.Write(p)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = d.md5.Write(p) })
	_, _ = d.sha512.Write(p)
	wg.Wait()
	return len(p), nil
}

// Content is what was written so far.
func (d *Digest) Content() Content {
	return Content{Size: d.size, MD5: hex.EncodeToString(d.md5.Sum(nil)), SHA512: hex.EncodeToString(d.sha512.Sum(nil))}
}
