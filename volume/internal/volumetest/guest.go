//go:build linux

// Package volumetest helps tests of drivers of volumes: a process of its own that has a volume open, in place of a server's.
//
//	func TestMain(m *testing.M) {
//		if volumetest.IsGuest() {
//			os.Exit(volumetest.BeGuest())
//		}
//		os.Exit(m.Run())
//	}
package volumetest

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/kintoun/kintoun/volume/driver"
	"github.com/kintoun/kintoun/volume/internal/nbd"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guestVariable names the file that this program writes to as another process, in place of a server's.
const guestVariable = "VOLUME_TEST_GUEST"

// IsGuest says that this program was started to be one.
func IsGuest() bool { return os.Getenv(guestVariable) != "" }

// guest is a process that has a volume open.
type guest struct {
	*os.File
	// bytes is the size of a volume on a device, which may be larger.
	bytes int64
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
}

// Reach opens what a connected host has: reading here, writing in another process.
func Reach(t testing.TB, target driver.Target) driver.Device {
	t.Helper()
	if target.NBD != nil {
		c, err := nbd.Open(t.Context(), target.NBD)
		require.NoError(t, err)
		return c
	}
	f, err := os.Open(target.Path)
	require.NoError(t, err)
	g := &guest{File: f, bytes: target.Bytes}
	if target.ReadOnly {
		return g
	}
	g.cmd = exec.Command("/proc/self/exe")
	g.cmd.Env = append(os.Environ(), guestVariable+"="+target.Path)
	g.cmd.Stderr = os.Stderr
	g.in, err = g.cmd.StdinPipe()
	require.NoError(t, err)
	g.out, err = g.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, g.cmd.Start())
	return g
}

func (g *guest) Size() int64 {
	info, err := g.Stat()
	switch {
	case err != nil:
		return -1
	case info.Mode()&os.ModeDevice != 0:
		return g.bytes
	}
	return info.Size()
}

func (g *guest) WriteAt(b []byte, offset int64) (int, error) {
	if g.cmd == nil {
		return 0, os.ErrPermission
	}
	head := binary.BigEndian.AppendUint64(nil, uint64(offset))
	_, err := g.in.Write(append(binary.BigEndian.AppendUint32(head, uint32(len(b))), b...))
	if err == nil {
		_, err = io.ReadFull(g.out, head[:1])
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (g *guest) Close() error {
	err := g.File.Close()
	if g.cmd != nil {
		err = errors.Join(err, g.in.Close(), g.cmd.Wait())
	}
	return err
}

// BeGuest writes what it is told, until nobody tells it any more, and returns the exit code.
func BeGuest() int {
	path, flags := os.Getenv(guestVariable), os.O_WRONLY
	if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeDevice != 0 {
		flags |= unix.O_DSYNC // as QEMU, past the kernel's cache
	}
	f, err := os.OpenFile(path, flags, 0)
	for err == nil {
		var head [12]byte
		if _, err := io.ReadFull(os.Stdin, head[:]); errors.Is(err, io.EOF) {
			return 0
		}
		b := make([]byte, binary.BigEndian.Uint32(head[8:]))
		if _, err = io.ReadFull(os.Stdin, b); err == nil {
			_, err = f.WriteAt(b, int64(binary.BigEndian.Uint64(head[:])))
		}
		if err == nil {
			_, err = os.Stdout.Write([]byte{1})
		}
	}
	return 1
}
