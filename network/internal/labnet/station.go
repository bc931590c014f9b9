//go:build linux

package labnet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/kintoun/kintoun/internal/netns/nl"
	"github.com/kintoun/kintoun/network/driver"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// Station is a host in a namespace of its own, with one interface "eth0".
type Station struct {
	Namespace string
	MAC       string
}

// MAC is a MAC address made from a name.
func MAC(name string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name))
	n := sum.Sum32()
	return fmt.Sprintf("fa:16:%02x:%02x:%02x:%02x", byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

// Join makes a station in a network. An invalid address or gateway is none.
func Join(ctx context.Context, ports driver.Ports, name, networkID string, address netip.Prefix, gateway netip.Addr) (*Station, error) {
	return JoinAs(ctx, ports, name, networkID, MAC(name), address, gateway)
}

// JoinAs makes a station with a MAC address of one's choice.
func JoinAs(ctx context.Context, ports driver.Ports, name, networkID, mac string, address netip.Prefix, gateway netip.Addr) (*Station, error) {
	s := &Station{Namespace: "station-" + name, MAC: mac}
	if err := netns.Create(s.Namespace); err != nil {
		return nil, err
	}
	port := driver.Port{
		ID: "station-" + name, NetworkID: networkID, MAC: s.MAC, MTU: 1500,
		Endpoint: driver.Endpoint{Namespace: s.Namespace, Device: "eth0"},
	}
	if err := ports.Apply(ctx, port); err != nil {
		return nil, err
	}
	h, err := nl.Handle(s.Namespace)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	if err := h.LinkSetUp(link); err != nil {
		return nil, err
	}
	if address.IsValid() {
		ip := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}
		if err := h.AddrReplace(link, &netlink.Addr{IPNet: ip}); err != nil {
			return nil, err
		}
	}
	if gateway.IsValid() {
		everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		return s, h.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere, Gw: gateway.AsSlice()})
	}
	return s, nil
}

// Ping sends echo requests, one each 200 ms, until one is answered or ctx is done.
func (s *Station) Ping(ctx context.Context, to netip.Addr) error {
	var conn *icmp.PacketConn
	err := netns.Do(s.Namespace, func() (err error) {
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: []byte("kintoun")}}
	packet, err := message.Marshal(nil)
	if err != nil {
		return err
	}
	buffer := make([]byte, 1500)
	for ctx.Err() == nil {
		if _, err := conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		for {
			n, from, err := conn.ReadFrom(buffer)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return err
			}
			reply, err := icmp.ParseMessage(1, buffer[:n])
			if err == nil && reply.Type == ipv4.ICMPTypeEchoReply && from.String() == to.String() {
				return nil
			}
		}
	}
	return fmt.Errorf("ping %s from %s: %w", to, s.Namespace, ctx.Err())
}

// Listen answers every line sent to a TCP port in a namespace with the given name and the caller's address, until
// the returned function is called.
func Listen(namespace, name string, port uint16) (stop func(), err error) {
	var listener net.Listener
	err = netns.Do(namespace, func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		return err
	})
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go answer(ctx, conn, name)
		}
	}()
	return func() {
		cancel()
		_ = listener.Close()
		<-done
	}, nil
}

func answer(ctx context.Context, conn net.Conn, name string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	caller := netip.MustParseAddrPort(conn.RemoteAddr().String()).Addr()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintf(conn, "%s %s\n", name, caller); err != nil {
			return
		}
	}
}

// Conn is an open TCP connection to a listener.
type Conn struct {
	conn  net.Conn
	lines *bufio.Reader
}

// Dial opens a TCP connection.
func (s *Station) Dial(ctx context.Context, to netip.AddrPort) (*Conn, error) {
	var conn net.Conn
	err := netns.Do(s.Namespace, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp4", to.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, lines: bufio.NewReader(conn)}, nil
}

// Ask sends a line and returns the listener's name and the address that it saw.
func (c *Conn) Ask(ctx context.Context) (name string, caller netip.Addr, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.conn.SetDeadline(deadline); err != nil {
			return "", netip.Addr{}, err
		}
	}
	if _, err := fmt.Fprintln(c.conn, "who?"); err != nil {
		return "", netip.Addr{}, err
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "", netip.Addr{}, err
	}
	name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
	caller, err = netip.ParseAddr(address)
	return name, caller, err
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }
