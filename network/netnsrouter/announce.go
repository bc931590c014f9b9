//go:build linux

package netnsrouter

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// claim is an address that a link has from now on.
type claim struct {
	link    netlink.Link
	address netip.Addr
}

// announce tells the neighbours of the links in the calling thread's namespace which addresses are now there
// (gratuitous ARP, RFC 5944 section 4.6: neighbours that look at requests only and those that look at replies only
// both exist, so one of each is sent).
func announce(claims []claim) error {
	claims = slices.DeleteFunc(claims, func(c claim) bool {
		return !c.address.Is4() || len(c.link.Attrs().HardwareAddr) != 6
	})
	if len(claims) == 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// The kernel closes a packet socket after all processors have passed a point of rest, 10 to 20 ms later, which
	// nobody needs to wait for.
	defer func() { go func() { _ = unix.Close(fd) }() }()
	for _, c := range claims {
		to := &unix.SockaddrLinklayer{
			Protocol: binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff}),
			Ifindex:  c.link.Attrs().Index,
			Halen:    6,
			Addr:     [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		}
		for _, operation := range []byte{1, 2} {
			if err := unix.Sendto(fd, gratuitous(operation, c.link.Attrs().HardwareAddr, c.address), 0, to); err != nil {
				return fmt.Errorf("announce %s on %s: %w", c.address, c.link.Attrs().Name, err)
			}
		}
	}
	return nil
}

// gratuitous is an ARP packet (RFC 826) in which mac claims address.
func gratuitous(operation byte, mac net.HardwareAddr, address netip.Addr) []byte {
	ip := address.As4()
	packet := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	packet = append(append(packet, mac...), ip[:]...)
	return append(append(packet, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), ip[:]...)
}
