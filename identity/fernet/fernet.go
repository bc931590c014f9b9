// Package fernet seals small messages into tokens that only the holders of its keys can read or make, and that say when
// they were made: Fernet as the specification has it (https://github.com/fernet/spec), AES-128-CBC under HMAC-SHA256.
//
//	keys := fernet.New(nil)
//	token, err := keys.Seal([]byte("who you are"), time.Unix(1_700_000_000, 0))
//	message, sealedAt, err := keys.Open(token)
//
// [Keys] is a set of keys that rotates without a break: one is primary and seals; secondary ones still open what they
// once sealed; the staged one is the next primary, so that processes that share a directory know it before it is used.
// The package is its own implementation, on the standard library's cryptography, because the published one reads the
// clock itself and does not say when a token was made.
//
// It needs nothing from the host but, for keys that outlive the process, a directory that only its user may read. It
// does not judge a token's age: who opens it does. It does not rotate by itself.
//
// Errors: everything that is not a genuine token is [ErrToken], and no error says why; those of a directory are package
// os's. Keys is safe for concurrent use. Keys in memory end with the process, and all their tokens with them; those in
// a directory are found again.
package fernet

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ErrToken says that a text is no token, or was sealed by none of the keys, or was tampered with: which of them it
// was is not told.
var ErrToken = errors.New("not a valid token")

const (
	version   = 0x80
	headerLen = 1 + 8 + aes.BlockSize
	keyLen    = 16
	// maxToken bounds what is decoded: a hostile header must not cost memory.
	maxToken = 8 << 10
)

// Key is a signing key and an encryption key.
type Key struct{ sign, encrypt [keyLen]byte }

// NewKey makes a random key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k.sign[:]) // never fails
	_, _ = rand.Read(k.encrypt[:])
	return k
}

// ParseKey reads a key as the specification writes it: 32 bytes in base64 for URLs.
func ParseKey(text string) (Key, error) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
	if err != nil || len(raw) != 2*keyLen {
		return Key{}, errors.New("fernet key: not 32 bytes in URL-safe base64")
	}
	var k Key
	copy(k.sign[:], raw[:keyLen])
	copy(k.encrypt[:], raw[keyLen:])
	return k, nil
}

// encode is the text that [ParseKey] reads. It is not a String method, so that no log prints a key by accident.
func (k Key) encode() string {
	return base64.URLEncoding.EncodeToString(append(bytes.Clone(k.sign[:]), k.encrypt[:]...))
}

// String hides the key from logs.
func (k Key) String() string { return "fernet key" }

// GoString hides the key from logs.
func (k Key) GoString() string { return k.String() }

// Seal makes a token of the message, made at the given time. Seconds are kept of it. The token has no padding, as
// Keystone's.
func (k Key) Seal(message []byte, at time.Time) (string, error) {
	var iv [aes.BlockSize]byte
	if _, err := io.ReadFull(rand.Reader, iv[:]); err != nil {
		return "", fmt.Errorf("fernet: %w", err)
	}
	return k.seal(message, at, iv)
}

func (k Key) seal(message []byte, at time.Time, iv [aes.BlockSize]byte) (string, error) {
	block, err := aes.NewCipher(k.encrypt[:])
	if err != nil {
		return "", fmt.Errorf("fernet: %w", err)
	}
	pad := aes.BlockSize - len(message)%aes.BlockSize
	token := make([]byte, headerLen, headerLen+len(message)+pad+sha256.Size)
	token[0] = version
	binary.BigEndian.PutUint64(token[1:], uint64(max(at.Unix(), 0))) //nolint:gosec // not negative
	copy(token[9:], iv[:])
	token = append(token, message...)
	token = append(token, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(token[headerLen:], token[headerLen:])
	token = append(token, k.mac(token)...)
	return base64.RawURLEncoding.EncodeToString(token), nil
}

// Open returns the message of a token that this key sealed, and when it was sealed. Padding is taken or left.
func (k Key) Open(token string) (message []byte, sealedAt time.Time, err error) {
	raw, err := decode(token)
	if err != nil {
		return nil, time.Time{}, err
	}
	return k.open(raw)
}

func decode(token string) ([]byte, error) {
	if len(token) > maxToken {
		return nil, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(token, "="))
	if err != nil || len(raw) < headerLen+aes.BlockSize+sha256.Size || raw[0] != version {
		return nil, ErrToken
	}
	if (len(raw)-headerLen-sha256.Size)%aes.BlockSize != 0 {
		return nil, ErrToken
	}
	return raw, nil
}

// open leaves raw as it is: another key may have to try.
func (k Key) open(raw []byte) ([]byte, time.Time, error) {
	signed, mac := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	if !hmac.Equal(mac, k.mac(signed)) {
		return nil, time.Time{}, ErrToken
	}
	block, err := aes.NewCipher(k.encrypt[:])
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("fernet: %w", err)
	}
	message := make([]byte, len(signed)-headerLen)
	cipher.NewCBCDecrypter(block, signed[9:headerLen]).CryptBlocks(message, signed[headerLen:])
	// The signature is genuine, so how long this check takes tells nobody anything.
	pad := int(message[len(message)-1])
	if pad == 0 || pad > aes.BlockSize || !bytes.Equal(message[len(message)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, time.Time{}, ErrToken
	}
	seconds := binary.BigEndian.Uint64(signed[1:])
	if seconds > 1<<62 {
		return nil, time.Time{}, ErrToken
	}
	return message[:len(message)-pad], time.Unix(int64(seconds), 0).UTC(), nil
}

func (k Key) mac(signed []byte) []byte {
	h := hmac.New(sha256.New, k.sign[:])
	h.Write(signed)
	return h.Sum(nil)
}
