package format_test

import (
	"bytes"
	"testing"

	"github.com/kintoun/kintoun/image/format"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

const diskSize = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"

// aVHDX is one that qemu-img made; without qemu-img the test is left out.
func aVHDX(t testing.TB) []byte {
	t.Helper()
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	return create(t, "-f", "vhdx", "image", "3M")
}

func TestVHDX(t *testing.T) {
	good := aVHDX(t)
	for _, piece := range []int{len(good), 1 << 20, 4099} {
		info, err := inspect("vhdx", false, good, piece)
		require.NoError(t, err)
		require.Equal(t, format.Info{Format: "vhdx", VirtualSize: 3 << 20}, info)
	}
	metadata := bytes.Index(good, []byte("metadata"))
	entry := bytes.Index(good, []byte(diskSize))
	parameters := bytes.Index(good, []byte("\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"))
	require.Positive(t, metadata)
	require.Positive(t, parameters)
	at := metadata + int(good[parameters+16]) + int(good[parameters+17])<<8 + int(good[parameters+18])<<16
	for name, forge := range map[string]func([]byte){
		"a parent":            func(b []byte) { b[at+4] |= 2 },
		"a parent locator":    func(b []byte) { copy(b[entry:], "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c") },
		"no size":             func(b []byte) { b[entry] = 0 },
		"an item elsewhere":   func(b []byte) { b[entry+19] = 0x7f },
		"tables that differ":  func(b []byte) { b[(256<<10)+20]++ },
		"no table":            func(b []byte) { b[192<<10], b[256<<10] = 0, 0 },
		"too many regions":    func(b []byte) { b[(192<<10)+9], b[(256<<10)+9] = 0xff, 0xff },
		"too many items":      func(b []byte) { b[metadata+11] = 0xff },
		"metadata that is no": func(b []byte) { b[metadata] = 'M' },
	} {
		bad := bytes.Clone(good)
		forge(bad)
		_, err := inspect("vhdx", false, bad, 1<<16)
		require.ErrorIs(t, err, format.ErrUnsafe, name)
	}
	for _, cut := range []int{100, 200 << 10, metadata + 100} {
		_, err := inspect("vhdx", false, good[:cut], 1<<16)
		require.ErrorIs(t, err, format.ErrMismatch, cut)
	}
}

func FuzzVHDX(f *testing.F) {
	// What is fuzzed are the two tables and the items, which lie far apart in a file that is empty otherwise.
	good := aVHDX(f)
	metadata := bytes.Index(good, []byte("metadata"))
	f.Add(good[192<<10:][:512], good[metadata:][:512], good[metadata+64<<10:][:128])
	f.Fuzz(func(t *testing.T, regions, table, items []byte) {
		b := bytes.Clone(good[:metadata+66<<10])
		copy(b[192<<10:256<<10], regions)
		copy(b[256<<10:320<<10], regions)
		copy(b[metadata:metadata+64<<10], table)
		copy(b[metadata+64<<10:], items)
		info, err := inspect("vhdx", false, b, 1<<16)
		whole, wholeErr := inspect("vhdx", false, b, len(b))
		require.Equal(t, wholeErr == nil, err == nil)
		require.Equal(t, whole, info)
		require.GreaterOrEqual(t, info.VirtualSize, int64(0))
	})
}

// TestDescriptorsThatOnlyToolsKnow are texts that QEMU takes for VMDK descriptors, which name other files.
func TestDescriptorsThatOnlyToolsKnow(t *testing.T) {
	for _, text := range []string{
		"version=1\nRW 2048 FLAT \"/etc/passwd\" 0\n", "# a comment\nversion=2\n", "#\n  \n#\nversion=3\r\n", "   \r\nversion=1\n",
	} {
		for _, piece := range []int{1, len(text)} {
			_, err := inspect("raw", false, []byte(text), piece)
			require.ErrorIs(t, err, format.ErrMismatch, "%q", text)
			_, err = inspect("vmdk", false, []byte(text), piece)
			require.ErrorIs(t, err, format.ErrUnsafe, "%q", text)
		}
	}
	for _, text := range []string{"version=4\n", "version=1", "#!/bin/sh\necho version=1\n", "  x\nversion=1\n", "#", " "} {
		_, err := inspect("raw", false, []byte(text), len(text))
		require.NoError(t, err, "%q", text)
	}
}

func TestContentsOfSeveralFormats(t *testing.T) {
	both := make([]byte, 64<<10)
	copy(both, "vhdxfile")
	copy(both[16*2048+1:], "CD001")
	for _, declared := range []string{"vhdx", "iso", "raw"} {
		_, err := inspect(declared, false, both, len(both))
		require.ErrorIs(t, err, format.ErrUnsafe, declared)
	}
}
