package format_test

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"github.com/kintoun/kintoun/image/format"
	"github.com/stretchr/testify/require"
)

func inspectOVA(content []byte, piece int) (format.Info, error) {
	i := format.NewOVAInspector()
	if _, err := io.CopyBuffer(struct{ io.Writer }{i}, struct{ io.Reader }{bytes.NewReader(content)}, make([]byte, piece)); err != nil {
		return format.Info{}, err
	}
	return i.Close()
}

const ovf = `<?xml version="1.0"?><Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References><File ovf:id="a" ovf:href="disk.nvram"/></References></Envelope>`

type member struct {
	name, body string
	kind       byte
}

func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Size: int64(len(m.body)), Mode: 0o600, Typeflag: m.kind, Format: tar.FormatUSTAR}
		if m.kind != 0 {
			h.Size, h.Linkname = 0, "/etc/passwd"
		}
		require.NoError(t, w.WriteHeader(h))
		if m.kind == 0 {
			_, err := io.WriteString(w, m.body)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestOVA(t *testing.T) {
	good := archive(t, member{name: "vm.ovf", body: ovf}, member{name: "disk.nvram", body: "x"})
	for _, piece := range []int{1, 511, len(good)} {
		info, err := inspectOVA(good, piece)
		require.NoError(t, err)
		require.Equal(t, format.OVA, info.Format)
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    error
	}{
		{"nothing", nil, format.ErrMismatch},
		{"no archive", bytes.Repeat([]byte("x"), 2048), format.ErrMismatch},
		{"no descriptor", archive(t, member{name: "disk.nvram", body: "x"}), format.ErrMismatch},
		{"a descriptor that is none", archive(t, member{name: "vm.ovf", body: "x"}), format.ErrMismatch},
		{"cut short", good[:600], format.ErrMismatch},
		{"a file that is not there", archive(t, member{name: "vm.ovf", body: ovf}), format.ErrUnsafe},
		{"a file elsewhere", archive(t, member{name: "vm.ovf", body: ovf}, member{name: "../disk.nvram", body: "x"}), format.ErrUnsafe},
		{"a link", archive(t, member{name: "vm.ovf", body: ovf}, member{name: "disk.nvram", kind: tar.TypeSymlink}), format.ErrUnsafe},
		{"a file twice", archive(t, member{name: "vm.ovf", body: ovf}, member{name: "a"}, member{name: "a"}), format.ErrUnsafe},
		{"a parent", archive(t, member{name: "vm.ovf", body: `<Envelope><Disk parentRef="x"/></Envelope>`}), format.ErrUnsafe},
		{"a VMDK with an extent elsewhere", archive(t, member{name: "vm.ovf", body: ovf}, member{name: "disk.vmdk", body: "# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n"}), format.ErrUnsafe},
		{"a VMDK that is none", archive(t, member{name: "vm.ovf", body: ovf}, member{name: "disk.vmdk", body: "x"}), format.ErrMismatch},
	} {
		_, err := inspectOVA(c.content, max(1, len(c.content)))
		require.ErrorIs(t, err, c.want, c.name)
	}
}

func FuzzOVA(f *testing.F) {
	f.Add(archive(f, member{name: "vm.ovf", body: ovf}, member{name: "disk.nvram", body: "x"}), 7)
	f.Add(archive(f, member{name: "vm.ovf", body: ovf}, member{name: "disk.vmdk", body: "KDMV"}), 512)
	f.Fuzz(func(t *testing.T, content []byte, piece int) {
		info, err := inspectOVA(content, min(max(1, piece), 1<<20))
		whole, wholeErr := inspectOVA(content, max(1, len(content)))
		require.Equal(t, wholeErr == nil, err == nil)
		require.Equal(t, whole, info)
		require.GreaterOrEqual(t, info.VirtualSize, int64(0))
	})
}
