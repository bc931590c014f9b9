// Package luks makes and opens LUKS containers, version 1 (LUKS On-Disk Format Specification, version 1.2.3), as QEMU's driver "luks"
// and cryptsetup do: AES-256 in XTS mode with plain64 sectors, keys derived by PBKDF2 with SHA-256.
//
// It needs nothing of the host. It makes one key slot, and opens by any; it changes no passphrase, and opens no container of
// other ciphers. What was never written inside a container on a sparse file is read as zeroes here, and as noise by others.
//
// Errors wrap fs.ErrPermission for a passphrase that opens no slot, fs.ErrInvalid for what is no container of this kind. A device
// is safe for concurrent use.
package luks

import (
	"bytes"
	"cmp"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/google/uuid"
)

const (
	sector      = 512
	keyBytes    = 64 // two AES-256 keys
	stripes     = 4000
	slots       = 8
	digestBytes = 20

	// materialSectors is a slot's key material, in whole pages of 4 KiB.
	materialSectors = (keyBytes*stripes/sector + 7) &^ 7

	slotActive   = 0x00ac71f3
	slotDisabled = 0x0000dead

	// HeaderBytes is what comes before the content in the containers made here.
	HeaderBytes = 2 << 20

	// iterations make a guess of a passphrase cost some 50 ms. Most passphrases are random keys, which nobody guesses.
	iterations = 100_000
	// minIterations are the least that PKCS #5 recommends (RFC 2898, section 4.2).
	minIterations = 1000
	// maxIterations bounds what a header can make us calculate. Those of cryptsetup and QEMU are what a second or two allow.
	maxIterations = 20_000_000
)

var magic = [6]byte{'L', 'U', 'K', 'S', 0xba, 0xbe}

// header is what a container begins with (figure 1 of the specification), big endian.
type header struct {
	Magic         [6]byte
	Version       uint16
	Cipher        [32]byte
	Mode          [32]byte
	Hash          [32]byte
	PayloadOffset uint32 // in sectors
	KeyBytes      uint32
	Digest        [digestBytes]byte
	DigestSalt    [32]byte
	DigestRounds  uint32
	UUID          [40]byte
	Slots         [slots]slot
}

// slot is one passphrase (figure 2).
type slot struct {
	Active   uint32
	Rounds   uint32
	Salt     [32]byte
	Material uint32 // in sectors
	Stripes  uint32
}

func text(s string) (b [32]byte) {
	copy(b[:], s)
	return b
}

// Options changes what a new container is.
type Options struct {
	// Offset is where the content begins, a multiple of 512; by default, and at least, [HeaderBytes].
	Offset int64
	// Rounds are those of PBKDF2; 100,000 by default, 1,000 at least. Fewer are for tests on slow machines.
	Rounds int
}

// Format writes the header of a new container that the passphrase opens. o may be nil.
func Format(w io.WriterAt, passphrase []byte, o *Options) error {
	offset, rounds := int64(HeaderBytes), iterations
	if o != nil {
		offset, rounds = cmp.Or(o.Offset, offset), cmp.Or(o.Rounds, rounds)
	}
	if offset < HeaderBytes || offset%sector != 0 || offset/sector > math.MaxUint32 || rounds < minIterations || rounds > maxIterations {
		return fmt.Errorf("a LUKS container whose content begins at %d, of %d rounds: %w", offset, rounds, fs.ErrInvalid)
	}
	h := header{
		Magic: magic, Version: 1, Cipher: text("aes"), Mode: text("xts-plain64"), Hash: text("sha256"),
		PayloadOffset: uint32(offset / sector), KeyBytes: keyBytes, DigestRounds: uint32(rounds),
	}
	copy(h.UUID[:], uuid.NewString())
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key)
	_, _ = rand.Read(h.DigestSalt[:])
	digest, err := h.digest(key)
	if err != nil {
		return err
	}
	copy(h.Digest[:], digest)
	for i := range h.Slots {
		h.Slots[i] = slot{Active: slotDisabled, Material: uint32(8 + i*materialSectors), Stripes: stripes}
	}
	s := &h.Slots[0]
	s.Active, s.Rounds = slotActive, uint32(rounds)
	_, _ = rand.Read(s.Salt[:])
	c, err := s.cipher(passphrase)
	if err != nil {
		return err
	}
	material := split(key)
	for i := range len(material) / sector {
		piece := material[i*sector:][:sector]
		c.encrypt(piece, piece, uint64(i))
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.BigEndian, &h); err != nil {
		return err
	}
	if _, err := w.WriteAt(material, int64(s.Material)*sector); err != nil {
		return err
	}
	_, err = w.WriteAt(b.Bytes(), 0)
	return err
}

// digest tells whether a key is the right one.
func (h *header) digest(key []byte) ([]byte, error) {
	return pbkdf2.Key(sha256.New, string(key), h.DigestSalt[:], int(h.DigestRounds), digestBytes)
}

// cipher is what a slot's key material is encrypted with.
func (s *slot) cipher(passphrase []byte) (*xts, error) {
	key, err := pbkdf2.Key(sha256.New, string(passphrase), s.Salt[:], int(s.Rounds), keyBytes)
	if err != nil {
		return nil, err
	}
	return newXTS(key)
}

func readHeader(r io.ReaderAt) (*header, error) {
	var h header
	if err := binary.Read(io.NewSectionReader(r, 0, int64(binary.Size(h))), binary.BigEndian, &h); err != nil {
		return nil, fmt.Errorf("LUKS header: %w", err)
	}
	switch {
	case h.Magic != magic || h.Version != 1:
		return nil, fmt.Errorf("no LUKS header of version 1: %w", fs.ErrInvalid)
	case h.Cipher != text("aes") || h.Mode != text("xts-plain64") || h.Hash != text("sha256") || h.KeyBytes != keyBytes:
		return nil, fmt.Errorf("LUKS cipher %.32s %.32s %.32s of %d bytes: %w", h.Cipher, h.Mode, h.Hash, h.KeyBytes, fs.ErrInvalid)
	case h.PayloadOffset < 8 || h.DigestRounds == 0 || h.DigestRounds > maxIterations:
		return nil, fmt.Errorf("LUKS header: content at sector %d, %d rounds: %w", h.PayloadOffset, h.DigestRounds, fs.ErrInvalid)
	}
	return &h, nil
}

// PayloadOffset is how many bytes come before the content.
func PayloadOffset(r io.ReaderAt) (int64, error) {
	h, err := readHeader(r)
	if err != nil {
		return 0, err
	}
	return int64(h.PayloadOffset) * sector, nil
}

// key finds the container's key.
func (h *header) key(r io.ReaderAt, passphrase []byte) ([]byte, error) {
	for i := range h.Slots {
		s := &h.Slots[i]
		if s.Active != slotActive {
			continue
		}
		if s.Stripes != stripes || s.Rounds == 0 || s.Rounds > maxIterations {
			return nil, fmt.Errorf("LUKS slot %d: %d stripes, %d rounds: %w", i, s.Stripes, s.Rounds, fs.ErrInvalid)
		}
		key, err := s.open(r, passphrase)
		if err != nil {
			return nil, fmt.Errorf("LUKS slot %d: %w", i, err)
		}
		digest, err := h.digest(key)
		if err != nil {
			return nil, err
		}
		if subtle.ConstantTimeCompare(digest, h.Digest[:]) == 1 {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the passphrase opens no LUKS slot: %w", fs.ErrPermission)
}

// open is what the passphrase makes of a slot's material.
func (s *slot) open(r io.ReaderAt, passphrase []byte) ([]byte, error) {
	material := make([]byte, keyBytes*stripes)
	if _, err := r.ReadAt(material, int64(s.Material)*sector); err != nil {
		return nil, err
	}
	c, err := s.cipher(passphrase)
	if err != nil {
		return nil, err
	}
	for i := range len(material) / sector {
		piece := material[i*sector:][:sector]
		c.decrypt(piece, piece, uint64(i))
	}
	return merge(material), nil
}

// split spreads a key over stripes, all of which are needed to get it back (section 2.4, AFsplit).
func split(key []byte) []byte {
	material := make([]byte, keyBytes*stripes)
	last := material[keyBytes*(stripes-1):]
	_, _ = rand.Read(material[:keyBytes*(stripes-1)])
	copy(last, merge(material))
	subtle.XORBytes(last, last, key)
	return material
}

// merge is AFmerge.
func merge(material []byte) []byte {
	d := make([]byte, keyBytes)
	for i := range stripes - 1 {
		subtle.XORBytes(d, d, material[i*keyBytes:][:keyBytes])
		diffuse(d)
	}
	subtle.XORBytes(d, d, material[(stripes-1)*keyBytes:])
	return d
}

// diffuse hashes each piece of d with its number.
func diffuse(d []byte) {
	for i := range len(d) / sha256.Size {
		piece := d[i*sha256.Size:][:sha256.Size]
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, uint32(i)), piece...))
		copy(piece, sum[:])
	}
}
