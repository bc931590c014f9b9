package memvolume

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"

	"github.com/kintoun/kintoun/volume/driver"
)

// The container of an encrypted volume begins with headerSize bytes: magic, a salt, and what the right passphrase makes of it.
// What follows is encrypted by AES in counter mode. It keeps tests honest about who needs the passphrase; it is no LUKS.
const (
	headerSize = 4096
	magic      = "KINTOUN-MEMORY-ENCRYPTED"
	saltSize   = 16
)

// lock makes c a container for the passphrase.
func (p *Pool) lock(c *content, passphrase []byte) error {
	c.encrypted = true
	c.bytes += headerSize
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt)
	_, check := keys(salt, passphrase)
	return p.writeAt(c, append([]byte(magic), append(salt, check...)...), 0)
}

// keys derives the key of the cipher, and what tells a wrong passphrase.
func keys(salt, passphrase []byte) (key, check []byte) {
	k := sha256.Sum256(append([]byte("key"), append(bytes.Clone(salt), passphrase...)...))
	c := sha256.Sum256(append([]byte("check"), append(bytes.Clone(salt), passphrase...)...))
	return k[:], c[:]
}

// inside is the size of what a guest sees.
func (c *content) inside() int64 {
	if c.encrypted {
		return c.bytes - headerSize
	}
	return c.bytes
}

// unlocked is what is inside of an encrypted device.
type unlocked struct {
	*device
	block cipher.Block
}

// Unlock opens what is inside an encrypted volume or snapshot.
func (d *Driver) Unlock(ctx context.Context, id string, access driver.Access, passphrase []byte) (driver.Device, error) {
	opened, err := d.open(ctx, id, access)
	if err != nil {
		return nil, err
	}
	if !opened.content.encrypted {
		return nil, fmt.Errorf("memvolume: %s is not encrypted: %w", opened.name, fs.ErrInvalid)
	}
	header := make([]byte, len(magic)+saltSize+sha256.Size)
	if _, err := opened.ReadAt(header, 0); err != nil {
		return nil, err
	}
	salt := header[len(magic):][:saltSize]
	key, check := keys(salt, passphrase)
	if !bytes.Equal(check, header[len(magic)+saltSize:]) {
		return nil, fmt.Errorf("memvolume: %s: wrong passphrase: %w", opened.name, fs.ErrPermission)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return struct{ driver.Device }{&unlocked{opened, block}}, nil
}

func (u *unlocked) Size() int64 { return u.device.Size() - headerSize }

func (u *unlocked) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 {
		return u.device.ReadAt(b, offset)
	}
	n, err := u.device.ReadAt(b, offset+headerSize)
	u.crypt(b[:n], b[:n], offset)
	return n, err
}

func (u *unlocked) WriteAt(b []byte, offset int64) (int, error) {
	if offset < 0 {
		return u.device.WriteAt(b, offset)
	}
	secret := make([]byte, len(b))
	u.crypt(secret, b, offset)
	return u.device.WriteAt(secret, offset+headerSize)
}

// crypt encrypts or decrypts what lies at offset.
func (u *unlocked) crypt(to, from []byte, offset int64) {
	iv := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint64(iv[8:], uint64(offset/aes.BlockSize))
	stream := cipher.NewCTR(u.block, iv)
	skipped := make([]byte, offset%aes.BlockSize)
	stream.XORKeyStream(skipped, skipped)
	stream.XORKeyStream(to, from)
}
