//go:build linux

package ovsgre

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/network/internal/link"
	"github.com/vishvananda/netlink"
)

// Probe says what this machine lacks for the fabric, and how to get it; nil if nothing. It changes nothing. A kernel
// without a datapath of Open vSwitch is no lack, only slow: see [KernelDatapath].
func Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := []error{link.Probe("bridge", "veth", "tun")}
	for _, program := range []string{"ovsdb-server", "ovs-vswitchd", "ovsdb-tool", "ovs-ofctl"} {
		if _, err := exec.LookPath(program); err != nil {
			errs = append(errs, missingProgram(err))
		}
	}
	if _, err := os.Stat(schema); err != nil {
		errs = append(errs, fault.Wrap(ErrUnavailable, "Open vSwitch's schema is not installed (apt-get install openvswitch-common): %v", err))
	}
	return errors.Join(errs...)
}

// KernelDatapath says why the kernel has no datapath of Open vSwitch; nil if it has. An automatic choice takes this
// fabric where it has one, and the kernel's bridge otherwise, which is then ten times as fast.
func KernelDatapath() error {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return fault.Wrap(ErrUnavailable, "the kernel has no Open vSwitch datapath (modprobe openvswitch): %v", err)
	}
	return nil
}
