//go:build linux

package portlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/network/drivertest"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Station is a device in a namespace: frames go in and out by a packet socket, and the kernel's stack talks over it.
type Station struct {
	namespace, device string
	socket            *os.File
	frames            chan []byte
}

var _ drivertest.TalkingGuest = (*Station)(nil)

// queue is how many frames a station holds for a test that does not look.
const queue = 4096

// NewStation stands at a device. With no addresses the kernel stays silent, and only the test talks.
func NewStation(t testing.TB, namespace, device string, addresses ...netip.Prefix) *Station {
	t.Helper()
	s := &Station{namespace: namespace, device: device, frames: make(chan []byte, queue)}
	require.NoError(t, netns.Do(namespace, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		if len(addresses) == 0 {
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+device+"/disable_ipv6", []byte("1"), 0o644)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		for _, address := range addresses {
			if err := addAddress(device, address); err != nil {
				return err
			}
		}
		s.socket, err = packetSocket(l.Attrs().Index)
		return err
	}))
	done := make(chan struct{})
	go s.capture(done)
	t.Cleanup(func() { _ = s.socket.Close(); <-done })
	return s
}

// packetSocket opens packet(7) on a device, for what arrives there alone.
func packetSocket(index int) (*os.File, error) {
	everything := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: index}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "packet socket"), nil
}

func (s *Station) capture(done chan<- struct{}) {
	defer close(done)
	buffer := make([]byte, 1<<16)
	for {
		n, err := s.socket.Read(buffer)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		select {
		case s.frames <- bytes.Clone(buffer[:n]):
		default:
		}
	}
}

// Emit sends a frame.
func (s *Station) Emit(t testing.TB, frame []byte) {
	t.Helper()
	_, err := s.socket.Write(frame)
	require.NoError(t, err)
}

// Frames are those that arrive.
func (s *Station) Frames() <-chan []byte { return s.frames }

// Ping runs ping(8), a few times at most: a tunnel's first packet may wait for its peer's address.
func (s *Station) Ping(dst netip.Addr, size int) error {
	var out []byte
	err := netns.Do(s.namespace, func() error {
		var err error
		for range 5 {
			cmd := exec.Command("ping", "-n", "-q", "-c", "1", "-W", "1", "-M", "do", "-s", fmt.Sprint(size-28), dst.String())
			if out, err = cmd.CombinedOutput(); err == nil {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("ping %s: %w: %s", dst, err, out)
	}
	return nil
}

// Serve echoes.
func (s *Station) Serve(t testing.TB, port uint16) {
	t.Helper()
	var listener net.Listener
	require.NoError(t, netns.Do(s.namespace, func() error {
		var err error
		listener, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	}))
	var all sync.WaitGroup
	closing := make(chan struct{})
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			stop := make(chan struct{})
			all.Go(func() {
				_, _ = io.Copy(conn, conn)
				close(stop)
			})
			all.Go(func() {
				select {
				case <-stop:
				case <-closing:
				}
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		close(closing)
		all.Wait()
	})
}

// Dial connects.
func (s *Station) Dial(dst netip.AddrPort) (drivertest.GuestConn, error) {
	var conn net.Conn
	err := netns.Do(s.namespace, func() error {
		var err error
		conn, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(context.Background(), "tcp", dst.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return tcp{conn}, nil
}

type tcp struct{ net.Conn }

// Transfer writes and reads at once, since neither side holds all of it.
func (c tcp) Transfer(n int) error {
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	sent := bytes.Repeat([]byte("kintoun."), n/8+1)[:n]
	written := make(chan error, 1)
	go func() { _, err := c.Write(sent); written <- err }()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		return errors.Join(err, c.Close(), <-written)
	}
	if !bytes.Equal(got, sent) {
		return errors.New("other bytes came back than were sent")
	}
	return <-written
}
