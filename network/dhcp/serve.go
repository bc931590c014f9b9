//go:build linux

package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// packetSize is the longest packet that is looked at; a client's message is within one Ethernet frame.
const packetSize = 1500

// place is where a server's socket is. The index tells a device from a later one of the same name.
type place struct {
	namespace string
	device    string
	index     int
}

// server answers one network's clients.
type server struct {
	place  place
	config atomic.Pointer[config]
	conn   *ipv4.PacketConn
	log    *slog.Logger
	done   chan struct{}
}

func start(at place, config *config, log *slog.Logger) (*server, error) {
	conn, err := listen(at)
	if err != nil {
		return nil, fmt.Errorf("listen in %s on %s: %w", at.namespace, at.device, err)
	}
	s := &server{place: at, conn: ipv4.NewPacketConn(conn), log: log, done: make(chan struct{})}
	s.config.Store(config)
	go s.run()
	return s, nil
}

func listen(at place) (conn net.PacketConn, err error) {
	err = netns.Do(at.namespace, func() error {
		conn, err = (&net.ListenConfig{Control: at.bind}).ListenPacket(context.Background(), "udp4", "0.0.0.0:67")
		return err
	})
	return conn, err
}

// bind keeps the socket to the device, so that nothing from elsewhere is heard and nothing leaves elsewhere. Answers go
// without a UDP checksum: one that the kernel leaves to the device never gets filled in on the way to a virtual machine,
// and clients that read raw frames drop them.
func (p place) bind(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1),
			unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, p.device))
	})
	return errors.Join(err, failed)
}

func (s *server) run() {
	defer close(s.done)
	buffer := make([]byte, packetSize)
	for {
		n, _, _, err := s.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// The device has gone, which the next Apply sees.
			if errors.Is(err, unix.ENETDOWN) {
				continue
			}
			s.log.Warn("DHCP: read", "error", err)
			return
		}
		a, ok := s.config.Load().answer(buffer[:n])
		if !ok {
			continue
		}
		if err := s.send(a); err != nil {
			s.log.Warn("DHCP: answer", "client", a.message.ClientHWAddr.String(), "error", err)
		}
	}
}

func (s *server) send(a answer) error {
	to := a.to
	if a.unknown && s.introduce(a.to, a.message.ClientHWAddr) != nil {
		to = netip.Addr{}
	}
	destination := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
	if to.IsValid() {
		destination.IP = to.AsSlice()
	}
	_, err := s.conn.WriteTo(a.message.ToBytes(), &ipv4.ControlMessage{Src: a.from.AsSlice(), IfIndex: s.place.index}, destination)
	return err
}

// introduce tells the kernel a neighbour's MAC, which it could not ask for: the client does not have the address yet.
func (s *server) introduce(address netip.Addr, hardware net.HardwareAddr) error {
	h, err := nl.Handle(s.place.namespace)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.NeighSet(&netlink.Neigh{
		LinkIndex: s.place.index, Family: unix.AF_INET, State: netlink.NUD_REACHABLE,
		IP: address.AsSlice(), HardwareAddr: hardware,
	})
}

func (s *server) alive() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

func (s *server) stop() {
	_ = s.conn.Close()
	<-s.done
}
