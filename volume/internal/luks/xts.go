package luks

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// xts is AES in XTS mode (IEEE 1619), whose tweak is the sector's number.
type xts struct{ content, tweak cipher.Block }

func newXTS(key []byte) (*xts, error) {
	content, err := aes.NewCipher(key[:len(key)/2])
	if err != nil {
		return nil, err
	}
	tweak, err := aes.NewCipher(key[len(key)/2:])
	return &xts{content, tweak}, err
}

func (x *xts) encrypt(to, from []byte, number uint64) {
	x.each(to, from, number, x.content.Encrypt)
}

func (x *xts) decrypt(to, from []byte, number uint64) {
	x.each(to, from, number, x.content.Decrypt)
}

// each goes through a sector block by block.
func (x *xts) each(to, from []byte, number uint64, do func(dst, src []byte)) {
	var t [aes.BlockSize]byte
	binary.LittleEndian.PutUint64(t[:], number)
	x.tweak.Encrypt(t[:], t[:])
	low, high := binary.LittleEndian.Uint64(t[:8]), binary.LittleEndian.Uint64(t[8:])
	for len(from) >= aes.BlockSize {
		block := to[:aes.BlockSize:aes.BlockSize]
		mix(block, from, low, high)
		do(block, block)
		mix(block, block, low, high)
		// The tweak is multiplied by x in the field of 2^128 elements, little endian.
		low, high = low<<1^high>>63*0x87, high<<1|low>>63
		to, from = to[aes.BlockSize:], from[aes.BlockSize:]
	}
}

// mix adds the tweak to a block.
func mix(to, from []byte, low, high uint64) {
	binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(from)^low)
	binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:])^high)
}
