package luks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

type file struct{ *os.File }

func (f file) Size() int64 {
	info, err := f.Stat()
	if err != nil {
		return -1
	}
	return info.Size()
}

func container(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "container")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(HeaderBytes+size))
	require.NoError(t, Format(f, []byte("secret"), nil))
	require.NoError(t, f.Close())
	return path
}

func unlock(t testing.TB, path, passphrase string) *Device {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	d, err := NewDevice(file{f}, []byte(passphrase))
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// TestContents compares with a copy in memory, at places that are no sectors' beginnings too.
func TestContents(t *testing.T) {
	const size = 1<<20 + 512
	path, model := container(t, size), make([]byte, size)
	d := unlock(t, path, "secret")
	require.Equal(t, int64(size), d.Size())
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 400 {
		offset := random.Int64N(size)
		length := min(1+random.Int64N(400<<(n%12)), size-offset)
		b := make([]byte, length)
		if n%2 == 0 {
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			k, err := d.WriteAt(b, offset)
			require.NoError(t, err)
			require.Equal(t, len(b), k)
			copy(model[offset:], b)
			continue
		}
		_, err := d.ReadAt(b, offset)
		require.NoError(t, err)
		require.True(t, bytes.Equal(model[offset:][:length], b), "%d at %d", length, offset)
	}
	require.NoError(t, d.Zero(1000, 300_000))
	clear(model[1000:301_000])
	require.NoError(t, d.Close())
	b := make([]byte, size+1)
	n, err := unlock(t, path, "secret").ReadAt(b, 0)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, size, n)
	require.True(t, bytes.Equal(model, b[:n]))
}

func TestWrongPassphrase(t *testing.T) {
	f, err := os.Open(container(t, 4096))
	require.NoError(t, err)
	_, err = NewDevice(file{f}, []byte("wrong"))
	require.ErrorIs(t, err, fs.ErrPermission)
	_, err = f.Stat()
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestBounds(t *testing.T) {
	d := unlock(t, container(t, 4096), "secret")
	for _, offset := range []int64{-1, 4095, 4097, 1 << 62} {
		_, err := d.WriteAt([]byte("ab"), offset)
		require.ErrorIs(t, err, fs.ErrInvalid, "%d", offset)
	}
	_, err := d.ReadAt(make([]byte, 1), -1)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// TestQEMUOpensOurs and TestOursOpensQEMUs have the format checked by another who speaks it.
func TestQEMUOpensOurs(t *testing.T) {
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	path := container(t, 1<<20)
	d := unlock(t, path, "secret")
	want := bytes.Repeat([]byte("kintoun!"), 1<<17)
	_, err := d.WriteAt(want, 0)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	got := filepath.Join(t.TempDir(), "raw")
	run(t, "qemu-img", "convert", "--object", "secret,id=s,data=secret", "--image-opts", "driver=luks,key-secret=s,file.filename="+path, "-O", "raw", got)
	content, err := os.ReadFile(got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, content))
}

func TestOursOpensQEMUs(t *testing.T) {
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	raw, path := filepath.Join(dir, "raw"), filepath.Join(dir, "luks")
	want := bytes.Repeat([]byte("kintoun!"), 1<<16)
	require.NoError(t, os.WriteFile(raw, want, 0o600))
	run(t, "qemu-img", "convert", "--object", "secret,id=s,data=other", "-O", "luks", "-o", "key-secret=s,iter-time=10", raw, path)
	d := unlock(t, path, "other")
	got := make([]byte, len(want))
	_, err := d.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	f, err := os.Open(path)
	require.NoError(t, err)
	offset, err := PayloadOffset(f)
	require.NoError(t, err)
	require.Equal(t, d.offset, offset)
	require.NoError(t, f.Close())
}

func run(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// FuzzHeader has the rest of the container be any bytes too.
func FuzzHeader(f *testing.F) {
	content, err := os.ReadFile(container(f, 512))
	require.NoError(f, err)
	f.Add(content[:592])
	f.Add([]byte("LUKS\xba\xbe\x00\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		for i := range h.Slots {
			// Nobody waits for the rounds of a fuzzer.
			h.Slots[i].Rounds = min(h.Slots[i].Rounds, 10)
		}
		h.DigestRounds = min(h.DigestRounds, 10)
		if key, err := h.key(bytes.NewReader(b), []byte("secret")); err == nil {
			require.Len(t, key, keyBytes)
		} else {
			require.True(t, errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), fmt.Sprint(err))
		}
	})
}

func BenchmarkRead(b *testing.B) {
	d := unlock(b, container(b, 1<<20), "secret")
	content := make([]byte, 1<<20)
	_, err := d.WriteAt(bytes.Repeat([]byte{1}, 1<<20), 0)
	require.NoError(b, err)
	b.SetBytes(1 << 20)
	for b.Loop() {
		_, err := d.ReadAt(content, 0)
		require.NoError(b, err)
	}
}

// TestOptions has a content that begins later, and other rounds.
func TestOptions(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "container"))
	require.NoError(t, err)
	const offset = HeaderBytes + 3*sector
	require.NoError(t, f.Truncate(offset+4096))
	for _, o := range []Options{{Offset: HeaderBytes - sector}, {Offset: HeaderBytes + 1}, {Offset: 1 << 42}, {Offset: -sector}, {Rounds: 999}, {Rounds: maxIterations + 1}, {Rounds: -1}} {
		require.ErrorIs(t, Format(f, []byte("secret"), &o), fs.ErrInvalid, "%+v", o)
	}
	require.NoError(t, Format(f, []byte("secret"), &Options{Offset: offset, Rounds: 1000}))
	found, err := PayloadOffset(f)
	require.NoError(t, err)
	require.Equal(t, int64(offset), found)
	h, err := readHeader(f)
	require.NoError(t, err)
	require.Equal(t, []uint32{1000, 1000}, []uint32{h.DigestRounds, h.Slots[0].Rounds})
	d, err := NewDevice(file{f}, []byte("secret"))
	require.NoError(t, err)
	require.Equal(t, int64(4096), d.Size())
	require.NoError(t, d.Close())

	usual, err := os.Open(container(t, 4096))
	require.NoError(t, err)
	h, err = readHeader(usual)
	require.NoError(t, err)
	require.Equal(t, []uint32{100_000, 100_000}, []uint32{h.DigestRounds, h.Slots[0].Rounds})
	require.NoError(t, usual.Close())
}

func BenchmarkFormat(b *testing.B) {
	path := container(b, 4096)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(b, err)
	for b.Loop() {
		require.NoError(b, Format(f, []byte("secret"), nil))
	}
	require.NoError(b, f.Close())
}
