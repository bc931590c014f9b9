package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/lab/labtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is QEMU's, with an export of a new sparse file; it is killed when the test ends.
func server(t testing.TB, size int64, export string) (socket string, kill func()) {
	t.Helper()
	labtest.RequireProgram(t, "qemu-storage-daemon", "qemu-system-common")
	dir, err := os.MkdirTemp("", "nbd") // paths of sockets are short
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path, socket := filepath.Join(dir, "disk"), filepath.Join(dir, "s")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socket})
	require.NoError(t, err)
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	require.NoError(t, err)
	cmd := exec.Command("qemu-storage-daemon", "--blockdev", "driver=file,node-name=disk,discard=unmap,filename="+path,
		"--nbd-server", "addr.type=fd,addr.str=3", "--export", "type=nbd,id=e,node-name=disk,name=disk,"+export)
	cmd.ExtraFiles = []*os.File{file}
	require.NoError(t, cmd.Start())
	require.NoError(t, errors.Join(file.Close(), listener.Close()))
	kill = func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	return socket, kill
}

func dial(t testing.TB, socket string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), "unix", socket, &Options{Export: "disk"})
	require.NoError(t, err)
	return c
}

func TestContents(t *testing.T) {
	const size = 12<<20 + 512
	socket, _ := server(t, size, "writable=on")
	c, model := dial(t, socket), make([]byte, size)
	require.Equal(t, int64(size), c.Size())
	require.False(t, c.ReadOnly())
	require.True(t, c.structured && c.allocation)
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 100 {
		offset := random.Int64N(size)
		length := min(1+random.Int64N(400<<(n%14)), size-offset)
		b := make([]byte, length)
		switch n % 3 {
		case 0:
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			k, err := c.WriteAt(b, offset)
			require.NoError(t, err)
			require.Equal(t, len(b), k)
			copy(model[offset:], b)
		case 1:
			require.NoError(t, c.Zero(offset, length))
			clear(model[offset:][:length])
		default:
			_, err := c.ReadAt(b, offset)
			require.NoError(t, err)
			require.True(t, bytes.Equal(model[offset:][:length], b), "%d at %d", length, offset)
		}
	}
	require.NoError(t, c.Sync())
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Close(), fs.ErrClosed)
	c = dial(t, socket)
	b := make([]byte, size+1)
	n, err := c.ReadAt(b, 0)
	require.ErrorIs(t, err, io.EOF)
	require.True(t, bytes.Equal(model, b[:n]))
	require.NoError(t, c.Close())
}

func TestExtents(t *testing.T) {
	const size = 5 << 30
	socket, _ := server(t, size, "writable=on")
	c := dial(t, socket)
	_, _, err := c.NextData(0)
	require.ErrorIs(t, err, io.EOF)
	for _, offset := range []int64{1 << 20, 3<<30 - 4096, size - 65536} {
		_, err := c.WriteAt(bytes.Repeat([]byte{1}, 65536), offset)
		require.NoError(t, err)
	}
	for _, want := range [][2]int64{{1 << 20, 1<<20 + 65536}, {3<<30 - 4096, 3<<30 + 61440}, {size - 65536, size}} {
		start, end, err := c.NextData(want[0] - 1<<20)
		require.NoError(t, err)
		// At the end of what one request asks for, an extent may end too.
		if want[0] == 3<<30-4096 && end == 3<<30 {
			_, end, err = c.NextData(end)
			require.NoError(t, err)
		}
		require.Equal(t, want, [2]int64{start, end})
	}
	require.NoError(t, c.Zero(0, size))
	_, _, err = c.NextData(0)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, c.Trim(0, size))
	require.NoError(t, c.Close())
}

func TestRefusals(t *testing.T) {
	socket, kill := server(t, 1<<20, "writable=off")
	_, err := Dial(t.Context(), "unix", socket, &Options{Export: "another"})
	require.ErrorContains(t, err, `open export "another": NBD server: option 7 refused`)
	c := dial(t, socket)
	require.True(t, c.ReadOnly())
	_, err = c.WriteAt([]byte("x"), 0)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorIs(t, c.Zero(0, 512), fs.ErrPermission)
	// What the client knows better the server refuses too, and goes on.
	err = c.do(request{command: commandWrite, length: 1, data: []byte("x")})
	var refused *Error
	require.ErrorAs(t, err, &refused)
	require.ErrorIs(t, err, syscall.Errno(refused.Number))
	_, err = c.ReadAt(make([]byte, 512), 0)
	require.NoError(t, err)

	kill()
	_, err = c.ReadAt(make([]byte, 512), 0)
	require.Error(t, err)
	_, again := c.ReadAt(make([]byte, 512), 0)
	require.Equal(t, err, again)
	require.NoError(t, c.Close())
}

// TestSilence has servers that accept and say nothing.
func TestSilence(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	_, err := New(ctx, ours, nil)
	require.ErrorIs(t, err, context.Canceled)
	ours, theirs2 := net.Pipe()
	defer func() { _ = theirs2.Close() }()
	_, err = New(t.Context(), ours, &Options{Timeout: time.Millisecond})
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

// script is a connection on which the server's part is known before.
type script struct {
	net.Conn
	*bytes.Reader
}

func (s script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s script) Write(b []byte) (int, error) { return len(b), nil }
func (s script) Close() error                { return nil }
func (s script) SetDeadline(time.Time) error { return nil }

// recorder keeps what a server says.
type recorder struct {
	net.Conn
	said *bytes.Buffer
}

func (r recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.said.Write(b[:n])
	return n, err
}

// FuzzServer has the server say anything, beginning with what a real one says.
func FuzzServer(f *testing.F) {
	if _, err := exec.LookPath("qemu-storage-daemon"); err == nil {
		socket, _ := server(f, 1<<20, "writable=on")
		conn, err := net.Dial("unix", socket)
		require.NoError(f, err)
		said := &bytes.Buffer{}
		c, err := New(f.Context(), recorder{conn, said}, &Options{Export: "disk"})
		require.NoError(f, err)
		useAll(c)
		f.Add(said.Bytes())
	}
	f.Add([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	f.Fuzz(func(_ *testing.T, said []byte) {
		c, err := New(context.Background(), script{Reader: bytes.NewReader(said)}, &Options{Export: "disk"})
		if err == nil {
			useAll(c)
		}
	})
}

func useAll(c *Client) {
	b := make([]byte, 1024)
	_, _, _ = c.NextData(0)
	_, _ = c.ReadAt(b, 0)
	_, _ = c.WriteAt(b, 100)
	_, _ = c.ReadAt(b, 0)
	_, _, _ = c.NextData(0)
	_ = c.Zero(0, 512)
	_ = c.Sync()
	_ = c.Close()
}

func BenchmarkRead(b *testing.B) {
	socket, _ := server(b, 64<<20, "writable=on")
	c := dial(b, socket)
	content := make([]byte, 1<<20)
	for offset := int64(0); offset < c.Size(); offset += 1 << 20 {
		_, err := c.WriteAt(content, offset)
		require.NoError(b, err)
	}
	b.SetBytes(1 << 20)
	offset := int64(0)
	for b.Loop() {
		_, err := c.ReadAt(content, offset)
		require.NoError(b, err)
		offset = (offset + 1<<20) % c.Size()
	}
	require.NoError(b, c.Close())
}
