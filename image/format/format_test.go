package format_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kintoun/kintoun/image/format"
	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
)

// inspect writes content in pieces of the given size.
func inspect(declared string, lenient bool, content []byte, piece int) (format.Info, error) {
	i := format.NewInspector(declared, lenient)
	for rest := content; len(rest) > 0; {
		n := min(piece, len(rest))
		if _, err := i.Write(rest[:n]); err != nil {
			_, again := i.Close()
			if again == nil {
				return format.Info{}, fmt.Errorf("Close forgot %w", err)
			}
			return format.Info{}, err
		}
		rest = rest[n:]
	}
	return i.Close()
}

// create makes an image with qemu-img and returns its bytes.
func create(t testing.TB, args ...string) []byte {
	t.Helper()
	labtest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	cmd := exec.Command("qemu-img", append([]string{"create", "-q"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(filepath.Join(dir, "image"))
	require.NoError(t, err)
	return content
}

func TestRealImagesPass(t *testing.T) {
	const size = 64 << 20
	for _, c := range []struct {
		declared string
		args     []string
	}{
		{"qcow2", []string{"-f", "qcow2", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "compat=0.10", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "cluster_size=512", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "cluster_size=2M", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "compression_type=zstd", "image", "64M"}},
		{"qcow2", []string{"-f", "qcow2", "-o", "lazy_refcounts=on,refcount_bits=1", "image", "64M"}},
		{"raw", []string{"-f", "raw", "image", "64M"}},
		{"ami", []string{"-f", "raw", "image", "64M"}},
		{"vmdk", []string{"-f", "vmdk", "image", "64M"}},
		{"vmdk", []string{"-f", "vmdk", "-o", "subformat=streamOptimized", "image", "64M"}},
		{"vhd", []string{"-f", "vpc", "-o", "force_size=on", "image", "64M"}},
		{"vhd", []string{"-f", "vpc", "-o", "subformat=fixed,force_size=on", "image", "64M"}},
		{"vdi", []string{"-f", "vdi", "image", "64M"}},
	} {
		content := create(t, c.args...)
		for _, piece := range []int{len(content), 1000} {
			info, err := inspect(c.declared, false, content, piece)
			require.NoError(t, err, "%v", c.args)
			require.EqualValues(t, size, info.VirtualSize, "%v", c.args)
		}
		if c.declared == "raw" || c.declared == "ami" {
			continue
		}
		_, err := inspect("raw", true, content[:min(len(content), 1<<20)], 4096)
		if !strings.Contains(strings.Join(c.args, " "), "fixed") {
			require.ErrorIs(t, err, format.ErrMismatch, "%v said to be raw", c.args)
		}
		other := "qcow2"
		if c.declared == other {
			other = "vmdk"
		}
		_, err = inspect(other, false, content, 4096)
		require.ErrorIs(t, err, format.ErrMismatch, "%v said to be %s", c.args, other)
		_, err = inspect(c.declared, false, content[:70], 4096)
		require.Error(t, err, "%v cut short", c.args)
	}
	info, err := inspect("vhdx", false, create(t, "-f", "vhdx", "image", "64M"), 1<<20)
	require.NoError(t, err)
	require.Equal(t, format.Info{Format: "vhdx", VirtualSize: size}, info)
}

func TestUnsafeImagesAreRefused(t *testing.T) {
	for _, c := range []struct {
		declared, why string
		args          []string
	}{
		{"qcow2", "backing file", []string{"-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", "image", "64M"}},
		{"qcow2", "backing file", []string{"-f", "qcow2", "-u", "-b", `json:{"file.filename": "/etc/passwd"}`, "-F", "raw", "image", "64M"}},
		{"qcow2", "backing file", []string{"-f", "qcow2", "-o", "compat=0.10", "-u", "-b", "/etc/passwd", "-F", "raw", "image", "64M"}},
		{"qcow2", "external data file", []string{"-f", "qcow2", "-o", "data_file=other", "image", "64M"}},
		{"qcow2", "external data file", []string{"-f", "qcow2", "-o", "data_file=other,data_file_raw=on", "image", "64M"}},
		{"qcow2", "encrypted", []string{"--object", "secret,id=s,data=x", "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "image", "64M"}},
		{"qed", "qed", []string{"-f", "qed", "image", "64M"}},
		{"vmdk", "self-contained", []string{"-f", "vmdk", "-o", "subformat=monolithicFlat", "image", "64M"}},
		{"vmdk", "self-contained", []string{"-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "image", "64M"}},
	} {
		_, err := inspect(c.declared, true, create(t, c.args...), 4096)
		require.ErrorIs(t, err, format.ErrUnsafe, "%v", c.args)
		require.ErrorContains(t, err, c.why)
	}
}

// TestForgedQcow2 changes one field of a good header.
func TestForgedQcow2(t *testing.T) {
	good := create(t, "-f", "qcow2", "image", "64M")
	for _, c := range []struct {
		name  string
		at    int
		value any
	}{
		{"version 1", 4, uint32(1)},
		{"version 4", 4, uint32(4)},
		{"a backing file's length", 16, uint32(10)},
		{"small clusters", 20, uint32(8)},
		{"large clusters", 20, uint32(22)},
		{"absurd clusters", 20, uint32(0xffffffff)},
		{"an absurd disk", 24, uint64(1) << 63},
		{"a disk beyond its table", 24, uint64(1) << 50},
		{"AES", 32, uint32(1)},
		{"a huge L1 table", 36, uint32(0x1fffffff)},
		{"an L1 table beyond the end", 40, uint64(1) << 40},
		{"an L1 table past all", 40, uint64(0xffffffffffff0000)},
		{"an L1 table off its cluster", 40, uint64(0x30001)},
		{"an L1 table over the header", 40, uint64(0)},
		{"a refcount table beyond the end", 48, uint64(1) << 40},
		{"a refcount table over the header", 48, uint64(0)},
		{"a huge refcount table", 56, uint32(0xffffffff)},
		{"no refcount table", 56, uint32(0)},
		{"many snapshots", 60, uint32(65537)},
		{"snapshots beyond the end", 60, []any{uint32(1), uint64(1) << 40}},
		{"the corrupt mark", 72, uint64(2)},
		{"an external data file", 72, uint64(4)},
		{"an unknown feature", 72, uint64(1) << 40},
		{"a refcount order", 96, uint32(7)},
		{"a short header", 100, uint32(72)},
		{"an odd header", 100, uint32(105)},
		{"a long header", 100, uint32(1 << 20)},
		{"a data file's name", 112, []any{uint32(0x44415441), uint32(5)}},
		{"an encryption extension", 112, []any{uint32(0x0537be77), uint32(16)}},
		{"an endless extension", 112, []any{uint32(1), uint32(0xfffffff0)}},
		{"extensions without an end", 112, []any{uint32(1), uint32(65536 - 120)}},
	} {
		var b bytes.Buffer
		values, ok := c.value.([]any)
		if !ok {
			values = []any{c.value}
		}
		for _, v := range values {
			require.NoError(t, binary.Write(&b, binary.BigEndian, v))
		}
		forged := bytes.Clone(good)
		copy(forged[c.at:], b.Bytes())
		_, err := inspect("qcow2", false, forged, 1<<20)
		if c.name == "extensions without an end" {
			require.NoError(t, err, c.name) // the first cluster ends them
			continue
		}
		require.ErrorIs(t, err, format.ErrUnsafe, c.name)
	}
	_, err := inspect("qcow2", false, good[:len(good)/4], 4096)
	require.ErrorIs(t, err, format.ErrUnsafe, "cut short")
}

func TestForgedOthers(t *testing.T) {
	refused := func(declared string, content []byte, at int, value string) {
		t.Helper()
		forged := bytes.Clone(content)
		copy(forged[at:], value)
		_, err := inspect(declared, false, forged, 4096)
		require.ErrorIs(t, err, format.ErrUnsafe)
	}
	vmdk := create(t, "-f", "vmdk", "image", "64M")
	refused("vmdk", vmdk, 12, "\x00\x00\x00\x00\x00\x00\x00\x00")                  // no capacity: tools believe the descriptor alone
	refused("vmdk", vmdk, 28, "\xff\xff\xff\xff\xff\xff\xff\xff")                  // a descriptor elsewhere
	refused("vmdk", vmdk, 36, "\x00\x00\x00\x00")                                  // or nowhere
	refused("vmdk", vmdk, bytes.Index(vmdk, []byte("SPARSE")), "FLAT  ")           // an extent in another file
	refused("vmdk", vmdk, bytes.Index(vmdk, []byte("ffffffff")), "12345678")       // a parent
	refused("vmdk", vmdk, bytes.Index(vmdk, []byte("monolithicSparse")), "custom") // another type
	refused("vmdk", atEnd(vmdk), len(vmdk)+sector, "none")                         // no footer
	refused("vmdk", atEnd(vmdk), len(vmdk)+sector+12, "\x01\x02\x03")
	refused("vmdk", atEnd(vmdk), len(vmdk)+sector+28, "\x09")
	_, err := inspect("vmdk", false, atEnd(vmdk), 4096)
	require.NoError(t, err)
	refused("vhd", create(t, "-f", "vpc", "image", "64M"), 60, "\x00\x00\x00\x04")
	refused("vhd", create(t, "-f", "vpc", "image", "64M"), 48, "\xff")
	refused("vdi", create(t, "-f", "vdi", "image", "64M"), 0x4c, "\x04")
	refused("vdi", create(t, "-f", "vdi", "image", "64M"), 0x177, "\xff")
	refused("raw", []byte("QED\x00"), 0, "")
	refused("vmdk", []byte("# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\n"), 0, "")
	refused("vmdk", []byte("COWD"+strings.Repeat("\x00", 1000)), 0, "")
}

const sector = 512

// atEnd gives a VMDK its grain directory at the end, as stream-optimized ones have: a marker, a footer that is the
// header again, and the end-of-stream marker.
func atEnd(vmdk []byte) []byte {
	v := bytes.Clone(vmdk)
	copy(v[56:], "\xff\xff\xff\xff\xff\xff\xff\xff")
	v = append(v, make([]byte, sector)...)
	v = append(v, v[:sector]...)
	return append(v, make([]byte, sector)...)
}

func TestContentsWithoutAFormat(t *testing.T) {
	noise := bytes.Repeat([]byte("noise"), 50_000)
	for _, declared := range []string{"qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "ploop"} {
		for _, content := range [][]byte{noise, nil, []byte("x")} {
			_, err := inspect(declared, false, content, 4096)
			require.ErrorIs(t, err, format.ErrMismatch, declared)
			info, err := inspect(declared, true, content, 4096)
			require.NoError(t, err, declared)
			require.Equal(t, format.Info{Format: "raw", VirtualSize: int64(len(content))}, info)
		}
	}
	for _, declared := range []string{"raw", "aki", "ari", "ami"} {
		info, err := inspect(declared, false, noise, 4096)
		require.NoError(t, err)
		require.Equal(t, format.Info{Format: "raw", VirtualSize: int64(len(noise))}, info)
	}
	iso := make([]byte, 100_000)
	copy(iso[32769:], "CD001")
	for _, declared := range []string{"iso", "raw"} {
		info, err := inspect(declared, false, iso, 4096)
		require.NoError(t, err)
		require.Equal(t, format.Info{Format: "iso", VirtualSize: 100_000}, info)
	}
	_, err := inspect("raw", true, []byte("WithoutFreeSpace"), 4096)
	require.ErrorIs(t, err, format.ErrMismatch)
}

// TestRefusedEarly finds a bad image refused long before its end.
func TestRefusedEarly(t *testing.T) {
	bad := create(t, "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", "image", "64M")
	i := format.NewInspector("qcow2", false)
	n, err := io.Copy(i, io.MultiReader(bytes.NewReader(bad), endless{}))
	require.ErrorIs(t, err, format.ErrUnsafe)
	require.Less(t, n, int64(1<<20))
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func FuzzInspector(f *testing.F) {
	if _, err := exec.LookPath("qemu-img"); err == nil {
		for _, kind := range []string{"qcow2", "vmdk", "vpc", "vdi"} {
			content := create(f, "-f", kind, "image", "1M")
			f.Add(kind, content[:min(len(content), 1600)], 512)
		}
	}
	f.Add("raw", []byte("QFI\xfb"), 1)
	f.Add("iso", []byte("x"), 0)
	f.Fuzz(func(t *testing.T, declared string, content []byte, piece int) {
		piece = max(1, piece)
		info, err := inspect(declared, false, content, piece)
		whole, wholeErr := inspect(declared, false, content, max(1, len(content)))
		require.Equal(t, wholeErr == nil, err == nil, "the verdict hangs on how the content came: %v, %v", err, wholeErr)
		require.Equal(t, whole, info)
		require.GreaterOrEqual(t, info.VirtualSize, int64(0))
		if err == nil && declared == "raw" {
			require.Contains(t, []string{"raw", "iso"}, info.Format)
		}
	})
}

func BenchmarkInspector(b *testing.B) {
	block := make([]byte, 1<<20)
	i := format.NewInspector("raw", false)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := i.Write(block); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleInspector() {
	i := format.NewInspector("raw", false)
	_, err := io.Copy(i, strings.NewReader("QFI\xfb, which is how a qcow2 begins"))
	if err == nil {
		_, err = i.Close()
	}
	fmt.Println(err)
	// Output: the content does not match the disk format: it was said to be raw and is qcow2
}
