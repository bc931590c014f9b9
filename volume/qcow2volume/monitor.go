//go:build linux

package qcow2volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// monitorTime is how long the storage daemon may take to answer one command.
const monitorTime = time.Minute

// monitorError is the daemon's answer to a command that failed.
type monitorError struct {
	command     string
	Class, Desc string
}

func (e *monitorError) Error() string { return "qemu-storage-daemon: " + e.command + ": " + e.Desc }

// monitor is a connection to the daemon's control socket, which serves one client at a time (docs/interop/qmp-spec.txt of QEMU's
// sources). It sends one command after the other, and keeps the events that come between answers.
type monitor struct {
	conn   net.Conn
	in     *json.Decoder
	sent   int
	events []answer
}

// answer is anything that the daemon sends.
type answer struct {
	QMP    json.RawMessage
	ID     int
	Return json.RawMessage
	Error  *monitorError
	Event  string
	Data   struct{ ID string }
}

// dialMonitor connects to the socket.
func dialMonitor(ctx context.Context, socket string) (*monitor, error) {
	conn, err := dialUnix(ctx, socket)
	if err != nil {
		return nil, err
	}
	return greeted(conn)
}

// greeted takes the daemon's greeting, after which it takes commands. It closes conn if there is an error.
func greeted(conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, in: json.NewDecoder(conn)}
	_ = conn.SetDeadline(time.Now().Add(monitorTime))
	var hello answer
	if err := m.in.Decode(&hello); err != nil {
		return nil, errors.Join(fmt.Errorf("qemu-storage-daemon's greeting: %w", err), conn.Close())
	}
	if err := m.do("qmp_capabilities", nil, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return m, nil
}

func (m *monitor) close() { _ = m.conn.Close() }

// do runs a command. It is not interrupted: what it would have left nobody would know.
func (m *monitor) do(command string, arguments, result any) error {
	_ = m.conn.SetDeadline(time.Now().Add(monitorTime))
	m.sent++
	request := map[string]any{"execute": command, "id": m.sent}
	if arguments != nil {
		request["arguments"] = arguments
	}
	data, err := json.Marshal(request)
	if err == nil {
		_, err = m.conn.Write(data)
	}
	for err == nil {
		var a answer
		if err = m.in.Decode(&a); err != nil {
			break
		}
		switch {
		case a.Event != "":
			m.events = append(m.events, a)
		case a.ID != m.sent:
		case a.Error != nil:
			a.Error.command = command
			return a.Error
		case result != nil:
			return json.Unmarshal(a.Return, result)
		default:
			return nil
		}
	}
	return fmt.Errorf("qemu-storage-daemon: %s: %w", command, err)
}

// event waits for one, for as long as ctx allows.
func (m *monitor) event(ctx context.Context, wanted func(answer) bool) (answer, error) {
	for _, a := range m.events {
		if wanted(a) {
			return a, nil
		}
	}
	_ = m.conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		var a answer
		if err := m.in.Decode(&a); err != nil {
			return a, errors.Join(ctx.Err(), fmt.Errorf("qemu-storage-daemon: wait: %w", err))
		}
		if wanted(a) {
			return a, nil
		}
	}
}

// shortly calls do with a short path of the socket's, by way of its open directory: addresses of sockets have at most 107 bytes.
func shortly(socket string, do func(path string) error) error {
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return do(filepath.Join(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), filepath.Base(socket)))
}

func dialUnix(ctx context.Context, socket string) (conn net.Conn, err error) {
	err = shortly(socket, func(path string) error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// listenUnix makes a socket anew, which stays when it is closed here.
func listenUnix(socket string, mode os.FileMode) (file *os.File, err error) {
	if err := unlessMissing(os.Remove(socket)); err != nil {
		return nil, err
	}
	err = shortly(socket, func(path string) error {
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		if err != nil {
			return err
		}
		listener.SetUnlinkOnClose(false)
		file, err = listener.File()
		return errors.Join(err, listener.Close(), os.Chmod(path, mode))
	})
	return file, err
}

// pair makes the two ends of a connection.
func pair() (ours net.Conn, theirs *os.File, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	file, theirs := os.NewFile(uintptr(ends[0]), "ready"), os.NewFile(uintptr(ends[1]), "ready")
	ours, err = net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}
