//go:build linux

package link

import (
	"errors"
	"os"
	"runtime"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Probe makes one device of each kind ("bridge", "veth", "vxlan", "tun") in a throw-away network namespace, and says
// which the kernel lacks.
func Probe(kinds ...string) error {
	return Scratch(func() error {
		var errs []error
		for _, kind := range kinds {
			errs = append(errs, probe(kind))
		}
		return errors.Join(errs...)
	})
}

func probe(kind string) error {
	attrs := netlink.LinkAttrs{Name: "probe-" + kind}
	var device netlink.Link
	switch kind {
	case "bridge":
		device = &netlink.Bridge{LinkAttrs: attrs}
	case "veth":
		device = &netlink.Veth{LinkAttrs: attrs, PeerName: "probe-peer"}
	case "vxlan":
		device = &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 1, Port: 4789}
	default:
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return fault.Wrap(fault.ErrUnavailable, "the kernel's tap devices are missing (modprobe tun), or closed to this user: /dev/net/tun: %v", err)
		}
		return unix.Close(fd)
	}
	if err := netlink.LinkAdd(device); err != nil {
		return fault.Wrap(fault.ErrUnavailable, "the kernel has no %s devices (modprobe %s): %v", kind, kind, err)
	}
	return nil
}

// Scratch runs fn on a thread in a new network namespace; both end with it.
func Scratch(fn func() error) error {
	result := make(chan error, 1)
	go scratch(fn, result)
	return <-result
}

func scratch(fn func() error, result chan<- error) {
	runtime.LockOSThread()
	// The main thread never ends, and would stay in the namespace: hold it, so that another thread is taken.
	if unix.Gettid() == os.Getpid() {
		inner := make(chan error, 1)
		go scratch(fn, inner)
		result <- <-inner
		runtime.UnlockOSThread()
		return
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		result <- fault.Wrap(fault.ErrUnavailable, "a network namespace needs root: %v", err)
		return
	}
	result <- fn()
}
