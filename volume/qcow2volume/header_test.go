//go:build linux

package qcow2volume

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

func qemuImg(t testing.TB, args ...string) []byte {
	t.Helper()
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	out, err := exec.CommandContext(t.Context(), "qemu-img", args...).CombinedOutput()
	require.NoError(t, err, "qemu-img %v: %s", args, out)
	return out
}

func write(t testing.TB, path string, size int64, on base, content []byte) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, writeNew(f, size, on, content))
	require.NoError(t, f.Close())
}

func read(t testing.TB, path string) (header, error) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	return readHeader(f)
}

// TestNewFiles has QEMU read and check what is written here.
func TestNewFiles(t *testing.T) {
	dir := t.TempDir()
	lower, path := filepath.Join(dir, "lower.qcow2"), filepath.Join(dir, "new.qcow2")
	write(t, lower, 512, base{}, nil)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lower.raw"), make([]byte, 512), 0o600))
	content := bytes.Repeat([]byte("kintoun!"), 150_000/8)
	for _, c := range []struct {
		size    int64
		on      base
		content []byte
	}{
		{size: 512},
		{size: 1<<20 + 512},
		{size: 100 << 30},
		{size: 3 << 40, on: base{"lower.raw", formatRaw}},
		{size: 512, on: base{"lower.qcow2", formatQCOW2}},
		{size: 1 << 30, content: content},
		{size: int64(len(content))/512*512 + 512, content: content},
		{size: maxBytes},
	} {
		require.NoError(t, os.RemoveAll(path))
		write(t, path, c.size, c.on, c.content)
		var said struct {
			Size    int64  `json:"virtual-size"`
			Format  string `json:"format"`
			Backing string `json:"backing-filename"`
			Below   string `json:"backing-filename-format"`
		}
		require.NoError(t, json.Unmarshal(qemuImg(t, "info", "--output=json", path), &said))
		require.Equal(t, []any{c.size, "qcow2", c.on.name, c.on.format}, []any{said.Size, said.Format, said.Backing, said.Below})
		qemuImg(t, "check", path)
		h, err := read(t, path)
		require.NoError(t, err)
		require.Equal(t, []any{c.size, c.on.name}, []any{h.bytes, h.backing})
		f, err := os.Open(path)
		require.NoError(t, err)
		untouched, err := empty(f)
		require.NoError(t, err)
		require.Equal(t, c.content == nil, untouched)
		require.NoError(t, f.Close())
		if c.content == nil {
			continue
		}
		qemuImg(t, "convert", "-O", "raw", path, filepath.Join(dir, "raw"))
		raw, err := os.Open(filepath.Join(dir, "raw"))
		require.NoError(t, err)
		found := make([]byte, len(c.content)+512)
		n, _ := raw.ReadAt(found, 0)
		require.NoError(t, raw.Close())
		require.True(t, bytes.Equal(append(c.content, make([]byte, n-len(c.content))...), found[:n]))
	}
	for _, size := range []int64{0, -512, maxBytes + 512} {
		require.ErrorIs(t, writeNew(buffer(nil), size, base{}, nil), fs.ErrInvalid)
	}
}

// TestUnfit tells files that QEMU made, and that are more than they seem.
func TestUnfit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "theirs")
	whole := filepath.Join(dir, "whole")
	qemuImg(t, "create", "-f", "qcow2", whole, "1M")
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"create", "-f", "qcow2", path, "1M"}, ""},
		{[]string{"create", "-f", "qcow2", "-o", "compat=0.10", path, "1M"}, ""},
		{[]string{"create", "-f", "qcow2", "-o", "cluster_size=2M,extended_l2=on", path, "1M"}, ""},
		{[]string{"create", "-f", "qcow2", "-b", whole, "-F", "qcow2", path}, "stands on another"},
		{[]string{"create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", path, "1M"}, "stands on another"},
		{[]string{"create", "-f", "qcow2", "-o", "data_file=" + whole + ".data", path, "1M"}, "in another file"},
		{[]string{"create", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path, "1M"}, "encrypted"},
		{[]string{"snapshot", "-c", "inside", whole}, "snapshots inside"},
	} {
		qemuImg(t, c.args...)
		at := path
		if c.args[0] == "snapshot" {
			at = whole
		}
		h, err := read(t, at)
		require.NoError(t, err)
		if c.why == "" {
			require.Empty(t, h.unfit())
		} else {
			require.Contains(t, h.unfit(), c.why)
		}
	}
}

// FuzzHeader has no header lead us astray.
func FuzzHeader(f *testing.F) {
	f.Add(newHeader(1<<30, 2, base{"lower.qcow2", formatQCOW2}))
	f.Add(newHeader(512, 1, base{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, h.bytes, int64(0))
		require.LessOrEqual(t, h.bytes, int64(maxBytes))
		require.LessOrEqual(t, len(h.backing), maxName)
		_ = h.unfit()
		_, _ = empty(bytes.NewReader(b))
	})
}
