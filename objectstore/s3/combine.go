package s3

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/kintoun/kintoun/objectstore"
)

// The checksum of a whole that was uploaded in parts is made of those of its parts, where it is a CRC: no byte is read again.

// polynomials are those of the CRCs, reversed, with how many bits each has.
var polynomials = map[string]struct {
	polynomial uint64
	width      int
}{
	"CRC32": {crc32.IEEE, 32}, "CRC32C": {crc32.Castagnoli, 32}, "CRC64NVME": {nvme, 64},
}

// checkWhole compares the checksum that a client gave of the whole with the parts'. What cannot be made of them (hashes, and
// parts that came without) is not compared: then the parts were, each by its entity tag.
func (a *api) checkWhole(q *request, wish *completeRequest) error {
	for i := range algorithms {
		given := q.Header.Get(algorithms[i].header)
		if crc, combines := polynomials[algorithms[i].name]; combines && isSum(&algorithms[i], given) {
			return a.compareWhole(q, wish, algorithms[i].name, given, crc.polynomial, crc.width)
		}
	}
	return nil
}

func (a *api) compareWhole(q *request, wish *completeRequest, algorithm, given string, polynomial uint64, width int) error {
	_, have, err := a.objects.Upload(q.Context(), q.caller, q.path, q.upload())
	if err != nil {
		return err
	}
	parts := map[int]objectstore.UploadPart{}
	for _, p := range have {
		parts[p.Number] = p
	}
	whole := uint64(0)
	for _, p := range wish.Parts {
		sum, err := base64.StdEncoding.DecodeString(parts[p.PartNumber].Checksums[algorithm])
		if err != nil || len(sum) != width/8 {
			return nil //nolint:nilerr // a part that came without has nothing to compare
		}
		whole = combine(polynomial, width, whole, number(sum), parts[p.PartNumber].Size)
	}
	if want, err := base64.StdEncoding.DecodeString(given); err != nil || number(want) != whole {
		return fail("BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
	}
	return nil
}

// number reads a CRC of up to eight bytes.
func number(sum []byte) uint64 {
	var raw [8]byte
	copy(raw[8-len(sum):], sum)
	return binary.BigEndian.Uint64(raw[:])
}

// combine is the CRC of two texts in a row, made of theirs and the length of the second: the first is carried over as many zero
// bytes, by squaring the matrix over GF(2) that carries it over one bit.
func combine(polynomial uint64, width int, first, second uint64, length int64) uint64 {
	var carry [64]uint64
	carry[0] = polynomial
	for n := 1; n < width; n++ {
		carry[n] = 1 << (n - 1)
	}
	for range 3 { // from a bit to a byte
		carry = squared(carry, width)
	}
	for ; length > 0; length >>= 1 {
		if length&1 == 1 {
			first = times(&carry, first)
		}
		carry = squared(carry, width)
	}
	return first ^ second
}

func squared(m [64]uint64, width int) (s [64]uint64) {
	for n := range width {
		s[n] = times(&m, m[n])
	}
	return s
}

func times(m *[64]uint64, v uint64) (product uint64) {
	for ; v != 0; v &= v - 1 {
		product ^= m[bits.TrailingZeros64(v)]
	}
	return product
}
