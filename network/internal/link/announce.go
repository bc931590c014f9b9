//go:build linux

package link

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// announce tells the neighbours of a device which MAC an address has now (gratuitous ARP, RFC 5227 section 3), in the
// calling thread's namespace. They would ask the old one for seconds otherwise.
func announce(index int, mac net.HardwareAddr, address netip.Addr) error {
	const etherARP = 0x0806
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("announce %s: %w", address, err)
	}
	defer func() { _ = unix.Close(socket) }()
	everybody := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	ip := address.AsSlice()
	request := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	frame := slices.Concat(everybody, mac, []byte{etherARP >> 8, etherARP & 0xff}, request, mac, ip, make([]byte, 6), ip)
	if err := unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: index, Halen: 6, Addr: [8]byte(append(everybody, 0, 0))}); err != nil {
		return fmt.Errorf("announce %s: %w", address, err)
	}
	return nil
}
