package fernet

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The vectors of the specification: generate.json and verify.json.
const (
	specKey   = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	specToken = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="
)

var specTime = time.Date(1985, 10, 26, 1, 20, 0, 0, time.FixedZone("", -7*3600))

func TestSpecificationVectors(t *testing.T) {
	key, err := ParseKey(specKey)
	require.NoError(t, err)
	iv := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	token, err := key.seal([]byte("hello"), specTime, iv)
	require.NoError(t, err)
	require.Equal(t, strings.TrimRight(specToken, "="), token)
	message, at, err := key.Open(specToken)
	require.NoError(t, err)
	require.Equal(t, "hello", string(message))
	require.True(t, specTime.Equal(at))
}

// The specification's invalid.json, but for those that a lifetime refuses: lifetimes are the caller's affair here.
func TestSpecificationInvalidTokens(t *testing.T) {
	key, err := ParseKey(specKey)
	require.NoError(t, err)
	for what, token := range map[string]string{
		"incorrect mac":             "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
		"too short":                 "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
		"invalid base64":            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
		"payload size not of block": "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
		"payload padding error":     "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
		"incorrect iv":              "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
		"empty":                     "",
		"too long":                  strings.Repeat("A", maxToken+1),
	} {
		_, _, err := key.Open(token)
		require.ErrorIs(t, err, ErrToken, what)
	}
}

func TestATamperedTokenIsRefused(t *testing.T) {
	key := NewKey()
	token, err := key.Seal([]byte("message"), time.Unix(1_700_000_000, 0))
	require.NoError(t, err)
	for i := range token {
		tampered := []byte(token)
		tampered[i] = 'A' + (tampered[i]-'A'+1)%26
		_, _, err := key.Open(string(tampered))
		require.ErrorIs(t, err, ErrToken, i)
	}
	_, _, err = NewKey().Open(token)
	require.ErrorIs(t, err, ErrToken)
}

func TestRotationKeepsTokensUntilTheirKeyIsDropped(t *testing.T) {
	for name, keys := range map[string]*Keys{"memory": New(nil), "directory": openDirectory(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			token, err := keys.Seal([]byte("m"), time.Unix(1, 0))
			require.NoError(t, err)
			require.NoError(t, keys.Rotate())
			_, _, err = keys.Open(token)
			require.NoError(t, err, "secondary")
			require.Len(t, keys.keys, DefaultMaxActive)
			require.NoError(t, keys.Rotate())
			_, _, err = keys.Open(token)
			require.ErrorIs(t, err, ErrToken, "dropped")
		})
	}
}

func openDirectory(t *testing.T, directory string) *Keys {
	t.Helper()
	keys, err := Open(directory, nil)
	require.NoError(t, err)
	return keys
}

func TestProcessesShareADirectory(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "keys")
	one := openDirectory(t, directory)
	two := openDirectory(t, directory)
	require.NoError(t, one.Rotate())
	token, err := one.Seal([]byte("m"), time.Unix(1, 0))
	require.NoError(t, err)
	_, _, err = two.Open(token)
	require.NoError(t, err, "the new primary key was staged before")
	require.NoError(t, one.Rotate())
	require.NoError(t, one.Rotate())
	token, err = one.Seal([]byte("m"), time.Unix(1, 0))
	require.NoError(t, err)
	_, _, err = two.Open(token)
	require.ErrorIs(t, err, ErrToken)
	require.NoError(t, two.Reload())
	_, _, err = two.Open(token)
	require.NoError(t, err)
	files, err := os.ReadDir(directory)
	require.NoError(t, err)
	require.Len(t, files, DefaultMaxActive)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

func TestBadKeyFilesAreNamed(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "0")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	_, err := Open(directory, nil)
	require.ErrorContains(t, err, path)
	require.NoError(t, os.WriteFile(path, []byte(specKey), 0o600))
	require.NoError(t, os.Chmod(path, 0o644)) //nolint:gosec // what the test is about
	_, err = Open(directory, nil)
	require.ErrorContains(t, err, "0600")
}

func TestKeysDoNotPrintThemselves(t *testing.T) {
	key, err := ParseKey(specKey)
	require.NoError(t, err)
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s", key, key, key, key)} {
		require.NotContains(t, text, "115")
		require.NotContains(t, text, "cw_0")
	}
	require.Equal(t, specKey, key.encode())
}

func FuzzOpen(f *testing.F) {
	key, err := ParseKey(specKey)
	require.NoError(f, err)
	f.Add(specToken)
	f.Add(strings.TrimRight(specToken, "="))
	f.Add("gAAAAA")
	f.Fuzz(func(t *testing.T, token string) {
		message, at, err := key.Open(token)
		if err != nil {
			require.ErrorIs(t, err, ErrToken)
			return
		}
		// Whatever opens can only be a token that was really sealed.
		again, err := key.Seal(message, at)
		require.NoError(t, err)
		require.Len(t, again, len(strings.TrimRight(token, "=")))
	})
}

func BenchmarkSeal(b *testing.B) {
	keys := New(nil)
	for b.Loop() {
		_, err := keys.Seal(make([]byte, 90), time.Unix(1, 0))
		require.NoError(b, err)
	}
}

func BenchmarkOpen(b *testing.B) {
	keys := New(nil)
	token, err := keys.Seal(make([]byte, 90), time.Unix(1, 0))
	require.NoError(b, err)
	for b.Loop() {
		_, _, err := keys.Open(token)
		require.NoError(b, err)
	}
}

// What is genuinely signed and yet no message: only a broken sealer with our key could make it.
func TestGenuineNonsenseIsRefused(t *testing.T) {
	key := NewKey()
	token, err := key.Seal(make([]byte, 20), time.Unix(1, 0))
	require.NoError(t, err)
	raw, err := decode(token)
	require.NoError(t, err)
	signed := raw[:len(raw)-sha256.Size]
	sign := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(append(b, key.mac(b)...)) }
	_, _, err = key.Open(sign(bytes.Clone(signed)))
	require.NoError(t, err)
	flipped := bytes.Clone(signed)
	flipped[len(flipped)-aes.BlockSize-1] ^= 1 // flips the last byte of the padding
	endless := bytes.Clone(signed)
	endless[1] = 0xff
	for what, b := range map[string][]byte{"padding": flipped, "half a block": signed[:len(signed)-8], "time": endless} {
		_, _, err := key.Open(sign(bytes.Clone(b)))
		require.ErrorIs(t, err, ErrToken, what)
	}
}
