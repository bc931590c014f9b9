//go:build linux

package portlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/kintoun/kintoun/internal/netns"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TapGuest opens a host's tap device, as QEMU does, and carries its frames to and from a tap of its own, in a namespace
// that plays the virtual machine. It offers segments and checksums to be finished by the device, as virtio does.
// It returns the namespace; the device in it is eth0.
func TapGuest(t testing.TB, host, tap, mac string, mtu int) string {
	t.Helper()
	namespace := Namespace(t)
	outer := openTap(t, host, tap)
	inner := openTap(t, namespace, "eth0")
	require.NoError(t, netns.Do(namespace, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		address, err := net.ParseMAC(mac)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetHardwareAddr(l, address), netlink.LinkSetMTU(l, mtu))
	}))
	done := make(chan struct{}, 2)
	go carry(outer, inner, done)
	go carry(inner, outer, done)
	t.Cleanup(func() {
		_, _ = outer.Close(), inner.Close()
		<-done
		<-done
	})
	return namespace
}

func openTap(t testing.TB, namespace, name string) *os.File {
	t.Helper()
	var file *os.File
	require.NoError(t, netns.Do(namespace, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return fmt.Errorf("open tap %s: %w", name, err)
		}
		if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4|unix.TUN_F_TSO6); err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), name)
		return nil
	}))
	return file
}

func carry(from io.Reader, to io.Writer, done chan<- struct{}) {
	buffer := make([]byte, 1<<17)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			done <- struct{}{}
			return
		}
		// A device that is down or gone refuses frames; the reader learns of its own.
		_, _ = to.Write(buffer[:n])
	}
}
