//go:build linux

package link

import (
	"fmt"
	"unsafe"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// EnsurePair makes a veth pair with both ends in the host, named by alias.
func (h Host) EnsurePair(name, peer, alias string, mtu int) error {
	return h.Do(func(handle *netlink.Handle) error {
		l, err := find(handle, name)
		if err != nil {
			return err
		}
		if l == nil {
			pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}, PeerName: peer, PeerMTU: uint32(mtu)}
			if err := handle.LinkAdd(pair); err != nil {
				return fmt.Errorf("make veth pair %s and %s: %w", name, peer, err)
			}
		}
		for _, end := range []string{name, peer} {
			l, err := handle.LinkByName(end)
			if err != nil {
				return fmt.Errorf("device %s: %w", end, err)
			}
			if l.Attrs().Alias == "" {
				silence(handle, l)
			}
			if err := label(handle, l, alias); err != nil {
				return err
			}
			if err := settle(handle, l, mtu); err != nil {
				return err
			}
		}
		return nil
	})
}

// FinishChecksums has the kernel finish the checksums of what is sent by the device, which it leaves to the receiver
// otherwise: a switch in user space is none that would (ethtool -K DEVICE tx off).
func (h Host) FinishChecksums(device string) error {
	return netns.Do(h.Namespace, func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		// linux/ethtool.h's struct ethtool_value, in linux/if.h's struct ifreq.
		value := struct{ command, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
		request := struct {
			name    [unix.IFNAMSIZ]byte
			pointer unsafe.Pointer
			_       [16]byte
		}{pointer: unsafe.Pointer(&value)}
		copy(request.name[:unix.IFNAMSIZ-1], device)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("device %s: switch checksum offload off: %w", device, errno)
		}
		return nil
	})
}
