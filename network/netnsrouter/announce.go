//go:build linux

package netnsrouter

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// announce tells the neighbours on a link which addresses are now there (gratuitous ARP, RFC 5944 section 4.6:
// neighbours that look at requests only and those that look at replies only both exist, so one of each is sent).
func announce(link netlink.Link, addresses []netip.Addr) error {
	var four []netip.Addr
	for _, a := range addresses {
		if a.Is4() {
			four = append(four, a)
		}
	}
	mac := link.Attrs().HardwareAddr
	if len(four) == 0 || len(mac) != 6 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	to := &unix.SockaddrLinklayer{
		Protocol: binary.NativeEndian.Uint16([]byte{unix.ETH_P_ARP >> 8, unix.ETH_P_ARP & 0xff}),
		Ifindex:  link.Attrs().Index,
		Halen:    6,
		Addr:     [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	for _, a := range four {
		for _, operation := range []byte{1, 2} {
			if err := unix.Sendto(fd, gratuitous(operation, mac, a), 0, to); err != nil {
				return err
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
