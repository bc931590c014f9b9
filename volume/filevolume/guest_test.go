//go:build linux

package filevolume_test

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
)

// guestVariable names the file that this program writes to as another process, in place of a server's.
const guestVariable = "FILEVOLUME_TEST_GUEST"

// guest is a process that has a volume open.
type guest struct {
	*os.File
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// reach opens what a connected host has: reading here, writing in another process.
func reach(t testing.TB, target driver.Target) driver.Device {
	t.Helper()
	if target.NBD != nil {
		return reachNBD(t, target.NBD)
	}
	f, err := os.Open(target.Path)
	require.NoError(t, err)
	g := &guest{File: f}
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

func reachNBD(t testing.TB, target *driver.NBD) driver.Device {
	t.Helper()
	c, err := nbd.Open(t.Context(), target)
	require.NoError(t, err)
	return c
}

func (g *guest) Size() int64 {
	info, err := g.Stat()
	if err != nil {
		return -1
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

// beGuest writes what it is told, until nobody tells it any more.
func beGuest(path string) int {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
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
