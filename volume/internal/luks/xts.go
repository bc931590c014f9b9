package luks

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
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
	for len(from) > 0 {
		subtle.XORBytes(to[:aes.BlockSize], from[:aes.BlockSize], t[:])
		do(to[:aes.BlockSize], to[:aes.BlockSize])
		subtle.XORBytes(to[:aes.BlockSize], to[:aes.BlockSize], t[:])
		double(&t)
		to, from = to[aes.BlockSize:], from[aes.BlockSize:]
	}
}

// double multiplies by x in the field of 2^128 elements, little endian.
func double(t *[aes.BlockSize]byte) {
	low, high := binary.LittleEndian.Uint64(t[:8]), binary.LittleEndian.Uint64(t[8:])
	carry := high >> 63
	binary.LittleEndian.PutUint64(t[8:], high<<1|low>>63)
	binary.LittleEndian.PutUint64(t[:8], low<<1^carry*0x87)
}
